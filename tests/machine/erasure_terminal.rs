//! `account remove`, `account erase` and `monitor remove` for whoever sits at a terminal: the question, and how far it is.

use serde_json::json;
use support::{ALICE, BOB, DEMO, Server, server::Setup, terminal::Terminal};

/// More than are erased in one go.
const SAID: usize = 200;

/// What Alice has said in the lobby is stored, and nobody serves it.
fn said() -> Setup {
    let mut server = Server::with().env("MESSAGE_RATE", "0").start();
    let mut alice = server.channel(ALICE, "lobby");
    for n in 0..SAID {
        alice.ask(json!({"type": "message", "text": format!("number {n}")}));
    }
    while alice.wait_for("message")["text"] != format!("number {}", SAID - 1) {}
    server.channel(BOB, DEMO).post("in the monitor's room");
    server.terminate();
    server.setup().clone()
}

#[test]
fn whoever_removes_an_account_is_asked_what_becomes_of_its_messages() {
    let setup = said();
    let question = format!("What becomes of what {} has said? Type `erase` or `keep`: ", ALICE.email);
    let mut unsure = Terminal::run(&setup, &["account", "remove", ALICE.email]);
    unsure.shows(&question);
    unsure.answer("yes");
    unsure.shows("nothing was changed");
    assert_eq!(unsure.ends(), 1);
    let mut sure = Terminal::run(&setup, &["account", "remove", ALICE.email]);
    sure.shows(&question);
    sure.answer(" Erase");
    sure.shows(&format!("{SAID} messages erased\r\n"));
    assert_eq!(sure.ends(), 0);
    let mut kept = Terminal::run(&setup, &["account", "remove", BOB.email]);
    kept.shows(&format!("What becomes of what {} has said? ", BOB.email));
    kept.answer("keep");
    kept.shows("its messages stay");
    assert_eq!(kept.ends(), 0);
}

#[test]
fn whoever_removes_a_monitor_is_asked_what_becomes_of_its_messages() {
    let setup = said();
    let question = format!("What becomes of what was said in {DEMO}? Type `erase` or `keep`: ");
    let mut unsure = Terminal::run(&setup, &["monitor", "remove", DEMO]);
    unsure.shows(&question);
    unsure.answer("");
    unsure.shows("nothing was changed");
    assert_eq!(unsure.ends(), 1);
    let mut sure = Terminal::run(&setup, &["monitor", "remove", DEMO]);
    sure.shows(&question);
    sure.answer("keep");
    sure.shows("its messages are kept where no other monitor shows them");
    assert_eq!(sure.ends(), 0);
}

#[test]
fn a_bar_says_how_far_an_erasure_is() {
    let setup = said();
    let mut erasing = Terminal::run(&setup, &["account", "erase", ALICE.email]);
    erasing.shows("is erased, and can't be brought back. Type `erase`: ");
    erasing.answer("erase");
    erasing.shows(&format!("[{}]   0 %, 0 of {SAID} messages erased", " ".repeat(30)));
    // It makes room for what is said in the end.
    erasing.shows(&format!("\r\x1b[K{SAID} messages erased\r\n"));
    assert_eq!(erasing.ends(), 0);
}

#[test]
fn a_bar_says_how_far_the_server_is() {
    let server = said().without_demo().start();
    let mut erasing = Terminal::run(server.setup(), &["account", "erase", ALICE.email]);
    erasing.shows("Type `erase`: ");
    erasing.answer("erase");
    erasing.shows(&format!("] {:>3} %, ", 0));
    erasing.shows(&format!(" of {SAID} messages erased"));
    erasing.shows(&format!("\r\x1b[K{SAID} messages erased\r\n"));
    assert_eq!(erasing.ends(), 0);
}
