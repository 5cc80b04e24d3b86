//! Messages that change: edits, deletions, answers, reactions, and who may what.

use serde_json::{Value, json};
use support::{
    ALICE, BOB, Client, DEMO, Server,
    channel::fields,
    recordings::{self, Frames, play},
};

/// Alice and Bob in the room of a monitor, with nothing left to hear.
fn two(server: &Server) -> (Client, Client) {
    let mut alice = server.channel(ALICE, DEMO);
    let bob = server.channel(BOB, DEMO);
    alice.hear_a("join");
    (alice, bob)
}

/// Says something that all of these hear; its id.
#[track_caller]
fn say(sender: &mut Client, others: &mut [&mut Client], text: &str) -> Value {
    let message = sender.post(text);
    for other in others {
        assert_eq!(other.hear_a("message")["id"], message["id"]);
    }
    message["id"].clone()
}

#[track_caller]
fn code(client: &mut Client, frame: Value) -> String {
    client.ask(frame);
    let error = client.hear_a("error");
    assert!(error["message"].as_str().is_some_and(|sentence| sentence.ends_with('.')), "{error}");
    error["code"].as_str().expect("a code").to_owned()
}

/// The messages of the newest page.
#[track_caller]
fn history(client: &mut Client) -> Vec<Value> {
    client.ask(json!({"type": "history"}));
    client.wait_for("history")["messages"].as_array().expect("a list").clone()
}

fn since(id: &Value) -> String {
    format!("{DEMO}?since={}", id.as_str().unwrap_or_else(|| panic!("no id: {id}")))
}

#[test]
fn an_edit_is_seen_by_all_in_the_same_place() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let first = say(&mut alice, &mut [&mut bob], "helo");
    say(&mut bob, &mut [&mut alice], "what?");
    alice.ask(json!({"type": "edit", "id": first, "text": "hello", "ref": "e1"}));
    let edited = alice.hear_a("edited");
    assert_eq!(fields(&edited), ["change", "id", "room", "text", "timestamp", "type", "user"]);
    assert_eq!((&edited["id"], &edited["text"], &edited["user"]), (&first, &json!("hello"), &json!(ALICE.email)));
    assert_eq!(bob.hear_frame(), edited);
    let ack = alice.hear_a("ack");
    assert_eq!((&ack["ref"], &ack["id"]), (&json!("e1"), &edited["change"]));
    let page = history(&mut bob);
    assert_eq!((&page[0]["text"], &page[1]["text"]), (&json!("hello"), &json!("what?")));
    assert_eq!(page[0]["edited"], edited["timestamp"]);
    assert!(page[1]["edited"].is_null());
}

#[test]
fn a_deleted_message_never_comes_back_also_after_a_crash() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let first = say(&mut alice, &mut [&mut bob], "stays");
    let secret = say(&mut alice, &mut [&mut bob], "my password is Zypressenhain");
    alice.ask(json!({"type": "edit", "id": secret, "text": "my password was Zypressenhain"}));
    assert_eq!(bob.hear_a("edited"), alice.hear_a("edited"));
    alice.ask(json!({"type": "delete", "id": secret}));
    let deleted = alice.hear_a("deleted");
    assert_eq!(fields(&deleted), ["change", "id", "room", "timestamp", "type", "user"]);
    assert_eq!(bob.hear_frame(), deleted);
    let mut server = server;
    server.kill9();
    let server = server.restart();
    let mut bob = server.channel(BOB, DEMO);
    assert_eq!(bob.hear_a("message")["id"], first);
    assert!(bob.hear_all_up_to_now().iter().all(|frame| frame["type"] != "message"));
    assert_eq!(history(&mut bob).len(), 1);
    // Who had seen it last is told that it is gone, and nothing of what it said.
    let mut back = server.channel(ALICE, &since(&secret));
    assert_eq!(back.hear_a("deleted"), deleted);
    assert_eq!(code(&mut back, json!({"type": "edit", "id": secret, "text": "again"})), "no_such_message");
    let mut old = server.join(BOB, DEMO);
    assert_eq!(old.hear_message().text, "stays");
}

#[test]
fn reactions_are_told_counted_and_taken_back() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let id = say(&mut alice, &mut [&mut bob], "done");
    for (client, emoji) in [(0, "👍"), (1, "👍"), (1, "🎉")] {
        let asked = json!({"type": "react", "id": id, "emoji": emoji, "on": true});
        let (one, other) = if client == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        one.ask(asked);
        let reacted = one.hear_a("reacted");
        assert_eq!(fields(&reacted), ["change", "emoji", "id", "on", "room", "type", "user"]);
        assert_eq!(other.hear_frame(), reacted);
    }
    let reactions = |client: &mut Client| history(client)[0]["reactions"].clone();
    assert_eq!(reactions(&mut alice), json!({"👍": [ALICE.email, BOB.email], "🎉": [BOB.email]}));
    bob.ask(json!({"type": "react", "id": id, "emoji": "🎉", "on": false}));
    assert_eq!(bob.hear_a("reacted")["on"], false);
    assert_eq!(reactions(&mut bob), json!({"👍": [ALICE.email, BOB.email]}));
}

#[test]
fn a_reply_names_its_message_and_says_who_said_it() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let id = say(&mut alice, &mut [&mut bob], "shall we?");
    bob.ask(json!({"type": "message", "text": "yes", "reply_to": id}));
    let reply = alice.hear_a("message");
    assert_eq!((&reply["reply_to"], &bob.hear_a("message")), (&id, &reply));
    assert!(reply["name"].as_str().is_some_and(|name| name.starts_with("Bob")), "{reply}");
    alice.ask(json!({"type": "delete", "id": id}));
    alice.hear_a("deleted");
    alice.ask(json!({"type": "message", "text": "no", "reply_to": id}));
    assert!(alice.hear_a("message")["reply_to"].is_null());
    let page = history(&mut alice);
    assert_eq!((&page[0]["reply_to"], &page[1]["reply_to"]), (&id, &Value::Null));
}

#[test]
fn what_may_not_be_changed_has_its_code_and_stays() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let mine = say(&mut alice, &mut [&mut bob], "mine");
    let gone = say(&mut alice, &mut [&mut bob], "gone");
    let mut garden = server.channel(ALICE, "garden");
    let elsewhere = garden.post("elsewhere")["id"].clone();
    alice.ask(json!({"type": "delete", "id": gone}));
    let change = alice.hear_a("deleted")["change"].clone();
    bob.hear_a("deleted");
    let before = history(&mut alice);
    for id in [&gone, &elsewhere, &change, &json!("01890000-0000-7000-8000-000000000000")] {
        assert_eq!(code(&mut alice, json!({"type": "edit", "id": id, "text": "x"})), "no_such_message", "{id}");
        assert_eq!(code(&mut alice, json!({"type": "delete", "id": id})), "no_such_message", "{id}");
        let react = json!({"type": "react", "id": id, "emoji": "👍", "on": true});
        assert_eq!(code(&mut alice, react), "no_such_message", "{id}");
    }
    assert_eq!(code(&mut bob, json!({"type": "edit", "id": mine, "text": "yours"})), "not_yours");
    assert_eq!(code(&mut bob, json!({"type": "delete", "id": mine, "ref": "d"})), "not_yours");
    assert_eq!(code(&mut alice, json!({"type": "edit", "id": mine, "text": "mine"})), "unchanged");
    for emoji in ["", "ok", "👍👍", "1"] {
        let react = json!({"type": "react", "id": mine, "emoji": emoji, "on": true});
        assert_eq!(code(&mut alice, react), "bad_emoji", "{emoji}");
    }
    for frame in [
        json!({"type": "edit", "id": mine}),
        json!({"type": "edit", "text": "x"}),
        json!({"type": "delete", "id": "mine"}),
        json!({"type": "react", "id": mine, "emoji": "👍"}),
        json!({"type": "message", "text": "x", "reply_to": "mine"}),
    ] {
        assert_eq!(code(&mut alice, frame.clone()), "bad_frame", "{frame}");
    }
    assert_eq!(history(&mut alice), before);
    assert!(bob.hear_all_up_to_now().is_empty());
}

/// The `n`th of many different emoji.
fn emoji(n: u32) -> String {
    char::from_u32(0x1f600 + n).expect("an emoji").to_string()
}

// Seen to fail with `MAX_EMOJI` of 200: the 21st is made.
#[test]
fn a_reaction_is_one_emoji_of_at_most_32_bytes_and_a_message_has_twenty_different_ones() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    let mut alice = server.channel(ALICE, DEMO);
    let id = alice.post("done")["id"].clone();
    let react = |emoji: &str, on: bool| json!({"type": "react", "id": id, "emoji": emoji, "on": on});
    // Two people with skin tones who kiss: one emoji of 35 bytes.
    let long = "\u{1f469}\u{1f3fd}\u{200d}\u{2764}\u{fe0f}\u{200d}\u{1f48b}\u{200d}\u{1f468}\u{1f3ff}";
    assert_eq!((long.len(), code(&mut alice, react(long, true))), (35, "bad_emoji".into()));
    // A family of four: one of 25.
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}";
    alice.done(react(family, true), "family");
    for n in 0..19 {
        alice.done(react(&emoji(n), true), &format!("{n}"));
    }
    alice.hear_all_up_to_now();
    assert_eq!(code(&mut alice, react(&emoji(19), true)), "bad_emoji");
    let mut bob = server.channel(BOB, DEMO);
    bob.done(react(&emoji(3), true), "one of them");
    alice.done(react(family, false), "no family");
    alice.done(react(&emoji(19), true), "there is a place");
    bob.hear_all_up_to_now();
    let reactions = history(&mut bob)[0]["reactions"].clone();
    assert_eq!(reactions.as_object().map(serde_json::Map::len), Some(20), "{reactions}");
    assert_eq!(reactions[emoji(3)], json!([ALICE.email, BOB.email]));
}

#[test]
fn an_edit_that_is_longer_than_a_message_may_be_changes_nothing() {
    let server = Server::with().env("MAX_MESSAGE", "200").start();
    let (mut alice, mut bob) = two(&server);
    let id = say(&mut alice, &mut [&mut bob], "short");
    alice.ask(json!({"type": "edit", "id": id, "text": "x".repeat(200)}));
    assert_eq!(alice.close_code(), Some(1009));
    bob.hear_a("leave");
    let page = history(&mut bob);
    assert_eq!((&page[0]["text"], &page[0]["edited"]), (&json!("short"), &Value::Null));
}

#[test]
fn an_error_names_the_ref_of_what_was_asked() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let mine = say(&mut alice, &mut [&mut bob], "mine");
    bob.ask(json!({"type": "delete", "id": mine, "ref": "d-1"}));
    assert_eq!(bob.hear_a("error")["ref"], "d-1");
}

#[test]
fn what_is_older_than_the_window_is_not_edited_but_may_be_deleted() {
    let server = Server::with().env("EDIT_WINDOW", "-1").start();
    let mut alice = server.channel(ALICE, "garden");
    let id = alice.post("as it is")["id"].clone();
    assert_eq!(code(&mut alice, json!({"type": "edit", "id": id, "text": "otherwise"})), "too_late");
    alice.ask(json!({"type": "delete", "id": id}));
    alice.hear_a("deleted");
    let server = Server::with().env("EDIT_WINDOW", "3600").start();
    let mut alice = server.channel(ALICE, "garden");
    let id = alice.post("as it is")["id"].clone();
    alice.ask(json!({"type": "edit", "id": id, "text": "otherwise"}));
    alice.hear_a("edited");
}

#[test]
fn since_brings_each_change_once_in_its_place() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let first = say(&mut alice, &mut [&mut bob], "one");
    bob.close();
    alice.hear_a("leave");
    alice.ask(json!({"type": "edit", "id": first, "text": "one!"}));
    let edited = alice.hear_a("edited");
    let second = say(&mut alice, &mut [], "two");
    alice.ask(json!({"type": "react", "id": second, "emoji": "👍", "on": true}));
    let reacted = alice.hear_a("reacted");
    let mut bob = server.channel(BOB, &since(&first));
    assert_eq!(bob.hear_a("edited"), edited);
    let message = bob.hear_a("message");
    assert_eq!((&message["id"], &message["reactions"]), (&second, &json!({"👍": [ALICE.email]})));
    assert_eq!(bob.hear_a("reacted"), reacted);
    bob.close();
    let mut bob = server.channel(BOB, &since(&reacted["change"]));
    assert!(bob.hear_all_up_to_now().iter().all(|frame| frame["type"] == "join"));
}

#[test]
fn edits_reactions_and_answers_are_after_a_crash_as_they_were() {
    let mut server = Server::start();
    let mut alice = server.channel(ALICE, DEMO);
    let first = alice.post("helo")["id"].clone();
    alice.ask(json!({"type": "edit", "id": first, "text": "hello"}));
    let edited = alice.wait_for("edited");
    alice.ask(json!({"type": "react", "id": first, "emoji": "👍", "on": true}));
    let reacted = alice.wait_for("reacted");
    alice.ask(json!({"type": "message", "text": "to myself", "reply_to": first}));
    let answer = alice.wait_for("message");
    let then = history(&mut alice);
    assert_eq!((&then[0]["text"], &then[0]["reactions"]), (&json!("hello"), &json!({"👍": [ALICE.email]})));
    assert!(!then[1]["reply_to"].is_null(), "{then:?}");
    server.kill9();
    let server = server.restart();
    let mut bob = server.channel(BOB, &since(&first));
    for entry in [edited, reacted, answer] {
        assert_eq!(bob.hear_frame(), entry);
    }
    assert_eq!(history(&mut bob), then);
}

#[test]
fn a_client_that_knows_no_changes_hears_none_and_finds_messages_as_they_are_now() {
    let server = Server::start();
    let mut old = server.join(BOB, DEMO);
    let mut alice = server.channel(ALICE, DEMO);
    let id = alice.post("helo")["id"].clone();
    let gone = alice.post("gone")["id"].clone();
    assert_eq!((old.hear_message().text, old.hear_message().text), ("helo".into(), "gone".into()));
    alice.ask(json!({"type": "edit", "id": id, "text": "hello"}));
    alice.ask(json!({"type": "react", "id": id, "emoji": "👍", "on": true}));
    alice.ask(json!({"type": "delete", "id": gone}));
    alice.wait_for("deleted");
    alice.post("after");
    assert_eq!(old.hear_message().text, "after");
    let mut newcomer = server.join(BOB, DEMO);
    assert_eq!((newcomer.hear_message().text, newcomer.hear_message().text), ("hello".into(), "after".into()));
    // What it said itself may be edited by its account all the same.
    let own = old.say_and_hear("from an app");
    let mut bob = server.channel(BOB, DEMO);
    bob.ask(json!({"type": "edit", "id": own.id, "text": "from the page"}));
    assert_eq!(bob.wait_for("edited")["text"], "from the page");
}

// The version before.

#[test]
fn a_store_of_the_version_before_is_opened_and_its_messages_can_be_changed() {
    let setup = Server::with();
    std::fs::create_dir_all(setup.data_dir()).expect("the test's directory is writable");
    for file in ["chat.db", "ledger.db", "log.db"] {
        let then = recordings::fixture("data").join(file);
        std::fs::copy(then, setup.data_dir().join(file)).expect("the fixture can be copied");
    }
    let server = setup.start();
    let mut alice = server.channel(ALICE, "garden");
    let heard: Vec<Value> = (0..3).map(|_| alice.hear_a("message")).collect();
    let texts: Vec<&str> = heard.iter().filter_map(|message| message["text"].as_str()).collect();
    assert_eq!(texts, ["one", "two, plain", "three"]);
    alice.ask(json!({"type": "edit", "id": heard[0]["id"], "text": "1"}));
    alice.hear_a("edited");
    alice.ask(json!({"type": "delete", "id": heard[2]["id"]}));
    alice.hear_a("deleted");
    // The reference of a message of the version before is remembered.
    alice.ask(json!({"type": "message", "text": "one", "ref": "r-1"}));
    assert_eq!(alice.hear_a("ack")["id"], heard[0]["id"]);
    let page = history(&mut alice);
    let texts: Vec<&str> = page.iter().filter_map(|message| message["text"].as_str()).collect();
    assert_eq!(texts, ["1", "two, plain"]);
    let mut old = server.join(ALICE, DEMO);
    assert_eq!(old.hear_message().text, "good morning");
}

#[test]
fn clients_of_the_version_before_hear_what_they_heard_then() {
    let server = Server::start();
    let servers = [&server];
    play(&servers, "channel.ndjson", Frames::MayBeNew, || {});
    play(&servers, "rooms.ndjson", Frames::AsThen, || {});
    play(&servers, "propromo.ndjson", Frames::AsThen, || {});
}

#[test]
fn an_app_of_the_version_before_hears_the_same_while_another_client_changes_messages() {
    let server = Server::with().env("HISTORY_ON_JOIN", "2").env("MESSAGE_RATE", "0").start();
    let mut carla = server.channel(ALICE, DEMO);
    // Said before, and changed all the time while the recording is played.
    let id = carla.post("before")["id"].clone();
    let gone = carla.post("before, too")["id"].clone();
    carla.ask(json!({"type": "delete", "id": gone}));
    carla.ask(json!({"type": "delete", "id": id}));
    carla.wait_for("deleted");
    carla.wait_for("deleted");
    let mut turn = 0;
    let mut watcher = server.channel(BOB, DEMO);
    play(&[&server], "propromo.ndjson", Frames::AsThen, || {
        turn += 1;
        let frames = watcher.hear_all_up_to_now();
        for frame in frames.iter().filter(|frame| frame["type"] == "message") {
            let on = turn % 2 == 0;
            carla.ask(json!({"type": "react", "id": frame["id"], "emoji": "👍", "on": true}));
            carla.wait_for("reacted");
            carla.ask(json!({"type": "react", "id": frame["id"], "emoji": "🎉", "on": on}));
        }
    });
}
