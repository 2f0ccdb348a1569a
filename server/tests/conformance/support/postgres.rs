//! A database of its own for each test, in the PostgreSQL that `.ci/services.sh` started.

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::ground::{POSTGRES, service, unique};

/// Dropped when it is dropped.
pub struct Database {
    name: String,
}

impl Database {
    /// An empty one.
    pub async fn create() -> Self {
        let name = unique();
        run(format!("CREATE DATABASE {name}")).await;
        Self { name }
    }

    pub fn url(&self) -> String {
        let server = service(POSTGRES);
        let (address, _) = server.rsplit_once('/').expect("its path is a database");
        format!("{address}/{}", self.name)
    }

    /// Connections to it, beside the server's.
    pub async fn pool(&self) -> PgPool {
        PgPool::connect(&self.url()).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A thread of its own: the test's runtime may be the one that runs this.
        let drop = run(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = std::thread::spawn(move || runtime.block_on(drop)).join();
    }
}

async fn run(statement: String) {
    let mut connection = PgConnection::connect(&service(POSTGRES)).await.unwrap();
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
