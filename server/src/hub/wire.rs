//! How a frame leaves: format and transport framing together. A frame is sealed once a wire, and shared by all who speak it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hubbub_protocol::{CloseCode, Entry, Format, Retry, ServerFrame, frame::Disconnect};

/// What a connection's bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// WebSocket messages of one frame each: binary for MessagePack, text for JSON.
    Socket(Format),
    /// Server-Sent Events of one frame each, in JSON.
    Events,
}

/// What stands before a frame in an event (HTML, section 9.2.6).
const DATA: &[u8] = b"data: ";
/// What ends an event.
const END: &[u8] = b"\n\n";

/// Room for the longest header of an unmasked WebSocket frame (RFC 6455 section 5.2).
const HEADER: usize = 10;

impl Wire {
    const COUNT: usize = 3;

    fn index(self) -> usize {
        match self {
            Wire::Socket(Format::Msgpack) => 0,
            Wire::Socket(Format::Json) => 1,
            Wire::Events => 2,
        }
    }

    /// The format of its frames.
    pub fn format(self) -> Format {
        match self {
            Wire::Socket(format) => format,
            Wire::Events => Format::Json,
        }
    }

    /// One frame, ready for the transport.
    pub fn seal(self, write: impl FnOnce(Format, &mut Vec<u8>)) -> Bytes {
        match self {
            Wire::Socket(Format::Msgpack) => message(0x2, |out| write(Format::Msgpack, out)),
            Wire::Socket(Format::Json) => message(0x1, |out| write(Format::Json, out)),
            Wire::Events => event(|out| write(Format::Json, out)),
        }
    }

    /// A server frame, ready for the transport.
    pub fn frame(self, frame: &ServerFrame) -> Bytes {
        self.seal(|format, out| frame.encode(format, out))
    }

    /// What is said before a close: `disconnect`, unless the peer left or broke the transport's own rules, and what ends the transport.
    pub fn goodbye(self, code: CloseCode, reconnect_after: Option<u64>) -> Vec<Bytes> {
        let spoken = code.code() >= 4000;
        let retry = if reconnect_after.is_some() { Retry::Later } else { code.retry() };
        let disconnect = || Disconnect { code: code.code(), reason: code.reason().to_owned(), retry, reconnect_after };
        let mut last = Vec::new();
        if let (Wire::Events, Some(pause)) = (self, reconnect_after) {
            last.push(retry_after(pause));
        }
        if spoken {
            last.push(self.frame(&ServerFrame::Disconnect(disconnect())));
        }
        match self {
            Wire::Socket(_) => last.push(close(code)),
            Wire::Events if code == CloseCode::TokenExpired => last.push(Bytes::from_static(b"event: expired\ndata: {}\n\n")),
            Wire::Events => {}
        }
        last
    }

    /// A heartbeat: on a socket one that the peer's transport answers by itself, among events a comment.
    pub fn ping(self) -> Bytes {
        match self {
            Wire::Socket(_) => Bytes::from_static(&[0x89, 0x00]),
            Wire::Events => Bytes::from_static(b":\n\n"),
        }
    }
}

/// One event without a name. JSON that is written here has no line break outside of strings, and none unescaped inside.
fn event(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(DATA);
    write(&mut out);
    out.extend_from_slice(END);
    Bytes::from(out)
}

/// The frame in an event that was sealed for [`Wire::Events`]; `None` if it has none: a comment, a pause.
pub fn event_frame(event: &Bytes) -> Option<Bytes> {
    (event.starts_with(DATA) && event.ends_with(END)).then(|| event.slice(DATA.len()..event.len() - END.len()))
}

/// Tells an `EventSource` to wait for `pause` milliseconds before it reconnects.
pub fn retry_after(pause: u64) -> Bytes {
    Bytes::from(format!("retry: {pause}\n\n"))
}

/// A WebSocket Close frame.
pub fn close(code: CloseCode) -> Bytes {
    message(0x8, |out| {
        out.extend_from_slice(&code.code().to_be_bytes());
        out.extend_from_slice(code.reason().as_bytes());
    })
}

/// One whole unmasked WebSocket message.
pub fn message(opcode: u8, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&[0; HEADER]);
    write(&mut out);
    let length = out.len() - HEADER;
    let mut header = [0; HEADER];
    header[0] = 0x80 | opcode;
    let size = match length {
        0..126 => {
            header[1] = length as u8;
            2
        }
        126..0x1_0000 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    out[HEADER - size..HEADER].copy_from_slice(&header[..size]);
    Bytes::from(out).slice(HEADER - size..)
}

/// An entry on its way to subscribers, encoded at most once a wire.
#[derive(Debug)]
pub struct Delivery {
    /// The entry.
    pub entry: Arc<Entry>,
    sealed: [OnceLock<Bytes>; Wire::COUNT],
}

impl Delivery {
    /// Nothing is encoded until somebody wants it.
    pub fn new(entry: Arc<Entry>) -> Arc<Self> {
        Arc::new(Self { entry, sealed: Default::default() })
    }

    /// The entry for `wire`.
    pub fn sealed(&self, wire: Wire) -> &Bytes {
        self.sealed[wire.index()].get_or_init(|| wire.seal(|format, out| self.entry.encode(format, out)))
    }

    /// The seq in a durable channel, else 0.
    pub fn seq(&self) -> u64 {
        self.entry.place.map_or(0, |place| place.seq)
    }

    /// About how much memory it holds, in bytes.
    pub fn weight(&self) -> usize {
        // Twice: as it came and as it leaves.
        2 * self.entry.payload.len() + 512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_the_shortest_form() {
        for (length, header) in
            [(0, vec![0x82, 0]), (125, vec![0x82, 125]), (126, vec![0x82, 126, 0, 126]), (65_535, vec![0x82, 126, 255, 255])]
        {
            let sealed = message(0x2, |out| out.resize(out.len() + length, 7));
            assert_eq!(sealed[..header.len()], header);
            assert_eq!(sealed.len(), header.len() + length);
        }
        let sealed = message(0x2, |out| out.resize(out.len() + 65_536, 7));
        assert_eq!(sealed[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
