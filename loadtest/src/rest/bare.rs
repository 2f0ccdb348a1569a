//! The bare handler: what REST costs when a handler does nothing but axum's and serde's work.
//!
//! It answers the requests of [`super::script`] with bodies of the same fields and sizes as Hubbub's: no store, no token, no rights, no
//! check beside what serde does by itself.

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::script::text;

/// The version of every message.
const TAG: &str = "\"1\"";

/// `bare`'s arguments.
#[derive(Debug, Args)]
pub struct BareArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Messages of a page.
    #[arg(long, default_value_t = 20)]
    limit: u64,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 128)]
    size: usize,
}

#[derive(Debug, Clone, Serialize)]
struct Message {
    seq: u64,
    epoch: u64,
    ordinal: u64,
    message_id: Option<String>,
    publisher: String,
    key: Option<String>,
    time: u64,
    payload: Value,
    edited_at: Option<u64>,
    edits: u32,
    deleted_at: Option<u64>,
    deleted_by: Option<String>,
    attachments: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Page {
    messages: Vec<Message>,
    first: u64,
    head: u64,
    more: bool,
}

#[derive(Debug, Deserialize)]
struct Post {
    payload: Value,
}

/// Serves until SIGTERM comes or the parent dies. The first line of stdout is the bound address.
pub fn run(args: &BareArgs) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM)).context("prctl(PR_SET_PDEATHSIG)")?;
    let messages = (1..=args.limit).map(|seq| message(seq, serde_json::json!({ "text": text(args.size) }))).collect();
    let page = Arc::new(Page { messages, first: 1, head: 100, more: true });
    let router = Router::new()
        .route("/v1/channels/{channel}/messages", get(list).post(publish))
        .route("/v1/channels/{channel}/messages/{seq}", get(show))
        .with_state(page);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", listener.local_addr()?)?;
        stdout.flush()?;
        Ok(axum::serve(listener, router).await?)
    })
}

fn message(seq: u64, payload: Value) -> Message {
    Message {
        seq,
        epoch: 0,
        ordinal: seq,
        message_id: Some("019ab0d5-7c1e-7b3a-9c55-0123456789ab".to_owned()),
        publisher: "loadtest-17".to_owned(),
        key: None,
        time: 1_795_000_000_000,
        payload,
        edited_at: None,
        edits: 0,
        deleted_at: None,
        deleted_by: None,
        attachments: Vec::new(),
    }
}

async fn list(State(page): State<Arc<Page>>, Path(_): Path<String>) -> Json<Page> {
    Json(Page::clone(&page))
}

async fn show(State(page): State<Arc<Page>>, Path((_, seq)): Path<(String, u64)>, headers: HeaderMap) -> Response {
    let tag = [(header::ETAG, TAG)];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == TAG) {
        return (StatusCode::NOT_MODIFIED, tag).into_response();
    }
    let payload = page.messages.first().map(|message| message.payload.clone()).unwrap_or_default();
    (tag, Json(message(seq, payload))).into_response()
}

async fn publish(Path(channel): Path<String>, Json(post): Json<Post>) -> Response {
    let location = [(header::LOCATION, format!("/v1/channels/{channel}/messages/100")), (header::ETAG, TAG.to_owned())];
    (StatusCode::CREATED, location, Json(message(100, post.payload))).into_response()
}
