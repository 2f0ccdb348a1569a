//! Autobahn's cases (RFC 6455, and what servers get wrong) against an echo behind the server's own WebSocket stack. Compression
//! (sections 12 and 13) is not offered. The reports are in `target/autobahn/index.html` afterwards.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::Deserialize;

/// The suite: Autobahn's case files, run natively. It needs Python 3.10 only to be installed.
const SUITE: &str = "kosoku";
const VERSION: &str = "0.1.0";
/// Cases of sections 1 to 7, 9 and 10.
const CASES: usize = 301;
/// A run takes five seconds; the suite itself waits without bound for a server that does not answer.
const DEADLINE: Duration = Duration::from_secs(120);
/// Case 6.4.3, for one, may be failed later than it could be; 7.13.1 asks what cannot be judged.
const GOOD: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

/// What the suite thinks of one case.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    /// Of what was said.
    behavior: String,
    /// Of how the connection ended.
    behavior_close: String,
}

#[test]
fn every_case_passes() {
    let target = target();
    let suite = suite(&target);
    let echo = Echo::start();
    let reports = target.join("autobahn");
    let _ = fs::remove_dir_all(&reports);
    // By the environment's own interpreter: the script's first line names the folder in which it was installed, which may have moved.
    let mut run = Command::new(suite.with_file_name("python"));
    run.arg(&suite).arg(&echo.address).args(["--parallelism", "4", "--exclude", "12.*", "--exclude", "13.*", "--outdir"]).arg(&reports);
    let (done, run_is) = mpsc::channel();
    thread::spawn(move || done.send(run.output()));
    // Judged by its report: its exit code says nothing of how connections ended.
    let run = run_is.recv_timeout(DEADLINE).expect("the suite waits for the echo for ever").expect("the suite has been installed");

    let index = fs::read(reports.join("index.json")).unwrap_or_else(|error| panic!("the suite wrote no report ({error}): {run:?}"));
    let agents: HashMap<String, BTreeMap<String, Verdict>> = serde_json::from_slice(&index).expect("a map from agent to case to verdict");
    let verdicts: BTreeMap<_, _> = agents.into_values().flatten().collect();
    let failed: Vec<_> = verdicts.iter().filter(|(_, verdict)| !verdict.is_good()).collect();
    assert!(failed.is_empty(), "{} of {} cases failed, see {}: {failed:#?}", failed.len(), verdicts.len(), reports.display());
    assert!(verdicts.len() >= CASES, "only {} of {CASES} cases ran: {run:?}", verdicts.len());
}

impl Verdict {
    fn is_good(&self) -> bool {
        [&self.behavior, &self.behavior_close].into_iter().all(|verdict| GOOD.contains(&verdict.as_str()))
    }
}

/// The running example. It ends with this.
struct Echo {
    process: Child,
    address: String,
}

impl Echo {
    fn start() -> Self {
        let example = profile().join("examples/echo");
        let mut process = Command::new(&example)
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `cargo build -p hubbub-server --example echo` makes it", example.display()));
        let mut address = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut address).expect("the echo says where it listens");
        Self { process, address: address.trim().to_owned() }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `target/debug`, say: cargo puts tests into its `deps` and examples into its `examples`.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    test.ancestors().nth(2).expect("this test is in `deps`").to_owned()
}

fn target() -> PathBuf {
    profile().parent().expect("a profile is in a target directory").to_owned()
}

/// The suite's program; installed once, into a virtual environment in the target directory.
fn suite(target: &Path) -> PathBuf {
    let tools = target.join("tools").join(SUITE);
    let home = tools.join(VERSION);
    let program = home.join("bin").join(SUITE);
    fs::create_dir_all(&tools).expect("the target directory can be written");
    let lock = File::create(tools.join("lock")).expect("the target directory can be written");
    lock.lock().expect("one process installs at a time");
    if !program.exists() {
        println!("installing {SUITE} {VERSION} from PyPI into {}", home.display());
        python(Path::new("python3"), ["-m", "venv", "--clear"].map(OsStr::new).into_iter().chain([home.as_os_str()]));
        let requirement = format!("{SUITE}=={VERSION}");
        let install = ["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", &requirement];
        python(&home.join("bin/python"), install.map(OsStr::new));
    }
    program
}

fn python<'a>(python: &Path, arguments: impl IntoIterator<Item = &'a OsStr>) {
    let needs = "this test needs python3 (3.10 or newer) with venv and pip, which `make test` installs, and PyPI";
    match Command::new(python).args(arguments).status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{} failed ({status}): {needs}", python.display()),
        Err(error) => panic!("{} cannot be run ({error}): {needs}", python.display()),
    }
}
