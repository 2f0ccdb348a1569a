//! `rest` and `export` with servers as processes: everything is answered as it should be, and the tables can be read.

use std::process::{Command, Output};

fn loadtest(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hubbub-loadtest")).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_kind_of_request_is_answered_by_both_servers() {
    let few = ["--runs", "1", "--duration", "300ms", "--warmup", "50ms", "--connections", "4", "--channels", "3", "--messages", "25"];
    let output = loadtest(&[&["rest", "--pair", "local-sqlite,local-postgres"][..], &few].concat());
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for kind in ["read", "read-unchanged", "write", "mixed"] {
        for pair in ["local-sqlite", "local-postgres"] {
            let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
            let number = |row: &[&str], place: usize| row[place].parse::<f64>().unwrap();
            let hubbub = rows.iter().find(|row| row.len() == 11 && row[1..3] == [kind, pair]).unwrap_or_else(|| panic!("{kind}: {text}"));
            let bare = rows.iter().find(|row| row.len() == 11 && row[1..3] == [kind, "bare"]).unwrap_or_else(|| panic!("{kind}: {text}"));
            assert!(number(hubbub, 3) > 1.0 && number(bare, 3) > 1.0, "{text}");
            // The bodies are alike: what differs is in the heads.
            assert!((number(hubbub, 9) - number(bare, 9)).abs() < 600.0, "{kind}: {text}");
            let ratio = rows.iter().find(|row| row.starts_with(&[kind, pair, "requests/s", "/", "bare"]));
            assert!(ratio.is_some_and(|row| number(row, 5) > 0.0), "{text}");
        }
    }
}

#[test]
fn a_list_is_exported_whole() {
    let output = loadtest(&["export", "--rows", "3000", "--pair", "local-sqlite,local-postgres", "--within", "4000"]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("local-")).count(), 6, "{text}");
}

#[test]
fn more_memory_than_is_allowed_is_a_failure() {
    let output = loadtest(&["export", "--rows", "1000", "--list", "audit-csv", "--within", "1"]);
    assert!(!output.status.success() && text(&output).contains("which is more than 1 MiB"), "{}", text(&output));
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    for (args, reason) in [
        (&["rest", "--limit", "20", "--messages", "10"][..], "needs --messages 20"),
        (&["rest", "--rate", "0"], "not a number of requests a second"),
        (&["rest", "--kind", "everything"], "read-unchanged"),
        (&["rest", "--server-core", "1", "--generator-core", "1"], "a core each"),
        (&["export", "--rows", "0"], "0 is not in 1..=100000000"),
    ] {
        let output = loadtest(args);
        assert!(!output.status.success() && text(&output).contains(reason), "{args:?}: {}", text(&output));
    }
}
