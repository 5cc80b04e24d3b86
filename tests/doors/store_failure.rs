//! A store that does not answer: said plainly, to whom it concerns, and over as soon as the store is back.

use serde_json::Value;
use support::{
    ALICE, BOB, Client, DEMO, HASHED_SEGMENT, Server, eventually,
    faults::{self, Held, SMALL_JOURNAL, hold_log},
};

#[test]
fn only_the_sender_is_told_that_a_message_could_not_be_stored() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    alice.say_and_hear("before");
    bob.hear_message();

    faults::fill_disk(&server);
    alice.say("lost");
    let error: Value = serde_json::from_str(&alice.hear()).expect("the error is JSON");
    let mut names: Vec<_> = error.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["message", "reason", "success"]);
    assert_eq!((&error["success"], &error["reason"]), (&Value::Bool(false), &"unavailable".into()));
    server.logs(&["store messages", "File too large"]);
    assert!(!server.log().contains("lost\""), "the text of a message is in the log");
    faults::free_disk(&server);

    // She is still connected, and bob hears nothing of what was lost.
    let after = alice.say_and_hear("after");
    assert_eq!(bob.hear_message(), after);
    let mut late = server.join(BOB, DEMO);
    assert_eq!([(); 2].map(|()| late.hear_message().text), ["before", "after"]);
}

#[test]
fn a_database_that_is_held_delays_nobody() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("ADMIN_LISTEN", "127.0.0.1:0").start();
    let mut alice = server.join(ALICE, DEMO);
    let mut said = vec![alice.say_and_hear("before")];
    let held = Held::file(&server, "log.db");
    said.extend((0..500).map(|n| alice.say_and_hear(&n.to_string())));
    let mut late = server.join(BOB, DEMO);
    // The newest hundred, as if the tables had them.
    for said in &said[401..] {
        assert_eq!(late.hear_message(), *said);
    }
    let figure = |name: &str| server.sample(name).unwrap_or_else(|| panic!("/metrics has no {name}"));
    assert!(figure("propromo_chat_journal_bytes") > 100_000.0);
    assert_eq!(figure("propromo_chat_journal_max_bytes"), 67_108_864.0);
    assert!(figure("propromo_chat_journal_lag_seconds") > 0.0);
    held.release();
    eventually("the tables have taken it over", || figure("propromo_chat_journal_bytes") == 0.0);
    assert_eq!(figure("propromo_chat_journal_lag_seconds"), 0.0);
    assert!(figure("propromo_chat_journal_apply_seconds_count") > 0.0);
}

#[test]
fn a_short_wait_for_the_store_loses_nothing() {
    let server = Server::with().env("JOURNAL_MAX", SMALL_JOURNAL).start();
    // In a small room it is alice's own thread that waits for the store, and hears no ping meanwhile.
    let _crowd: Vec<_> = (0..16).map(|_| server.join(BOB, DEMO)).collect();
    let mut alice = server.join(ALICE, DEMO);
    let mut filler = server.join(BOB, HASHED_SEGMENT);
    let held = hold_log(&server.data_dir(), &mut filler);
    alice.say("patient");
    // A pong shows that the message before it has been taken up.
    alice.say(r#"propromo.chat({event:"ping",action:"pong"})"#);
    assert_eq!(alice.hear(), "pong");
    held.release();
    assert_eq!(alice.hear_message().text, "patient");
}

#[test]
fn nobody_is_let_in_unchecked_and_no_token_is_spent_while_the_ledger_does_not_answer() {
    let server = Server::start();
    let mut inside = server.join(BOB, DEMO);
    let token = server.token(ALICE);
    let path = format!("/chat/demo?auth={token}");

    let held = Held::file(&server, "ledger.db");
    let refusal = server.refused(&path, &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (503, "unavailable"));
    assert!(refusal.header("retry-after").is_some(), "{:?}", refusal.headers);
    server.logs(&["unavailable", "127.0.0.1"]);
    inside.say_and_hear("those inside go on");
    held.release();

    eventually("the same token gets in", || Client::try_open(server.address, &path, &[]).is_ok());
    assert_eq!(server.refused(&path, &[]).reason(), "token_used", "and only once");
}

#[test]
fn a_login_needs_no_write_to_the_account_store() {
    let server = Server::start();
    let held = Held::file(&server, "chat.db");
    assert_eq!(server.login(ALICE).status, 200);
    held.release();
}
