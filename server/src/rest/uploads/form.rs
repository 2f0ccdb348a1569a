//! A form with one file (RFC 7578), read as it comes. multer keeps what is before the file, and between it and the end, until it
//! understands it: [`Portion`] gives it no more than [`AROUND`] of each.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum::body::BodyDataStream;
use bytes::Bytes;
use futures_util::Stream;
use hubbub_protocol::ErrorCode;
use multer::{Field, Multipart};
use thiserror::Error;

use super::unreadable;
use crate::http::Problem;

/// Bytes that a form may have before the file, and again after it.
pub(super) const AROUND: usize = 16 << 10;

/// What the part with the file is named.
const NAME: &str = "file";

/// Why a form is refused. The message tells its sender what to do.
#[derive(Debug, Error)]
pub(super) enum FormError {
    #[error("the form cannot be read: {0}")]
    Malformed(#[source] multer::Error),
    #[error("the form has more than {AROUND} bytes before its file, or after it")]
    TooMuchAround,
    #[error("the form has no part: send the file as one")]
    Empty,
    #[error("the part with the file is named {NAME}: send it so")]
    Misnamed,
    #[error("the form has more than one part: send a file alone; name and channel go into the query")]
    TwoParts,
}

impl From<multer::Error> for FormError {
    fn from(error: multer::Error) -> Self {
        match error {
            multer::Error::StreamReadFailed(cause) if cause.is::<Spent>() => Self::TooMuchAround,
            error => Self::Malformed(error),
        }
    }
}

impl From<FormError> for Problem {
    fn from(error: FormError) -> Self {
        match error {
            FormError::TooMuchAround => Problem::new(ErrorCode::PayloadTooLarge, error.to_string()),
            _ => unreadable(&error.to_string()),
        }
    }
}

/// A form whose file comes. As a stream it is the bytes of the file; it ends well only if the form does, without another part.
pub(super) struct Form {
    parts: Multipart<'static>,
    file: Option<Field<'static>>,
    allowance: Arc<Allowance>,
    fault: Option<FormError>,
}

impl Form {
    /// Reads `body` up to the file, however long that takes.
    pub async fn open(kind: &str, body: BodyDataStream) -> Result<Self, FormError> {
        let allowance = Arc::new(Allowance(AtomicUsize::new(AROUND)));
        let portion = Portion { body, rest: Bytes::new(), allowance: allowance.clone(), has_given: false, was_spent: false };
        let mut parts = Multipart::new(portion, multer::parse_boundary(kind)?);
        let file = parts.next_field().await?.ok_or(FormError::Empty)?;
        if file.name() != Some(NAME) {
            return Err(FormError::Misnamed);
        }
        allowance.set(usize::MAX);
        Ok(Self { parts, file: Some(file), allowance, fault: None })
    }

    /// The media type that its sender says the file has.
    pub fn claimed(&self) -> Option<String> {
        self.file.as_ref()?.content_type().map(ToString::to_string)
    }

    /// What its sender calls the file.
    pub fn file_name(&self) -> Option<&str> {
        self.file.as_ref()?.file_name()
    }

    /// Why the stream ended with an error, if it did.
    pub fn into_fault(self) -> Option<FormError> {
        self.fault
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FormError>> {
        if let Some(file) = &mut self.file {
            if let Some(piece) = ready!(Pin::new(file).poll_next(cx)) {
                return Poll::Ready(Ok(Some(piece?)));
            }
            self.file = None;
            self.allowance.set(AROUND);
        }
        Poll::Ready(match ready!(self.parts.poll_next_field(cx))? {
            None => Ok(None),
            Some(_) => Err(FormError::TwoParts),
        })
    }
}

/// The form is not as it should be: it keeps why.
#[derive(Debug, Error)]
#[error("the form is refused")]
pub(super) struct Faulty;

impl Stream for Form {
    type Item = Result<Bytes, Faulty>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_piece(cx)).transpose().map(|piece| {
            piece.map_err(|fault| {
                self.fault = Some(fault);
                Faulty
            })
        }))
    }
}

/// How many more bytes multer may have.
struct Allowance(AtomicUsize);

impl Allowance {
    fn set(&self, bytes: usize) {
        self.0.store(bytes, Relaxed);
    }

    fn left(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// A body, a piece at a time, and no more of it than is allowed. multer takes whatever is there before it looks at any of it; so after
/// each piece there is nothing for a moment.
struct Portion {
    body: BodyDataStream,
    rest: Bytes,
    allowance: Arc<Allowance>,
    has_given: bool,
    was_spent: bool,
}

/// The allowance is used up, and what it is for has not come to its end.
#[derive(Debug, Error)]
#[error("the allowance is used up")]
struct Spent;

impl Stream for Portion {
    type Item = Result<Bytes, axum::BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if mem::take(&mut this.has_given) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(bytes)) => this.rest = bytes,
                other => return Poll::Ready(other.map(|piece| piece.map_err(Into::into))),
            }
        }
        let left = this.allowance.left();
        if left == 0 {
            // Where it looks for the first boundary it asks twice before it looks.
            if mem::replace(&mut this.was_spent, true) {
                return Poll::Ready(Some(Err(Spent.into())));
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = this.rest.split_to(left.min(this.rest.len()));
        if left != usize::MAX {
            this.allowance.set(left - piece.len());
        }
        (this.has_given, this.was_spent) = (true, false);
        Poll::Ready(Some(Ok(piece)))
    }
}
