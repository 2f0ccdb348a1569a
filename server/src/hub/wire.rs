//! How a frame leaves: format and transport framing together. A frame is sealed once a wire, and shared by all who speak it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hubbub_protocol::{CloseCode, Entry, Format, Retry, ServerFrame, frame::Disconnect};

/// What a connection's bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// WebSocket messages of one frame each: binary for MessagePack, text for JSON.
    Socket(Format),
}

/// Room for the longest header of an unmasked WebSocket frame (RFC 6455 section 5.2).
const HEADER: usize = 10;

impl Wire {
    const COUNT: usize = 2;

    fn index(self) -> usize {
        match self {
            Wire::Socket(Format::Msgpack) => 0,
            Wire::Socket(Format::Json) => 1,
        }
    }

    /// The format of its frames.
    pub fn format(self) -> Format {
        match self {
            Wire::Socket(format) => format,
        }
    }

    /// One frame, ready for the transport.
    pub fn seal(self, write: impl FnOnce(Format, &mut Vec<u8>)) -> Bytes {
        let Wire::Socket(format) = self;
        let opcode = match format {
            Format::Msgpack => 0x2,
            Format::Json => 0x1,
        };
        message(opcode, |out| write(format, out))
    }

    /// A server frame, ready for the transport.
    pub fn frame(self, frame: &ServerFrame) -> Bytes {
        self.seal(|format, out| frame.encode(format, out))
    }

    /// What is said before a close: `disconnect`, unless the peer broke the transport's own rules, and the transport's Close.
    pub fn goodbye(self, code: CloseCode, reconnect_after: Option<u64>) -> Vec<Bytes> {
        if code.code() < 4000 {
            return vec![close(code)];
        }
        let retry = if reconnect_after.is_some() { Retry::Later } else { code.retry() };
        let disconnect = Disconnect { code: code.code(), reason: code.reason().to_owned(), retry, reconnect_after };
        vec![self.frame(&ServerFrame::Disconnect(disconnect)), close(code)]
    }

    /// A heartbeat that the peer's transport answers by itself.
    pub fn ping(self) -> Bytes {
        Bytes::from_static(&[0x89, 0x00])
    }
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
