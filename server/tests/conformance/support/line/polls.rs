//! Polling.

use hubbub_protocol::{ServerFrame, frame::ErrorBody};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Doors, Session, goodbye, session::frames};
use crate::support::client::{Client, Request, Response};

/// A session whose frames come in batches, each asked for.
pub struct Polls {
    pub session: Session,
    polls: Client,
    /// The batch that was received last.
    ack: u64,
    first: Vec<ServerFrame>,
    code: Option<u16>,
}

#[derive(Deserialize)]
struct Batch {
    batch: u64,
    frames: Vec<Box<RawValue>>,
}

impl Polls {
    pub(super) fn new(doors: &Doors) -> Self {
        let session = Session::new("poll", doors, Client::new(&[doors.down]));
        Self { session, polls: Client::new(&doors.up), ack: 0, first: Vec::new(), code: None }
    }

    pub(super) async fn send(&mut self, message: Vec<u8>) -> Result<(), ErrorBody> {
        if self.ack > 0 {
            return self.session.post(message).await;
        }
        let response = self.session.open(message).await?;
        self.first = self.take(response).await;
        self.session.learn(&self.first);
        Ok(())
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<ServerFrame>, Option<u16>> {
        loop {
            if !self.first.is_empty() {
                return Ok(std::mem::take(&mut self.first));
            }
            let poll = Request::get(&self.session.path(&format!("?ack={}", self.ack))).with_token(&self.session.token);
            let Ok(response) = self.polls.ask(&poll).await else { return Err(self.code) };
            if response.status() != 200 {
                let refusal = response.refusal().await;
                if refusal.code == "revoked" {
                    // It came too late for the batch with the goodbye, and is told the same.
                    return Err(self.code.or(Some(4403)));
                }
                assert_eq!(refusal.code, "session_gone", "{refusal:?}");
                return Err(self.code);
            }
            self.first = self.take(response).await;
        }
    }

    async fn take(&mut self, response: Response) -> Vec<ServerFrame> {
        let batch: Batch = serde_json::from_str(&response.text().await).unwrap();
        let frames: Vec<_> = batch.frames.iter().flat_map(|frame| frames(frame.get())).collect();
        let next = self.ack + u64::from(!frames.is_empty() || self.ack == 0);
        assert_eq!(batch.batch, next, "an empty batch keeps the number that was acknowledged");
        self.ack = batch.batch;
        self.code = self.code.or(goodbye(&frames));
        frames
    }
}
