//! The JavaScript client (`client-sdk/typescript`): its types, and its own tests against the real server.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The file that takes longest, a minute. The other ones are one test here.
const END_TO_END: &str = "end-to-end.test.js";

fn module() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../client-sdk/typescript"))
}

/// Node, in the module's folder.
fn node() -> Command {
    let node = std::env::var("HUBBUB_TEST_NODE")
        .expect("HUBBUB_TEST_NODE is not set: `make test` gets the tools, and `.ci/services.sh COMMAND` names them");
    let mut command = Command::new(node);
    // No setting but the test's own.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUBBUB_")) {
        command.env_remove(name);
    }
    command.current_dir(module()).env("HUBBUB_BIN", env!("CARGO_BIN_EXE_hubbub")).stdin(Stdio::null());
    command
}

fn succeeds(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

#[test]
fn its_types_are_right() {
    succeeds(node().arg("node_modules/typescript/bin/tsc"));
}

#[test]
fn it_keeps_its_promises_end_to_end() {
    succeeds(node().args(["--test", "--test-reporter=spec"]).arg(module().join("test").join(END_TO_END)));
}

#[test]
fn its_other_tests_pass() {
    let files = fs::read_dir(module().join("test")).unwrap().map(|entry| entry.unwrap().path());
    let others =
        files.filter(|file| file.file_name().is_some_and(|name| name != END_TO_END && name.to_string_lossy().ends_with(".test.js")));
    succeeds(node().args(["--test", "--test-reporter=spec"]).args(others));
}
