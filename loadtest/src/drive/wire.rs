//! WebSocket bytes (RFC 6455) as the floor and the generator need them: a frame's head, a server frame, a masked client
//! frame, the upgrade. No fragments, no extensions, no I/O.

/// Opcodes of RFC 6455 section 5.2.
pub mod opcode {
    /// A binary message.
    pub const BINARY: u8 = 0x2;
    /// The end of the connection.
    pub const CLOSE: u8 = 0x8;
    /// To be answered by a pong with the same body.
    pub const PING: u8 = 0x9;
    /// The answer to a ping.
    pub const PONG: u8 = 0xa;
}

/// The example of RFC 6455 section 1.3: a load test has no use for an unpredictable key.
pub const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to [`SAMPLE_KEY`].
pub const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What the frame is: see [`opcode`].
    pub opcode: u8,
    /// Bytes before the body, the mask's four included.
    pub head: usize,
    /// Bytes of the body.
    pub body: usize,
    /// Whether the body is masked, by the last four bytes of the head.
    pub masked: bool,
}

/// Reads the head at the start of `bytes`; `None` if it is not all there.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let [first, second, rest @ ..] = bytes else { return None };
    let masked = second & 0x80 != 0;
    let (length, body) = match second & 0x7f {
        126 => (2, u16::from_be_bytes(rest.get(..2)?.try_into().ok()?) as usize),
        127 => (8, usize::try_from(u64::from_be_bytes(rest.get(..8)?.try_into().ok()?)).unwrap_or(usize::MAX)),
        short => (0, short as usize),
    };
    let head = 2 + length + if masked { 4 } else { 0 };
    (bytes.len() >= head).then_some(Head { opcode: first & 0x0f, head, body, masked })
}

/// Appends a whole unmasked frame to `out`.
pub fn server_frame(opcode: u8, body: &[u8], out: &mut Vec<u8>) {
    write_head(opcode, body.len(), 0, out);
    out.extend_from_slice(body);
}

/// Appends a whole frame masked by `key` to `out`.
pub fn client_frame(opcode: u8, body: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    write_head(opcode, body.len(), 0x80, out);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(body);
    mask(&mut out[start..], key);
}

/// Masks, or unmasks, `body` in place.
pub fn mask(body: &mut [u8], key: [u8; 4]) {
    body.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

fn write_head(opcode: u8, body: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match body {
        0..=125 => out.push(masked | body as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(body as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(body as u64).to_be_bytes());
        }
    }
}

/// The request that asks for a WebSocket at `path`.
pub fn upgrade_request(path: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {SAMPLE_KEY}\r\n{subprotocol}\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_only_when_it_is_whole() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            client_frame(opcode::BINARY, &vec![7; size], [1, 2, 3, 4], &mut frame);
            let whole = head(&frame).unwrap();
            assert_eq!((whole.opcode, whole.body, whole.masked, whole.head + size), (opcode::BINARY, size, true, frame.len()));
            for cut in 0..whole.head {
                assert_eq!(head(&frame[..cut]), None, "{size} cut at {cut}");
            }
        }
    }

    #[test]
    fn masking_twice_is_the_identity() {
        let mut frame = Vec::new();
        client_frame(opcode::BINARY, b"hello", [9, 8, 7, 6], &mut frame);
        let at = head(&frame).unwrap().head;
        assert_ne!(&frame[at..], b"hello");
        mask(&mut frame[at..], [9, 8, 7, 6]);
        assert_eq!(&frame[at..], b"hello");
    }

    #[test]
    fn a_server_frame_is_not_masked() {
        let mut frame = Vec::new();
        server_frame(opcode::PING, b"x", &mut frame);
        assert_eq!(frame, [0x89, 1, b'x']);
    }
}
