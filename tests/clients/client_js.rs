//! The client for browsers and Node (`clients/js`): its own tests, against the built server.

use std::process::Command;
use support::repository;

#[test]
fn the_client_for_node_works() {
    assert!(repository().join("tests/clients/node_modules/ws").is_dir(), "its tests need packages: run scripts/test");
    let status = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .current_dir(repository().join("clients/js"))
        .env("PROPROMO_CHAT_BIN", support::binary())
        .status()
        .expect("node can be started: scripts/test installs it");
    assert!(status.success(), "its tests failed, see above");
}
