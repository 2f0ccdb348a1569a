//! What the tests of whole processes share: where things are, waiting, and a second opinion on what `replay` recorded.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Signs the tokens of every test.
pub const SECRET: &str = "a secret of at least thirty-two bytes, for tests";
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// `hubbub` beside the load tester.
pub fn hubbub() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_hubbub-loadtest")).with_file_name("hubbub");
    assert!(path.exists(), "{} is missing: build the whole workspace", path.display());
    path
}

/// A `program` that sees no setting but those that are added.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
        command.env_remove(name);
    }
    command
}

pub fn data(file: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/data").join(file);
    assert!(path.exists(), "{} is missing: `make demo-data` fetches it", path.display());
    path
}

/// An address that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the instance at `address`, which is `process`, wants traffic.
pub fn wait_until_ready(process: &mut Child, address: SocketAddr) {
    wait_until("it is ready", || {
        assert_eq!(process.try_wait().unwrap(), None, "it has ended instead");
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        let _ = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 200")
    });
}

/// Rows that were acknowledged so far, as `replay` has written them: in blocks, so somewhat fewer than there are.
pub fn acknowledged(record: &Path) -> usize {
    fs::read(record.join("published.ndjson")).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

pub fn lines(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// Every acknowledged row, at every subscriber, once and in the order of its channel's log; and nothing else.
pub fn check_record(record: &Path, rows: usize, subscribers: usize) {
    let mut logs: HashMap<String, BTreeMap<u64, u64>> = HashMap::new();
    let published = lines(&record.join("published.ndjson"));
    assert_eq!(published.len(), rows, "every row was acknowledged");
    for line in &published {
        let log = logs.entry(line["channel"].as_str().unwrap().to_owned()).or_default();
        assert_eq!(log.insert(line["seq"].as_u64().unwrap(), line["row"].as_u64().unwrap()), None, "two rows at one place");
    }
    for log in logs.values() {
        assert!(log.keys().copied().eq(1..=log.len() as u64), "a log without holes, and without rows that nobody was told of");
    }
    for number in 0..subscribers {
        let mut seen: HashMap<String, Vec<(u64, u64)>> = HashMap::new();
        for line in lines(&record.join(format!("subscriber-{number}.ndjson"))).iter().filter(|line| line["event"] == "entry") {
            let place = (line["seq"].as_u64().unwrap(), line["row"].as_u64().unwrap());
            seen.entry(line["channel"].as_str().unwrap().to_owned()).or_default().push(place);
        }
        assert_eq!(seen.len(), logs.len());
        for (channel, log) in &logs {
            assert!(seen[channel].iter().copied().eq(log.iter().map(|(seq, row)| (*seq, *row))), "{channel} at subscriber {number}");
        }
    }
}
