//! `account remove`, `account erase`, `account export` and `monitor remove`: what becomes of messages.

use serde_json::{Value, json};
use std::{fs, path::Path, process::Output};
use support::{ALICE, BOB, Client, DEMO, Server, eventually, server::Setup};

/// Words that stand in no file but for the messages that have them.
const SECRET: &str = "heliotrope";
const EDITED: &str = "sarsaparilla";
const OTHERS: &str = "quicksilver";

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The files below a directory in which this word stands, in any case.
fn files_with(word: &str, directory: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(directory).expect("the directory can be read").map(|entry| entry.expect("an entry").path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files_with(word, &path));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.to_ascii_lowercase().windows(word.len()).any(|part| part == word.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

fn setup() -> Setup {
    Server::with_api().env("MESSAGE_RATE", "0").env("SEARCH_RATE", "0")
}

/// Alice says a secret in two rooms, edits another, and Bob says something, answers and reacts.
fn talk(server: &Server) {
    let mut alice = server.channel(ALICE, "lobby");
    let mut bob = server.channel(BOB, "lobby");
    let said = alice.post(&format!("the {SECRET} is mine"));
    let edited = alice.post(&format!("about {EDITED}"));
    alice.ask(json!({"type": "edit", "id": edited["id"], "text": "about nothing"}));
    bob.post(&format!("{OTHERS} is all I have"));
    bob.ask(json!({"type": "message", "text": format!("a {OTHERS} answer"), "reply_to": said["id"]}));
    bob.ask(json!({"type": "react", "id": said["id"], "emoji": "👍", "on": true}));
    bob.wait_for("reacted");
    alice.ask(json!({"type": "react", "id": said["id"], "emoji": "🎉", "on": true}));
    alice.ask(json!({"type": "read", "id": said["id"]}));
    let mut alice = server.channel(ALICE, DEMO);
    for n in 0..300 {
        alice.ask(json!({"type": "message", "text": format!("{SECRET} number {n}")}));
    }
    while alice.wait_for("message")["text"] != format!("{SECRET} number 299") {}
    // The index has them, too.
    eventually("the message is found", || {
        bob.ask(json!({"type": "search", "query": SECRET}));
        bob.wait_for("results")["messages"][0]["text"].is_string()
    });
}

/// The last messages of the room.
#[track_caller]
fn history(client: &mut Client) -> Value {
    client.ask(json!({"type": "history", "limit": 200}));
    client.wait_for("history")["messages"].take()
}

#[test]
fn what_a_removed_account_said_is_in_no_file_any_more_while_the_server_runs_on() {
    let server = setup().start();
    talk(&server);
    assert!(!files_with(SECRET, &server.data_dir()).is_empty());
    let mut bob = server.channel(BOB, "lobby");
    let output = server.setup().run(&["account", "remove", ALICE.email, "--erase-messages"]);
    assert!(done(&output).contains("302 messages erased"), "{}", done(&output));
    assert_eq!(bob.wait_for("deleted")["user"], "bot:operators");
    for word in [SECRET, EDITED] {
        assert_eq!(files_with(word, &server.data_dir()), [""; 0], "{word}");
    }
    assert!(!files_with(OTHERS, &server.data_dir()).is_empty(), "others' messages stay");
    assert_eq!(bob.post("still here")["text"], "still here");
    let mut server = server;
    server.terminate();
    assert_eq!(files_with(SECRET, &server.data_dir()), [""; 0]);
}

#[test]
fn without_a_server_the_command_erases_by_itself_also_what_was_only_journalled() {
    let mut server = setup().start();
    talk(&server);
    server.kill9();
    let setup = server.setup().clone();
    assert!(done(&setup.run(&["account", "remove", ALICE.email, "--erase-messages"])).contains("302 messages erased"));
    for word in [SECRET, EDITED] {
        assert_eq!(files_with(word, &setup.data_dir()), [""; 0], "{word}");
    }
    let server = setup.without_demo().start();
    let mut bob = server.channel(BOB, "lobby");
    let texts: Vec<Value> = history(&mut bob).as_array().expect("messages").clone();
    assert!(texts.iter().all(|message| message["user"] == BOB.email) && texts.len() == 2, "{texts:?}");
}

#[test]
fn what_is_kept_of_a_removed_account_can_be_erased_later() {
    let server = setup().start();
    talk(&server);
    let removed = done(&server.setup().run(&["account", "remove", ALICE.email, "--keep-messages"]));
    assert!(removed.contains(&format!("account erase {}", ALICE.email)), "{removed}");
    assert!(!files_with(SECRET, &server.data_dir()).is_empty());
    assert!(done(&server.setup().run(&["account", "erase", ALICE.email])).contains("302 messages erased"));
    assert_eq!(files_with(SECRET, &server.data_dir()), [""; 0]);
}

#[test]
fn a_removed_monitors_messages_are_erased_or_kept_where_no_later_monitor_shows_them() {
    let server = setup().start();
    talk(&server);
    let setup = server.setup();
    let member = || {
        done(&setup.run(&["monitor", "add", DEMO]));
        done(&setup.run(&["monitor", "join", DEMO, BOB.email]));
        server.channel(BOB, DEMO)
    };
    done(&setup.run(&["monitor", "remove", DEMO, "--keep-messages"]));
    let mut bob = member();
    assert_eq!(history(&mut bob), json!([]));
    bob.ask(json!({"type": "search", "query": SECRET}));
    assert_eq!(bob.wait_for("results")["messages"], json!([]));
    let listed = server.call("GET", "/api/v1/rooms", None).json();
    let rooms: Vec<&str> =
        listed["rooms"].as_array().expect("rooms").iter().filter_map(|room| room["room"].as_str()).collect();
    let kept = rooms.iter().find(|room| room.starts_with("removed:")).expect("the messages are kept");
    assert!(kept.ends_with(DEMO), "{rooms:?}");
    let path =
        format!("/api/v1/rooms/{}/messages?limit=1", kept.replace(':', "%3A").replace('$', "%24").replace('/', "%2F"));
    assert_eq!(server.call("GET", &path, None).json()["messages"][0]["text"], format!("{SECRET} number 299"));
    bob.post("of the second monitor");
    done(&setup.run(&["monitor", "remove", DEMO, "--erase-messages"]));
    assert_eq!(files_with("of the second monitor", &server.data_dir()), [""; 0]);
    let mut bob = member();
    assert_eq!(history(&mut bob), json!([]));
    // Whatever is kept of her is found, and goes.
    assert!(done(&setup.run(&["account", "remove", ALICE.email, "--erase-messages"])).contains("302 messages erased"));
    assert_eq!(files_with(SECRET, &server.data_dir()), [""; 0]);
}

#[test]
fn messages_that_an_earlier_version_left_of_a_removed_monitor_are_set_aside_when_it_is_added_again() {
    let mut server = setup().start();
    talk(&server);
    server.terminate();
    let setup = server.setup().clone().without_demo();
    // As `monitor remove` was: the row alone.
    let file = rusqlite::Connection::open(setup.data_dir().join("chat.db")).expect("the file can be opened");
    file.execute("DELETE FROM monitors WHERE monitor_hash = ?1", [DEMO]).expect("the monitor is there");
    drop(file);
    let server = setup.start();
    done(&server.setup().run(&["monitor", "add", DEMO]));
    done(&server.setup().run(&["monitor", "join", DEMO, BOB.email]));
    assert_eq!(history(&mut server.channel(BOB, DEMO)), json!([]));
}

#[test]
fn without_a_terminal_it_must_be_said_what_becomes_of_messages() {
    let setup = Server::with().without_demo().monitor("one").account("ann@example.org", "ann-password", &["one"]);
    for arguments in [["account", "remove", "ann@example.org"], ["monitor", "remove", "one"]] {
        let output = setup.run(&arguments);
        let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{sentence}");
        assert!(sentence.contains("--erase-messages") && sentence.contains("--keep-messages"), "{sentence}");
    }
    let listed = done(&setup.run(&["account", "list"]));
    assert!(listed.contains("ann@example.org") && listed.contains("one"), "{listed}");
    // Nothing was ever said.
    assert!(
        done(&setup.run(&["account", "remove", "ann@example.org", "--erase-messages"])).contains("0 messages erased")
    );
    done(&setup.run(&["monitor", "remove", "one", "--keep-messages"]));
}

#[test]
fn all_that_is_kept_of_a_person_is_exported_while_the_server_runs() {
    let server = setup().start();
    server.post("/session", "application/json", json!({"email": ALICE.email, "password": ALICE.password}).to_string());
    talk(&server);
    let setup = server.setup();
    let read = |output: &Output| -> Vec<Value> {
        done(output).lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
    };
    // The read mark is stored a moment after it was said.
    let mut lines = Vec::new();
    eventually("all is there", || {
        lines = read(&setup.run(&["account", "export", ALICE.email]));
        lines.iter().any(|line| line["type"] == "read")
    });
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    assert_eq!(of("account")[0]["email"], ALICE.email);
    assert!(of("membership").iter().any(|line| line["monitor"] == DEMO));
    assert_eq!((of("session").len(), of("read").len(), of("edit").len(), of("message").len()), (1, 1, 1, 302));
    assert_eq!(of("begun").iter().map(|line| &line["room"]).collect::<Vec<_>>(), ["channel:lobby"]);
    assert_eq!((&of("react")[0]["emoji"], &of("react")[0]["on"]), (&json!("🎉"), &json!(true)));
    let first = of("message").into_iter().find(|line| line["room"] == "channel:lobby").expect("what was said");
    assert_eq!((&first["text"], &first["user"]), (&json!(format!("the {SECRET} is mine")), &json!(ALICE.email)));
    let all = done(&setup.run(&["account", "export", ALICE.email]));
    assert!(
        !all.contains("$2y$10") && !all.contains(OTHERS) && !all.contains("password"),
        "neither secrets nor others' texts"
    );
    assert_eq!(read(&setup.run(&["account", "export", "nobody@example.org"])), [Value::Null; 0]);
}
