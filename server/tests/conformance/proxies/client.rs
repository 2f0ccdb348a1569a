//! A client that does what an SDK does: connects again, resumes, and publishes again with the same message id.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_protocol::{
    ClientFrame, Cursor, Entry, MessageId, ServerFrame,
    frame::{Channels, SubscribeChannel, Subscribed},
};

use crate::support::{Doors, PATIENCE, Peer, Transport, publish};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// One that does not give up until a test has run out of patience.
pub struct Resuming {
    doors: Doors,
    transport: Transport,
    token: String,
    peer: Option<Peer>,
    cursor: Cursor,
    connections: usize,
}

impl Resuming {
    pub fn new(doors: Doors, transport: Transport, token: String) -> Self {
        Self { doors, transport, token, peer: None, cursor: Cursor::default(), connections: 0 }
    }

    /// How often it has connected.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// The next entry of a channel, from the first on.
    pub async fn entry(&mut self, channel: &str) -> Entry {
        let next = async {
            loop {
                if self.peer.is_none() {
                    self.subscribe(channel).await;
                }
                let peer = self.peer.as_mut().expect("it has just subscribed");
                match peer.step().await {
                    Ok(ServerFrame::Entry(entry)) => {
                        let cursor = entry.cursor().expect("it is durable");
                        assert_eq!(cursor.seq, self.cursor.seq + 1, "{:?}: neither lost nor doubled", self.transport);
                        self.cursor = cursor;
                        return entry;
                    }
                    Ok(ServerFrame::Unsubscribed { error, .. }) => panic!("{error:?}"),
                    Ok(_) => {}
                    Err(_) => self.peer = None,
                }
            }
        };
        tokio::time::timeout(2 * PATIENCE, next).await.expect("nothing came")
    }

    /// Publishes once, however often it has to be sent.
    pub async fn publish(&mut self, channel: &str, payload: impl Into<serde_json::Value>) {
        let payload = payload.into().to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let id = MessageId::new(now, rand::random());
        let publish = async {
            while !self.published(channel, &payload, id).await {
                self.peer = None;
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(2 * PATIENCE, publish).await.expect("it was never acknowledged");
    }

    /// Whether it was acknowledged.
    async fn published(&mut self, channel: &str, payload: &str, message_id: MessageId) -> bool {
        if self.peer.is_none() {
            self.connect(Vec::new()).await;
        }
        let peer = self.peer.as_mut().expect("it has just connected");
        let id = peer.next_id();
        if peer.try_send(&[publish(Some(id), channel, payload, Some(message_id), None)]).await.is_err() {
            return false;
        }
        loop {
            match peer.step().await {
                Ok(ServerFrame::Reply { id: of, .. }) if of == id => return true,
                Ok(ServerFrame::Error { id: Some(of), error }) if of == id => {
                    assert!(["unknown", "unavailable", "overloaded", "draining"].contains(&error.code.as_str()), "{error:?}");
                    return false;
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    async fn subscribe(&mut self, channel: &str) {
        let one = SubscribeChannel { channel: channel.to_owned(), since: Some(self.cursor), ..SubscribeChannel::default() };
        loop {
            self.connect(vec![one.clone()]).await;
            let peer = self.peer.as_mut().expect("it has just connected");
            while let Ok(frame) = peer.step().await {
                if let ServerFrame::Reply { result, .. } = frame {
                    // `connect`'s comes first.
                    let Some(Channels { channels }) = result.read::<Channels<Subscribed>>() else { continue };
                    assert_eq!((channels[0].recovered, channels[0].reason), (Some(true), None), "{:?}", channels[0]);
                    return;
                }
            }
        }
    }

    /// Connects, and subscribes in the same message.
    async fn connect(&mut self, channels: Vec<SubscribeChannel>) {
        loop {
            if let Ok(mut peer) = Peer::try_open(&self.doors, self.transport).await {
                let mut frames = vec![peer.connecting(&self.token)];
                if !channels.is_empty() {
                    frames.push(ClientFrame::Subscribe { id: peer.next_id(), channels: channels.clone() });
                }
                if peer.try_send(&frames).await.is_ok() {
                    self.connections += 1;
                    self.peer = Some(peer);
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
