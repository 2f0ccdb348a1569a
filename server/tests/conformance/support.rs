//! A server of its own for each test, on port 0 and a fresh database, and a peer that speaks frames and nothing else.

mod ground;
mod postgres;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use hubbub_protocol::{
    ChannelName, ClientFrame, Cursor, Entry, ErrorCode, Format, Key, MessageId, ServerFrame, ServerFrames,
    frame::{
        Channels, Connect, Connected, Disconnect, ErrorBody, History, HistoryPage, Publish, Published, RawResult, Skip, Slow,
        SubscribeChannel, Subscribed,
    },
    msgpack_payload,
};
use hubbub_server::{
    app::{App, Notice, TakeOver},
    auth::{Action, Claims, Grant, mint},
    config::{BrokerKind, Config, Sources},
    world::{Clock, World},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};

pub use ground::Ground;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Signs the tokens of every test.
pub const SECRET: &str = "a secret of at least thirty-two bytes, for tests";

/// A broker and a store.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    broker: BrokerKind,
    store: Store,
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Sqlite,
    Postgres,
}

impl Pair {
    pub const LOCAL_SQLITE: Pair = Pair { broker: BrokerKind::Local, store: Store::Sqlite };
    pub const LOCAL_POSTGRES: Pair = Pair { broker: BrokerKind::Local, store: Store::Postgres };
    pub const NATS_SQLITE: Pair = Pair { broker: BrokerKind::Nats, store: Store::Sqlite };
    pub const NATS_POSTGRES: Pair = Pair { broker: BrokerKind::Nats, store: Store::Postgres };

    /// An instance with the defaults.
    pub async fn server(self) -> Server {
        self.server_with(&[]).await
    }

    /// An instance with some keys set.
    pub async fn server_with(self, settings: &[&str]) -> Server {
        Server::start(Ground::new(self).await, settings, World::system()).await
    }

    /// An instance whose clock the test moves, in Unix milliseconds.
    pub async fn server_at(self, clock: &Arc<AtomicU64>, settings: &[&str]) -> Server {
        let world = World { clock: Clock::Manual(clock.clone()), ..World::system() };
        Server::start(Ground::new(self).await, settings, world).await
    }

    /// Several instances that are one cluster.
    pub async fn fleet<const N: usize>(self) -> [Server; N] {
        self.fleet_with(&[]).await
    }

    /// Several instances that are one cluster, with some keys set.
    pub async fn fleet_with<const N: usize>(self, settings: &[&str]) -> [Server; N] {
        let ground = Ground::new(self).await;
        let mut fleet = Vec::with_capacity(N);
        for _ in 0..N {
            fleet.push(Server::start(ground.clone(), settings, World::system()).await);
        }
        fleet.try_into().unwrap_or_else(|_| unreachable!("there are {N}"))
    }
}

/// A running instance.
pub struct Server {
    pub app: App,
    ground: Arc<Ground>,
    world: World,
    settings: Vec<String>,
}

impl Server {
    async fn start(ground: Arc<Ground>, settings: &[&str], world: World) -> Self {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let app = App::start(config(&ground, &settings), world.clone(), TakeOver::Refuse).await.unwrap();
        Self { app, ground, world, settings }
    }

    pub fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// What it stands on.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    pub fn config(&self) -> Config {
        config(&self.ground, &self.settings)
    }

    pub fn now(&self) -> u64 {
        self.world.clock.now()
    }

    /// Stops in peace, and starts again on the same ground.
    pub async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// Stops in peace, lets the test do something meanwhile, and starts again on the same ground.
    pub async fn restart_after(self, meanwhile: impl FnOnce(&Ground)) -> Self {
        let Self { app, ground, world, settings } = self;
        app.shut_down(Notice::None).await;
        meanwhile(&ground);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Self::start(ground, &settings, world).await
    }

    /// A token for `user` with every grant, good for an hour.
    pub fn token(&self, user: &str) -> String {
        self.token_for(user, 3_600, &[("*", &Action::ALL)])
    }

    pub fn token_for(&self, user: &str, seconds: i64, grants: &[(&str, &[Action])]) -> String {
        let now = (self.now() / 1_000) as i64;
        let grants =
            grants.iter().map(|(pattern, actions)| Grant { channels: vec![(*pattern).to_owned()], actions: actions.to_vec() }).collect();
        let claims = Claims {
            sub: user.to_owned(),
            iat: now as u64,
            exp: (now + seconds) as u64,
            aud: Some("hubbub".to_owned()),
            iss: None,
            grants,
        };
        mint(SECRET.as_bytes(), &claims).unwrap()
    }

    /// Somebody who speaks MessagePack.
    pub async fn peer(&self, user: &str) -> Peer {
        self.peer_in(Format::Msgpack, user).await
    }

    pub async fn peer_in(&self, format: Format, user: &str) -> Peer {
        let mut peer = Peer::open(self.address(), format).await;
        peer.connect(&self.token(user)).await.unwrap();
        peer
    }

    /// Waits until whatever feeds there are know that they miss nothing: a look at the store that began after now has passed. Where nobody
    /// else can write they always know.
    pub async fn verified(&self) {
        if self.ground.is_alone() {
            return;
        }
        let looks = || self.metric("hubbub_looks_total{result=\"done\"}");
        let now = looks();
        eventually("the store is looked at", || looks() >= now + 2.0).await;
    }

    /// What `/metrics` says of `name`, labels and all.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.app.metrics().render();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
    }
}

fn config(ground: &Ground, settings: &[String]) -> Config {
    let mut arguments = vec!["http.listen=127.0.0.1:0".to_owned(), format!("auth.secret={SECRET}"), "drain.notice=100ms".to_owned()];
    arguments.extend(ground.settings());
    arguments.extend(settings.iter().cloned());
    Config::load(&Sources { arguments, ..Sources::default() }).unwrap()
}

pub fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

pub fn json(entry: &Entry) -> serde_json::Value {
    serde_json::from_slice(&hubbub_protocol::json_payload(&entry.payload).unwrap()).unwrap()
}

pub fn seq(entry: &Entry) -> u64 {
    entry.place.unwrap().seq
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// One connection, frame by frame.
pub struct Peer {
    pub socket: WebSocketStream<TcpStream>,
    format: Format,
    id: u32,
    inbox: VecDeque<ServerFrame>,
}

impl Peer {
    /// An open socket that has said nothing.
    pub async fn open(address: SocketAddr, format: Format) -> Self {
        Self::open_with(address, format, TcpSocket::new_v4().unwrap(), None).await.unwrap()
    }

    /// The same over a socket of the test's own making, and with a token in the upgrade.
    pub async fn open_with(
        address: SocketAddr,
        format: Format,
        socket: TcpSocket,
        token: Option<&str>,
    ) -> Result<Self, tungstenite::Error> {
        let stream = socket.connect(address).await?;
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", format.subprotocol().parse().unwrap());
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { socket, format, id: 0, inbox: VecDeque::new() })
    }

    pub async fn send(&mut self, frames: &[ClientFrame]) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(self.format, &mut bytes));
        self.send_bytes(bytes).await;
    }

    pub async fn send_bytes(&mut self, bytes: Vec<u8>) {
        let message = match self.format {
            Format::Msgpack => Message::Binary(bytes.into()),
            Format::Json => Message::Text(String::from_utf8(bytes).unwrap().into()),
        };
        self.socket.send(message).await.unwrap();
    }

    pub fn next_id(&mut self) -> u32 {
        self.id += 1;
        self.id
    }

    /// The next frame; `None` when the connection has been closed, with the code if there was one.
    pub async fn step(&mut self) -> Result<ServerFrame, Option<u16>> {
        loop {
            if let Some(frame) = self.inbox.pop_front() {
                return Ok(frame);
            }
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
            let bytes = match message {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => bytes::Bytes::from(text),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return Err(None),
            };
            self.inbox.extend(ServerFrames::new(self.format, &bytes).map(|frame| frame.unwrap()));
        }
    }

    /// The next frame but for heartbeats.
    pub async fn next(&mut self) -> ServerFrame {
        loop {
            match self.step().await {
                Ok(ServerFrame::Heads { .. }) => {}
                Ok(frame) => return frame,
                Err(code) => panic!("closed with {code:?}"),
            }
        }
    }

    pub async fn entry(&mut self) -> Entry {
        match self.next().await {
            ServerFrame::Entry(entry) => entry,
            other => panic!("not an entry: {other:?}"),
        }
    }

    pub async fn skip(&mut self) -> Skip {
        match self.next().await {
            ServerFrame::Skip(skip) => skip,
            other => panic!("not a skip: {other:?}"),
        }
    }

    /// Reads to the end: the last `disconnect` and the close code.
    pub async fn closed(&mut self) -> (Option<Disconnect>, Option<u16>) {
        let mut disconnect = None;
        loop {
            match self.step().await {
                Ok(ServerFrame::Disconnect(last)) => disconnect = Some(last),
                Ok(_) => {}
                Err(code) => return (disconnect, code),
            }
        }
    }

    /// The answer to request `id`; other frames wait.
    pub async fn answer(&mut self, id: u32) -> Result<RawResult, ErrorBody> {
        let mut others = VecDeque::new();
        let answer = loop {
            match self.next().await {
                ServerFrame::Reply { id: of, result } if of == id => break Ok(result),
                ServerFrame::Error { id: Some(of), error } if of == id => break Err(error),
                other => others.push_back(other),
            }
        };
        others.append(&mut self.inbox);
        self.inbox = others;
        answer
    }

    /// Sends one frame made for the next id, and waits for its answer.
    pub async fn request(&mut self, make: impl FnOnce(u32) -> ClientFrame) -> Result<RawResult, ErrorBody> {
        let id = self.next_id();
        self.send(&[make(id)]).await;
        self.answer(id).await
    }

    pub async fn connect(&mut self, token: &str) -> Result<Connected, ErrorBody> {
        let connect = |id| ClientFrame::Connect(Connect { id, token: Some(token.to_owned()), client: None });
        Ok(self.request(connect).await?.read().unwrap())
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
}

pub fn publish(id: Option<u32>, channel: &str, payload: &str, message_id: Option<MessageId>, key: Option<&str>) -> ClientFrame {
    ClientFrame::Publish(Publish {
        id,
        channel: name(channel),
        message_id,
        key: key.map(|key| Key::parse(key).unwrap()),
        payload: msgpack_payload(payload).unwrap().into(),
    })
}

pub fn message_id(unix_ms: u64, n: u8) -> MessageId {
    MessageId::new(unix_ms, [n; 10])
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, ErrorBody>, code: ErrorCode) {
    let error = result.expect_err("it was not refused");
    assert_eq!(error.code, code.as_str());
    assert_eq!(error.retry, code.retry());
    assert!(!error.message.is_empty());
}

/// Moves a manual clock.
pub fn advance(clock: &AtomicU64, ms: u64) {
    clock.fetch_add(ms, Relaxed);
}

/// A manual clock that begins now.
pub fn clock() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(Clock::System.now()))
}
