//! Three instances as processes with members on each, one of them killed: what `hubbub-loadtest presence` verifies must hold, and what
//! it prints can be read.

use std::process::Command;

#[test]
fn a_killed_instances_members_are_gone_within_a_lease_and_nobody_elses() {
    let output = Command::new(env!("CARGO_BIN_EXE_hubbub-loadtest")).args(["presence", "--members", "600"]).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    // A third of 600 users, and one who watches everywhere.
    assert!(said.contains("its 200 members were gone"), "{said}");
    assert!(said.contains("every list names exactly the 401 who live"), "{said}");
}
