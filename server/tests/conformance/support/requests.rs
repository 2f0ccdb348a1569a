//! What a peer asks for.

use hubbub_protocol::{
    ClientFrame, Cursor, MessageId,
    frame::{
        Auto, Channels, Connect, Connected, ErrorBody, History, HistoryPage, Published, Refreshed, Slow, SubscribeChannel, Subscribed,
    },
};

use super::{Peer, name, publish};

impl Peer {
    /// `connect`, as it is sent over this transport.
    pub fn connecting(&mut self, token: &str) -> ClientFrame {
        let (id, token) = (self.next_id(), self.line.identify(token));
        ClientFrame::Connect(Connect { id, token, client: Some("test".to_owned()), auto: None })
    }

    pub async fn connect(&mut self, token: &str) -> Result<Connected, ErrorBody> {
        let connect = self.connecting(token);
        self.try_send(&[connect]).await?;
        Ok(self.answer(self.id).await?.read().unwrap())
    }

    /// The same, and the server begins subscriptions.
    pub async fn connect_auto(&mut self, token: &str, auto: Auto) -> Result<Connected, ErrorBody> {
        let connect = match self.connecting(token) {
            ClientFrame::Connect(connect) => ClientFrame::Connect(Connect { auto: Some(auto), ..connect }),
            other => other,
        };
        self.try_send(&[connect]).await?;
        Ok(self.answer(self.id).await?.read().unwrap())
    }

    /// A new token, good from now on for what goes up, too.
    pub async fn refresh(&mut self, token: &str) -> Result<Refreshed, ErrorBody> {
        let refreshed = self.request(|id| ClientFrame::Refresh { id, token: token.to_owned() }).await?;
        self.present(token);
        Ok(refreshed.read().unwrap())
    }

    /// Over HTTP, what goes up and what is polled carries this token from now on.
    pub fn present(&mut self, token: &str) {
        self.line.identify(token);
    }

    pub async fn subscribe(&mut self, channel: &str) -> Subscribed {
        self.subscribe_with(channel, None, None).await.unwrap()
    }

    pub async fn subscribe_with(&mut self, channel: &str, since: Option<Cursor>, slow: Option<Slow>) -> Result<Subscribed, ErrorBody> {
        let one = SubscribeChannel { channel: channel.to_owned(), since, slow, ..SubscribeChannel::default() };
        let result = self.request(|id| ClientFrame::Subscribe { id, channels: vec![one] }).await?;
        let mut list: Channels<Subscribed> = result.read().unwrap();
        let subscribed = list.channels.remove(0);
        assert_eq!(subscribed.channel, channel);
        subscribed.error.clone().map_or(Ok(subscribed), Err)
    }

    pub async fn unsubscribe(&mut self, channel: &str) {
        self.request(|id| ClientFrame::Unsubscribe { id, channels: vec![channel.to_owned()] }).await.unwrap();
    }

    pub async fn publish(&mut self, channel: &str, payload: &str) -> Published {
        self.publish_with(channel, payload, None, None).await.unwrap()
    }

    pub async fn publish_with(
        &mut self,
        channel: &str,
        payload: &str,
        message_id: Option<MessageId>,
        key: Option<&str>,
    ) -> Result<Published, ErrorBody> {
        let frame = |id| publish(Some(id), channel, payload, message_id, key);
        Ok(self.request(frame).await?.read().unwrap())
    }

    /// Publishes `0, 1, 2 …` and waits for all answers.
    pub async fn publish_many(&mut self, channel: &str, count: u32) {
        for chunk in (0..count).collect::<Vec<_>>().chunks(100) {
            let first = self.id + 1;
            let frames: Vec<_> = chunk.iter().map(|n| publish(Some(self.next_id()), channel, &n.to_string(), None, None)).collect();
            self.send(&frames).await;
            for id in first..=self.id {
                self.answer(id).await.unwrap();
            }
        }
    }

    pub async fn history(
        &mut self,
        channel: &str,
        after: Option<u64>,
        before: Option<u64>,
        limit: Option<u32>,
    ) -> Result<HistoryPage, ErrorBody> {
        let frame = |id| ClientFrame::History(History { id, channel: name(channel), after, before, limit });
        Ok(self.request(frame).await?.history().unwrap())
    }

    pub async fn ping(&mut self) {
        self.request(|id| ClientFrame::Ping { id }).await.unwrap();
    }
}
