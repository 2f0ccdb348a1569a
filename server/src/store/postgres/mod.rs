//! PostgreSQL: one database for a whole cluster of instances. A pool that writes, a pool that reads, one connection that looks.

mod append;
mod heads;
mod listen;
mod past;

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use sqlx::{
    Connection, Executor, PgConnection, PgPool, Postgres as Driver, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::StoreError;
use crate::config::{PostgresUrl, StoreConfig};

pub use listen::Notices;
pub(super) use past::{Past, Seen};

/// The oldest release that is known to work, as `server_version_num` has it.
const MIN_VERSION: i32 = 140_000;
/// How long one waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);
/// A connection that lay unused for so long is asked whether it still lives before it is used again.
const DOUBT: Duration = Duration::from_secs(1);
/// After so long the server gives a statement up.
const STATEMENT: Duration = Duration::from_secs(10);
/// After so long the server gives up waiting for a lock: the batch goes on without the channel that somebody holds.
const LOCK: Duration = Duration::from_secs(3);
/// After so long the server ends a transaction whose client is silent.
const SILENCE: Duration = Duration::from_secs(30);

/// What connections are for.
#[derive(Debug)]
struct Pools {
    writer: PgPool,
    reader: PgPool,
    looker: PgPool,
}

impl Pools {
    fn new(options: &PgConnectOptions, writers: u32, readers: u32) -> Self {
        let writer = pool(writers + 1)
            .after_connect(|conn, _| Box::pin(durable(conn)))
            .connect_lazy_with(options.clone().options([("lock_timeout", millis(LOCK))]));
        let [reader, looker] = [readers, 1].map(|connections| pool(connections).connect_lazy_with(options.clone()));
        Self { writer, reader, looker }
    }
}

/// The pools of one database. Cheap to clone: clones share what they have seen of the database's past.
#[derive(Debug, Clone)]
pub struct Postgres {
    pools: Arc<RwLock<Pools>>,
    /// How many batches may be appended at once.
    writers: u32,
    readers: u32,
    options: Arc<PgConnectOptions>,
    seen: Arc<Mutex<Seen>>,
    heads: Arc<Mutex<heads::Heads>>,
}

impl Postgres {
    /// Connects, and checks that the server can be used.
    pub(super) async fn open(url: &PostgresUrl, config: &StoreConfig) -> Result<Self, StoreError> {
        let mut options = PgConnectOptions::from_str(url.expose())?.application_name("hubbub").statement_cache_capacity(64);
        if let Some(password) = &config.password {
            let password =
                std::str::from_utf8(password.expose()).map_err(|_| sqlx::Error::Configuration("the password is not UTF-8".into()))?;
            options = options.password(password);
        }
        let options = options.options([("statement_timeout", millis(STATEMENT)), ("idle_in_transaction_session_timeout", millis(SILENCE))]);
        check(&options).await?;
        let pools = Arc::new(RwLock::new(Pools::new(&options, config.writers, config.readers)));
        let (writers, readers) = (config.writers, config.readers);
        Ok(Self { pools, writers, readers, options: Arc::new(options), seen: Arc::default(), heads: Arc::default() })
    }

    /// Takes new connections for whatever comes from now on: those that there are do not answer, and would be waited for.
    pub(super) fn distrust(&self) {
        let fresh = Pools::new(&self.options, self.writers, self.readers);
        *self.pools.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    fn pools(&self) -> RwLockReadGuard<'_, Pools> {
        self.pools.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Driver>, sqlx::Error> {
        self.writer().begin().await
    }

    pub(super) fn reader(&self) -> PgPool {
        self.pools().reader.clone()
    }

    pub(super) fn writer(&self) -> PgPool {
        self.pools().writer.clone()
    }

    /// For looks alone: whoever reads a lot must not keep them waiting.
    pub(super) fn looker(&self) -> PgPool {
        self.pools().looker.clone()
    }

    /// How many batches may be appended at once.
    pub(super) fn writers(&self) -> usize {
        self.writers as usize
    }

    /// A connection of its own, in no pool.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        match tokio::time::timeout(ACQUIRE, PgConnection::connect_with(&self.options)).await {
            Ok(connected) => connected,
            Err(_) => Err(silence()),
        }
    }

    /// One connection for statements that may take long, and that nobody wants to see broken off. To be closed after use.
    pub(super) fn patient(&self) -> PgPool {
        pool(1).connect_lazy_with(PgConnectOptions::clone(&self.options).options([("statement_timeout", "0")]))
    }

    /// How far this handle has seen the database come.
    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Remembers what the database said of its past, after it was compared with what was seen.
    pub(super) fn remember(&self, past: &Past) {
        let mut seen = self.lock();
        if past.raised || past.epoch != seen.epoch {
            self.heads().forget();
        }
        seen.take(past);
    }

    /// The heads that were seen.
    fn heads(&self) -> std::sync::MutexGuard<'_, heads::Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn close(&self) {
        let (writer, reader, looker) = (self.writer(), self.reader(), self.looker());
        tokio::join!(writer.close(), reader.close(), looker.close());
    }
}

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(IDLE)
        // One round trip for each use would cost more than what it finds.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move { if meta.idle_for < DOUBT { Ok(true) } else { conn.ping().await.map(|()| true) } })
        })
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// Acknowledged means stored, whatever the server's or the role's default is. A stricter setting stays.
async fn durable(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    conn.execute("SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'").await?;
    Ok(())
}

/// Asks the server once what it is, so that a mistake is told at the start and not by the first publish.
async fn check(options: &PgConnectOptions) -> Result<(), StoreError> {
    let connected = tokio::time::timeout(ACQUIRE, PgConnection::connect_with(options)).await;
    let mut conn = connected.unwrap_or_else(|_| Err(silence())).map_err(|error| explain(options, error))?;
    let (version, encoding): (i32, String) =
        sqlx::query_as("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
            .fetch_one(&mut conn)
            .await?;
    conn.close().await?;
    if version < MIN_VERSION {
        return Err(unusable(format!("PostgreSQL {} is too old: {} or newer is needed", version / 10_000, MIN_VERSION / 10_000)));
    }
    if encoding != "UTF8" {
        return Err(unusable(format!("the database's encoding is {encoding}: make one with ENCODING 'UTF8'")));
    }
    Ok(())
}

/// The server did not answer in time.
fn silence() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

fn unusable(message: String) -> StoreError {
    sqlx::Error::Configuration(message.into()).into()
}

/// Says where the server was looked for and what to do. The password is not part of it.
fn explain(options: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let place = match options.get_socket() {
        Some(path) => path.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let (user, database) = (options.get_username(), options.get_database().unwrap_or(options.get_username()));
    let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    let message = match (code.as_deref(), &error) {
        (Some("28P01" | "28000"), _) => {
            format!("PostgreSQL at {place} does not let {user} in ({error}): check the user, store.password_file and pg_hba.conf")
        }
        (Some("3D000"), _) => format!("PostgreSQL at {place} has no database {database}: make it, or correct store.url"),
        (None, sqlx::Error::Io(_)) => {
            format!("PostgreSQL cannot be reached at {place} ({error}): check store.url, and that the server runs")
        }
        (None, sqlx::Error::Tls(_)) => {
            format!("PostgreSQL at {place} and this instance do not agree on TLS ({error}): check sslmode in store.url")
        }
        _ => return error.into(),
    };
    unusable(message)
}
