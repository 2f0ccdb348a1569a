//! `fanout` and `idle` over every transport, with a server as a process: everything arrives, once, and the table can be read.

use std::process::{Command, Output};

const TRANSPORTS: [&str; 4] = ["websocket", "sse", "eventsource", "polling"];

fn loadtest(mode: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub-loadtest"));
    let output = command.args([mode, "--transport", &TRANSPORTS.join(",")]).args(args).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

/// The table's rows of `server`, as words.
fn rows(output: &Output, server: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    words.filter(|words| words.iter().take(2).any(|word| word == server)).collect()
}

#[test]
fn every_delivery_arrives_over_every_transport() {
    let args = ["--subscribers", "40", "--rate", "25", "--duration", "2s", "--warmup", "200ms", "--pairs", "1", "--durable"];
    let output = loadtest("fanout", &args);
    for transport in TRANSPORTS {
        let rows = rows(&output, transport);
        let [_, _, _, _, _, _, expected, received] = &rows[0][..] else { panic!("{rows:?}") };
        assert_eq!(expected, received);
        assert!(expected.parse::<u64>().unwrap() >= 40 * 10, "{rows:?}");
        assert!(rows.iter().any(|row| row[1..3] == ["/", "floor"]), "{rows:?}");
        // Of a durable channel each event is followed by where it stands, unless two were written at once.
        let ids = rows.iter().find(|row| row[1] == "ids/delivery").map(|row| row[2].parse::<f64>().unwrap());
        assert_eq!(ids.is_some_and(|ids| (0.5..=1.0).contains(&ids)), transport == "eventsource", "{transport}: {ids:?}");
    }
}

#[test]
fn idle_connections_are_weighed_over_every_transport() {
    let output = loadtest("idle", &["--from", "20", "--to", "60", "--settle", "300ms"]);
    for transport in TRANSPORTS {
        let rows = rows(&output, transport);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0][1], "60");
        assert!(rows[0][5].parse::<f64>().unwrap() > 0.0, "{rows:?}");
    }
}
