//! `migrate` moves what lives: edits, deletions, answers, reactions, read marks, sessions, mutes; once, whatever interrupts it.

use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use support::{
    ALICE, BOB, CAROL, Client, DEMO, Person, Server,
    api::{MASTER, call},
    channel, eventually,
    faults::Held,
    postgres::{Cluster, Database},
    receiver::{BROKEN, Receiver, TAKEN},
    redis::Redis,
    server::Setup,
    session::Browser,
    terminal::Terminal,
};

/// A word that only a deleted message has.
const SECRET: &str = "Zypressenhain";

fn embedded() -> Setup {
    Server::with_api().env("MESSAGE_RATE", "0").env("SEARCH_RATE", "0")
}

#[track_caller]
fn run(setup: &Setup, arguments: &[&str]) -> String {
    let output = setup.run(arguments);
    let told = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    assert!(output.status.success(), "{arguments:?}: {told}");
    told
}

/// Somebody in a room, by an access token: each login takes a while.
#[track_caller]
fn enter(server: &Server, access: &str, room: &str) -> Client {
    channel::enter(server.address, access, room)
}

/// Entries of which somebody is told who comes back to the lobby having heard all up to `since`.
#[track_caller]
fn since(server: &Server, access: &str, since: &Value) -> Vec<Value> {
    let mut back = enter(server, access, &format!("lobby?since={}", since.as_str().expect("an id")));
    let mut frames = back.hear_all_up_to_now();
    frames
        .retain(|frame| ["message", "edited", "deleted", "reacted", "error"].iter().any(|kind| frame["type"] == *kind));
    frames
}

/// What happens in the lobby: ids of what is said, and of changes.
struct Lobby {
    first: Value,
    deleted: Value,
    edit: Value,
    deletion: Value,
    last: Value,
}

/// All that can happen to messages; in the middle of it `between`.
fn happen(server: &Server, access: &str, between: impl FnOnce()) -> Lobby {
    let bob = server.access(BOB);
    let (mut alice, mut bob_here) = (enter(server, access, "lobby"), enter(server, &bob, "lobby"));
    let first = alice.done(json!({"type": "message", "text": "helo"}), "m1");
    let deleted = bob_here.done(json!({"type": "message", "text": format!("the {SECRET}")}), "m2");
    let edit = alice.done(json!({"type": "edit", "id": first, "text": "hello \"all\""}), "e1");
    bob_here.done(json!({"type": "react", "id": first, "emoji": "👍", "on": true}), "r1");
    alice.done(json!({"type": "react", "id": first, "emoji": "👍", "on": true}), "r2");
    bob_here.done(json!({"type": "react", "id": first, "emoji": "🎉", "on": true}), "r3");
    bob_here.done(json!({"type": "message", "text": "and you?", "reply_to": first}), "m3");
    between();
    bob_here.done(json!({"type": "react", "id": first, "emoji": "🎉", "on": false}), "r4");
    let deletion = bob_here.done(json!({"type": "delete", "id": deleted}), "d1");
    alice.done(json!({"type": "message", "text": "alone", "reply_to": deleted}), "m4");
    let last = alice.done(json!({"type": "message", "text": "the end"}), "m5");
    // Rooms that only have something that was deleted are moved, too.
    let mut empty = enter(server, access, "empty");
    let gone = empty.done(json!({"type": "message", "text": SECRET}), "m1");
    empty.done(json!({"type": "delete", "id": gone}), "d1");
    enter(server, access, DEMO).done(json!({"type": "message", "text": "in the monitor's room"}), "m1");
    enter(server, &bob, DEMO).done(json!({"type": "message", "text": "and I"}), "m1");
    Lobby { first, deleted, edit, deletion, last }
}

/// The same of both servers: what their doors show.
#[track_caller]
fn shown(server: &Server, access: &str, lobby: &Lobby) -> Value {
    let mut client = enter(server, access, "lobby");
    client.ask(json!({"type": "history"}));
    let history = client.wait_for("history");
    let search = |client: &mut Client, query: &str| {
        client.ask(json!({"type": "search", "query": query}));
        client.wait_for("results")["messages"].take()
    };
    let found = [search(&mut client, "hello"), search(&mut client, SECRET), search(&mut client, "helo ")];
    let api = |room: &str| call(server.address, MASTER, "GET", &format!("/api/v1/rooms/{room}/messages"), None).json();
    let said = server.join(ALICE, DEMO).hear_message();
    let mut rooms = server.get_with_bearer("/rooms", access).json();
    for room in rooms["rooms"].as_array_mut().expect("a list") {
        // When a monitor was made says its own database.
        room.as_object_mut().expect("a room").retain(|field, _| !field.ends_with("_at"));
    }
    let followed =
        [&lobby.first, &lobby.deleted, &lobby.edit, &lobby.deletion, &lobby.last].map(|id| since(server, access, id));
    json!({
        "history": history, "found": found, "lobby": api("channel:lobby"), "empty": api("channel:empty"),
        "monitor": [said.text, said.email], "rooms": rooms["rooms"], "followed": followed,
    })
}

/// Accounts of PostgreSQL with the passwords of those of the embedded installation.
fn same_passwords(setup: &Setup, database: &Database<'_>) {
    let accounts = rusqlite::Connection::open(setup.data_dir().join("chat.db")).expect("the accounts");
    for person in [ALICE, BOB, CAROL] {
        let hash: String = accounts
            .query_row("SELECT password FROM users WHERE email = ?1", [person.email], |row| row.get(0))
            .expect("an account");
        database.sql(&format!("UPDATE users SET password = '{hash}' WHERE email = '{}'", person.email));
    }
}

fn moved_to(setup: &Setup, redis: &Redis, database: Option<&Database<'_>>) -> Setup {
    let setup = setup.clone().without_demo().env("CHAT_STORAGE_URL", redis.url());
    match database {
        Some(database) => setup.env("DATABASE_URL", database.url()),
        None => setup,
    }
}

// Seen to fail without the reactions in `import.lua`: the history differs.
#[test]
fn all_that_lives_is_moved_and_every_door_shows_the_same() {
    let mut server = embedded().start();
    let access = server.access(ALICE);
    let lobby = happen(&server, &access, || {
        let setup = server.setup();
        run(setup, &["moderator", "add", DEMO, ALICE.email]);
        run(setup, &["account", "revoke", CAROL.email]);
    });
    let mut alice = enter(&server, &access, DEMO);
    alice.ask(json!({"type": "mute", "user": BOB.email, "seconds": 6000, "ref": "m"}));
    alice.wait_for("muted");
    let mut reader = enter(&server, &access, "lobby");
    reader.ask(json!({"type": "read", "id": lobby.last}));
    let rooms = || server.get_with_bearer("/rooms", &access).text().to_owned();
    eventually("it is read", || rooms().contains(lobby.last.as_str().expect("an id")));
    let (mut browser, mut other) = (Browser::of(&server, ALICE), Browser::of(&server, BOB));
    let old_token = server.access(CAROL);
    run(server.setup(), &["account", "revoke", CAROL.email]);
    eventually("what is deleted is not found any more", || {
        reader.ask(json!({"type": "search", "query": "hello"}));
        reader.wait_for("results")["messages"][0]["text"].is_string()
    });
    let before = shown(&server, &access, &lobby);
    server.terminate();

    let cluster = Cluster::shared();
    let database = cluster.database();
    let redis = Redis::start();
    let setup = moved_to(server.setup(), &redis, Some(&database));
    same_passwords(&setup, &database);
    // Somebody has another password by now.
    database.sql(&format!("UPDATE users SET password = 'another' WHERE email = '{}'", BOB.email));
    let told = run(&setup, &["migrate"]);
    assert!(told.contains("of 3 rooms copied, and 7 changes of messages"), "{told}");
    assert!(
        told.contains("of accounts: 1 session, 1 read mark, 1 mute, 1 moderator, 2 begun channels copied\n"),
        "{told}"
    );
    assert!(told.contains("left out: 1 session, whose accounts have another password"), "{told}");
    assert_eq!(told.matches("left out").count(), 1, "{told}");

    let moved = setup.clone().start();
    browser.address = moved.address;
    other.address = moved.address;
    let access = browser.renewed();
    other.is_logged_out();
    let after = shown(&moved, &access, &lobby);
    for part in ["history", "found", "lobby", "empty", "monitor", "rooms", "followed"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    assert!(!after.to_string().contains(SECRET), "{after}");
    assert_eq!(moved.get_with_bearer("/rooms", &old_token).reason(), "token_revoked");
    // Her rights, and his mute.
    database.sql(&format!(
        "UPDATE users SET password = (SELECT password FROM users WHERE email = '{}') WHERE email = '{}'",
        ALICE.email, BOB.email
    ));
    let bob = Person { password: ALICE.password, ..BOB };
    let bob = moved.access(bob);
    let mut silent = enter(&moved, &bob, DEMO);
    silent.ask(json!({"type": "message", "text": "may I?"}));
    assert_eq!(silent.wait_for("error")["code"], "muted");
    let mut alice = enter(&moved, &access, DEMO);
    alice.ask(json!({"type": "unmute", "user": BOB.email, "ref": "u"}));
    alice.wait_for("unmuted");
    // What lives goes on: in the order of before, and each reference still makes one message.
    let mut alice = enter(&moved, &access, "lobby");
    alice.ask(json!({"type": "edit", "id": lobby.first, "text": "hello again"}));
    assert_eq!(alice.wait_for("edited")["text"], "hello again");
    alice.ask(json!({"type": "react", "id": lobby.first, "emoji": "👍", "on": false}));
    assert_eq!(alice.wait_for("reacted")["on"], false);
    alice.ask(json!({"type": "history"}));
    assert_eq!(alice.wait_for("history")["messages"][0]["reactions"], json!({"👍": [BOB.email]}));
    let mut bob = enter(&moved, &bob, "lobby");
    bob.ask(json!({"type": "message", "text": format!("the {SECRET}"), "ref": "m2"}));
    assert_eq!(bob.wait_for("ack")["id"], lobby.deleted, "a deleted message is not made again");
    let later: Vec<_> = since(&moved, &access, &lobby.last).iter().map(|frame| frame["type"].clone()).collect();
    assert_eq!(later, ["edited", "reacted"]);
    // Run again, it brings nothing back that has gone since.
    browser.log_out();
    let told = run(&setup, &["migrate"]);
    assert!(told.contains("messages: 0 of 3 rooms copied, and 0 changes of messages"), "{told}");
    assert!(told.contains("0 mutes, 0 moderators, 0 begun channels copied; 3 had theirs before"), "{told}");
    assert!(told.contains("rooms: 0 of 1 copied, 1 were copied before") && !told.contains("left out"), "{told}");
    assert_eq!(database.sql("SELECT count(*) FROM chat.sessions"), "0\n");
    assert_eq!(database.sql("SELECT count(*) FROM chat.mutes"), "0\n");
}

#[test]
fn who_has_begun_as_many_channels_as_one_may_begins_no_more_after_the_move() {
    let mut server = embedded().env("CHANNELS_PER_ACCOUNT", "2").env("CHANNELS_PER_KEY", "1").start();
    let publish = |server: &Server, room: &str| {
        let path = format!("/api/v1/rooms/channel:{room}/messages");
        server.call("POST", &path, Some(json!({"text": "hello"}))).status
    };
    for room in ["one", "two"] {
        server.channel(ALICE, room).post("hello");
    }
    assert_eq!(publish(&server, "of-a-key"), 201);
    server.terminate();
    let cluster = Cluster::shared();
    let database = cluster.database();
    let redis = Redis::start();
    let setup = moved_to(server.setup(), &redis, Some(&database));
    let told = run(&setup, &["migrate"]);
    assert!(told.contains("2 begun channels copied\n") && told.contains("of keys: 1 begun channels"), "{told}");
    let told = run(&setup, &["migrate"]);
    assert!(told.contains("0 begun channels copied;") && !told.contains("of keys"), "{told}");
    let moved = setup.start();
    let mut third = moved.channel(ALICE, "three");
    third.ask(json!({"type": "message", "text": "hello", "ref": "r"}));
    assert_eq!(third.wait_for("error")["code"], "too_many_channels");
    moved.channel(ALICE, "one").post("on and on");
    moved.channel(BOB, "three").post("he has begun none");
    assert_eq!([publish(&moved, "of-a-key"), publish(&moved, "another")], [201, 403]);
}

#[test]
fn what_is_only_in_the_journal_of_a_killed_server_is_moved_as_it_is_now() {
    let mut server = embedded().start();
    let mut held = None;
    let access = server.access(ALICE);
    let lobby = happen(&server, &access, || {
        // A deletion has everything before it taken over soon.
        let mut alice = enter(&server, &access, "lobby2");
        let gone = alice.done(json!({"type": "message", "text": "gone"}), "m1");
        alice.done(json!({"type": "delete", "id": gone}), "d1");
        let tables = rusqlite::Connection::open(server.data_dir().join("log.db")).expect("the log");
        let edited = "SELECT count(*) FROM messages WHERE edited IS NOT NULL";
        eventually("the tables have what was said", || tables.query_row(edited, (), |row| row.get(0)) == Ok(1));
        held = Some(Held::file(&server, "log.db"));
    });
    let before = shown(&server, &access, &lobby);
    server.kill9();
    held.expect("it was held").release();
    let redis = Redis::start();
    let setup = moved_to(server.setup(), &redis, None);
    run(&setup, &["migrate"]);
    let moved = setup.start();
    let after = shown(&moved, &moved.access(ALICE), &lobby);
    for part in ["history", "lobby", "empty", "monitor", "followed"] {
        assert_eq!(after[part], before[part], "{part}");
    }
}

// Seen to fail where it begins with the first entry again.
#[test]
fn killed_at_any_moment_it_goes_on_where_it_was_and_a_bar_says_how_far_it_is() {
    const SAID: usize = 3000;
    let mut server = embedded().start();
    let mut alice = server.channel(ALICE, "lobby");
    for n in 0..SAID {
        alice.ask(json!({"type": "message", "text": format!("number {n}"), "ref": format!("m{n}")}));
        if n % 10 == 9 {
            let id = alice.wait_for("ack")["id"].clone();
            (0..9).for_each(|_| drop(alice.wait_for("ack")));
            alice.ask(json!({"type": "react", "id": id, "emoji": "👍", "on": true}));
        }
    }
    let last = alice.post("the end")["id"].clone();
    server.terminate();
    let redis = Redis::start();
    let setup = moved_to(server.setup(), &redis, None);
    let length = |key: &str| {
        let mut command = redis::cmd("XLEN");
        command.arg(format!("propromo:{{channel:lobby}}:{key}"));
        redis.ask::<usize>(command).expect("a length")
    };
    for at_least in [1, SAID / 2] {
        let mut moving = setup.command(&["migrate"]).spawn().expect("it can be started");
        while length("log") < at_least && moving.try_wait().expect("it can be asked").is_none() {
            thread::yield_now();
        }
        moving.kill().expect("it can be killed");
        moving.wait().expect("it ends");
    }
    let mut terminal = Terminal::run(&setup, &["migrate"]);
    terminal.shows(&format!("of {} messages and changes copied", SAID + SAID / 10 + 1));
    terminal.shows("\r\x1b[Kmessages: ");
    assert_eq!(terminal.ends(), 0);
    assert_eq!((length("log"), length("changes")), (SAID + 1, SAID / 10));
    let told = run(&setup, &["migrate"]);
    assert!(told.contains("messages: 0 of 1 room copied, and 0 changes of messages"), "{told}");
    let moved = setup.start();
    let access = moved.access(ALICE);
    assert!(since(&moved, &access, &last).is_empty());
    let mut alice = enter(&moved, &access, "lobby");
    alice.ask(json!({"type": "message", "text": "number 7", "ref": "m7"}));
    assert!(alice.wait_for("ack")["id"].as_str() < last.as_str(), "it is the message of before");
}

#[test]
fn what_was_to_be_erased_is_not_copied() {
    let mut server = Server::start();
    server.channel(ALICE, "lobby").post("to be erased");
    server.terminate();
    let redis = Redis::start();
    let setup = moved_to(server.setup(), &redis, None);
    let accounts = rusqlite::Connection::open(setup.data_dir().join("chat.db")).expect("the accounts");
    let ask = "INSERT INTO tasks (kind, about, since) VALUES ('sender', ?1, 1)";
    accounts.execute(ask, [ALICE.email]).expect("a task");
    drop(accounts);
    let output = setup.run(&["migrate"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("1 erasure was asked for and not done") && told.contains("nothing was copied"), "{told}");
    let mut keys = redis::cmd("KEYS");
    keys.arg("propromo:*:log");
    assert_eq!(redis.ask::<Vec<String>>(keys).expect("keys"), Vec::<String>::new());
}

#[test]
fn what_webhooks_were_not_told_before_is_told_by_the_new_nodes() {
    let works = Arc::new(AtomicBool::new(true));
    let receiver = Receiver::answering({
        let works = works.clone();
        move |_| if works.load(Ordering::SeqCst) { TAKEN.to_owned() } else { BROKEN.to_owned() }
    });
    let mut server = embedded().webhooks_to(&receiver.url()).env("WEBHOOK_EVENTS", "message.created").start();
    let mut alice = server.channel(ALICE, "lobby");
    alice.post("told before");
    receiver.wait_for_text("told before");
    works.store(false, Ordering::SeqCst);
    alice.post("not told");
    receiver.wait_for_text("not told");
    server.terminate();
    let redis = Redis::start();
    let setup = moved_to(server.setup(), &redis, None);
    let told = run(&setup, &["migrate"]);
    assert!(told.contains("webhooks: the new nodes go on where they were; 1 room had something to be told"), "{told}");
    let tries = receiver.received().len();
    works.store(true, Ordering::SeqCst);
    let moved = setup.start();
    moved.channel(ALICE, "lobby").post("the end");
    let heard = receiver.wait_for(tries + 2);
    let texts: Vec<_> = heard[tries..].iter().map(|event| event.text()).collect();
    assert_eq!(texts, ["not told", "the end"]);
}
