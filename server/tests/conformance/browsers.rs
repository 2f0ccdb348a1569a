//! What only sessions over plain HTTP have: PROTOCOL.md section 9, rule by rule. What they promise like every session is in the other modules.

mod events;
mod native;
mod origins;
mod polls;
mod posts;
mod versions;

use hubbub_protocol::{Format, ServerFrame, ServerFrames, frame::ErrorBody};
use serde_json::{Value, json};

use crate::support::{
    Server,
    client::{Client, Request, Response},
    events::{Block, Events},
};

/// Over both, on one instance and where POSTs and polls go to another one than holds the session.
macro_rules! by_itself_and_through_another {
    ($($test:ident),* $(,)?) => {
        crate::over_http!($($test),*);
        crate::on_pair!(nats_postgres_sse, NATS_POSTGRES over Sse, $($test),*);
        crate::on_pair!(nats_postgres_polling, NATS_POSTGRES over Polling, $($test),*);
    };
}
use by_itself_and_through_another;

/// One request over a connection of its own, to the first of its doors.
async fn ask(server: &Server, request: Request) -> Response {
    Client::new(&[server.address()]).ask(&request).await.unwrap()
}

/// The same, to wherever POSTs go.
async fn ask_above(server: &Server, request: Request) -> Response {
    Client::new(&server.doors().up[..1]).ask(&request).await.unwrap()
}

/// A refusal's code and status.
async fn code(response: Response) -> (u16, String) {
    let status = response.status();
    let ErrorBody { code, .. } = response.refusal().await;
    (status, code)
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A stream that has just been opened, and that it was.
async fn stream(server: &Server, request: Request) -> Events {
    let response = ask(server, request).await;
    assert_eq!((response.status(), response.header("content-type")), (200, Some("text/event-stream")));
    Events::of(response)
}

/// The next frame of a stream as JSON.
pub async fn frame(events: &mut Events) -> Value {
    loop {
        let block = events.next().await.expect("the stream has ended");
        if let Some(data) = block.data {
            assert_eq!(block.event, None);
            return serde_json::from_str(&data).unwrap();
        }
    }
}

/// Everything up to the end of a stream.
async fn rest(events: &mut Events) -> Vec<Block> {
    let mut blocks = Vec::new();
    while let Some(block) = events.next().await {
        blocks.push(block);
    }
    blocks
}

fn parsed(block: &Block) -> Option<ServerFrame> {
    let data = bytes::Bytes::from(block.data.clone()?);
    ServerFrames::new(Format::Json, &data).next().map(|frame| frame.unwrap())
}

/// `connect`, and `subscribe` with cursors.
pub fn opening(channels: &[(&str, Option<u64>)]) -> String {
    let channels: Vec<_> = channels
        .iter()
        .map(|(channel, since)| {
            since.map_or(json!({"channel": channel}), |seq| json!({"channel": channel, "since": {"epoch": 1, "seq": seq}}))
        })
        .collect();
    let connect = json!({"type": "connect", "id": 1}).to_string();
    if channels.is_empty() { connect } else { connect + &json!({"type": "subscribe", "id": 2, "channels": channels}).to_string() }
}

fn publishing(id: u32, channel: &str, payload: &str) -> String {
    format!(r#"{{"type":"publish","id":{id},"channel":"{channel}","payload":{payload}}}"#)
}
