//! One WebSocket message in the making: frames back to back, within the bounds of PROTOCOL.md section 1.

use hubbub_protocol::{
    ClientFrame, Format,
    frame::RequestId,
    limits::{MAX_FRAME, MAX_FRAMES},
};

/// Bytes after which a message takes no further frame: what a socket swallows at once.
const ENOUGH: usize = 64 << 10;

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The message is full: the frame goes into the next one.
    Full,
    /// The frame alone is longer than the server takes.
    TooLarge,
}

/// Frames on their way to the socket.
#[derive(Debug)]
pub(crate) struct Batch {
    format: Format,
    limit: usize,
    frames: usize,
    bytes: Vec<u8>,
}

impl Batch {
    /// An empty message of at most `limit` bytes, and never more than the protocol's bound.
    pub fn new(format: Format, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(MAX_FRAME).min(MAX_FRAME);
        Self { format, limit, frames: 0, bytes: Vec::new() }
    }

    /// Appends `frame`.
    pub fn push(&mut self, frame: &ClientFrame) -> Result<(), Refused> {
        let start = self.bytes.len();
        if self.frames == MAX_FRAMES || start >= ENOUGH {
            return Err(Refused::Full);
        }
        frame.encode(self.format, &mut self.bytes);
        if self.bytes.len() > self.limit {
            let alone = self.bytes.len() - start;
            self.bytes.truncate(start);
            return Err(if alone > self.limit { Refused::TooLarge } else { Refused::Full });
        }
        self.frames += 1;
        Ok(())
    }

    /// The message's bytes; `None` if there is no frame.
    pub fn finish(self) -> Option<Vec<u8>> {
        (self.frames > 0).then_some(self.bytes)
    }
}

/// Numbers for requests. They come round after 2³² − 1, when no request of that number can be outstanding any more.
#[derive(Debug, Default)]
pub(crate) struct Ids(RequestId);

impl Ids {
    /// The next number; never 0.
    pub fn next(&mut self) -> RequestId {
        self.0 = self.0.checked_add(1).unwrap_or(1);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_the_bounds() {
        let mut batch = Batch::new(Format::Json, 100);
        let ping = ClientFrame::Ping { id: 1 };
        assert_eq!(batch.push(&ping), Ok(()));
        let long = ClientFrame::Refresh { id: 1, token: "x".repeat(80) };
        assert_eq!(batch.push(&long), Err(Refused::TooLarge));
        let fits_alone = ClientFrame::Refresh { id: 1, token: "x".repeat(50) };
        assert_eq!(batch.push(&fits_alone), Err(Refused::Full));
        assert_eq!(batch.finish().unwrap(), br#"{"type":"ping","id":1}"#);

        let mut batch = Batch::new(Format::Msgpack, u64::MAX);
        for _ in 0..MAX_FRAMES {
            assert_eq!(batch.push(&ping), Ok(()));
        }
        assert_eq!(batch.push(&ping), Err(Refused::Full));
        assert_eq!(Batch::new(Format::Json, 100).finish(), None);
    }

    #[test]
    fn ids_skip_zero() {
        let mut ids = Ids(RequestId::MAX - 1);
        assert_eq!((ids.next(), ids.next()), (RequestId::MAX, 1));
    }
}
