//! HTTP/2 that a decent client would not send (RFC 9113 sections 8.2 and 8.3), by hand: frames, and fields without compression.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::PATIENCE;

/// Names and values, in their order.
pub type Fields = Vec<(String, String)>;

/// One attempt to publish.
pub struct Case {
    pub name: &'static str,
    pub fields: Fields,
    pub body: &'static str,
    /// Whether it is to succeed.
    pub is_good: bool,
}

const BODY: &str = r#"{"payload":"hidden"}"#;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Every attempt at `path`; the good one to another channel, so that it is not found where nothing may be.
pub fn cases(path: &str, token: &str) -> Vec<Case> {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let pseudo = |path: &str| vec![field(":method", "POST"), field(":scheme", "http"), field(":authority", "test"), field(":path", path)];
    let regular = || vec![field("authorization", &format!("Bearer {token}")), field("content-type", "application/json")];
    let with = |more: &[(&str, &str)]| {
        let more = more.iter().map(|(name, value)| field(name, value));
        [pseudo(path), regular(), more.collect()].concat()
    };
    let without = |name: &str| with(&[]).into_iter().filter(|(other, _)| other != name).collect::<Fields>();
    let bad = |name, fields| Case { name, fields, body: BODY, is_good: false };
    vec![
        Case { name: "a request", fields: [pseudo("/v1/channels/room:meant/entries"), regular()].concat(), body: BODY, is_good: true },
        bad("a connection header", with(&[("connection", "close")])),
        bad("a coding of the transfer", with(&[("transfer-encoding", "chunked")])),
        bad("an upgrade", with(&[("upgrade", "websocket")])),
        bad("keep-alive", with(&[("keep-alive", "timeout=5")])),
        bad("proxy-connection", with(&[("proxy-connection", "keep-alive")])),
        bad("te of another kind", with(&[("te", "gzip")])),
        bad("a pseudo-header behind a regular one", [regular(), pseudo(path)].concat()),
        bad("two paths", [pseudo(path), vec![field(":path", "/healthz")], regular()].concat()),
        bad("an unknown pseudo-header", [pseudo(path), vec![field(":secret", "x")], regular()].concat()),
        bad("an answer's pseudo-header", [pseudo(path), vec![field(":status", "200")], regular()].concat()),
        bad("no path", without(":path")),
        bad("no method", without(":method")),
        bad("no scheme", without(":scheme")),
        bad("no host", without(":authority")),
        bad("a name in capitals", with(&[("X-A", "b")])),
        bad("a line break in a value", with(&[("x-a", "b\r\nx-c: d")])),
        bad("a line break in a name", with(&[("x-a: b\r\nx-c", "d")])),
        bad("a NUL in a value", with(&[("x-a", "b\0")])),
        bad("a colon in a name", with(&[("x:a", "b")])),
        bad("a request line in the path", [pseudo(&format!("{path} HTTP/1.1\r\nx: y")), regular()].concat()),
        bad("a length that is shorter", with(&[("content-length", "2")])),
        bad("a length that is longer", with(&[("content-length", "2000")])),
        bad("two lengths", with(&[("content-length", "20"), ("content-length", "2")])),
        bad("another host beside the authority", with(&[("host", "other")])),
        bad("two hosts", with(&[("host", "test"), ("host", "test")])),
    ]
}

/// The status of the answer to a request with these fields; `None` if the stream or the connection was ended instead.
pub async fn status(address: SocketAddr, fields: &Fields, body: &[u8]) -> Option<u16> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &block));
    bytes.extend(frame(0, END_STREAM, 1, body));
    socket.write_all(&bytes).await.unwrap();
    tokio::time::timeout(PATIENCE, verdict(&mut socket)).await.expect("it is answered")
}

async fn verdict(socket: &mut TcpStream) -> Option<u16> {
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).await.ok()?;
        match head[3] {
            RST_STREAM | GOAWAY => return None,
            // The status comes first: by its place in the static table (RFC 7541 appendix A), or spelled out behind it.
            HEADERS => return Some(spelled(&payload)),
            _ => {}
        }
    }
}

fn spelled(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block[0] {
        index @ 0x88..=0x8e => STATIC[usize::from(index - 0x88)],
        // A name by its index, then a length whose first bit says that the value is in Huffman's code: its digits have five or six bits.
        _ => {
            let value = &block[2..2 + usize::from(block[1] & 0x7f)];
            let text = if block[1] & 0x80 == 0 { String::from_utf8(value.to_vec()).unwrap() } else { digits(value) };
            text.parse().unwrap()
        }
    }
}

/// Digits in Huffman's code (RFC 7541 appendix B): 0, 1 and 2 have five bits, the others six.
fn digits(value: &[u8]) -> String {
    let mut bits = value.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = value.len() * 8;
    bits <<= 64 - left;
    let mut text = String::new();
    while left >= 5 && text.len() < 3 {
        let (five, six) = ((bits >> 59) as u8, (bits >> 58) as u8);
        let (digit, taken) = if five < 3 { (five, 5) } else { (six - 0b01_1001 + 3, 6) };
        text.push(char::from(b'0' + digit));
        bits <<= taken;
        left -= taken;
    }
    text
}

/// A field that is spelled out and not indexed (RFC 7541 section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(text.len(), &mut bytes);
        bytes.extend(text.bytes());
    }
    bytes
}

/// A number with a prefix of seven bits (RFC 7541 section 5.1).
fn length(number: usize, out: &mut Vec<u8>) {
    let Some(mut rest) = number.checked_sub(127) else { return out.push(number as u8) };
    out.push(127);
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}
