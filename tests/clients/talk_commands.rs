//! What one can do at a terminal besides talking: answer, change, take back, search, go to another room.

use super::talk_terminal::{at_terminal, ends, in_room, shows, types};
use rexpect::session::PtySession;
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use support::{ALICE, BOB, CAROL, Client, DEMO, Server, eventually};

/// The message with this text, as others hear it.
#[track_caller]
fn hears(client: &mut Client, text: &str) -> Value {
    loop {
        let message = client.wait_for("message");
        if message["text"] == text {
            return message;
        }
    }
}

#[test]
fn messages_are_answered_changed_and_taken_back() {
    let server = Server::start();
    let mut bob = server.channel(BOB, DEMO);
    let mut alice = at_terminal(&server, ALICE, true);
    shows(&mut alice, "people are here");
    let first = bob.post("one")["id"].clone();
    shows(&mut alice, "#1 Bob Demo  one");
    let second = bob.post("two")["id"].clone();
    shows(&mut alice, "#2 Bob Demo  two");

    types(&mut alice, "/reply to the last");
    assert_eq!(hears(&mut bob, "to the last")["reply_to"], second);
    types(&mut alice, "/reply #1 to the first");
    assert_eq!(hears(&mut bob, "to the first")["reply_to"], first);

    // Typed at once: each is about what was said before it, confirmed or not.
    types(&mut alice, "helo\n/edit hello");
    let mine = hears(&mut bob, "helo")["id"].clone();
    let edited = bob.wait_for("edited");
    assert_eq!((&edited["id"], &edited["text"]), (&mine, &json!("hello")));
    shows(&mut alice, "you changed #5: hello");
    types(&mut alice, "/delete");
    shows(&mut alice, "this deletes “hello” for everybody");
    types(&mut alice, "/delete");
    assert_eq!(bob.wait_for("deleted")["id"], mine);
    shows(&mut alice, "you deleted #5");

    types(&mut alice, "/edit #1 not mine");
    shows(&mut alice, "not changed: “not mine”");
    types(&mut alice, "/reply #99 to nobody");
    shows(&mut alice, "there is no message #99 here");
    types(&mut alice, "/edit");
    shows(&mut alice, "/edit TEXT changes your last message");
    types(&mut alice, "/hwo");
    shows(&mut alice, "did you mean /who?");
    bob.ask(json!({"type": "edit", "id": first, "text": "uno"}));
    shows(&mut alice, "Bob Demo changed #1: uno");
    bob.ask(json!({"type": "message", "text": "an answer", "reply_to": first}));
    shows(&mut alice, "Bob Demo ↳ #1  an answer");
    types(&mut alice, "/quit");
}

#[test]
fn a_terminal_rings_when_one_is_named() {
    let server = Server::start();
    let mut bob = server.channel(BOB, DEMO);
    bob.post("@alice was named before");
    let mut alice = at_terminal(&server, ALICE, true);
    let before = shows(&mut alice, "people are here");
    assert!(!before.contains('\x07'), "{before:?}");
    bob.say("nobody is named");
    bob.say("look, @alice!");
    bob.say("after");
    let quiet = shows(&mut alice, "look, @alice!");
    assert!(!quiet.contains('\x07'), "{quiet:?}");
    let rung = shows(&mut alice, "after");
    assert!(rung.contains('\x07'), "{rung:?}");
    types(&mut alice, "/quit");
    ends(&mut alice);
}

#[test]
fn a_room_is_searched() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("SEARCH_RATE", "0").start();
    let mut bob = server.channel(BOB, DEMO);
    for text in ["a green zypress", "a yellow one", "ZYPRESS, blue"] {
        bob.post(text);
    }
    eventually("the index follows", || {
        bob.ask(json!({"type": "search", "query": "zypress"}));
        bob.wait_for("results")["messages"].as_array().is_some_and(|found| found.len() == 2)
    });
    let mut alice = at_terminal(&server, ALICE, true);
    shows(&mut alice, "people are here");
    types(&mut alice, "/search zypress");
    shows(&mut alice, "found:");
    shows(&mut alice, "#1 Bob Demo  a green zypress");
    shows(&mut alice, "#3 Bob Demo  ZYPRESS, blue");
    types(&mut alice, "/search purple");
    shows(&mut alice, "no message has all of these words");
    types(&mut alice, "/search ...");
    shows(&mut alice, "A search has 1 to 16 words");
    types(&mut alice, "/quit");
    ends(&mut alice);
}

/// A page of messages `message N`, and nothing else of that room in between.
#[track_caller]
fn shows_all(session: &mut PtySession, numbers: RangeInclusive<usize>) {
    for number in numbers {
        let before = shows(session, &format!("  message {number}\r\n"));
        assert!(!before.contains("  message "), "before {number}: {before:?}");
    }
}

// Seen to fail where what follows is asked for from the message on: the message itself is missing.
#[test]
fn a_message_far_back_is_shown_amid_what_was_said_around_it() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("SEARCH_RATE", "0").env("HISTORY_ON_JOIN", "2").start();
    let mut bob = server.channel(BOB, DEMO);
    let ids: Vec<Value> = (0..60)
        .map(|number| match number {
            7 => bob.post("a green zypress"),
            _ => bob.post(&format!("message {number}")),
        })
        .map(|message| message["id"].clone())
        .collect();
    bob.done(json!({"type": "message", "text": "an answer", "reply_to": ids[42]}), "a");
    eventually("the index follows", || {
        bob.ask(json!({"type": "search", "query": "zypress"}));
        bob.wait_for("results")["messages"].as_array().is_some_and(|found| found.len() == 1)
    });
    let mut alice = at_terminal(&server, ALICE, true);
    shows(&mut alice, "#1 Bob Demo  message 59");
    // What is answered was never shown here, and has a number all the same.
    shows(&mut alice, "#3 Bob Demo ↳ earlier #2  an answer");
    shows(&mut alice, "people are here");
    types(&mut alice, "/reply #2 unseen");
    shows(&mut alice, "you have not seen #2 yet; /show #2 shows it");

    types(&mut alice, "/later");
    shows(&mut alice, "you have seen the latest messages");
    types(&mut alice, "/search zypress");
    shows(&mut alice, "#4 Bob Demo  a green zypress");
    shows(&mut alice, "/show #4 shows it");
    types(&mut alice, "/show #4");
    shows(&mut alice, "around #4:");
    shows_all(&mut alice, 2..=6);
    shows(&mut alice, "▸#4 Bob Demo  a green zypress");
    shows_all(&mut alice, 8..=12);
    shows(&mut alice, "/earlier and /later show more");
    types(&mut alice, "/later");
    shows_all(&mut alice, 13..=32);
    shows(&mut alice, "/later shows more");
    types(&mut alice, "/earlier");
    shows_all(&mut alice, 0..=1);
    shows(&mut alice, "that is how it began");
    types(&mut alice, "/later");
    shows_all(&mut alice, 33..=52);
    shows(&mut alice, "/later shows more");
    types(&mut alice, "/later");
    shows_all(&mut alice, 53..=59);
    shows(&mut alice, "an answer");
    shows(&mut alice, "that is up to now");

    // What is answered.
    types(&mut alice, "/show #2");
    shows_all(&mut alice, 37..=41);
    shows(&mut alice, "▸#2 Bob Demo  message 42");
    shows_all(&mut alice, 43..=47);
    // It can be named now as any other. (On a busy machine Bob has been silent for too long by now.)
    let mut bob = server.channel(BOB, DEMO);
    types(&mut alice, "/reply #2 to one far back");
    assert_eq!(hears(&mut bob, "to one far back")["reply_to"], ids[42]);
    bob.ask(json!({"type": "delete", "id": ids[42]}));
    shows(&mut alice, "Bob Demo deleted #2");
    types(&mut alice, "/show #2");
    shows(&mut alice, "#2 was deleted");
    types(&mut alice, "/show #999");
    shows(&mut alice, "there is no message #999 here");
    types(&mut alice, "/quit");
    ends(&mut alice);
}

#[test]
fn what_is_gone_by_the_time_one_looks_leaves_a_place() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "1").start();
    let mut bob = server.channel(BOB, DEMO);
    let ids: Vec<Value> = (0..30).map(|number| bob.post(&format!("message {number}"))["id"].clone()).collect();
    bob.done(json!({"type": "message", "text": "an answer", "reply_to": ids[15]}), "a");
    bob.done(json!({"type": "delete", "id": ids[15]}), "d");
    let mut alice = at_terminal(&server, ALICE, true);
    shows(&mut alice, "people are here");
    types(&mut alice, "/earlier");
    shows_all(&mut alice, 9..=14);
    shows_all(&mut alice, 16..=29);
    shows(&mut alice, "/earlier shows more");
    types(&mut alice, "/show #1");
    shows(&mut alice, "#1 is gone; around it was said:");
    shows_all(&mut alice, 10..=14);
    shows_all(&mut alice, 16..=21);
    shows(&mut alice, "/earlier and /later show more");
    types(&mut alice, "/quit");
    ends(&mut alice);
}

// Seen to fail where each refusal of a sign of typing is shown.
#[test]
fn who_is_muted_is_told_until_when() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    assert!(server.setup().run(&["moderator", "add", DEMO, ALICE.email]).status.success());
    let mut alice = server.channel(ALICE, DEMO);
    let mut bob = at_terminal(&server, BOB, true);
    shows(&mut bob, "people are here");
    alice.ask(json!({"type": "mute", "user": BOB.email, "seconds": 600}));
    alice.wait_for("muted");
    types(&mut bob, "may I?");
    shows(&mut bob, "not delivered: “may I?”: You are muted in this room for now. That ends on ");
    types(&mut bob, "and now?");
    // Typing is refused as well; that is told once.
    let between = shows(&mut bob, "not delivered: “and now?”");
    assert!(!between.contains("! You are muted"), "{between:?}");
    types(&mut bob, "/who");
    shows(&mut bob, "here (2): ");
    let heard = alice.hear_all_up_to_now();
    assert!(heard.iter().all(|frame| frame["type"] != "message"), "{heard:?}");
    alice.ask(json!({"type": "mute", "user": BOB.email}));
    alice.wait_for("muted");
    types(&mut bob, "still?");
    let forever = shows(&mut bob, "not delivered: “still?”: You are muted in this room for now.\r\n");
    assert!(!forever.contains("That ends"), "{forever:?}");
    alice.ask(json!({"type": "unmute", "user": BOB.email}));
    alice.wait_for("unmuted");
    types(&mut bob, "at last");
    hears(&mut alice, "at last");
    types(&mut bob, "/quit");
}

#[test]
fn one_goes_from_room_to_room() {
    let server = Server::start();
    let mut bob = server.channel(BOB, DEMO);
    bob.post("in the first");
    let mut alice = at_terminal(&server, ALICE, true);
    shows(&mut alice, "● Demo> ");
    types(&mut alice, "/rooms");
    shows(&mut alice, "Demo, where you are");
    shows(&mut alice, "Propromo");
    // The Tab key completes a room's name.
    alice.send("/room prop\t").expect("the terminal takes input");
    alice.flush().expect("the terminal takes input");
    shows(&mut alice, "/room Propromo");
    types(&mut alice, "");
    shows(&mut alice, "● Propromo> ");
    types(&mut alice, "/room domo");
    shows(&mut alice, "Did you mean “Demo”?");
    types(&mut alice, "said too early");
    shows(&mut alice, "nothing is said before you answer");
    types(&mut alice, "yes");
    shows(&mut alice, "● Demo> ");
    types(&mut alice, "back again");
    hears(&mut bob, "back again");
    types(&mut alice, "/quit");
    ends(&mut alice);
    let frames = server.channel(BOB, "domo").hear_all_up_to_now();
    assert!(frames.iter().all(|frame| frame["type"] != "message"), "{frames:?}");
}

#[test]
fn a_room_that_is_shut_leads_back() {
    let server = Server::start();
    let mut carol = in_room(&server, CAROL, "lounge");
    shows(&mut carol, "you are alone here");
    types(&mut carol, "/room demo");
    shows(&mut carol, "You have no access to this room.");
    shows(&mut carol, "back in lounge");
    shows(&mut carol, "● lounge> ");
    types(&mut carol, "/quit");
    ends(&mut carol);
}

#[test]
fn a_name_that_is_nearly_a_rooms_is_asked_about() {
    let server = Server::start();
    let mut alice = in_room(&server, ALICE, "dmeo");
    // Typed before there was a question: it was for the room that was meant.
    types(&mut alice, "typed ahead");
    shows(&mut alice, "Did you mean “Demo”? yes or no");
    types(&mut alice, "y");
    shows(&mut alice, "● Demo> ");
    hears(&mut server.channel(BOB, DEMO), "typed ahead");
    types(&mut alice, "/room dmeo");
    shows(&mut alice, "Did you mean “Demo”? yes or no");
    types(&mut alice, "no");
    shows(&mut alice, "it begins with your first message");
    types(&mut alice, "on purpose");
    hears(&mut server.channel(BOB, "dmeo"), "on purpose");
    types(&mut alice, "/quit");
    ends(&mut alice);
}

#[test]
fn lines_that_come_at_once_are_messages_and_what_is_pasted_is_one() {
    let server = Server::start();
    let mut bob = server.channel(BOB, DEMO);
    let mut alice = at_terminal(&server, ALICE, true);
    shows(&mut alice, "people are here");
    let lines: Vec<_> = (0..20).map(|n| format!("line {n}")).collect();
    types(&mut alice, &lines.join("\n"));
    for line in &lines {
        assert_eq!(bob.wait_for("message")["text"], **line);
    }
    // As a terminal marks what is pasted (DEC private mode 2004).
    types(&mut alice, "\x1b[200~first\nsecond\n\x1b[201~third");
    assert_eq!(bob.wait_for("message")["text"], "first\nsecond\nthird");
    types(&mut alice, "/quit");
    ends(&mut alice);
}
