//! Moderators delete and mute; whoever is muted says nothing at any door, wherever and however often the server starts.

use serde_json::{Value, json};
use std::process::Output;
use support::{ALICE, BOB, CAROL, Client, DEMO, Server, channel::fields, eventually};

/// Runs `moderator …` beside the server.
fn moderator(server: &Server, arguments: &[&str]) -> Output {
    server.setup().run(&[&["moderator"], arguments].concat())
}

#[track_caller]
fn appoint(server: &Server, email: &str) {
    let done = moderator(server, &["add", DEMO, email]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// The code of the error that answers this frame.
#[track_caller]
fn code(client: &mut Client, frame: Value) -> String {
    client.ask(frame);
    client.wait_for("error")["code"].as_str().expect("a code").to_owned()
}

#[track_caller]
fn mute(moderator: &mut Client, user: &str, seconds: Option<u64>) -> Value {
    moderator.ask(json!({"type": "mute", "user": user, "seconds": seconds, "ref": "m"}));
    moderator.wait_for("muted")
}

#[test]
fn a_moderator_deletes_what_others_said_and_edits_only_its_own() {
    let server = Server::start();
    appoint(&server, ALICE.email);
    let (mut alice, mut bob) = (server.channel(ALICE, DEMO), server.channel(BOB, DEMO));
    let said = bob.post("my password is Zypressenhain")["id"].clone();
    assert_eq!(code(&mut alice, json!({"type": "edit", "id": said, "text": "x"})), "not_yours");
    let own = alice.post("mine")["id"].clone();
    assert_eq!(code(&mut bob, json!({"type": "delete", "id": own})), "not_yours");
    alice.ask(json!({"type": "delete", "id": said}));
    let deleted = bob.wait_for("deleted");
    assert_eq!((&deleted["id"], &deleted["user"]), (&said, &json!(ALICE.email)));
    bob.ask(json!({"type": "history"}));
    let page = bob.wait_for("history")["messages"].clone();
    assert_eq!(page.as_array().map(Vec::len), Some(1), "{page}");
    // Only in that room.
    let (mut alice, mut bob) = (server.channel(ALICE, "lobby"), server.channel(BOB, "lobby"));
    let said = bob.post("elsewhere")["id"].clone();
    assert_eq!(code(&mut alice, json!({"type": "delete", "id": said})), "not_yours");
}

#[test]
fn who_is_muted_says_nothing_at_any_door_and_may_still_take_back() {
    let server = Server::start();
    appoint(&server, ALICE.email);
    let mut alice = server.channel(ALICE, DEMO);
    let (mut bob, mut app) = (server.channel(BOB, DEMO), server.join(BOB, DEMO));
    let said = bob.post("hello")["id"].clone();
    let muted = mute(&mut alice, BOB.email, Some(600));
    assert_eq!(fields(&muted), ["ref", "type", "until", "user"]);
    assert_eq!((&muted["user"], &muted["ref"]), (&json!(BOB.email), &json!("m")));
    for frame in [
        json!({"type": "message", "text": "again", "ref": "r"}),
        json!({"type": "edit", "id": said, "text": "again", "ref": "r"}),
        json!({"type": "react", "id": said, "emoji": "👍", "on": true, "ref": "r"}),
    ] {
        bob.ask(frame.clone());
        let error = bob.wait_for("error");
        assert_eq!((&error["code"], &error["until"], &error["ref"]), (&json!("muted"), &muted["until"], &json!("r")));
    }
    assert_eq!(code(&mut bob, json!({"type": "typing"})), "muted");
    bob.say("as plain text");
    assert_eq!(bob.wait_for("error")["code"], "muted");
    app.say("by the other door");
    let refused = loop {
        let frame: Value = serde_json::from_str(&app.hear()).expect("frames are JSON");
        if frame["success"] == false {
            break frame;
        }
    };
    assert_eq!(fields(&refused), ["message", "reason", "success", "until"]);
    assert_eq!((&refused["reason"], &refused["until"]), (&json!("muted"), &muted["until"]));
    // What comes later is muted, too; other rooms are not.
    let mut later = server.channel(BOB, DEMO);
    later.say("from anew");
    assert_eq!(later.wait_for("error")["code"], "muted");
    server.channel(BOB, "lobby").post("here I may");
    // Nobody has heard anything, and one's own words can be taken back.
    bob.ask(json!({"type": "delete", "id": said}));
    let heard = alice.hear_all_up_to_now();
    assert!(heard.iter().all(|frame| frame["type"] != "typing" && frame["text"] != "again"), "{heard:?}");
    bob.wait_for("deleted");
    alice.ask(json!({"type": "unmute", "user": BOB.email}));
    assert_eq!(fields(&alice.wait_for("unmuted")), ["type", "user"]);
    bob.post("here I am again");
}

#[test]
fn a_mute_outlives_restarts_and_ends_by_itself() {
    let mut server = Server::with().env("MESSAGE_RATE", "0").start();
    appoint(&server, ALICE.email);
    let mut alice = server.channel(ALICE, DEMO);
    assert_eq!(mute(&mut alice, BOB.email, None)["until"], Value::Null);
    server.kill9();
    let server = server.restart();
    let mut bob = server.channel(BOB, DEMO);
    bob.say("hello?");
    let error = bob.wait_for("error");
    assert_eq!((&error["code"], &error["until"]), (&json!("muted"), &Value::Null));
    let mut alice = server.channel(ALICE, DEMO);
    mute(&mut alice, BOB.email, Some(1));
    eventually("the mute is over", || {
        bob.ask(json!({"type": "message", "text": "hello", "ref": "h"}));
        let answer = loop {
            let frame = bob.hear_frame();
            if frame["ref"] == "h" {
                break frame;
            }
        };
        answer["type"] == "ack"
    });
}

#[test]
fn who_moderates_no_longer_can_mute_and_delete_no_longer() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    appoint(&server, ALICE.email);
    let (mut alice, mut bob) = (server.channel(ALICE, DEMO), server.channel(BOB, DEMO));
    let said = bob.post("hello")["id"].clone();
    mute(&mut alice, BOB.email, Some(600));
    let list = moderator(&server, &["list", DEMO]);
    assert_eq!(String::from_utf8_lossy(&list.stdout), format!("{}\n", ALICE.email));
    assert!(moderator(&server, &["remove", DEMO, ALICE.email]).status.success());
    assert!(moderator(&server, &["list", DEMO]).stdout.is_empty());
    eventually("the server knows", || {
        alice.ask(json!({"type": "unmute", "user": "nobody@propromo.example", "ref": "u"}));
        alice.wait_for("error")["code"] == "not_moderator"
    });
    assert_eq!(code(&mut alice, json!({"type": "delete", "id": said})), "not_yours");
}

#[test]
fn a_moderator_who_is_muted_has_the_rights_of_the_muted() {
    let server = Server::start();
    appoint(&server, ALICE.email);
    let mut alice = server.channel(ALICE, DEMO);
    let said = alice.post("hello")["id"].clone();
    mute(&mut alice, BOB.email, None);
    appoint(&server, BOB.email);
    let mut bob = server.channel(BOB, DEMO);
    assert_eq!(code(&mut bob, json!({"type": "delete", "id": said})), "not_yours");
    assert_eq!(code(&mut bob, json!({"type": "mute", "user": CAROL.email})), "not_moderator");
}

#[test]
fn what_may_not_be_is_refused_and_nobody_is_muted() {
    let server = Server::start();
    appoint(&server, ALICE.email);
    let (mut alice, mut bob) = (server.channel(ALICE, DEMO), server.channel(BOB, DEMO));
    let ask = |client: &mut Client, user: &Value| code(client, json!({"type": "mute", "user": user}));
    assert_eq!(ask(&mut bob, &json!(ALICE.email)), "not_moderator");
    for user in [CAROL.email, "nobody@propromo.example"] {
        assert_eq!(ask(&mut alice, &json!(user)), "no_such_member", "{user}");
    }
    assert_eq!(ask(&mut alice, &json!(ALICE.email)), "not_yours");
    for user in [json!(""), json!(7), json!("x".repeat(255)), Value::Null] {
        assert_eq!(ask(&mut alice, &user), "bad_frame", "{user}");
    }
    for seconds in [json!(0), json!(-1), json!(0.5), json!("1")] {
        let frame = json!({"type": "mute", "user": BOB.email, "seconds": seconds});
        assert_eq!(code(&mut alice, frame), "bad_frame", "{seconds}");
    }
    // Elsewhere she is nobody special.
    assert_eq!(ask(&mut server.channel(ALICE, "lobby"), &json!(BOB.email)), "not_moderator");
    bob.post("I can speak");
    alice.post("so can I");
}

#[test]
fn the_command_says_what_is_wrong() {
    let server = Server::start();
    for (arguments, word) in [
        (["add", "nowhere", ALICE.email], "no monitor"),
        (["add", DEMO, CAROL.email], "no member"),
        (["add", DEMO, "nobody@propromo.example"], "no account"),
        (["remove", DEMO, BOB.email], "no moderator"),
        (["remove", "nowhere", BOB.email], "no monitor"),
    ] {
        let refused = moderator(&server, &arguments);
        let sentence = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}: {sentence}");
        assert!(sentence.contains(word), "{arguments:?}: {sentence}");
    }
    assert_eq!(moderator(&server, &["list", "nowhere"]).status.code(), Some(1));
    assert_eq!(moderator(&server, &["add", DEMO]).status.code(), Some(2));
}
