//! HTTP/1.1 bytes (RFC 9112) as the generator needs them: a request, an answer's head, a chunk of its body. No I/O; what has not come whole
//! is `None`.

use anyhow::{Context as _, Result, ensure};

/// Bytes of a head, or of a chunk's first line, at most.
const MAX_HEAD: usize = 64 << 10;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 200 and the like.
    pub status: u16,
    /// Bytes of it, the empty line included.
    pub length: usize,
    /// What follows.
    pub body: Body,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// It has so many bytes.
    Length(usize),
    /// It comes in chunks.
    Chunks,
}

/// One chunk.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// What it carries. Nothing: the body is over.
    pub data: &'a [u8],
    /// Bytes of it, framing included.
    pub length: usize,
}

/// Reads the head at the start of `bytes`.
///
/// # Errors
/// It is none, or has more than 64 KiB.
pub fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        ensure!(bytes.len() <= MAX_HEAD, "a head of more than {MAX_HEAD} bytes");
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).context("a head that is not text")?;
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let fields = || text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let field = |name: &str| fields().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    let body = match field("transfer-encoding") {
        Some(coding) if coding.eq_ignore_ascii_case("chunked") => Body::Chunks,
        Some(coding) => anyhow::bail!("a transfer coding that was not asked for: {coding}"),
        None => Body::Length(field("content-length").unwrap_or("0").parse().context("a content-length that is no number")?),
    };
    Ok(Some(Head { status: status.with_context(|| format!("not an answer of HTTP/1.1: {text}"))?, length: end + 4, body }))
}

/// Reads the chunk at the start of `bytes`. Trailers of the last one are passed over.
///
/// # Errors
/// It is none.
pub fn chunk(bytes: &[u8]) -> Result<Option<Chunk<'_>>> {
    let Some(line) = memchr::memmem::find(bytes, b"\r\n") else {
        ensure!(bytes.len() <= MAX_HEAD, "a chunk without a size");
        return Ok(None);
    };
    // An extension may follow the size.
    let digits = bytes[..line].split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let size = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let size = size.with_context(|| format!("not the size of a chunk: {:?}", String::from_utf8_lossy(&bytes[..line])))? as usize;
    if size == 0 {
        // The empty line may be the one that ends the size.
        let end = memchr::memmem::find(&bytes[line..], b"\r\n\r\n");
        return Ok(end.map(|end| Chunk { data: &[], length: line + end + 4 }));
    }
    let start = line + 2;
    let Some(end) = bytes.get(start + size..start + size + 2) else { return Ok(None) };
    ensure!(end == b"\r\n", "a chunk that is longer than it says");
    Ok(Some(Chunk { data: &bytes[start..start + size], length: start + size + 2 }))
}

/// A request on a connection that is kept.
pub fn request(method: &str, target: &str, token: Option<&str>, body: &[u8]) -> Vec<u8> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{authorization}{length}\r\n");
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_only_when_it_is_whole() {
        let stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let known = b"HTTP/1.1 401 Unauthorized\r\ncontent-length:  12\r\n\r\n";
        for (bytes, status, body) in [(&stream[..], 200, Body::Chunks), (known, 401, Body::Length(12))] {
            assert_eq!(head(bytes).unwrap(), Some(Head { status, length: bytes.len(), body }));
            for cut in 0..bytes.len() {
                assert_eq!(head(&bytes[..cut]).unwrap(), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for wrong in ["SSH-2.0\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"] {
            assert!(head(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(head(&[b'x'; MAX_HEAD + 1]).is_err());
    }

    #[test]
    fn a_chunk_is_read_only_when_it_is_whole() {
        let chunks: [(&[u8], &[u8]); 5] = [
            (b"5\r\nhello\r\n", b"hello"),
            (b"1A;name=value\r\nabcdefghijklmnopqrstuvwxyz\r\n", b"abcdefghijklmnopqrstuvwxyz"),
            (b"4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
            (b"0\r\n\r\n", b""),
            (b"0\r\nTrailer: x\r\n\r\n", b""),
        ];
        for (bytes, data) in chunks {
            assert_eq!(chunk(&[bytes, b"5\r\n"].concat()).unwrap(), Some(Chunk { data, length: bytes.len() }));
            for cut in 0..bytes.len() {
                assert_eq!(chunk(&bytes[..cut]).unwrap(), None, "{:?} cut at {cut}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wrong in ["\r\n", "x\r\n", "-1\r\n", "1ffffffff\r\n", "2\r\nabc\r\n"] {
            assert!(chunk(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let text = String::from_utf8(request("POST", "/v1/sse", Some("t"), b"{}")).unwrap();
        assert_eq!(text, "POST /v1/sse HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\nContent-Length: 2\r\n\r\n{}");
        assert_eq!(String::from_utf8(request("GET", "/", None, b"")).unwrap(), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
}
