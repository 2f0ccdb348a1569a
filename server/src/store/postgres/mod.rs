//! PostgreSQL: one database for a whole cluster of instances. A pool that writes, a pool that reads.

mod append;
mod heads;
mod listen;
mod past;

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
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
/// After so long the server gives up waiting for a lock: a batch is tried again then.
const LOCK: Duration = Duration::from_secs(3);
/// After so long the server ends a transaction whose client is silent.
const SILENCE: Duration = Duration::from_secs(30);

/// The two pools of one database. Cheap to clone: clones share what they have seen of the database's past.
#[derive(Debug, Clone)]
pub struct Postgres {
    writer: PgPool,
    reader: PgPool,
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
        let writer = pool(config.writers + 1)
            .after_connect(|conn, _| Box::pin(durable(conn)))
            .connect_lazy_with(options.clone().options([("lock_timeout", millis(LOCK))]));
        let reader = pool(config.readers).connect_lazy_with(options.clone());
        Ok(Self { writer, reader, options: Arc::new(options), seen: Arc::default(), heads: Arc::default() })
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Driver>, sqlx::Error> {
        self.writer.begin().await
    }

    pub(super) fn reader(&self) -> &PgPool {
        &self.reader
    }

    pub(super) fn writer(&self) -> &PgPool {
        &self.writer
    }

    /// How many batches may be appended at once.
    pub(super) fn writers(&self) -> usize {
        self.writer.options().get_max_connections() as usize - 1
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
        self.reader.close().await;
        self.writer.close().await;
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
