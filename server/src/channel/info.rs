//! What a channel is, for whoever may see its history or subscribe to it.

use hubbub_protocol::{ChannelName, Cursor};

use super::{Channels, Refused};
use crate::{
    auth::{Act, Identity},
    store::channels,
    telemetry::ReadKind,
};

/// A channel as one sees it from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    /// Its name.
    pub name: ChannelName,
    /// Whether its entries are stored.
    pub durable: bool,
    /// Connections of this instance that listen.
    pub subscribers: usize,
    /// Durable: the newest entry; `{0, 0}` before the first.
    pub head: Option<Cursor>,
    /// Durable: how many messages it has had.
    pub messages: Option<u64>,
    /// Durable: when the first entry came, in Unix milliseconds.
    pub created_at: Option<u64>,
    /// Durable: when the newest entry came.
    pub updated_at: Option<u64>,
}

impl Channels {
    /// What `channel` is.
    ///
    /// # Errors
    /// [`Refused::Forbidden`] without a grant to subscribe or to read history, [`Refused::NotFound`] if it is durable and nothing was
    /// ever published, [`Refused::Unavailable`].
    pub async fn info(&self, identity: &Identity, channel: &ChannelName) -> Result<ChannelInfo, Refused> {
        self.access.may(identity, Act::See, channel).await?;
        let subscribers = self.hub.subscribers(channel);
        let name = channel.clone();
        if !self.namespace(channel).is_durable() {
            return Ok(ChannelInfo { name, durable: false, subscribers, head: None, messages: None, created_at: None, updated_at: None });
        }
        self.metrics.store_reads.of(ReadKind::Head).increment(1);
        let info = channels::info(&self.db, channel).await.map_err(|_| Refused::Unavailable)?.ok_or(Refused::NotFound)?;
        Ok(ChannelInfo {
            name,
            durable: true,
            subscribers,
            head: Some(info.head.cursor()),
            messages: Some(info.head.ordinal()),
            created_at: Some(info.created_at),
            updated_at: Some(info.updated_at),
        })
    }
}
