//! The command line, as a newcomer uses it: every command as a process of its own.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder to work in, and a port.
struct Place {
    dir: TempDir,
    address: String,
}

/// Killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Self { dir: TempDir::new().unwrap(), address }
    }

    fn hubbub(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
        // No setting but the test's own.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("HUBBUB_HTTP__LISTEN", &self.address)
            .env("HUBBUB_URL", format!("ws://{}", self.address));
        command
    }

    fn serve(&self) -> Running {
        let running = Running(self.hubbub(&["serve"]).stderr(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while std::net::TcpStream::connect(&self.address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        running
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.hubbub(arguments).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

fn stderr(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn from_a_token_to_two_terminals_that_talk() {
    let place = Place::new();
    let _server = place.serve();
    let token = stdout(&place.run(&["token", "--user", "alice"]));
    let secret = std::fs::metadata(place.dir.path().join("hubbub.db.secret")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600, "the secret is its owner's");
    let mut tail = Running(
        place
            .hubbub(&["tail", "room:1", "--since", "0:0", "--count", "2"])
            .env("HUBBUB_TOKEN", &token)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(tail.0.stdout.take().unwrap()).lines();
    for n in 1..=2 {
        let text = format!("{{\"text\":\"hello {n}\"}}");
        let published: Value = serde_json::from_str(&stdout(
            &place.hubbub(&["publish", "room:1", &text, "--key", "k"]).env("HUBBUB_TOKEN", &token).output().unwrap(),
        ))
        .unwrap();
        assert_eq!(published["seq"], n);
        let entry: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&entry["seq"], &entry["publisher"], &entry["key"]), (&n.into(), &"alice".into(), &"k".into()));
        assert_eq!(entry["payload"]["text"], format!("hello {n}"));
        assert_eq!(entry["message_id"], published["message_id"]);
    }
    assert!(tail.0.wait().unwrap().success(), "it ends after --count");
}

#[test]
fn what_is_wrong_is_said() {
    let place = Place::new();
    let _server = place.serve();
    let reader = stdout(&place.run(&["token", "--user", "bob", "--grant", "room:*=subscribe"]));
    let refused = place.run(&["publish", "room:1", "1", "--token", &reader]);
    assert!(stderr(&refused).contains("grants"), "{}", stderr(&refused));
    let bad = place.run(&["publish", "room:1", "1", "--token", "nonsense"]);
    let message = stderr(&bad);
    assert!(message.contains("token") && !message.contains("nonsense"), "{message}");
    assert!(stderr(&place.run(&["publish", "room:1", "hello", "--token", &reader])).contains("JSON"));
    assert!(stderr(&place.run(&["token", "--user", ""])).contains("1 to 128 bytes"), "{}", stderr(&place.run(&["token", "--user", ""])));
}

#[test]
fn the_configuration_is_checked_whole() {
    let place = Place::new();
    let file = place.dir.path().join("hubbub.toml");
    std::fs::write(&file, "[http]\nlisten = \"nowhere\"\n[session]\nheartbeet = \"25s\"\n[channel]\npayload = \"1GiB\"\n").unwrap();
    let message =
        stderr(&place.hubbub(&["config", "check", "--config", "hubbub.toml"]).env_remove("HUBBUB_HTTP__LISTEN").output().unwrap());
    for mistake in ["http.listen", "session.heartbeet", "channel.payload"] {
        assert!(message.contains(mistake), "{mistake} is not in\n{message}");
    }
    let message = stdout(&place.run(&["config", "check"]));
    assert!(message.contains(&place.address), "{message}");
    let defaults = stdout(&place.run(&["config", "defaults"]));
    assert!(defaults.contains("[http]"));
    std::fs::write(&file, defaults).unwrap();
    stdout(&place.run(&["config", "check", "--config", "hubbub.toml"]));
}

#[test]
fn the_schema_goes_up_and_down_but_not_under_a_server() {
    let place = Place::new();
    let newest = stdout(&place.run(&["migrate"]));
    assert!(newest.contains("version ") && !newest.contains("version 0"), "{newest}");
    assert!(stdout(&place.run(&["migrate", "--down-to", "0"])).contains("version 0"));
    let _server = place.serve();
    assert!(stderr(&place.run(&["migrate", "--down-to", "0"])).contains("another instance"));
}

#[test]
fn an_explanation_says_so_of_a_user_who_is_not_there() {
    let place = Place::new();
    let _server = place.serve();
    let nobody = stdout(&place.run(&["explain", "access", "nobody", "publish", "room:1"]));
    assert!(nobody.contains("note: no user has this id"), "{nobody}");
    let body = r#"{"login": "ada", "password": "correct horse battery"}"#;
    let mut stream = TcpStream::connect(&place.address).unwrap();
    let about = format!("host: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    write!(stream, "POST /v1/accounts HTTP/1.1\r\n{about}\r\n\r\n{body}").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let login = stdout(&place.run(&["explain", "access", "ada", "publish", "room:1"]));
    let (_, id) = login.split_once("`ada` is the login of ").unwrap();
    let known = stdout(&place.run(&["explain", "access", id.trim(), "publish", "room:1"]));
    assert!(!known.contains("note:"), "{known}");
}

#[test]
fn an_operator_blocks_a_user_while_the_server_runs() {
    let place = Place::new();
    let _server = place.serve();
    let token = stdout(&place.run(&["token", "--user", "mallory"]));
    let publish = || place.hubbub(&["publish", "room:1", "1"]).env("HUBBUB_TOKEN", &token).output().unwrap();
    stdout(&publish());
    let explain = || stdout(&place.run(&["explain", "access", "mallory", "publish", "room:1", "--grant", "room:*=publish"]));
    assert!(explain().starts_with("mallory may publish room:1\n") && explain().contains("the token grants `publish`"), "{}", explain());
    assert_eq!(stdout(&place.run(&["users", "block", "mallory"])), "mallory is blocked");
    let begun = Instant::now();
    while publish().status.success() {
        assert!(begun.elapsed() < Duration::from_secs(20), "a blocked user publishes");
    }
    assert!(stderr(&publish()).contains("revoked"), "{}", stderr(&publish()));
    assert!(explain().starts_with("mallory may not publish room:1: revoked\n") && explain().contains("blocked"), "{}", explain());
    assert_eq!(stdout(&place.run(&["users", "role", "mallory", "guest"])), "mallory is guest");
    let listed: Value = serde_json::from_str(&stdout(&place.run(&["users", "list"]))).unwrap();
    assert_eq!((&listed["id"], &listed["role"], listed["blocked_at"].is_u64()), (&"mallory".into(), &"guest".into(), true));
    assert_eq!(stdout(&place.run(&["users", "unblock", "mallory"])), "mallory is not blocked");
    let begun = Instant::now();
    while !publish().status.success() {
        assert!(begun.elapsed() < Duration::from_secs(20), "somebody who is let in again cannot publish");
    }
    assert!(!place.run(&["users", "role", "mallory", "emperor"]).status.success());
    assert!(stderr(&place.run(&["users", "block", ""])).contains("1 to 128 bytes"));
}
