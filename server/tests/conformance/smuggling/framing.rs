//! HTTP/1.1 of more than one meaning (RFC 9112 sections 2.2, 5 and 6).

/// What the server may make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// No request: it is refused, and the connection ends.
    Nothing,
    /// One request, and the connection may go on.
    One,
    /// One request at most, and the connection ends with its answer.
    Last,
}

/// One attempt.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub meant: Meant,
}

/// Every attempt, with `hidden` where somebody might take it for a request.
pub fn cases(hidden: &str) -> Vec<Case> {
    let length = hidden.len();
    let post = "POST /healthz HTTP/1.1\r\nHost: test\r\n";
    let both = |first: String, second: String| format!("{post}{first}{second}\r\n0\r\n\r\n{hidden}");
    let sized = format!("Content-Length: {}\r\n", length + 5);
    let chunked = |value: &str| format!("Transfer-Encoding:{value}\r\n");
    let chunks = |chunks: &str| format!("{post}{}\r\n{chunks}", chunked(" chunked"));
    let header = |line: &str| format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{line}\r\n{hidden}");
    let (one, last, nothing) = (Meant::One, Meant::Last, Meant::Nothing);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let upgrade = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Protocol: hubbub.v1.json\r\n";
    let texts = [
        // Two lengths.
        ("a length, then chunks", both(sized.clone(), chunked(" chunked")), last),
        ("chunks, then a length", both(chunked(" chunked"), sized.clone()), last),
        ("chunks in capitals, then a length", both(chunked(" Chunked"), sized.clone()), last),
        ("chunks behind a tab, then a length", both(chunked("\tchunked"), sized.clone()), last),
        ("two lengths, the longer first", format!("{post}Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{hidden}"), nothing),
        ("two lengths, the shorter first", format!("{post}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"), nothing),
        ("two lengths in one field", format!("{post}Content-Length: 0, {length}\r\n\r\n{hidden}"), nothing),
        ("a length with a sign", format!("{post}Content-Length: +0\r\n\r\n{hidden}"), nothing),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n{hidden}"), nothing),
        ("a length in hexadecimal", format!("{post}Content-Length: 0x0\r\n\r\n{hidden}"), nothing),
        ("a length of more than 64 bits", format!("{post}Content-Length: 18446744073709551616\r\n\r\n{hidden}"), nothing),
        ("a length that is empty", format!("{post}Content-Length: \r\n\r\n{hidden}"), nothing),
        // Codings that are not quite `chunked`.
        ("another coding", both(chunked(" xchunked"), sized.clone()), nothing),
        ("a coding behind a vertical tab", both(chunked(" \x0bchunked"), sized.clone()), nothing),
        ("a coding with a NUL", both(chunked(" chunked\0"), sized.clone()), nothing),
        ("chunks that are not the last coding", both(chunked(" chunked, identity"), sized.clone()), nothing),
        ("chunks, then another coding", both(chunked(" chunked"), chunked(" identity") + &sized), nothing),
        ("a space before the colon of the coding", both("Transfer-Encoding : chunked\r\n".to_owned(), sized.clone()), nothing),
        ("a space before the coding's name", both(" Transfer-Encoding: chunked\r\n".to_owned(), sized.clone()), nothing),
        ("a coding in a folded line", both("Transfer-Encoding:\r\n chunked\r\n".to_owned(), sized.clone()), nothing),
        ("a coding in an older version", both(chunked(" chunked"), sized.clone()).replacen("1.1", "1.0", 1), nothing),
        // Chunks of a wrong size.
        ("a chunk of more than 64 bits", chunks(&format!("1FFFFFFFFFFFFFFFF\r\n{hidden}\r\n0\r\n\r\n")), last),
        ("a chunk that overflows to nothing", chunks(&format!("10000000000000000\r\n\r\n{hidden}")), last),
        ("a negative chunk", chunks(&format!("-1\r\n\r\n{hidden}")), last),
        ("a chunk in C's hexadecimal", chunks(&format!("0x0\r\n\r\n{hidden}")), last),
        ("a chunk without a size", chunks(&format!("\r\n\r\n{hidden}")), last),
        ("a chunk that is longer than it says", chunks(&format!("1\r\nabc\r\n0\r\n\r\n{hidden}")), last),
        ("a chunk's extension with a bare LF", chunks(&format!("0;a\n\r\n\r\n{hidden}")), last),
        // Headers that hide another.
        ("a CR in a value", header(&format!("X-A: b\rTransfer-Encoding: chunked\r\n{sized}")), nothing),
        ("a NUL in a value", header("X-A: b\0c\r\n"), nothing),
        ("a folded line", header("X-A: b\r\n c\r\n"), nothing),
        ("a space in a name", header("X A: b\r\n"), nothing),
        ("a name without a colon", header("X-A\r\n"), nothing),
        ("a line that is only a colon", header(": b\r\n"), nothing),
        ("a target with a space", format!("GET /healthz /x HTTP/1.1\r\nHost: test\r\n\r\n{hidden}"), nothing),
        ("a version that is none", format!("GET /healthz HTTP/1.12\r\nHost: test\r\n\r\n{hidden}"), nothing),
        ("a method with a colon", format!("GE:T /healthz HTTP/1.1\r\nHost: test\r\n\r\n{hidden}"), nothing),
        ("a head of a megabyte", header(&format!("X-A: {}\r\n", "b".repeat(1 << 20))), nothing),
        ("two hundred headers", header(&many), nothing),
        // Bodies where none are expected: they are read as such.
        ("a GET with a body", format!("GET /healthz HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{hidden}"), one),
        ("a length that is said twice", format!("{post}Content-Length: {length}\r\nContent-Length: {length}\r\n\r\n{hidden}"), one),
        ("lines that end in LF alone", format!("GET /healthz HTTP/1.1\nHost: test\nContent-Length: {length}\n\n{hidden}"), one),
        ("an upgrade with a body", format!("GET /v1/ws HTTP/1.1\r\nHost: test\r\n{upgrade}Content-Length: {length}\r\n\r\n{hidden}"), one),
        (
            "an upgrade to HTTP/2",
            format!(
                "GET /healthz HTTP/1.1\r\nHost: test\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABk\r\n\
                 Content-Length: {length}\r\n\r\n{hidden}"
            ),
            one,
        ),
        ("an expectation and a body", format!("{post}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{hidden}"), one),
    ];
    texts.into_iter().map(|(name, text, meant)| Case { name, bytes: text.into_bytes(), meant }).collect()
}
