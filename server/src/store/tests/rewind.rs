//! Servers that go back in time or are replaced: restored, and failed over. Each test has servers of its own.

use std::{
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::store::{
    look::{self, Looked},
    testing::Database,
};

/// The user that a server runs as if the tests run as root, which PostgreSQL refuses.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// A folder for servers, and the programs to run them.
struct Servers {
    folder: tempfile::TempDir,
    programs: PathBuf,
    root: bool,
}

impl Servers {
    async fn new() -> Self {
        let database = Database::create().await;
        let bin = sqlx::query_scalar::<_, String>("SELECT setting FROM pg_config WHERE name = 'BINDIR'");
        let programs = bin.fetch_one(&mut database.connect().await).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().metadata().unwrap().uid() == 0;
        if root {
            chown(folder.path(), Some(NOBODY.0), Some(NOBODY.1)).unwrap();
        }
        Self { folder, programs: programs.into(), root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, program: &Path, arguments: &[&str]) {
        let mut command = if self.root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let output = command.args(arguments).current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8");
        // Not piped: a server that is started would keep the pipe open.
        let log = std::fs::File::create(self.path("programs.log")).unwrap();
        let status = output.stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
        assert!(status.success(), "{program:?} {arguments:?}: {}", std::fs::read_to_string(self.path("programs.log")).unwrap());
    }

    fn tool(&self, program: &str, arguments: &[&str]) {
        self.run(&self.programs.join(program), arguments);
    }

    fn make(&self, data: &str) {
        self.tool("initdb", &["-D", data, "-U", "hub", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
    }

    /// Starts the server of `data`, which is found by the socket in `place`.
    fn start(&self, data: &str, place: &str) -> Server<'_> {
        let socket = self.path(place);
        if !socket.exists() {
            self.run(Path::new("mkdir"), &[place]);
        }
        let options = format!("-c listen_addresses= -c shared_buffers=16MB -k {}", socket.display());
        self.tool("pg_ctl", &["-D", data, "-w", "-l", "server.log", "-o", &options, "start"]);
        Server { servers: self, data: data.to_owned(), url: format!("postgres://hub@localhost/postgres?host={}", socket.display()) }
    }
}

/// Runs for as long as this lives.
struct Server<'s> {
    servers: &'s Servers,
    data: String,
    url: String,
}

impl Server<'_> {
    fn stop(self, mode: &str) {
        self.servers.tool("pg_ctl", &["-D", &self.data, "-w", "-m", mode, "stop"]);
        std::mem::forget(self);
    }

    async fn run(&self, sql: &'static str) {
        use sqlx::{Connection, Executor};
        sqlx::PgConnection::connect(&self.url).await.unwrap().execute(sql).await.unwrap();
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.servers.tool("pg_ctl", &["-D", &self.data, "-w", "-m", "immediate", "stop"]);
        } else if let Ok(pid) = std::fs::read_to_string(self.servers.path(&self.data).join("postmaster.pid")) {
            let _ = Command::new("kill").args(["-QUIT", pid.lines().next().unwrap_or_default()]).status();
        }
    }
}

/// Appends one message; again if the server was another one when this handle last spoke to it.
async fn append(db: &Db, id: u8) -> (u64, u64) {
    let new = Small { channel: 0, publisher: 0, id, content: 0, key: None }.new_entry(0);
    loop {
        match entries::append(db, std::slice::from_ref(&new), 1).await {
            Ok(appended) => {
                let place = appended[0].stored().unwrap().place.unwrap();
                return (place.epoch, place.seq);
            }
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

async fn look(db: &Db, since: Option<look::Since>) -> Looked {
    loop {
        match look::look(db, since).await {
            Ok(looked) => return looked,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

async fn epochs(db: &Db) -> Vec<u64> {
    let name = channel(0, 0);
    let id = channels::head(db, &name).await.unwrap().unwrap().channel_id;
    let page = Page { after: 0, upto: u64::MAX, entries: 100, bytes: usize::MAX };
    entries::page(db, &name, id, page).await.unwrap().iter().map(|entry| entry.place.unwrap().epoch).collect()
}

#[tokio::test]
async fn a_restored_backup_raises_the_epoch_by_whoever_comes_first() {
    let servers = Servers::new().await;
    servers.make("live");
    let server = servers.start("live", "socket");
    let config = testing::config(&server.url);
    let [one, two] = [Place::open_at(&config).await, Place::open_at(&config).await];
    Mark::open(&one, String::new()).await.unwrap();
    assert_eq!((append(&one, 1).await, append(&one, 2).await), ((1, 1), (1, 2)));
    server.stop("fast");
    servers.run(Path::new("cp"), &["-a", "live", "backup"]);
    let server = servers.start("live", "socket");
    for id in 3..6 {
        append(&one, id).await;
    }
    let since = look(&two, None).await.since;
    // A crash loses nothing that was acknowledged, and is no other past.
    server.stop("immediate");
    let server = servers.start("live", "socket");
    let looked = look(&two, Some(since)).await;
    assert!(!looked.went_back && looked.epoch == 1);
    let since = looked.since;
    assert_eq!(append(&one, 6).await, (1, 6));
    server.stop("immediate");
    // The backup without any recovery: same cluster, same timeline, a shorter log.
    servers.run(Path::new("cp"), &["-a", "backup", "first"]);
    let server = servers.start("first", "socket");
    assert_eq!(append(&one, 7).await, (2, 3), "the one that appends finds it out");
    let looked = look(&two, Some(since)).await;
    assert!(looked.went_back && looked.epoch >= 2, "{looked:?}");
    let highest = looked.epoch;
    let looked = look(&two, Some(looked.since)).await;
    assert!(!looked.went_back && looked.epoch == highest, "once");
    append(&two, 8).await;
    let since = look(&two, None).await.since;
    server.stop("immediate");
    // The same backup once more: what it raises to is above what the first restore gave out.
    servers.run(Path::new("cp"), &["-a", "backup", "second"]);
    let _server = servers.start("second", "socket");
    let looked = look(&two, Some(since)).await;
    assert!(looked.went_back && looked.epoch == highest + 1, "the one that looks finds it out: {looked:?}");
    let (epoch, seq) = append(&one, 9).await;
    assert!(epoch > highest && seq == 3);
    assert_eq!(epochs(&one).await[..2], [1, 1]);
    // Who comes anew has nothing to compare with, and raises nothing.
    let raised = Mark::open(&Place::open_at(&config).await, String::new()).await.unwrap().raised;
    assert!(!raised);
}

#[tokio::test]
async fn a_promoted_standby_raises_the_epoch_and_keeps_every_entry() {
    let servers = Servers::new().await;
    servers.make("primary");
    let primary = servers.start("primary", "p");
    let place = servers.path("p").display().to_string();
    servers.tool("pg_basebackup", &["-h", &place, "-U", "hub", "-D", "standby", "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
    let standby = servers.start("standby", "s");
    primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    primary.run("SELECT pg_reload_conf()").await;
    let db = Place::open_at(&testing::config(&primary.url)).await;
    Mark::open(&db, String::new()).await.unwrap();
    for id in 1..4 {
        append(&db, id).await;
    }
    let read_only = Db::open(&testing::config(&standby.url)).await.unwrap();
    let small = Small { channel: 0, publisher: 0, id: 4, content: 0, key: None };
    let error = entries::append(&read_only, &[small.new_entry(0)], 1).await.unwrap_err();
    assert!(error.is_transient(), "one may be promoted any moment: {error}");
    primary.stop("immediate");
    servers.tool("pg_ctl", &["-D", "standby", "-w", "promote"]);
    let mark = Mark::open(&read_only, String::new()).await.unwrap();
    assert!(mark.raised && mark.epoch == 2);
    assert_eq!(append(&read_only, 4).await, (2, 4));
    assert_eq!(epochs(&read_only).await, [1, 1, 1, 2], "a cursor of the time before still finds its entry");
}
