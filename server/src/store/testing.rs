//! Databases for tests: a file in a folder of its own, or a database of its own on the server that `HUBBUB_TEST_POSTGRES` names.

use std::{cell::RefCell, path::Path, str::FromStr};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};

use super::{Db, listing::Term};
use crate::{
    config::{Config, Sources, StoreConfig},
    world::World,
};

/// A database that lives as long as this.
#[derive(Debug)]
pub(crate) enum Place {
    /// `t.db` in this folder.
    Sqlite(tempfile::TempDir),
    /// On a server.
    Postgres(Database),
}

impl Place {
    /// One of each kind.
    pub(crate) async fn all() -> [Place; 2] {
        [Self::sqlite(), Self::Postgres(Database::create().await)]
    }

    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn config(&self) -> StoreConfig {
        match self {
            Place::Sqlite(dir) => sqlite(&dir.path().join("t.db")),
            Place::Postgres(database) => config(&database.url),
        }
    }

    /// Opens it, with its schema.
    pub(crate) async fn open(&self) -> Db {
        Self::open_at(&self.config()).await
    }

    /// Opens what is there, with its schema.
    pub(crate) async fn open_at(config: &StoreConfig) -> Db {
        let db = Db::open(config).await.unwrap();
        db.migrate().await.unwrap();
        db
    }
}

pub(crate) fn sqlite(path: &Path) -> StoreConfig {
    config(&format!("sqlite:{}", path.display()))
}

/// What an operator who sets `store.url` gets.
pub(crate) fn config(url: &str) -> StoreConfig {
    let arguments = vec![format!("store.url={url}"), "auth.secret=0123456789abcdef0123456789abcdef".to_owned()];
    Config::load(&Sources { arguments, ..Sources::default() }).unwrap().store
}

/// A database on the test server, dropped with this.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let name = format!("t_{}", World::system().id().to_string().replace('-', ""));
        server(format!("CREATE DATABASE {name} TEMPLATE template0")).await;
        let server = server_url();
        let (place, query) = server.split_once('?').map_or((&*server, String::new()), |(place, query)| (place, format!("?{query}")));
        let place = place.rsplit_once('/').expect("HUBBUB_TEST_POSTGRES names a database").0;
        Self { url: format!("{place}/{name}{query}"), name }
    }

    /// The same database for another user, `user` or `user:password`.
    pub(crate) fn url_of(&self, user: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let place = rest.split_once('@').map_or(rest, |(_, place)| place);
        format!("{scheme}://{user}@{place}")
    }

    /// A connection as the superuser.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Runs `sql` as the superuser.
    pub(crate) async fn run(&self, sql: &'static str) {
        self.connect().await.execute(sql).await.unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The test's own runtime cannot be waited for here.
        let drop = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(server(sql));
        let dropped = std::thread::spawn(drop).join();
        assert!(dropped.is_ok() || std::thread::panicking());
    }
}

tokio::task_local! {
    static NOTED: RefCell<Vec<(String, Vec<Term>)>>;
}

/// A list runs this statement: remembered for [`statements`].
pub(crate) fn note(sql: &str, terms: &[Term]) {
    let _ = NOTED.try_with(|noted| noted.borrow_mut().push((sql.to_owned(), terms.to_vec())));
}

/// The statements of lists that `asking` runs, and what it runs them with.
pub(crate) async fn statements<T>(asking: impl Future<Output = T>) -> Vec<(String, Vec<Term>)> {
    let noted = async {
        asking.await;
        NOTED.with(|noted| noted.take())
    };
    NOTED.scope(RefCell::default(), noted).await
}

fn server_url() -> String {
    std::env::var("HUBBUB_TEST_POSTGRES").expect("set HUBBUB_TEST_POSTGRES, or run `make test`, which starts one")
}

async fn server(sql: String) {
    let options = PgConnectOptions::from_str(&server_url()).unwrap();
    let mut conn = PgConnection::connect_with(&options).await.unwrap();
    conn.execute(AssertSqlSafe(sql)).await.unwrap();
}
