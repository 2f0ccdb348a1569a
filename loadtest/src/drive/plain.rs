//! One connection over plain HTTP, as PROTOCOL.md section 9 has it: what it asks, and what it makes of the answers. It owns no socket; one
//! connection serves for everything, and is kept.

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Role,
    events::{Event, Events},
    http::{self, Body},
    transport::Transport,
};

/// What the bytes of an answer came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A frame.
    Frame(&'a [u8]),
    /// An event's id.
    Id,
    /// This is to be sent now.
    Ask(Vec<u8>),
    /// The stream is over.
    End,
}

/// One client.
#[derive(Debug)]
pub struct Plain {
    transport: Transport,
    /// Who asks.
    token: String,
    stage: Stage,
    events: Events,
}

#[derive(Debug)]
enum Stage {
    /// Awaits its ticket.
    Ticket,
    /// Awaits the head of its stream.
    Stream,
    /// Reads its stream.
    Chunks,
    /// Awaits its first batch, which names the session.
    Session,
    /// Awaits the next batch of this session.
    Batch(String),
}

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

#[derive(Deserialize)]
struct Batch<'a> {
    batch: u64,
    #[serde(borrow)]
    frames: Vec<&'a RawValue>,
}

/// `connect`'s reply, of which only this is wanted.
#[derive(Deserialize)]
struct Connected {
    result: Session,
}

#[derive(Deserialize)]
struct Session {
    session: String,
}

impl Plain {
    /// A client with this role over `transport`, and what it asks first. `frames` are what it would say first over a socket.
    ///
    /// # Errors
    /// `transport` is a WebSocket.
    pub fn new(transport: Transport, token: &str, role: &Role, frames: &[u8]) -> Result<(Self, Vec<u8>)> {
        let (stage, request) = match transport {
            Transport::Websocket => bail!("a WebSocket is not plain HTTP"),
            Transport::Sse => (Stage::Stream, http::request("POST", "/v1/sse", Some(token), frames)),
            Transport::Eventsource => (
                Stage::Ticket,
                http::request("POST", "/v1/tickets", Some(token), json!({"channels": role.wanted()}).to_string().as_bytes()),
            ),
            Transport::Polling => (Stage::Session, http::request("POST", "/v1/poll", Some(token), frames)),
        };
        Ok((Self { transport, token: token.to_owned(), stage, events: Events::default() }, request))
    }

    /// What it runs over.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Reads each whole answer, and each whole chunk of a stream, in `input`; `each` gets what they say. Returns how many bytes they were.
    ///
    /// # Errors
    /// The server refuses, or does not speak HTTP; those of `each`.
    pub fn consume(&mut self, input: &[u8], mut each: impl FnMut(Said<'_>) -> Result<()>) -> Result<usize> {
        let mut at = 0;
        loop {
            let read = match self.stage {
                Stage::Chunks => self.chunk(&input[at..], &mut each)?,
                _ => self.answer(&input[at..], &mut each)?,
            };
            if read == 0 {
                return Ok(at);
            }
            at += read;
        }
    }

    fn chunk(&mut self, input: &[u8], each: &mut impl FnMut(Said<'_>) -> Result<()>) -> Result<usize> {
        let Some(chunk) = http::chunk(input)? else { return Ok(0) };
        if chunk.data.is_empty() {
            each(Said::End)?;
        }
        self.events.push(chunk.data, |event| match event {
            Event::Frame(frame) => each(Said::Frame(frame)),
            Event::Id(_) => each(Said::Id),
            Event::Expired => each(Said::End),
        })?;
        Ok(chunk.length)
    }

    fn answer(&mut self, input: &[u8], each: &mut impl FnMut(Said<'_>) -> Result<()>) -> Result<usize> {
        let Some(head) = http::head(input)? else { return Ok(0) };
        let length = match head.body {
            Body::Length(length) => length,
            Body::Chunks if head.status == 200 && matches!(self.stage, Stage::Stream) => {
                self.stage = Stage::Chunks;
                return Ok(head.length);
            }
            Body::Chunks => bail!("an answer in chunks with status {} where none was expected", head.status),
        };
        let Some(body) = input.get(head.length..head.length + length) else { return Ok(0) };
        ensure!(matches!(head.status, 200 | 201), "a request was refused with {}: {}", head.status, String::from_utf8_lossy(body));
        match &mut self.stage {
            Stage::Ticket => {
                let Ticket { ticket } = serde_json::from_slice(body).context("the answer is no ticket")?;
                self.stage = Stage::Stream;
                each(Said::Ask(http::request("GET", &format!("/v1/sse?ticket={ticket}"), None, b"")))?;
            }
            Stage::Stream | Stage::Chunks => bail!("the answer is no stream: {}", String::from_utf8_lossy(body)),
            Stage::Session | Stage::Batch(_) => self.batch(body, each)?,
        }
        Ok(head.length + length)
    }

    /// Asks for the next batch first: the server may be as busy as it likes while this one is read.
    fn batch(&mut self, body: &[u8], each: &mut impl FnMut(Said<'_>) -> Result<()>) -> Result<()> {
        let Batch { batch, frames } = serde_json::from_slice(body).context("the answer is no batch")?;
        if let Stage::Session = self.stage {
            let first = frames.first().context("the first batch is empty")?;
            let connected: Connected = serde_json::from_str(first.get()).with_context(|| format!("not connected: {first}"))?;
            self.stage = Stage::Batch(connected.result.session);
        }
        if let Stage::Batch(session) = &self.stage {
            each(Said::Ask(http::request("GET", &format!("/v1/poll/{session}?ack={batch}"), Some(&self.token), b"")))?;
        }
        frames.iter().try_for_each(|frame| each(Said::Frame(frame.get().as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"type":"entry","channel":"live:x","payload":1}"#;
    const CONNECTED: &str = r#"{"type":"reply","id":1,"result":{"session":"a.b"}}"#;

    fn client(transport: Transport) -> (Plain, String) {
        let (plain, request) = Plain::new(transport, "t", &Role::Member("live:x".into()), b"{}").unwrap();
        (plain, String::from_utf8(request).unwrap())
    }

    fn known(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// What `plain` makes of `pieces`, kept as a connection keeps them.
    fn hear(mut plain: Plain, pieces: &[&[u8]]) -> Result<Vec<String>> {
        let (mut rest, mut said) = (Vec::new(), Vec::new());
        for piece in pieces {
            rest.extend_from_slice(piece);
            let read = plain.consume(&rest, |heard| {
                said.push(match heard {
                    Said::Frame(frame) => String::from_utf8_lossy(frame).into_owned(),
                    Said::Id => "id".to_owned(),
                    Said::Ask(request) => String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned(),
                    Said::End => "end".to_owned(),
                });
                Ok(())
            })?;
            rest.drain(..read);
        }
        Ok(said)
    }

    fn cut_anywhere(transport: Transport, answers: &str, said: &[&str]) {
        let bytes = answers.as_bytes();
        for cut in 0..=bytes.len() {
            let heard = hear(client(transport).0, &[&bytes[..cut], &bytes[cut..]]).unwrap();
            assert_eq!(heard, said, "{transport} cut at {cut}");
        }
        let bytes: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(hear(client(transport).0, &bytes).unwrap(), said, "{transport} byte by byte");
    }

    /// A stream whose second event lies in two chunks.
    fn stream() -> String {
        let (first, second) = ENTRY.split_at(10);
        let chunks = [format!("retry: 1\n\ndata: {CONNECTED}\n\ndata: {first}"), format!("{second}\n\nid: 1x\n\n"), String::new()];
        let chunks: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    }

    #[test]
    fn a_stream_is_opened_with_the_first_frames() {
        assert!(client(Transport::Sse).1.starts_with("POST /v1/sse HTTP/1.1\r\n"));
        cut_anywhere(Transport::Sse, &stream(), &[CONNECTED, ENTRY, "id", "end"]);
    }

    #[test]
    fn an_event_source_gets_a_ticket_first() {
        let (_, request) = client(Transport::Eventsource);
        assert!(request.starts_with("POST /v1/tickets HTTP/1.1\r\n") && request.contains(r#""channel":"live:x""#), "{request}");
        let answers = known("201 Created", r#"{"ticket":"abc","expires_at":1}"#) + &stream();
        cut_anywhere(Transport::Eventsource, &answers, &["GET /v1/sse?ticket=abc HTTP/1.1", CONNECTED, ENTRY, "id", "end"]);
    }

    #[test]
    fn each_poll_acknowledges_the_batch_before() {
        assert!(client(Transport::Polling).1.starts_with("POST /v1/poll HTTP/1.1\r\n"));
        let batch = |number: u64, frames: &[&str]| known("200 OK", &format!(r#"{{"batch":{number},"frames":[{}]}}"#, frames.join(",")));
        let answers = batch(1, &[CONNECTED]) + &batch(2, &[ENTRY, ENTRY]) + &batch(2, &[]);
        let poll = |number: u64| format!("GET /v1/poll/a.b?ack={number} HTTP/1.1");
        cut_anywhere(Transport::Polling, &answers, &[&poll(1), CONNECTED, &poll(2), ENTRY, ENTRY, &poll(2)]);
    }

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        for transport in [Transport::Sse, Transport::Eventsource, Transport::Polling] {
            let error = hear(client(transport).0, &[known("403 Forbidden", "not you").as_bytes()]).unwrap_err();
            assert!(error.to_string().contains("403: not you"), "{error}");
        }
    }
}
