//! `account remove`, `account erase` and `monitor remove` for whoever sits at a terminal: the question, and how far it is.

use rexpect::{
    process::WaitStatus,
    session::{PtySession, spawn_command},
};
use serde_json::json;
use std::process::Stdio;
use support::{ALICE, BOB, DEMO, PATIENCE, Server, server::Setup};

/// More than are erased in one go.
const SAID: usize = 200;

fn at_terminal(setup: &Setup, arguments: &[&str]) -> PtySession {
    let mut command = setup.command(arguments);
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    spawn_command(command, Some(PATIENCE.as_millis() as u64)).expect("a pseudo-terminal")
}

#[track_caller]
fn shows(session: &mut PtySession, text: &str) -> String {
    session.exp_string(text).unwrap_or_else(|error| panic!("{text:?} is not shown: {error}"))
}

fn answer(session: &mut PtySession, text: &str) {
    session.send_line(text).expect("the terminal takes input");
}

/// Waits for the end, and answers with which code.
#[track_caller]
fn ends(session: &mut PtySession) -> i32 {
    session.exp_eof().expect("the command ends");
    match session.process_mut().wait().expect("the command can be waited for") {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

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
    let mut unsure = at_terminal(&setup, &["account", "remove", ALICE.email]);
    shows(&mut unsure, &question);
    answer(&mut unsure, "yes");
    shows(&mut unsure, "nothing was changed");
    assert_eq!(ends(&mut unsure), 1);
    let mut sure = at_terminal(&setup, &["account", "remove", ALICE.email]);
    shows(&mut sure, &question);
    answer(&mut sure, " Erase");
    shows(&mut sure, &format!("{SAID} messages erased\r\n"));
    assert_eq!(ends(&mut sure), 0);
    let mut kept = at_terminal(&setup, &["account", "remove", BOB.email]);
    shows(&mut kept, &format!("What becomes of what {} has said? ", BOB.email));
    answer(&mut kept, "keep");
    shows(&mut kept, "its messages stay");
    assert_eq!(ends(&mut kept), 0);
}

#[test]
fn whoever_removes_a_monitor_is_asked_what_becomes_of_its_messages() {
    let setup = said();
    let question = format!("What becomes of what was said in {DEMO}? Type `erase` or `keep`: ");
    let mut unsure = at_terminal(&setup, &["monitor", "remove", DEMO]);
    shows(&mut unsure, &question);
    answer(&mut unsure, "");
    shows(&mut unsure, "nothing was changed");
    assert_eq!(ends(&mut unsure), 1);
    let mut sure = at_terminal(&setup, &["monitor", "remove", DEMO]);
    shows(&mut sure, &question);
    answer(&mut sure, "keep");
    shows(&mut sure, "its messages are kept where no other monitor shows them");
    assert_eq!(ends(&mut sure), 0);
}

#[test]
fn a_bar_says_how_far_an_erasure_is() {
    let setup = said();
    let mut erasing = at_terminal(&setup, &["account", "erase", ALICE.email]);
    shows(&mut erasing, "is erased, and can't be brought back. Type `erase`: ");
    answer(&mut erasing, "erase");
    shows(&mut erasing, &format!("[{}]   0 %, 0 of {SAID} messages erased", " ".repeat(30)));
    // It makes room for what is said in the end.
    shows(&mut erasing, &format!("\r\x1b[K{SAID} messages erased\r\n"));
    assert_eq!(ends(&mut erasing), 0);
}

#[test]
fn a_bar_says_how_far_the_server_is() {
    let server = said().without_demo().start();
    let mut erasing = at_terminal(server.setup(), &["account", "erase", ALICE.email]);
    shows(&mut erasing, "Type `erase`: ");
    answer(&mut erasing, "erase");
    shows(&mut erasing, &format!("] {:>3} %, ", 0));
    shows(&mut erasing, &format!(" of {SAID} messages erased"));
    shows(&mut erasing, &format!("\r\x1b[K{SAID} messages erased\r\n"));
    assert_eq!(ends(&mut erasing), 0);
}
