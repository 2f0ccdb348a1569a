//! On what a test runs: a broker, a store, and the transport that its peers speak over.

use std::sync::{Arc, atomic::AtomicU64};

use hubbub_protocol::Format;
use hubbub_server::{
    config::BrokerKind,
    world::{Clock, World},
};

use super::{Ground, Proxy, Server};

/// How a peer talks to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// By a WebSocket.
    Socket(Format),
    /// By a stream of events, and POSTs.
    Sse,
    /// By polls, and POSTs.
    Polling,
}

#[allow(non_upper_case_globals)] // Named like the variants beside them.
impl Transport {
    pub const MSGPACK: Transport = Transport::Socket(Format::Msgpack);
    pub const JSON: Transport = Transport::Socket(Format::Json);
    /// Each of them.
    pub const ALL: [Transport; 4] = [Transport::MSGPACK, Transport::JSON, Transport::Sse, Transport::Polling];

    /// Whether it does without a WebSocket.
    pub fn is_http(self) -> bool {
        !matches!(self, Transport::Socket(_))
    }

    /// How its frames are written.
    pub fn format(self) -> Format {
        match self {
            Transport::Socket(format) => format,
            Transport::Sse | Transport::Polling => Format::Json,
        }
    }
}

/// A broker and a store, and what peers speak unless a test says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub(super) broker: BrokerKind,
    pub(super) store: Store,
    pub transport: Transport,
    proxy: Option<Proxy>,
    pub(super) is_breakable: bool,
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Sqlite,
    Postgres,
}

impl Pair {
    pub const LOCAL_SQLITE: Pair = Pair::of(BrokerKind::Local, Store::Sqlite);
    pub const LOCAL_POSTGRES: Pair = Pair::of(BrokerKind::Local, Store::Postgres);
    pub const NATS_SQLITE: Pair = Pair::of(BrokerKind::Nats, Store::Sqlite);
    pub const NATS_POSTGRES: Pair = Pair::of(BrokerKind::Nats, Store::Postgres);

    const fn of(broker: BrokerKind, store: Store) -> Self {
        Self { broker, store, transport: Transport::MSGPACK, proxy: None, is_breakable: false }
    }

    /// The same, with peers that speak over `transport`.
    pub const fn over(self, transport: Transport) -> Self {
        Self { transport, ..self }
    }

    /// The same, with peers that come through `proxy`.
    pub const fn behind(self, proxy: Proxy) -> Self {
        Self { proxy: Some(proxy), ..self }
    }

    /// The same, with cables to NATS and PostgreSQL that a test can cut.
    pub const fn breakable(self) -> Self {
        Self { is_breakable: true, ..self }
    }

    /// An instance with the defaults.
    pub async fn server(self) -> Server {
        self.server_with(&[]).await
    }

    /// An instance with some keys set.
    pub async fn server_with(self, settings: &[&str]) -> Server {
        self.alone(settings, World::system()).await
    }

    /// An instance whose clock the test moves, in Unix milliseconds.
    pub async fn server_at(self, clock: &Arc<AtomicU64>, settings: &[&str]) -> Server {
        self.alone(settings, World { clock: Clock::Manual(clock.clone()), ..World::system() }).await
    }

    /// Several instances that are one cluster.
    pub async fn fleet<const N: usize>(self) -> [Server; N] {
        self.fleet_with(&[]).await
    }

    /// Several instances that are one cluster, with some keys set.
    pub async fn fleet_with<const N: usize>(self, settings: &[&str]) -> [Server; N] {
        self.together(settings, World::system()).await
    }

    /// Several instances whose one clock the test moves.
    pub async fn fleet_at<const N: usize>(self, clock: &Arc<AtomicU64>, settings: &[&str]) -> [Server; N] {
        self.together(settings, World { clock: Clock::Manual(clock.clone()), ..World::system() }).await
    }

    async fn together<const N: usize>(self, settings: &[&str], world: World) -> [Server; N] {
        let ground = Ground::new(self).await;
        let mut fleet = Vec::with_capacity(N);
        for _ in 0..N {
            fleet.push(Server::start(ground.clone(), self.transport, settings, world.clone()).await);
        }
        if let Some(proxy) = self.proxy {
            ground.put_behind(proxy).await;
        }
        fleet.try_into().unwrap_or_else(|_| unreachable!("there are {N}"))
    }

    /// One instance, with another beside it where POSTs and polls, or all that comes through a proxy, can go there.
    async fn alone(self, settings: &[&str], world: World) -> Server {
        let ground = Ground::new(self).await;
        let mut server = Server::start(ground.clone(), self.transport, settings, world).await;
        if self.proxy.is_some() || self.broker == BrokerKind::Nats && self.transport.is_http() {
            server = server.with_another().await;
        }
        if let Some(proxy) = self.proxy {
            ground.put_behind(proxy).await;
        }
        server
    }
}
