//! `propromo-chat backup`: what is copied while the server runs is enough to go on from.

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};
use support::{
    ALICE, BOB, Client, DEMO, Server, channel, eventually, receiver::Receiver, server::Setup, session::Browser,
    terminal::Terminal,
};

/// A server whose key is generated, so that it is a part of the data.
fn with_own_key() -> Setup {
    Server::with().without("JWT_PRIVATE_KEY").env("MESSAGE_RATE", "0")
}

#[track_caller]
fn back_up(setup: &Setup, name: &str) -> String {
    let output = setup.run(&["backup", name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is heard of the room's history.
fn history(client: &mut Client) -> Vec<String> {
    client.say("the end");
    std::iter::from_fn(|| Some(client.hear_message().text).filter(|text| text != "the end")).collect()
}

#[test]
fn a_server_goes_on_from_a_backup_that_was_made_while_people_talked() {
    let mut server = with_own_key().start();
    let spent = server.token(ALICE);
    let mut alice = server.enter(&spent, DEMO);
    let access = server.access_token(ALICE);
    let done = AtomicBool::new(false);
    let mut said = vec![alice.say_and_hear("before").text];
    thread::scope(|scope| {
        let talk = scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                said.push(alice.say_and_hear(&format!("message {n}")).text);
            }
        });
        back_up(server.setup(), "backup");
        done.store(true, Ordering::Relaxed);
        talk.join().expect("alice talks to the end");
    });
    let setup = server.setup().clone();
    server.kill9();
    fs::rename(setup.path("data"), setup.path("lost")).expect("the data can be lost");
    fs::rename(setup.path("backup"), setup.path("data")).expect("the backup can take its place");
    let restored = setup.env("HISTORY_ON_JOIN", "10000").start();
    let mut alice = restored.join(ALICE, DEMO);
    let heard = history(&mut alice);
    assert_eq!(heard.first().map(String::as_str), Some("before"));
    assert_eq!(heard, said[..heard.len()], "a backup has all up to one moment, in order");
    assert_eq!(restored.get_with_bearer("/ws_ticket", &access).status, 200, "the key is the same");
    assert_eq!(restored.refused(&format!("/chat/{DEMO}?auth={spent}"), &[]).reason(), "token_used");
}

/// Asks for something, and waits until it is acknowledged; the id of what it made.
#[track_caller]
fn done(client: &mut Client, frame: Value) -> Value {
    static DONE: AtomicUsize = AtomicUsize::new(0);
    let reference = format!("done {}", DONE.fetch_add(1, Ordering::Relaxed));
    client.done(frame, &reference)
}

/// What a client is shown of the lobby: its history, what follows an entry, what is found, and how far it has read.
#[track_caller]
fn lobby(server: &Server, access: &str, after: &Value) -> Value {
    let path = format!("lobby?since={}", after.as_str().expect("an id"));
    let mut client = channel::enter(server.address, access, &path);
    let mut followed = client.hear_all_up_to_now();
    let kinds = ["message", "edited", "deleted", "reacted", "error"];
    followed.retain(|frame| kinds.iter().any(|kind| frame["type"] == *kind));
    let mut found = Value::Null;
    // After a restore the index is made anew.
    eventually("it is found", || {
        client.ask(json!({"type": "search", "query": "hello"}));
        found = client.wait_for("results")["messages"].take();
        found[0]["text"].is_string()
    });
    client.ask(json!({"type": "history"}));
    let mut rooms = server.get_with_bearer("/rooms", access).json();
    let rooms = rooms["rooms"].as_array_mut().expect("rooms");
    let lobby = rooms.iter_mut().find(|room| room["room"] == "channel:lobby").map(Value::take);
    json!({"followed": followed, "found": found, "history": client.wait_for("history"), "lobby": lobby})
}

#[test]
fn a_backup_has_all_that_lives_in_it_though_others_go_on_meanwhile() {
    let receiver = Receiver::start();
    let setup = Server::with_api().without("JWT_PRIVATE_KEY").env("MESSAGE_RATE", "0").env("SEARCH_RATE", "0");
    let mut server = setup.webhooks_to(&receiver.url()).start();
    let (access, bobs) = (server.access(ALICE), server.access(BOB));
    let mut alice = channel::enter(server.address, &access, "lobby");
    let mut bob = channel::enter(server.address, &bobs, "lobby");
    let first = done(&mut alice, json!({"type": "message", "text": "helo"}));
    let deleted = done(&mut alice, json!({"type": "message", "text": "a secret"}));
    done(&mut bob, json!({"type": "message", "text": "and you?", "reply_to": first}));
    done(&mut alice, json!({"type": "edit", "id": first, "text": "hello"}));
    done(&mut bob, json!({"type": "react", "id": first, "emoji": "👍", "on": true}));
    done(&mut alice, json!({"type": "delete", "id": deleted}));
    let last = done(&mut bob, json!({"type": "message", "text": "the end"}));
    alice.ask(json!({"type": "read", "id": last}));
    let is_read =
        |server: &Server| server.get_with_bearer("/rooms", &access).text().contains(last.as_str().expect("an id"));
    eventually("it is read", || is_read(&server));
    let path = format!("/api/v1/rooms/channel%3Alobby/mutes/{}", BOB.email);
    assert_eq!(server.call("PUT", &path, Some(json!({"seconds": 6000}))).status, 204);
    let run = |setup: &Setup, arguments: &[&str]| {
        let output = setup.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    run(server.setup(), &["moderator", "add", DEMO, BOB.email]);
    let moderators = run(server.setup(), &["moderator", "list", DEMO]);
    let mut browser = Browser::of(&server, ALICE);
    let before = lobby(&server, &access, &first);
    receiver.wait_for_text("the end");

    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let meanwhile = scope.spawn(|| {
            let mut elsewhere = channel::enter(server.address, &access, "elsewhere");
            while !is_over.load(Ordering::Relaxed) {
                let id = done(&mut elsewhere, json!({"type": "message", "text": "helo, meanwhile"}));
                done(&mut elsewhere, json!({"type": "edit", "id": id, "text": "hello, meanwhile"}));
                done(&mut elsewhere, json!({"type": "react", "id": id, "emoji": "🎉", "on": true}));
                let id = done(&mut elsewhere, json!({"type": "message", "text": "soon gone"}));
                done(&mut elsewhere, json!({"type": "delete", "id": id}));
            }
        });
        back_up(server.setup(), "backup");
        is_over.store(true, Ordering::Relaxed);
        meanwhile.join().expect("it goes on to the end");
    });
    // What comes after it is not in it.
    done(&mut alice, json!({"type": "edit", "id": first, "text": "changed later"}));
    let setup = server.setup().clone();
    server.kill9();
    fs::rename(setup.path("data"), setup.path("lost")).expect("the data can be lost");
    fs::rename(setup.path("backup"), setup.path("data")).expect("the backup can take its place");
    let restored = setup.without_demo().start();

    let after = lobby(&restored, &access, &first);
    for part in ["history", "followed", "found", "lobby"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    assert_eq!(after["lobby"]["read"], last);
    browser.address = restored.address;
    browser.renewed();
    assert_eq!(run(restored.setup(), &["moderator", "list", DEMO]), moderators);
    let mut bob = channel::enter(restored.address, &bobs, "lobby");
    bob.ask(json!({"type": "message", "text": "may I?"}));
    assert_eq!(bob.wait_for("error")["code"], "muted");
    // All that lives goes on, for the webhook too.
    let mut alice = channel::enter(restored.address, &access, "lobby");
    done(&mut alice, json!({"type": "edit", "id": first, "text": "hello again"}));
    done(&mut alice, json!({"type": "message", "text": "after the restore"}));
    receiver.wait_for_text("after the restore");
    // In the other room each message was copied with what had become of it up to one moment.
    let mut elsewhere = channel::enter(restored.address, &access, "elsewhere");
    elsewhere.ask(json!({"type": "history"}));
    let history = elsewhere.wait_for("history");
    let messages = history["messages"].as_array().expect("messages");
    for message in messages.iter().rev().skip(1) {
        assert_eq!(
            (&message["text"], &message["reactions"]),
            (&json!("hello, meanwhile"), &json!({"🎉": [ALICE.email]}))
        );
    }
}

#[test]
fn at_a_terminal_a_line_says_what_is_copied() {
    let server = with_own_key().start();
    server.channel(ALICE, "lobby").post("kept");
    let mut copying = Terminal::run(server.setup(), &["backup", "copy"]);
    copying.shows("\r\x1b[Kcopying chat.db, ");
    copying.shows("\r\x1b[Kcopying log.db, ");
    copying.shows("MiB (2 of 3)");
    copying.shows("\r\x1b[Kcopy holds chat.db, log.db, ledger.db");
    assert_eq!(copying.ends(), 0);
}

#[test]
fn a_backup_is_for_its_owner_alone() {
    let server = with_own_key().start();
    let told = back_up(server.setup(), "backup");
    let directory = server.setup().path("backup");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut names = support::server::files_in(&directory);
    names.sort();
    assert_eq!(names, ["chat.db", "jwt_secret", "ledger.db", "log.db"]);
    for name in names {
        assert_eq!(mode(&directory.join(&name)), 0o600, "{name}");
        assert!(told.contains(&name), "{told}");
    }
}

#[test]
fn a_key_that_was_given_is_not_copied() {
    let server = Server::start();
    back_up(server.setup(), "backup");
    assert!(!server.setup().path("backup/jwt_secret").exists());
}

#[test]
fn no_backup_is_written_over_another() {
    let server = Server::start();
    back_up(server.setup(), "backup");
    let output = server.setup().run(&["backup", "backup"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("backup exists"), "{output:?}");
}

#[test]
fn without_data_there_is_no_backup_and_nothing_is_left_behind() {
    let setup = Server::with();
    let output = setup.run(&["backup", "backup"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is DATA_DIR right?"), "{output:?}");
    assert!(support::server::files_in(&setup.path("")).is_empty());
}

#[test]
fn a_server_that_is_killed_leaves_nothing_in_the_directory_for_temporary_files() {
    let mut server = Server::start();
    assert_eq!(server.get("/healthz").status, 200);
    server.kill9();
    assert_eq!(support::server::files_in(&server.setup().path("")), ["data"]);
}
