//! All attacks at once, for some seconds: `scripts/attack` with times that hold on a machine that is busy with other tests.

use std::process::Command;
use support::{binary, repository};

/// How much longer than promised things may take here: this build is not optimized, and other tests run beside it.
const PATIENCE: &str = "30";

// What stops each attack alone has a test of its own that was seen to fail; this one was with no patience at all: then
// chat and logins are late.
#[test]
fn a_mixed_attack_from_400_addresses_and_one_account_breaks_no_promise() {
    let attack = Command::new("python3")
        .arg(repository().join("scripts/attack"))
        .args(["20", "--patience", PATIENCE, "--server"])
        .arg(binary())
        .output()
        .expect("python3 can be started");
    let told = String::from_utf8_lossy(&[attack.stdout, attack.stderr].concat()).into_owned();
    assert!(attack.status.success(), "{told}");
    assert!(told.contains("all promises hold") && told.matches("  held  ").count() == 6, "{told}");
}
