//! A stream of events.

use hubbub_protocol::{ServerFrame, frame::ErrorBody};

use super::{Buffer, Doors, Session, goodbye, session::frames};
use crate::support::{client::Client, events::Events};

/// A session whose frames come as events.
pub struct Stream {
    pub session: Session,
    events: Option<Events>,
    /// What was read to learn the session's name.
    first: Vec<ServerFrame>,
    code: Option<u16>,
}

impl Stream {
    pub(super) fn new(doors: &Doors, buffer: Buffer) -> Self {
        let session = Session::new("sse", doors, Client::with_buffer(&[doors.down], buffer));
        Self { session, events: None, first: Vec::new(), code: None }
    }

    pub(super) async fn send(&mut self, message: Vec<u8>) -> Result<(), ErrorBody> {
        if self.events.is_some() {
            return self.session.post(message).await;
        }
        self.events = Some(Events::of(self.session.open(message).await?));
        self.first = self.read().await.unwrap_or_default();
        self.session.learn(&self.first);
        Ok(())
    }

    pub(super) async fn receive(&mut self) -> Result<Vec<ServerFrame>, Option<u16>> {
        if self.first.is_empty() { self.read().await } else { Ok(std::mem::take(&mut self.first)) }
    }

    /// The next event with a frame.
    async fn read(&mut self) -> Result<Vec<ServerFrame>, Option<u16>> {
        let events = self.events.as_mut().expect("it is open");
        while let Some(block) = events.next().await {
            if let (None, Some(data)) = (&block.event, &block.data) {
                let frames = frames(data);
                assert_eq!(frames.len(), 1, "each frame is an event");
                self.code = self.code.or(goodbye(&frames));
                return Ok(frames);
            }
        }
        Err(self.code)
    }
}
