//! Bytes to frames: one builder over both codecs.
//!
//! A message is cut into frames and each frame into raw fields by name; only then is each field that the frame's type
//! wants read. So an unknown field costs a scan, an unknown type still tells its request's id, and a payload is never built.

mod client;
mod codec;
mod reader;
mod server;

use thiserror::Error;

use crate::{
    CloseCode, ErrorCode, Format,
    frame::{ClientFrame, RequestId, ServerFrame},
    json::{self, Json},
    limits,
    msgpack::Msgpack,
};

pub(crate) use codec::{Codec, Fields, Frame, NotItems, Scan};

/// Why a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// This frame is refused; the next one is read as if nothing had happened.
    #[error("{}: {detail}", .code.as_str())]
    Frame {
        /// The request, if the frame told; answer it.
        id: Option<RequestId>,
        /// Why.
        code: ErrorCode,
        /// For people.
        detail: &'static str,
    },
    /// Nothing after this can be read: close the connection.
    #[error("{}", .0.reason())]
    Fatal(CloseCode),
}

/// What is left of a message.
enum Rest<'a> {
    Msgpack(&'a [u8]),
    Json(&'a str),
    /// The message as a whole cannot be read.
    Refused(CloseCode),
    Done,
}

impl<'a> Rest<'a> {
    fn new(format: Format, message: &'a [u8]) -> Self {
        match format {
            Format::Msgpack => Rest::Msgpack(message),
            Format::Json => json::check(message).map_or_else(Rest::Refused, Rest::Json),
        }
    }

    /// Whether no further frame follows.
    fn is_empty(&self) -> bool {
        match self {
            Rest::Msgpack(input) => input.is_empty(),
            Rest::Json(input) => json::skip_space(input).is_empty(),
            Rest::Refused(_) => false,
            Rest::Done => true,
        }
    }

    /// Hands `step` on; nothing is read after the end or a fatal error.
    fn settle<T>(&mut self, step: Result<Option<T>, DecodeError>) -> Option<Result<T, DecodeError>> {
        if matches!(step, Ok(None) | Err(DecodeError::Fatal(_))) {
            *self = Rest::Done;
        }
        step.transpose()
    }
}

/// The frames of one message from a client. Ends after the first fatal error.
pub struct ClientFrames<'a> {
    rest: Rest<'a>,
    max_payload: usize,
    count: usize,
}

impl<'a> ClientFrames<'a> {
    /// Reads `message`; payloads of more than `max_payload` bytes (in MessagePack) are refused.
    pub fn new(format: Format, message: &'a [u8], max_payload: usize) -> Self {
        Self { rest: Rest::new(format, message), max_payload, count: 0 }
    }

    fn step(&mut self) -> Result<Option<ClientFrame>, DecodeError> {
        if self.count == limits::MAX_FRAMES && !self.rest.is_empty() {
            return Err(DecodeError::Fatal(CloseCode::TooManyFrames));
        }
        self.count += 1;
        match &mut self.rest {
            Rest::Msgpack(input) => client::frame::<Msgpack>(input, self.max_payload),
            Rest::Json(input) => client::frame::<Json>(input, self.max_payload),
            Rest::Refused(code) => Err(DecodeError::Fatal(*code)),
            Rest::Done => Ok(None),
        }
    }
}

impl Iterator for ClientFrames<'_> {
    type Item = Result<ClientFrame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        self.rest.settle(step)
    }
}

/// The frames of one message from a server, however many. Ends after the first fatal error.
pub struct ServerFrames<'a> {
    rest: Rest<'a>,
}

impl<'a> ServerFrames<'a> {
    /// Reads `message`.
    pub fn new(format: Format, message: &'a [u8]) -> Self {
        Self { rest: Rest::new(format, message) }
    }

    fn step(&mut self) -> Result<Option<ServerFrame>, DecodeError> {
        match &mut self.rest {
            Rest::Msgpack(input) => server::frame::<Msgpack>(Format::Msgpack, input),
            Rest::Json(input) => server::frame::<Json>(Format::Json, input),
            Rest::Refused(code) => Err(DecodeError::Fatal(*code)),
            Rest::Done => Ok(None),
        }
    }
}

impl Iterator for ServerFrames<'_> {
    type Item = Result<ServerFrame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        self.rest.settle(step)
    }
}
