//! Each frame, over a WebSocket with the caller's credentials.

use hubbub_protocol::{
    ClientFrame,
    frame::{Channels, ErrorBody, PresenceRequest, SubscribeChannel, Subscribed},
};

use super::{ask::Cell, cast::Cast};
use crate::support::{Peer, Transport, name};

impl Cell<'_> {
    /// Sends the frame.
    ///
    /// # Errors
    /// It was refused, or `connect` was.
    pub async fn by_socket(&self, cast: &Cast<'_>) -> Result<(), ErrorBody> {
        let caller = cast.caller(self.caller);
        let token = caller.token.as_deref().unwrap_or_default();
        let mut peer = cast.server.open_over(Transport::MSGPACK).await;
        peer.connect(token).await?;
        let channel = self.channel();
        match &*self.row.what {
            "connect" => Ok(()),
            "refresh" => peer.refresh(token).await.map(drop),
            "ping" => peer.request(|id| ClientFrame::Ping { id }).await.map(drop),
            "publish" => peer.publish_with(&channel, "1", None, None).await.map(drop),
            "history" => peer.history(&channel, None, None, None).await.map(drop),
            "presence" => {
                let ask = |id| ClientFrame::Presence(PresenceRequest { id, channel: name(&channel), after: None, limit: None });
                peer.request(ask).await.map(drop)
            }
            "subscribe" => subscribe(&mut peer, &channel, false).await,
            "subscribe+presence" => subscribe(&mut peer, &channel, true).await,
            "unsubscribe" => {
                subscribe(&mut peer, &channel, false).await?;
                let ask = |id| ClientFrame::Unsubscribe { id, channels: vec![channel.clone()] };
                let mut list: Channels<Subscribed> = peer.request(ask).await?.read().unwrap();
                list.channels.remove(0).error.map_or(Ok(()), Err)
            }
            other => panic!("nobody knows how to send a frame {other}"),
        }
    }
}

async fn subscribe(peer: &mut Peer, channel: &str, presence: bool) -> Result<(), ErrorBody> {
    let one = SubscribeChannel { channel: channel.to_owned(), presence, ..SubscribeChannel::default() };
    let mut list: Channels<Subscribed> = peer.request(|id| ClientFrame::Subscribe { id, channels: vec![one] }).await?.read().unwrap();
    list.channels.remove(0).error.map_or(Ok(()), Err)
}
