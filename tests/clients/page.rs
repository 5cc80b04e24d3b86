//! The home page in a real browser: runs the tests of `tests/page` against the built server.

use std::{path::Path, process::Command};

#[test]
fn the_page_works_in_a_browser() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page");
    assert!(folder.join("node_modules").is_dir(), "the browser tests need their packages: run scripts/test");
    let status = Command::new("node")
        // Two files at a time: they wait more than they work.
        .args(["--test", "--test-concurrency=2", "--test-reporter=spec"])
        .current_dir(folder)
        .env("PROPROMO_CHAT_BIN", env!("CARGO_BIN_EXE_propromo-chat"))
        .status()
        .expect("node can be started: scripts/test installs it");
    assert!(status.success(), "the browser tests failed, see above");
}
