//! What the instances of one test stand on: a database of their own and, in NATS, subjects of their own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

use hubbub_server::config::BrokerKind;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tempfile::TempDir;

use super::{Cable, Pair, Proxy, Running, pair::Store, postgres::Database};

/// Outlives its instances. What it made is gone when it is dropped, also when the test has failed.
pub struct Ground {
    broker: BrokerKind,
    prefix: String,
    data: Data,
    /// What users upload.
    files: TempDir,
    /// Where its instances listen.
    doors: Mutex<Vec<SocketAddr>>,
    /// What stands before them.
    proxy: OnceLock<Running>,
    /// What they reach NATS and PostgreSQL by, where a test may cut it.
    cables: Option<Cables>,
}

struct Cables {
    nats: Cable,
    store: Cable,
}

enum Data {
    Sqlite(TempDir),
    Postgres(Database),
}

/// While it is there nobody else writes to the database.
pub enum Held {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Ground {
    pub(super) async fn new(pair: Pair) -> Arc<Self> {
        let data = match pair.store {
            Store::Sqlite => Data::Sqlite(TempDir::new().unwrap()),
            Store::Postgres => Data::Postgres(Database::create().await),
        };
        let cables = match pair.is_breakable {
            true => Some(Cables { nats: Cable::lay(place(&nats())).await, store: Cable::lay(place(&service(POSTGRES))).await }),
            false => None,
        };
        Arc::new(Self {
            cables,
            broker: pair.broker,
            prefix: unique(),
            data,
            files: TempDir::new().unwrap(),
            doors: Mutex::default(),
            proxy: OnceLock::new(),
        })
    }

    /// Keys of the configuration.
    pub fn settings(&self) -> Vec<String> {
        let mut settings = vec![match &self.data {
            Data::Sqlite(_) => format!("store.url=sqlite:{}", self.file().display()),
            Data::Postgres(database) => format!("store.url={}", self.by_cable(database.url(), |cables| &cables.store)),
        }];
        settings.push(format!("uploads.url=file:{}", self.files().display()));
        if self.broker == BrokerKind::Nats {
            let url = self.by_cable(nats(), |cables| &cables.nats);
            settings.extend(["broker.kind=nats".to_owned(), format!("broker.url={url}"), format!("broker.prefix={}", self.prefix)]);
        }
        settings
    }

    /// The same service, where a cable leads to it.
    fn by_cable(&self, url: String, which: impl Fn(&Cables) -> &Cable) -> String {
        let Some(cables) = &self.cables else { return url };
        url.replace(&place(&url).to_string(), &which(cables).address().to_string())
    }

    /// The way to NATS of a breakable pair.
    pub fn to_nats(&self) -> &Cable {
        &self.cables.as_ref().expect("it is breakable").nats
    }

    /// The way to PostgreSQL of a breakable pair.
    pub fn to_store(&self) -> &Cable {
        &self.cables.as_ref().expect("it is breakable").store
    }

    /// Starts a proxy before the instances that run now.
    pub(super) async fn put_behind(&self, proxy: Proxy) {
        let running = Running::start(proxy, &self.doors()).await;
        assert!(self.proxy.set(running).is_ok(), "it has one already");
    }

    /// What stands before its instances.
    pub fn proxy(&self) -> Option<&Running> {
        self.proxy.get()
    }

    /// Where its instances listen, in the order in which they began.
    pub fn doors(&self) -> Vec<SocketAddr> {
        self.doors.lock().unwrap().clone()
    }

    pub(super) fn open_door(&self, address: SocketAddr) {
        self.doors.lock().unwrap().push(address);
    }

    pub(super) fn close_door(&self, address: SocketAddr) {
        self.doors.lock().unwrap().retain(|door| *door != address);
    }

    /// Whether nobody but one instance can write.
    pub fn is_alone(&self) -> bool {
        self.broker == BrokerKind::Local && matches!(self.data, Data::Sqlite(_))
    }

    /// SQLite's file.
    pub fn file(&self) -> PathBuf {
        match &self.data {
            Data::Sqlite(dir) => dir.path().join("hubbub.db"),
            Data::Postgres(_) => panic!("PostgreSQL is no file"),
        }
    }

    /// The folder of what users upload; made with the first upload.
    pub fn files(&self) -> PathBuf {
        self.files.path().join("uploads")
    }

    /// An application's own connection to PostgreSQL.
    pub async fn guest(&self) -> PgConnection {
        match &self.data {
            Data::Postgres(database) => PgConnection::connect(&database.url()).await.unwrap(),
            Data::Sqlite(_) => panic!("SQLite has no guests"),
        }
    }

    /// Runs statements in one transaction, behind the back of every instance.
    pub async fn execute(&self, statements: &[&str]) {
        match &self.data {
            Data::Sqlite(_) => {
                let pool = SqlitePool::connect(&format!("sqlite:{}", self.file().display())).await.unwrap();
                let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
                for statement in statements {
                    sqlx::query(AssertSqlSafe((*statement).to_owned())).execute(&mut *transaction).await.unwrap();
                }
                transaction.commit().await.unwrap();
            }
            Data::Postgres(_) => {
                let mut guest = self.guest().await;
                let mut transaction = guest.begin().await.unwrap();
                for statement in statements {
                    sqlx::query(AssertSqlSafe((*statement).to_owned())).execute(&mut *transaction).await.unwrap();
                }
                transaction.commit().await.unwrap();
            }
        }
    }

    /// What a statement counts.
    pub async fn count(&self, statement: &'static str) -> i64 {
        match &self.data {
            Data::Sqlite(_) => {
                let mut conn = SqliteConnection::connect(&format!("sqlite:{}", self.file().display())).await.unwrap();
                sqlx::query_scalar(statement).fetch_one(&mut conn).await.unwrap()
            }
            Data::Postgres(_) => sqlx::query_scalar(statement).fetch_one(&mut self.guest().await).await.unwrap(),
        }
    }

    /// Keeps every append waiting.
    pub async fn hold_writes(&self) -> Held {
        match &self.data {
            Data::Sqlite(_) => {
                let pool = SqlitePool::connect(&format!("sqlite:{}", self.file().display())).await.unwrap();
                Held::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await.unwrap())
            }
            Data::Postgres(database) => {
                let mut transaction = database.pool().await.begin().await.unwrap();
                sqlx::query("LOCK TABLE channels IN SHARE MODE").execute(&mut *transaction).await.unwrap();
                Held::Postgres(transaction)
            }
        }
    }
}

impl Held {
    pub async fn release(self) {
        match self {
            Held::Sqlite(transaction) => transaction.rollback().await.unwrap(),
            Held::Postgres(transaction) => transaction.rollback().await.unwrap(),
        }
    }
}

/// What `.ci/services.sh` says where PostgreSQL is.
pub(super) const POSTGRES: &str = "HUBBUB_TEST_POSTGRES";

/// The address in a URL.
fn place(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("it is a URL");
    let authority = rest.split('/').next().unwrap();
    authority.rsplit('@').next().unwrap().parse().unwrap_or_else(|_| panic!("no address: {authority}"))
}

/// Where NATS is.
pub fn nats() -> String {
    service("HUBBUB_TEST_NATS")
}

/// What `.ci/services.sh` says of a service.
pub(super) fn service(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: `make test` starts the services, and so does `.ci/services.sh COMMAND`"))
}

/// A name that nothing else has.
pub(super) fn unique() -> String {
    format!("t{:016x}", rand::random::<u64>())
}
