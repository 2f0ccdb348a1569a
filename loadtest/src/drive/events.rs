//! Server-Sent Events (the HTML standard, section 9.2.6) as Hubbub writes them: line feeds, one `data:` line an event. No I/O.

use anyhow::Result;

/// What a stream said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A frame.
    Frame(&'a [u8]),
    /// What a browser would send back as `Last-Event-ID`.
    Id(&'a [u8]),
    /// The token is over: do not come back.
    Expired,
}

/// Puts a stream's blocks together. A block that came whole is not copied.
#[derive(Debug, Default)]
pub struct Events {
    /// The beginning of a block.
    rest: Vec<u8>,
}

impl Events {
    /// The next bytes of the stream; `each` gets what they complete.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Event<'_>) -> Result<()>) -> Result<()> {
        if self.rest.is_empty() {
            let read = blocks(bytes, &mut each)?;
            self.rest.extend_from_slice(&bytes[read..]);
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.rest);
        waiting.extend_from_slice(bytes);
        let read = blocks(&waiting, &mut each)?;
        waiting.drain(..read);
        // Thousands of streams should not keep room for their longest event.
        self.rest = if waiting.is_empty() { Vec::new() } else { waiting };
        Ok(())
    }
}

/// Reads each whole block in `bytes`; returns how many bytes they were.
fn blocks(bytes: &[u8], each: &mut impl FnMut(Event<'_>) -> Result<()>) -> Result<usize> {
    let mut at = 0;
    while let Some(length) = memchr::memmem::find(&bytes[at..], b"\n\n") {
        block(&bytes[at..at + length], each)?;
        at += length + 2;
    }
    Ok(at)
}

fn block(block: &[u8], each: &mut impl FnMut(Event<'_>) -> Result<()>) -> Result<()> {
    let mut data = None;
    let mut name: &[u8] = b"";
    for line in block.split(|byte| *byte == b'\n') {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => data = Some(value),
            b"event" => name = value,
            b"id" => each(Event::Id(value))?,
            // A comment, or how long to wait before a reconnect.
            _ => {}
        }
    }
    match (data, name) {
        (Some(frame), b"") => each(Event::Frame(frame)),
        (Some(_), b"expired") => each(Event::Expired),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] =
        b"retry: 500\n\ndata: {\"type\":\"reply\"}\n\n:\n\ndata:{\"type\":\"entry\",\"payload\":\"a: b\"}\n\nid: 1abc\n\n\
        event: other\ndata: {}\n\nevent: expired\ndata: {}\n\n";

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let (mut events, mut seen) = (Events::default(), Vec::new());
        for piece in pieces {
            let note = |event: Event<'_>| {
                seen.push(match event {
                    Event::Frame(frame) => String::from_utf8_lossy(frame).into_owned(),
                    Event::Id(id) => format!("id {}", String::from_utf8_lossy(id)),
                    Event::Expired => "expired".to_owned(),
                });
                Ok(())
            };
            events.push(piece, note).unwrap();
        }
        assert!(events.rest.is_empty());
        seen
    }

    #[test]
    fn tells_frames_and_ids_from_the_rest() {
        let seen = [r#"{"type":"reply"}"#, r#"{"type":"entry","payload":"a: b"}"#, "id 1abc", "expired"];
        assert_eq!(read(&[STREAM]), seen);
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let whole = read(&[STREAM]);
        for cut in 0..=STREAM.len() {
            assert_eq!(read(&[&STREAM[..cut], &STREAM[cut..]]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(read(&bytes), whole);
    }
}
