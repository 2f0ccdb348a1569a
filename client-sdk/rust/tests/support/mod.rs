//! A server that says what a test tells it to, on a real socket.

#![allow(dead_code, missing_docs, reason = "each test file uses a part of it")]

use std::{collections::VecDeque, future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt};
use hubbub_client::{
    Builder, ChannelName, Client, Connected, Cursor, Entry, Event, Format, Kind, Limits, Message, MessageId, Place, Published, Subscribed,
    Subscription,
    protocol::{
        ClientFrame, ClientFrames, ServerFrame, encode,
        frame::{Channels, Connect, Publish, RequestId, SubscribeChannel},
    },
};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        self,
        handshake::server::{Request, Response},
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::CloseFrame,
    },
};

/// The clock of every server here, in Unix milliseconds.
pub const NOW: u64 = 1_732_233_600_000;

/// Fails instead of hanging.
pub async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(5), what).await.expect("nothing happened for five seconds")
}

pub fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

pub fn message(payload: u8) -> Message {
    Message::new(channel("room:1"), vec![payload].into())
}

pub struct Server {
    listener: TcpListener,
    pub format: Format,
}

impl Server {
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), format: Format::Msgpack }
    }

    pub fn json(self) -> Self {
        Self { format: Format::Json, ..self }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// A client of this server that does not dawdle.
    pub fn client(&self) -> Builder {
        Client::builder(self.url()).format(self.format).backoff(Duration::from_millis(2), Duration::from_millis(10)).token("t0")
    }

    /// The next connection, upgraded.
    pub async fn accept(&self) -> Peer {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        let format = self.format;
        #[allow(clippy::result_large_err, reason = "the library's own signature")]
        let upgrade = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/v1/ws");
            assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], format.subprotocol());
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(format.subprotocol()));
            Ok(response)
        };
        let socket = soon(accept_hdr_async(stream, upgrade)).await.unwrap();
        Peer { socket, format, frames: VecDeque::new() }
    }

    /// The next connection, let in.
    pub async fn welcome(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome(&connected()).await;
        peer
    }
}

pub fn connected() -> Connected {
    Connected {
        session: "s".into(),
        user: "alice".into(),
        time: NOW,
        expires_at: NOW + 3_600_000,
        heartbeat: 25_000,
        grace: 10_000,
        limits: Limits { payload: 65_536, frame: 1 << 20, subscriptions: 512, dedup_window: 86_400_000 },
    }
}

/// One connection, from the server's end. Dropping it cuts it.
pub struct Peer {
    socket: WebSocketStream<TcpStream>,
    format: Format,
    frames: VecDeque<ClientFrame>,
}

impl Peer {
    /// The next frame; `None` after a Close frame with that code.
    pub async fn frame(&mut self) -> Result<ClientFrame, u16> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            let bytes = match soon(self.socket.next()).await.expect("the client hung up").unwrap() {
                tungstenite::Message::Binary(bytes) => bytes,
                tungstenite::Message::Text(text) => text.into(),
                tungstenite::Message::Close(frame) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                _ => continue,
            };
            self.frames.extend(ClientFrames::new(self.format, &bytes, usize::MAX).map(Result::unwrap));
        }
    }

    pub async fn welcome(&mut self, connected: &Connected) -> Connect {
        let frame = self.frame().await;
        let Ok(ClientFrame::Connect(connect)) = frame else { panic!("not connect: {frame:?}") };
        self.reply(connect.id, connected).await;
        connect
    }

    pub async fn subscribe(&mut self) -> (RequestId, Vec<SubscribeChannel>) {
        let frame = self.frame().await;
        let Ok(ClientFrame::Subscribe { id, channels }) = frame else { panic!("not subscribe: {frame:?}") };
        (id, channels)
    }

    pub async fn unsubscribe(&mut self) -> (RequestId, Vec<String>) {
        let frame = self.frame().await;
        let Ok(ClientFrame::Unsubscribe { id, channels }) = frame else { panic!("not unsubscribe: {frame:?}") };
        (id, channels)
    }

    pub async fn publish(&mut self) -> Publish {
        let frame = self.frame().await;
        let Ok(ClientFrame::Publish(publish)) = frame else { panic!("not publish: {frame:?}") };
        publish
    }

    /// Expects a subscribe of one channel, answers it, and returns its `since`.
    pub async fn accept_one(&mut self, answer: Subscribed) -> Option<Cursor> {
        let (id, channels) = self.subscribe().await;
        assert_eq!(channels.len(), 1, "{channels:?}");
        self.reply(id, &Channels { channels: vec![answer] }).await;
        channels[0].since
    }

    pub async fn published(&mut self, publish: &Publish) {
        let answer = Published { message_id: publish.message_id.unwrap(), epoch: Some(1), seq: Some(1), time: NOW, duplicate: false };
        self.reply(publish.id.unwrap(), &answer).await;
    }

    pub async fn reply<T: Serialize>(&mut self, id: RequestId, result: &T) {
        let mut bytes = Vec::new();
        encode::reply(self.format, id, result, &mut bytes);
        self.message(bytes).await;
    }

    pub async fn say(&mut self, frames: impl IntoIterator<Item = ServerFrame>) {
        let mut bytes = Vec::new();
        frames.into_iter().for_each(|frame| frame.encode(self.format, &mut bytes));
        self.message(bytes).await;
    }

    pub async fn entries(&mut self, seqs: impl IntoIterator<Item = u64>) {
        self.say(seqs.into_iter().map(|seq| ServerFrame::Entry(entry(seq)))).await;
    }

    pub async fn message(&mut self, bytes: Vec<u8>) {
        let message = match self.format {
            Format::Msgpack => tungstenite::Message::binary(bytes),
            Format::Json => tungstenite::Message::text(String::from_utf8(bytes).unwrap()),
        };
        soon(self.socket.send(message)).await.unwrap();
    }

    pub async fn close(mut self, code: u16) {
        soon(self.socket.close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await.unwrap();
        while let Some(Ok(_)) = soon(self.socket.next()).await {}
    }
}

pub fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: 1, seq }
}

pub fn durable(head: u64) -> Subscribed {
    Subscribed { channel: "room:1".into(), durable: true, head: Some(cursor(head)), ..Default::default() }
}

pub fn resumed(head: u64) -> Subscribed {
    Subscribed { recovered: Some(true), ..durable(head) }
}

pub fn entry(seq: u64) -> Entry {
    Entry {
        channel: channel("room:1"),
        place: Some(Place { epoch: 1, seq, ordinal: seq }),
        kind: Kind::Message,
        refers: None,
        message_id: Some(MessageId::new(NOW, [7; 10])),
        publisher: "bob".into(),
        key: None,
        time: NOW,
        payload: vec![0x01].into(),
    }
}

pub async fn event(subscription: &mut Subscription) -> Option<Event> {
    soon(subscription.next()).await
}

/// The next entries' seqs, `Subscribed` left out.
pub async fn seqs(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match event(subscription).await {
            Some(Event::Entry(entry)) => seqs.push(entry.place.unwrap().seq),
            Some(Event::Subscribed(_)) => {}
            other => panic!("not an entry: {other:?}"),
        }
    }
    seqs
}
