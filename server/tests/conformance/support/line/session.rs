//! A session over HTTP: how it is opened, and what goes up.

use hubbub_protocol::{
    Format, ServerFrame, ServerFrames,
    frame::{Connected, ErrorBody},
};

use super::{Doors, unreachable};
use crate::support::client::{Client, Request, Response};

/// What streams and polls share.
pub struct Session {
    /// `sse` or `poll`.
    kind: &'static str,
    /// Where it is opened.
    pub(super) down: Client,
    /// Where POSTs go.
    up: Client,
    pub token: String,
    id: Option<String>,
    /// The number of the last POST.
    n: u64,
}

impl Session {
    pub(super) fn new(kind: &'static str, doors: &Doors, down: Client) -> Self {
        Self { kind, down, up: Client::new(&doors.up), token: String::new(), id: None, n: 0 }
    }

    /// Its name, if it is open.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Its path, with `query` behind it.
    pub(super) fn path(&self, query: &str) -> String {
        format!("/v1/{}/{}{query}", self.kind, self.id.as_deref().expect("it is open"))
    }

    /// Opens it by the first message; the answer is its stream or its first batch.
    pub(super) async fn open(&mut self, first: Vec<u8>) -> Result<Response, ErrorBody> {
        let request = Request::post(&format!("/v1/{}", self.kind), first).with_token(&self.token);
        let response = self.down.ask(&request).await.map_err(unreachable)?;
        if response.status() == 200 { Ok(response) } else { Err(response.refusal().await) }
    }

    /// Takes its name from `connect`'s reply, the first frame.
    pub(super) fn learn(&mut self, frames: &[ServerFrame]) {
        if let (None, Some(ServerFrame::Reply { result, .. })) = (&self.id, frames.first()) {
            self.id = Some(result.read::<Connected>().unwrap().session);
        }
    }

    /// The next POST. One that finds the session gone says nothing: the way down tells why.
    pub(super) async fn post(&mut self, message: Vec<u8>) -> Result<(), ErrorBody> {
        self.n += 1;
        let request = Request::post(&self.path(&format!("?n={}", self.n)), message).with_token(&self.token);
        let response = self.up.ask(&request).await.map_err(unreachable)?;
        if response.status() == 200 {
            assert_eq!(response.json().await, serde_json::json!({"n": self.n}));
            return Ok(());
        }
        let refusal = response.refusal().await;
        if refusal.code == "session_gone" { Ok(()) } else { Err(refusal) }
    }

    /// Ends it, if it has begun and is still there.
    pub(super) async fn delete(mut self) {
        if self.id.is_some() {
            let request = Request::delete(&self.path("")).with_token(&self.token);
            let status = self.up.ask(&request).await.unwrap().status();
            // 401: the user was blocked meanwhile.
            assert!([204, 401, 410].contains(&status), "{status}");
        }
    }
}

/// The frames of a text.
pub(super) fn frames(text: &str) -> Vec<ServerFrame> {
    ServerFrames::new(Format::Json, &bytes::Bytes::copy_from_slice(text.as_bytes())).map(|frame| frame.unwrap()).collect()
}
