//! A private S3 server: `s3s-fs`, which checks signatures, on a free port. `HUBBUB_TEST_S3` names the program; `make tools` gets it.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// Its one bucket.
const BUCKET: &str = "files";
/// Its key and secret.
const KEY: &str = "AKTESTS";
const SECRET: &str = "a secret for tests";

/// Ends when it is dropped, and what it kept is gone.
pub struct S3 {
    server: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl S3 {
    pub fn start() -> Self {
        let program = std::env::var("HUBBUB_TEST_S3").expect("set HUBBUB_TEST_S3, or run `make test`, which gets and names an S3 server");
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut server = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0", "--access-key", KEY, "--secret-key", SECRET])
            .arg(folder.path())
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("running at ").map(|(_, address)| address.trim().to_owned()))
            .expect("it says where it listens");
        // Whatever else it says is read, so that it does not stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, address, folder }
    }

    /// Keys of the configuration.
    pub fn settings(&self) -> Vec<String> {
        vec![
            format!("uploads.url=s3://{BUCKET}/some/prefix"),
            format!("uploads.endpoint={}", self.address),
            "uploads.allow_http=true".to_owned(),
            format!("uploads.access_key_id={KEY}"),
            format!("uploads.secret_access_key={SECRET}"),
        ]
    }

    /// The files that its objects are.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
