//! An object on its way in: small ones are put at once, larger ones in parts, of which two are on their way at most.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt, PutPayloadMut, WriteMultipart, path::Path};

use super::DepotError;

/// Parts that may be on their way.
const PARTS: usize = 1;

/// An object that is being written. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub(in crate::upload) struct Incoming {
    store: Arc<dyn ObjectStore>,
    object: String,
    part: usize,
    /// What came while it was less than a part.
    small: PutPayloadMut,
    parts: Option<WriteMultipart>,
}

impl Incoming {
    pub(super) fn new(store: Arc<dyn ObjectStore>, object: String, part: usize) -> Self {
        Self { store, object, part, small: PutPayloadMut::new(), parts: None }
    }

    /// Adds `bytes`, after there is room for them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), DepotError> {
        // Copied: a piece of a body may keep a much larger buffer.
        if self.parts.is_none() && self.small.content_length() + bytes.len() <= self.part {
            self.small.extend_from_slice(bytes);
            return Ok(());
        }
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let upload = self.store.put_multipart(&Path::from(self.object.as_str())).await?;
                let parts = self.parts.insert(WriteMultipart::new_with_chunk_size(upload, self.part));
                for piece in &std::mem::take(&mut self.small).freeze() {
                    parts.write(piece);
                }
                parts
            }
        };
        for piece in bytes.chunks(self.part) {
            parts.wait_for_capacity(PARTS).await?;
            parts.write(piece);
        }
        Ok(())
    }

    /// The object is there when this returns, durably.
    pub async fn finish(mut self) -> Result<(), DepotError> {
        match self.parts.take() {
            Some(parts) => parts.finish().await.map(drop)?,
            None => {
                let small = std::mem::take(&mut self.small).freeze();
                self.store.put(&Path::from(self.object.as_str()), small).await.map(drop)?;
            }
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Outside of a runtime a folder cleans up by itself, and a bucket by its lifecycle rule.
        if let Some(parts) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if let Err(error) = parts.abort().await {
                    tracing::debug!(%error, "an upload that was given up left parts behind");
                }
            });
        }
    }
}
