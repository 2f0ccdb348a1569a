//! A file goes out, piece by piece, for as long as somebody reads it.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use metrics::Counter;
use tokio::sync::mpsc;

use super::{DepotError, Refused, Uploads, depot::Pieces};
use crate::store::uploads::{self, Upload};

/// Pieces that wait for the reader.
const AHEAD: usize = 1;

/// The bytes of an upload, or of a part of it. Ends with an error if there are fewer than were promised, or the reader stopped reading:
/// then the connection is cut, and nobody takes a part for the whole.
#[derive(Debug)]
pub struct Outflow {
    pieces: mpsc::Receiver<Result<Bytes, DepotError>>,
    left: u64,
    sent: Counter,
}

impl Uploads {
    /// The bytes in `range`, which is within the upload.
    ///
    /// # Errors
    /// [`Refused::NotFound`] if it was deleted meanwhile, or the store's.
    pub async fn read(&self, upload: &Upload, range: Range<u64>) -> Result<Outflow, Refused> {
        let object = uploads::object(&self.db, &upload.sha256).await?.ok_or(Refused::NotFound)?;
        let left = range.end - range.start;
        let pieces = self.depot.read(&object, range).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        // A task of its own: it notices that nobody reads, and gives the file or the connection to the bucket back.
        self.tasks.spawn_until_stop(pump(pieces, sender, self.config.idle_timeout));
        Ok(Outflow { pieces: receiver, left, sent: self.metrics.download_bytes.clone() })
    }
}

async fn pump(mut pieces: Pieces, sender: mpsc::Sender<Result<Bytes, DepotError>>, idle: Duration) {
    while let Some(piece) = pieces.next().await {
        if let Err(error) = &piece {
            tracing::warn!(%error, "a download broke off");
        }
        if !matches!(tokio::time::timeout(idle, sender.send(piece)).await, Ok(Ok(()))) {
            return;
        }
    }
}

impl Stream for Outflow {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Ok(piece)) if piece.len() as u64 <= self.left => {
                self.left -= piece.len() as u64;
                self.sent.increment(piece.len() as u64);
                Some(Ok(piece))
            }
            None if self.left == 0 => None,
            Some(_) | None => Some(Err(Broken)),
        })
    }
}

/// The bytes ended before their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the download ended before it was whole")]
pub struct Broken;
