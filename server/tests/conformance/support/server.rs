//! A running instance, as a test sees it.

use std::{net::SocketAddr, sync::Arc};

use hubbub_protocol::Format;
use hubbub_server::{
    app::{App, Notice, TakeOver},
    auth::{Action, Claims, Grant, mint},
    config::{Config, Sources},
    world::World,
};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite;

use super::{Doors, Ground, Peer, SECRET, Transport, eventually, line::Socket};

/// A running instance.
pub struct Server {
    pub app: App,
    ground: Arc<Ground>,
    world: World,
    settings: Vec<String>,
    transport: Transport,
    /// An instance beside it, for POSTs and polls, and for whom a proxy sends there.
    other: Option<App>,
}

impl Server {
    pub(super) async fn start(ground: Arc<Ground>, transport: Transport, settings: &[&str], world: World) -> Self {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let app = App::start(config(&ground, &settings), world.clone(), TakeOver::Refuse).await.unwrap();
        ground.open_door(app.address());
        Self { app, ground, world, settings, transport, other: None }
    }

    pub(super) async fn with_another(self) -> Self {
        let other = App::start(self.config(), self.world.clone(), TakeOver::Refuse).await.unwrap();
        self.ground.open_door(other.address());
        Self { other: Some(other), ..self }
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

    /// The same, giving notice first as a load balancer needs it.
    pub async fn restart_after_notice(self) -> Self {
        self.stop_and_start(Notice::Given, |_| {}).await
    }

    /// Stops in peace, lets the test do something meanwhile, and starts again on the same ground.
    pub async fn restart_after(self, meanwhile: impl FnOnce(&Ground)) -> Self {
        self.stop_and_start(Notice::None, meanwhile).await
    }

    async fn stop_and_start(self, notice: Notice, meanwhile: impl FnOnce(&Ground)) -> Self {
        let Self { app, ground, world, mut settings, transport, other } = self;
        ground.close_door(app.address());
        if ground.proxy().is_some() {
            settings.push(format!("http.listen={}", app.address()));
        }
        app.shut_down(notice).await;
        meanwhile(&ground);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Self { other, ..Self::start(ground, transport, &settings, world).await }
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

    /// Somebody who speaks as the test's pair says.
    pub async fn peer(&self, user: &str) -> Peer {
        self.peer_over(self.transport, user).await
    }

    /// Somebody who speaks over `transport`.
    pub async fn peer_over(&self, transport: Transport, user: &str) -> Peer {
        let mut peer = self.open_over(transport).await;
        peer.connect(&self.token(user)).await.unwrap();
        peer
    }

    /// Somebody who speaks JSON, by the pair's transport.
    pub async fn peer_in_json(&self, user: &str) -> Peer {
        self.peer_over(if self.transport.is_http() { self.transport } else { Transport::JSON }, user).await
    }

    /// What its peers speak over.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Somebody who has not said who it is.
    pub async fn open(&self) -> Peer {
        self.open_over(self.transport).await
    }

    pub async fn open_over(&self, transport: Transport) -> Peer {
        Peer::open(&self.doors(), transport).await
    }

    /// Somebody with a tiny receive buffer, who has not said who it is.
    pub async fn open_slowly(&self) -> Peer {
        Peer::open_slowly(&self.doors(), self.transport).await
    }

    /// Somebody with a tiny receive buffer, who reads nothing until told to.
    pub async fn stalled(&self, user: &str) -> Peer {
        let mut peer = self.open_slowly().await;
        peer.connect(&self.token(user)).await.unwrap();
        peer
    }

    /// A WebSocket for MessagePack, perhaps with a token in the upgrade.
    pub async fn upgrade(&self, token: Option<&str>) -> Result<Peer, tungstenite::Error> {
        Ok(Peer::over_socket(Socket::open(self.address(), Format::Msgpack, TcpSocket::new_v4().unwrap(), token).await?))
    }

    /// Where sessions are opened, and where their POSTs and polls go: to another instance if there is one. Behind a proxy it decides.
    pub fn doors(&self) -> Doors {
        if let Some(proxy) = self.ground.proxy() {
            return Doors { down: proxy.address(), up: vec![proxy.address()] };
        }
        let mut up = self.ground.doors();
        up.sort_by_key(|door| *door == self.address());
        Doors { down: self.address(), up }
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
