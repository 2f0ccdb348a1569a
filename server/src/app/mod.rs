//! The composition root: the one owner of handles and tasks, built once and shut down once.

mod accept;
mod house;
mod secret;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{self, Access},
    account::{self, Accounts, AccountsError, Sightings},
    api_key::ApiKeys,
    auth::{KeyError, KeyRing, Rules, Verifier},
    broker::{self, Arrivals, Broker, BrokerError},
    channel::{self, Channels, feed::Looks},
    config::{BrokerKind, Config, Secret},
    http::Rates,
    hub::Hub,
    instance::Membership,
    rest::{self, Api, Guests, Health},
    room::Rooms,
    session::Backend,
    store::{self, Db, Lease, LeaseError, LeaseKind, Mark, MigrateError, StoreError},
    tasks::Tasks,
    telemetry::Metrics,
    transport::{
        Connections, Endpoint,
        plain::{Plain, SealError, Sealer},
    },
    upload::{self, DepotError, Uploads},
    user::Users,
    world::World,
};

use accept::Acceptor;
use secret::secret;
pub use secret::{SecretError, accounts_secret, signing_secret};

/// Between two looks at a lease that another instance holds.
const LOOK: Duration = Duration::from_millis(200);
/// How long requests that are under way when the last session has ended may take.
const REQUESTS: Duration = Duration::from_secs(5);
/// Between two looks at whether all are gone.
const LOOK_CLOSED: Duration = Duration::from_millis(10);
/// How long the store may take to be left in order.
const LAST: Duration = Duration::from_secs(3);
/// The secret that seals events' ids, by its name in the store.
const EVENT_IDS: &str = "event-ids";
/// Bytes that an HTTP connection buffers in each direction, at most: a stream that is not read waits in its outbox, which is bounded.
const BUFFER: usize = 64 << 10;
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4_096;

/// The instance could not start.
#[derive(Debug, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum StartError {
    #[error("the store could not be opened: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the keys for tokens cannot be used: {0}")]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Uploads(#[from] DepotError),
    #[error("{0} cannot be listened on: {1}")]
    Listen(SocketAddr, std::io::Error),
}

/// What to do when another instance holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// Refuse to start.
    Refuse,
    /// Wait until it has stopped.
    Wait,
}

/// Whether others are told before an instance stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Load balancers see `/readyz` fail for the configured notice.
    Given,
    /// Somebody sits before it and waits.
    None,
}

/// A running instance.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    config: Arc<Config>,
    db: Db,
    lease: Arc<Lease>,
    mark: Arc<Mark>,
    membership: Arc<Membership>,
    broker: Broker,
    channels: Arc<Channels>,
    access: Arc<Access>,
    hub: Arc<Hub>,
    health: Arc<Health>,
    connections: Arc<Connections>,
    plain: Arc<Plain>,
    rates: Arc<Rates>,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    handle: Handle<SocketAddr>,
    tasks: Tasks,
    world: World,
}

impl App {
    /// Opens the store, takes the lease, migrates, and listens.
    ///
    /// # Errors
    /// [`StartError`], with what to do.
    pub async fn start(config: Config, world: World, take_over: TakeOver) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let tasks = Tasks::default();
        let metrics = Arc::new(Metrics::new());
        let secret = secret(&config, &world)?;
        let accounts_secret = accounts_secret(&config, &world)?;
        if config.accounts.enabled && accounts_secret.is_none() {
            tracing::info!(
                "there are no accounts: with PostgreSQL and auth.jwks_file alone they need accounts.secret or accounts.secret_file"
            );
        }
        let ring = Arc::new(KeyRing::new(config.accounts.issuer.clone(), config.auth.audience.clone()));
        let verifier = verifier(&config, secret.as_ref())?;
        let verifier = Arc::new(if accounts_secret.is_some() { verifier.with_own(ring.clone()) } else { verifier });
        let guests = Arc::new(Guests::new(&config, secret));
        let db = Db::open(&config.store).await?;
        let (lease, mark) = own(&db, &config, &world, take_over).await?;
        let membership = Membership::new(db.clone(), world.clone());
        let (broker, arrivals) = connect(&config, &membership, &tasks, &metrics).await?;
        let hub = Arc::new(Hub::new(world.chance.seed()));
        let lanes = std::thread::available_parallelism().map_or(1, usize::from);
        let access = access::Parts {
            config: config.clone(),
            db: db.clone(),
            hub: hub.clone(),
            broker: broker.clone(),
            metrics: metrics.clone(),
            world: world.clone(),
        };
        let access = Access::start(access, &tasks).await?;
        let parts = channel::Parts {
            config: config.clone(),
            db: db.clone(),
            access: access.clone(),
            hub: hub.clone(),
            instance: membership.id().to_string(),
            broker: broker.clone(),
            metrics: metrics.clone(),
            world: world.clone(),
            lanes,
            looks: (broker.is_clustered() || db.has_guests()).then(Arc::<Looks>::default),
        };
        let channels = Channels::start(parts, &tasks);
        let accounts = match accounts_secret {
            None => None,
            Some(secret) => {
                let (config, db, access) = (config.accounts.clone(), db.clone(), access.clone());
                let (world, metrics) = (world.clone(), metrics.clone());
                Some(Accounts::start(account::Parts { config, db, access, ring, secret, world, metrics }, &tasks).await?)
            }
        };
        let uploads = Uploads::open(upload::Parts {
            config: config.uploads.clone(),
            db: db.clone(),
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            world: world.clone(),
        })?;
        uploads.sweep_when_due(channels.duty().clone());
        let rooms = Arc::new(Rooms { db: db.clone(), access: access.clone(), config: config.clone(), world: world.clone() });
        rooms.sweep_when_due(channels.duty().clone(), &tasks);
        let backend = Arc::new(Backend {
            config: config.clone(),
            instance: membership.id().clone(),
            channels: channels.clone(),
            access: access.clone(),
            rooms: rooms.clone(),
            verifier,
            accounts,
            sightings: Sightings::start(db.clone(), world.clone(), &tasks),
            metrics: metrics.clone(),
            world: world.clone(),
        });
        let connections = Connections::new(config.clone(), metrics.clone(), world.clone());
        let health = Arc::new(Health::new(db.clone(), broker.clone()));
        let draining = CancellationToken::new();
        let endpoint = Endpoint {
            backend: backend.clone(),
            connections: connections.clone(),
            admission: Arc::new(Semaphore::new(config.session.unauthenticated)),
            tasks: tasks.clone(),
            draining: draining.clone(),
        };
        let secret = store::secrets::shared(&db, EVENT_IDS, &world.chance.bytes::<{ Sealer::KEY }>(), world.clock.now()).await?;
        let plain = Plain::new(endpoint.clone(), Sealer::new(&secret)?, db.clone(), broker.clone());
        let rates = Arc::new(Rates::new(config.http.rate));
        let listener = listen(config.http.listen).map_err(|error| StartError::Listen(config.http.listen, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(config.http.listen, error))?;
        let handle = serve(
            listener,
            &config,
            rest::router(Api {
                backend,
                endpoint,
                plain: plain.clone(),
                health: health.clone(),
                membership: membership.clone(),
                guests,
                uploads,
                db: db.clone(),
                rates: rates.clone(),
                rooms,
                api_keys: Arc::new(ApiKeys { db: db.clone(), access: access.clone(), world: world.clone() }),
                users: Arc::new(Users { db: db.clone(), access: access.clone(), world: world.clone() }),
                schemas: Default::default(),
            }),
            &tasks,
        )
        .map_err(|error| StartError::Listen(address, error))?;
        let app = Self {
            address,
            config,
            db,
            lease,
            mark,
            membership,
            broker,
            channels,
            access,
            hub,
            health,
            connections,
            plain,
            rates,
            metrics,
            draining,
            handle,
            tasks,
            world,
        };
        app.keep_house(arrivals).await?;
        tracing::info!(
            %address,
            instance = %app.membership.id(),
            store = app.db.kind(),
            broker = app.broker.name(),
            epoch = app.mark.epoch,
            "hubbub is ready"
        );
        Ok(app)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its use cases.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Drains: not ready and no new connections, goodbye to everybody, what is accepted is stored and answered. The listener answers
    /// until the `notice` is over, so that load balancers see it. Takes no longer than the configured window.
    pub async fn shut_down(self, notice: Notice) {
        let window = self.config.drain.window;
        let notice = match notice {
            Notice::Given => self.config.drain.notice,
            Notice::None => Duration::ZERO,
        };
        tracing::info!(connections = self.connections.len(), "shutting down");
        self.health.drain();
        self.draining.cancel();
        let [goodbyes, rest] = [window.mul_f64(0.8), window.mul_f64(0.2)];
        let farewell = async {
            tokio::join!(self.connections.drain(notice), tokio::time::sleep(notice));
            self.handle.graceful_shutdown(Some(window));
            while !self.connections.is_empty() {
                tokio::time::sleep(LOOK_CLOSED).await;
            }
            // Requests that are under way. A stream whose session has ended and that nobody reads is none.
            let _ = tokio::time::timeout(REQUESTS, async {
                while self.handle.connection_count() > 0 {
                    tokio::time::sleep(LOOK_CLOSED).await;
                }
            })
            .await;
        };
        if tokio::time::timeout(goodbyes, farewell).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "some connections did not end in time; they are cut");
            self.connections.abort();
        }
        self.handle.shutdown();
        self.channels.presence().bye().await;
        if tokio::time::timeout(rest, self.tasks.stop()).await.is_err() {
            tracing::error!("some tasks did not end in time");
        }
        let farewell = async {
            let left = self.membership.leave().await;
            let noted = self.mark.note(&self.db).await;
            let released = self.lease.release(&self.db, &self.world.clock).await;
            if let Err(error) = left.and(noted).and(released) {
                tracing::warn!(%error, "the store could not be left in order");
            }
            self.db.close().await;
        };
        if tokio::time::timeout(LAST, farewell).await.is_err() {
            tracing::warn!("the store did not answer; it is left as it is");
        }
        tracing::info!("hubbub has stopped");
    }
}

/// What reaches the other instances, and what comes from them.
async fn connect(
    config: &Config,
    membership: &Membership,
    tasks: &Tasks,
    metrics: &Arc<Metrics>,
) -> Result<(Broker, Option<Arrivals>), BrokerError> {
    match config.broker.kind {
        BrokerKind::Local => Ok((Broker::Local, None)),
        BrokerKind::Nats => {
            let (broker, arrivals) = broker::connect(&config.broker, membership.id(), tasks, metrics).await?;
            Ok((broker, Some(arrivals)))
        }
    }
}

/// Takes the lease, brings the schema up to date, and compares the store with what stands beside it.
async fn own(db: &Db, config: &Config, world: &World, take_over: TakeOver) -> Result<(Arc<Lease>, Arc<Mark>), StartError> {
    let holder = format!("process {} on {}, listening on {}", std::process::id(), hostname(), config.http.listen);
    let kind = match config.broker.kind {
        BrokerKind::Local => LeaseKind::Exclusive,
        BrokerKind::Nats => LeaseKind::Shared,
    };
    let mut waits = false;
    let lease = loop {
        match Lease::take(db, holder.clone(), kind).await {
            Ok(lease) => break lease,
            Err(LeaseError::Held(other)) if take_over == TakeOver::Wait => {
                if !std::mem::replace(&mut waits, true) {
                    tracing::info!(holder = other, "waiting for the instance that uses this database to stop");
                }
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    db.migrate().await?;
    lease.renew(db, &world.clock).await?;
    let mark = Mark::open(db, world.id().to_string()).await?;
    if mark.raised {
        tracing::warn!(epoch = mark.epoch, "the database may have gone back in time: the epoch was raised, and subscribers will be told");
    }
    Ok((Arc::new(lease), Arc::new(mark)))
}

fn hostname() -> String {
    std::fs::read_to_string("/etc/hostname").map_or_else(|_| "this host".to_owned(), |name| name.trim().to_owned())
}

fn verifier(config: &Config, secret: Option<&Secret>) -> Result<Verifier, StartError> {
    let auth = &config.auth;
    let rules = Rules { audience: auth.audience.clone(), issuer: auth.issuer.clone(), leeway_ms: auth.leeway.as_millis() as u64 };
    Ok(Verifier::new(secret.map(Secret::expose), auth.jwks.as_deref(), rules)?)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn serve(listener: TcpListener, config: &Config, router: axum::Router, tasks: &Tasks) -> std::io::Result<Handle<SocketAddr>> {
    let handle = Handle::new();
    let mut server =
        axum_server::from_tcp(listener)?.handle(handle.clone()).first_request_timeout(config.http.header_timeout).acceptor(Acceptor);
    let http = server.http_builder();
    http.http1().timer(TokioTimer::new()).header_read_timeout(config.http.header_timeout).max_buf_size(BUFFER);
    http.http2().timer(TokioTimer::new()).max_send_buf_size(BUFFER).keep_alive_interval(config.session.heartbeat);
    tasks.spawn(async move {
        if let Err(error) = server.serve(router.into_make_service_with_connect_info::<SocketAddr>()).await {
            tracing::error!(%error, "the listener failed");
        }
    });
    Ok(handle)
}
