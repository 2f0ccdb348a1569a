//! A scenario is a Node process that drives the browser. What it prints is the test's output, except for its requests, lines that begin
//! with `?`; each is answered with one line. It ends by itself, or when its standard input does.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    door::Door,
    place::{Place, tool},
};

/// For a whole scenario, which takes some ten to thirty seconds. Below what `.config/nextest.toml` allows.
const LIMIT: Duration = Duration::from_secs(120);
/// For whatever it started to be gone after its end.
const CLEARING: Duration = Duration::from_secs(10);

/// Plays `scenarios/SCRIPT` on a place of its own, behind this door.
///
/// # Panics
/// It failed, took too long, or left a process behind.
pub fn play(script: &str, door: Door, arguments: &[&str]) {
    let mut place = Place::new();
    let way = door.open(&place);
    // Chromium keeps its profile here, and all that a scenario starts stays in it.
    let stage = place.dir().canonicalize().unwrap().join("stage");
    fs::create_dir(&stage).unwrap();
    let node = Command::new(tool("HUBBUB_TEST_NODE"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/scenarios").join(script))
        .args(arguments)
        .current_dir(&stage)
        .env("TMPDIR", &stage)
        .env("HOME", &stage)
        .env("SCENARIO_URL", format!("http://{}", way.address))
        .env("SCENARIO_OUTPUT", output())
        .env("SCENARIO_DATA", data())
        .env("HUBBUB_TEST_CHROMIUM", tool("HUBBUB_TEST_CHROMIUM"))
        .env("HUBBUB_TEST_PLAYWRIGHT", tool("HUBBUB_TEST_PLAYWRIGHT"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let scenario = Scenario::of(node);
    let outcome = scenario.run(&mut place);
    let left = left_behind(&stage);
    assert!(left.is_empty(), "{script} left processes behind: {left:?}");
    if let Err(why) = outcome {
        panic!("{script} {arguments:?} {why}");
    }
}

/// Killed when dropped, if it has not ended.
struct Scenario {
    node: Child,
    lines: Receiver<String>,
}

impl Scenario {
    fn of(mut node: Child) -> Self {
        let printed = BufReader::new(node.stdout.take().expect("it is piped"));
        let (line, lines) = mpsc::channel();
        thread::spawn(move || printed.lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        Self { node, lines }
    }

    /// Answers it until it has ended.
    ///
    /// # Errors
    /// What went wrong.
    fn run(mut self, place: &mut Place) -> Result<(), String> {
        let mut stdin = self.node.stdin.take().expect("it is piped");
        let begun = Instant::now();
        loop {
            match self.lines.recv_timeout(LIMIT.saturating_sub(begun.elapsed())) {
                Ok(line) => match line.strip_prefix('?') {
                    Some(request) => {
                        let answer = answer(request.trim(), place);
                        // If it has ended meanwhile, its exit code says why.
                        let _ = writeln!(stdin, "{answer}");
                    }
                    None => println!("{line}"),
                },
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    drop(stdin);
                    while let Ok(line) = self.lines.recv_timeout(CLEARING) {
                        println!("{line}");
                    }
                    return Err(format!("did not end within {LIMIT:?}"));
                }
            }
        }
        let status = self.node.wait().unwrap();
        if status.success() { Ok(()) } else { Err(format!("failed: {status}")) }
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// Does what a scenario asks for.
fn answer(request: &str, place: &mut Place) -> String {
    let words: Vec<_> = request.split_whitespace().collect();
    match words[..] {
        ["kill"] => place.kill(),
        ["start"] => place.start(),
        ["token", user, seconds] => return place.token(user, seconds.parse().expect("seconds are a number")),
        _ => panic!("no scenario can ask for {request:?}"),
    }
    "done".to_owned()
}

/// The processes that work in this folder, or below, and do not end.
fn left_behind(folder: &Path) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let left = working_in(folder);
        if left.is_empty() || begun.elapsed() > CLEARING {
            return left;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn working_in(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux lists processes").flatten().map(|entry| entry.path());
    let inside = processes.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)));
    inside.map(|process| fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " ")).collect()
}

/// The folder for screenshots: `screenshots` in the target directory.
fn output() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let target = test.ancestors().nth(3).expect("this test is in `deps` of a profile");
    target.join("screenshots")
}

/// Where `make demo-data` puts real data.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/data")
}
