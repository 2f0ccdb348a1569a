//! The OpenAPI document as a contract. A linter judges it, with every recommended rule; and schemathesis sends what it allows, and what it
//! forbids, to a server where there is something to find, and holds the answers against it.
//!
//! The short form is in every run of the tests. `make contract` sets `HUBBUB_TEST_CONTRACT_SECONDS`, and runs the long one: all phases, for
//! that long.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    accounts::{CHEAP, register, text},
    http::{Request, request},
    resources::{Person, person},
    support::{Pair, Server},
};

crate::on_local_pairs!(the_document_passes_the_linter, every_answer_of_json_has_an_example, every_answer_is_as_the_document_says);

/// Operations that show what was deleted, as deleted: a message keeps its place in the log, and a key its part in the audit log.
const SHOWN_DELETED: [&str; 2] = ["getMessage", "getApiKey"];
/// Cases of the short form, at least: what generates fewer has been told too little.
const CASES: u64 = 2_500;
/// Operations by which whoever asks loses the right to ask. Each has a user of its own.
const LAST_WORDS: [&str; 5] = ["logOut", "endSession", "endSessions", "changePassword", "deleteUser"];

/// That it is one of its schema, the linter says.
async fn every_answer_of_json_has_an_example(pair: Pair) {
    let server = pair.server().await;
    let document = request(server.address(), Request::get("/openapi.json")).await.json();
    let mut missing = Vec::new();
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().into_iter().flatten().filter(|(status, _)| status.starts_with('2')) {
                let json = &answer["content"]["application/json"];
                seen += usize::from(json.is_object());
                if json.is_object() && json["schema"].is_object() && json["example"].is_null() {
                    missing.push(format!("{method} {path} {status}: {}", json["schema"]));
                }
            }
        }
    }
    assert!(seen > 50 && missing.is_empty(), "{seen} answers, without an example:\n{}", missing.join("\n"));
}

/// A server with something to find, and the ways to it.
struct Place {
    server: Server,
    /// The owner of the instance.
    owner: Person,
    channels: Vec<String>,
    uploads: Vec<String>,
    keys: Vec<String>,
}

impl Place {
    async fn of(pair: Pair) -> Self {
        let settings = [
            CHEAP,
            &[
                "http.rate=0",
                "accounts.access_life=2h",
                "page.guests=on",
                "session.heartbeat=50ms",
                "namespaces.default.account_grants=subscribe,publish,history",
            ],
        ]
        .concat();
        let server = pair.server_with(&settings).await;
        let owner = person(&server, "owner").await;
        for login in ["ada", "bob"] {
            register(&server, login).await;
        }
        let mut place = Self { server, owner, channels: vec![], uploads: vec![], keys: vec![] };
        place.furnish().await;
        place
    }

    /// Something of everything that there can be.
    async fn furnish(&mut self) {
        let (server, owner) = (&self.server, &self.owner);
        let users: Value = owner.get(server, "/v1/users?filter=name:eq:ada").await.json();
        let ada = text(&users["items"][0]["id"]).to_owned();
        for title in ["Rust", "Tea"] {
            let made = owner.does(server, "POST", "/v1/channels", json!({ "title": title, "visibility": "public" }), 201).await.json();
            let name = text(&made["name"]).to_owned();
            let path = format!("/v1/channels/{name}");
            for number in 0..3 {
                owner.does(server, "POST", &format!("{path}/messages"), json!({ "payload": { "n": number } }), 201).await;
            }
            owner.does(server, "POST", &format!("{path}/members"), json!({ "user": ada }), 201).await;
            owner.does(server, "PUT", &format!("{path}/bans/mallory"), json!({ "reason": "noise" }), 201).await;
            self.channels.push(name);
        }
        self.channels.push("room:1".to_owned());
        owner.does(server, "POST", "/v1/channels/room:1/entries", json!({ "payload": 1 }), 201).await;
        let key = json!({ "name": "prices", "scopes": ["publish"], "channels": ["ticker:*"] });
        self.keys.push(text(&owner.does(server, "POST", "/v1/api-keys", key, 201).await.json()["id"]).to_owned());
        for name in ["notes.txt", "more.txt"] {
            let file = Request::of("POST", &format!("/v1/uploads?name={name}"), "what is in it").with_token(&owner.token);
            let made = request(server.address(), file.without("content-type").with("content-type", "text/plain")).await;
            assert_eq!(made.status, 201, "{}", made.body);
            self.uploads.push(text(&made.json()["id"]).to_owned());
        }
    }

    /// The document, as a file.
    async fn document(&self, folder: &Path) {
        let document = request(self.server.address(), Request::get("/openapi.json")).await;
        fs::write(folder.join("openapi.json"), document.body).unwrap();
    }

    /// What schemathesis is told: who asks, and what there is.
    async fn configuration(&self) -> String {
        let mut config = format!(
            "hooks = {:?}\nmax-stream-events = 2\nrequest-timeout = 20\n[headers]\nAuthorization = \"Bearer {}\"\n",
            kept("hooks.py"),
            self.owner.token
        );
        let users = ["ada", "bob", "mallory"].map(str::to_owned);
        let lists: [(&str, &str, &[String]); 4] = [
            ("path.channel", "channels", &self.channels),
            ("path.user", "users", &users),
            ("path.id", "uploads", &self.uploads),
            ("path.key", "keys", &self.keys),
        ];
        for (_, name, values) in &lists {
            write!(config, "[dictionaries.{name}]\nvalues = {values:?}\n").unwrap();
        }
        config += "[parameters]\n";
        for (parameter, name, _) in &lists {
            writeln!(config, "\"{parameter}\" = {{ dictionary = \"{name}\", probability = 0.7 }}").unwrap();
        }
        for (place, operation) in LAST_WORDS.iter().enumerate() {
            let token = text(&register(&self.server, &format!("last{place}")).await["access_token"]).to_owned();
            let headers = format!("headers = {{ Authorization = \"Bearer {token}\" }}");
            write!(config, "[[operations]]\ninclude-operation-id = \"{operation}\"\n{headers}\n").unwrap();
        }
        for operation in SHOWN_DELETED {
            write!(config, "[[operations]]\ninclude-operation-id = \"{operation}\"\nchecks.use_after_free.enabled = false\n").unwrap();
        }
        // 428 is what RFC 6585 has for a missing `If-Match`, and 410 is no less a refusal than 404.
        config
            + "[checks.missing_required_header]\nexpected-statuses = [400, 401, 403, 406, 415, 422, 428]\n"
            + "[checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 405, 406, 409, 410, 415, 422, 428, 429]\n"
    }
}

/// A file that goes with this test.
fn kept(name: &str) -> String {
    format!("{}/tests/conformance/contract/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A program that `make tools` gets.
fn tool(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: `make tools` gets what the contract is judged by, and `.ci/services.sh COMMAND` names it")
    })
}

/// Runs a program to its end: whether it is content, and what it says.
async fn run(mut command: Command) -> (bool, String) {
    // What names services to tests is nobody else's business.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    let output = running.await.unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), said)
}

async fn the_document_passes_the_linter(pair: Pair) {
    let (server, folder) = (pair.server().await, TempDir::new().unwrap());
    let place =
        Place { owner: Person { id: String::new(), token: String::new() }, server, channels: vec![], uploads: vec![], keys: vec![] };
    place.document(folder.path()).await;
    let mut command = Command::new(tool("HUBBUB_TEST_NODE"));
    command.arg(tool("HUBBUB_TEST_SPECTRAL")).args(["lint", "openapi.json", "--fail-severity=hint", "--ruleset", &kept("spectral.yaml")]);
    command.current_dir(folder.path());
    let (is_content, said) = run(command).await;
    assert!(is_content && said.contains("No results with a severity"), "{said}");
}

async fn every_answer_is_as_the_document_says(pair: Pair) {
    let (place, folder) = (Place::of(pair).await, TempDir::new().unwrap());
    place.document(folder.path()).await;
    fs::write(folder.path().join("schemathesis.toml"), place.configuration().await).unwrap();
    let program = tool("HUBBUB_TEST_SCHEMATHESIS");
    // By the environment's own interpreter: the script's first line names the folder in which it was installed, which may have moved.
    let mut command = Command::new(Path::new(&program).with_file_name("python"));
    command.arg(&program).args(["run", "openapi.json", "--url", &format!("http://{}", place.server.address()), "--no-color"]);
    // What is well-formed may be refused for what it says: an old password, a user who is not there.
    command.args(["--exclude-checks", "positive_data_acceptance", "--suppress-health-check", "all"]);
    command.args(["--report", "json", "--report-json-path", "report.json", "--continue-on-failure"]);
    match std::env::var("HUBBUB_TEST_CONTRACT_SECONDS") {
        Ok(seconds) => {
            command.args(["--phases", "examples,coverage,fuzzing,stateful", "--generation-database", "none", "--max-time", &seconds])
        }
        Err(_) => command.args(["--phases", "examples,coverage", "--seed", "1", "--generation-deterministic"]),
    };
    command.current_dir(folder.path());
    let (is_content, said) = run(command).await;
    assert!(is_content, "{said}");
    println!("{said}");
    let cases = said.lines().find_map(|line| line.trim().split_once(" generated, ")?.0.replace(',', "").parse().ok());
    assert!(cases.is_some_and(|cases: u64| cases >= CASES), "{CASES} cases at least: {said}");
}
