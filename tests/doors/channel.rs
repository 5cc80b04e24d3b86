//! The channel protocol: what clients of tickets and two steps send, and what they hear.

use serde_json::{Value, json};
use support::{ALICE, BOB, CAROL, Client, DEMO, Server, channel::fields, eventually, faults, ws::said};
use uuid::Uuid;

/// Two people in one channel who have nothing left to hear.
fn two(server: &Server) -> (Client, Client) {
    let mut alice = server.channel(ALICE, "garden");
    let bob = server.channel(BOB, "garden");
    assert_eq!(alice.hear_a("join")["user"], BOB.email);
    (alice, bob)
}

/// Says `count` numbered messages and gives their frames, oldest first.
fn numbered(client: &mut Client, count: usize) -> Vec<Value> {
    (0..count).for_each(|number| client.say(format!("message {number}")));
    (0..count).map(|_| client.wait_for("message")).collect()
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["id"].as_str().expect("an id")).collect()
}

/// Asks for a page of history.
#[track_caller]
fn page(client: &mut Client, mut question: Value) -> (Vec<Value>, bool) {
    question["type"] = "history".into();
    client.ask(question);
    let answer = client.hear_a("history");
    assert_eq!(fields(&answer), ["messages", "more", "type"]);
    let messages = answer["messages"].as_array().expect("a list").clone();
    (messages, answer["more"].as_bool().expect("yes or no"))
}

/// The code of the next frame, which must be an error with a sentence.
#[track_caller]
fn error_code(client: &mut Client) -> String {
    let error = client.hear_a("error");
    assert!(error["message"].as_str().is_some_and(|sentence| sentence.ends_with('.')), "{error}");
    error["code"].as_str().expect("a code").to_owned()
}

// Messages.

#[test]
fn a_message_goes_to_everybody_the_sender_too() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    alice.ask(json!({"type": "message", "text": "hello\n\"you\" 😀"}));
    let message = alice.hear_a("message");
    assert_eq!(fields(&message), ["id", "name", "room", "text", "timestamp", "type", "user"]);
    assert_eq!((&message["room"], &message["user"]), (&json!("garden"), &json!(ALICE.email)));
    assert_eq!(message["text"], "hello\n\"you\" 😀");
    let id = uuid::Uuid::parse_str(message["id"].as_str().expect("an id")).expect("a UUID");
    assert_eq!(id.get_version_num(), 7);
    let timestamp = message["timestamp"].as_str().expect("a time");
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z') && timestamp.as_bytes()[19] == b'.', "{timestamp}");
    assert_eq!(bob.hear_frame(), message);
}

#[test]
fn a_text_that_does_not_begin_as_a_json_object_is_a_message() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    for text in ["hello", "", " ", "42", "null", "\"text\"", r#"[{"type":"ping"}]"#, "not {json}"] {
        alice.say(text);
        assert_eq!(bob.hear_a("message")["text"], text);
        assert_eq!(alice.hear_a("message")["text"], text);
    }
}

#[test]
fn only_the_sender_gets_an_ack_and_only_for_a_message_with_a_ref() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    alice.ask(json!({"type": "message", "text": "hello", "ref": "r-1"}));
    let (message, ack) = (alice.hear_a("message"), alice.hear_a("ack"));
    assert_eq!(ack, json!({"type": "ack", "ref": "r-1", "id": message["id"], "timestamp": message["timestamp"]}));
    assert_eq!(bob.hear_frame(), message);
    alice.ask(json!({"type": "message", "text": "without", "ref": null}));
    assert_eq!(alice.hear_a("message")["text"], "without");
    assert_eq!(alice.hear_all_up_to_now(), Vec::<Value>::new());
    assert_eq!(bob.hear_a("message")["text"], "without");
    assert_eq!(bob.hear_all_up_to_now(), Vec::<Value>::new());
}

#[test]
fn the_same_ref_sent_twice_by_one_user_makes_one_message() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let frame = json!({"type": "message", "text": "hello", "ref": "once"});
    alice.ask(frame.clone());
    let (message, ack) = (alice.hear_a("message"), alice.hear_a("ack"));
    alice.ask(frame.clone());
    assert_eq!(alice.hear_frame(), ack, "acknowledged again, and nothing else");

    // From another connection of hers, and with another text: a retry of something she can't remember well.
    let mut again = server.channel(ALICE, "garden");
    assert_eq!(again.hear_frame(), message);
    again.ask(json!({"type": "message", "text": "hello?", "ref": "once"}));
    assert_eq!(again.hear_frame(), ack);
    assert_eq!(bob.hear_frame(), message);
    assert_eq!(bob.hear_all_up_to_now(), Vec::<Value>::new());
}

#[test]
fn a_ref_is_remembered_over_a_crash() {
    let mut server = Server::start();
    let mut alice = server.channel(ALICE, "garden");
    let frame = json!({"type": "message", "text": "hello", "ref": "once"});
    alice.ask(frame.clone());
    let (message, ack) = (alice.hear_a("message"), alice.hear_a("ack"));
    server.kill9();
    let server = server.restart();
    let mut alice = server.channel(ALICE, "garden");
    assert_eq!(alice.hear_frame(), message);
    alice.ask(frame);
    assert_eq!(alice.hear_frame(), ack);
}

#[test]
fn two_users_may_use_the_same_ref() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    for client in [&mut alice, &mut bob] {
        client.ask(json!({"type": "message", "text": "hello", "ref": "1"}));
    }
    let heard = [alice.wait_for("message"), alice.wait_for("message")];
    assert_ne!(heard[0]["id"], heard[1]["id"]);
}

#[test]
fn of_a_ref_that_races_with_itself_one_message_comes_of_it() {
    let server = Server::start();
    let mut sockets: Vec<_> = (0..8).map(|_| server.channel(ALICE, "garden")).collect();
    for socket in &mut sockets {
        socket.ask(json!({"type": "message", "text": "hello", "ref": "race"}));
    }
    let acks: Vec<_> = sockets.iter_mut().map(|socket| socket.wait_for("ack")["id"].clone()).collect();
    assert!(acks.iter().all(|id| *id == acks[0]), "{acks:?}");
    assert_eq!(server.channel(BOB, "garden").hear_all_up_to_now().len(), 1);
}

// What goes on beside messages.

#[test]
fn who_joins_and_who_leaves_is_told_to_the_others() {
    let server = Server::start();
    let mut alice = server.channel(ALICE, "garden");
    let bob = server.channel(BOB, "garden");
    assert_eq!(alice.hear_frame(), json!({"type": "join", "user": BOB.email, "name": "Bob Demo"}));
    bob.close();
    assert_eq!(alice.hear_frame(), json!({"type": "leave", "user": BOB.email, "name": "Bob Demo"}));
    drop(server.channel(CAROL, "garden"));
    let carol = |kind: &str| json!({"type": kind, "user": CAROL.email, "name": "Carol Demo"});
    assert_eq!(alice.hear_frame(), carol("join"));
    assert_eq!(alice.hear_frame(), carol("leave"), "also of a connection that broke");
}

#[test]
fn nobody_hears_the_own_join() {
    let server = Server::start();
    let mut alice = server.channel(ALICE, "garden");
    assert_eq!(alice.hear_all_up_to_now(), Vec::<Value>::new());
}

#[test]
fn the_second_connection_of_a_user_is_no_second_join() {
    let server = Server::start();
    let (mut alice, bob) = two(&server);
    let second = server.channel(BOB, "garden");
    bob.close();
    assert_eq!(alice.hear_all_up_to_now(), Vec::<Value>::new());
    second.close();
    assert_eq!(alice.hear_frame(), json!({"type": "leave", "user": BOB.email, "name": "Bob Demo"}));
}

#[test]
fn typing_is_told_to_the_others_but_not_to_oneself() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    alice.ask(json!({"type": "typing"}));
    assert_eq!(bob.hear_frame(), json!({"type": "typing", "user": ALICE.email, "name": "Alice Demo"}));
    assert_eq!(alice.hear_all_up_to_now(), Vec::<Value>::new());
}

#[test]
fn presence_names_everybody_once_and_only_those_of_this_room() {
    let server = Server::start();
    let (mut alice, _bob) = two(&server);
    let _twice = server.channel(BOB, "garden");
    let _elsewhere = server.channel(CAROL, "lobby");
    alice.ask(json!({"type": "presence"}));
    let names = json!({ALICE.email: "Alice Demo", BOB.email: "Bob Demo"});
    assert_eq!(alice.hear_frame(), json!({"type": "presence", "users": [ALICE.email, BOB.email], "names": names}));
}

#[test]
fn who_is_called_otherwise_by_now_is_so_with_the_next_connection() {
    let server = Server::start();
    let (mut alice, bob) = two(&server);
    let accounts = rusqlite::Connection::open(server.setup().data_dir().join("chat.db")).expect("the accounts");
    accounts.busy_timeout(support::PATIENCE).expect("a time-out");
    accounts.execute("UPDATE users SET name = 'Rob' WHERE email = ?1", [BOB.email]).expect("another name");
    let again = server.channel(BOB, "garden");
    alice.ask(json!({"type": "presence"}));
    assert_eq!(alice.wait_for("presence")["names"][BOB.email], "Rob");
    again.close();
    bob.close();
    assert_eq!(alice.wait_for("leave")["user"], BOB.email);
}

#[test]
fn who_comes_by_the_propromo_door_is_named_to_the_others() {
    let server = Server::start();
    let mut alice = server.channel(ALICE, DEMO);
    let bob = server.join(BOB, DEMO);
    assert_eq!(alice.wait_for("join")["name"], "Bob Demo");
    bob.close();
    assert_eq!(alice.wait_for("leave")["name"], "Bob Demo");
}

#[test]
fn a_ping_is_answered_by_a_pong_to_the_sender_alone() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    alice.ask(json!({"type": "ping"}));
    assert_eq!(alice.hear_frame(), json!({"type": "pong"}));
    alice.post("next");
    assert_eq!(bob.hear_a("message")["text"], "next");
}

#[test]
fn an_echo_is_answered_by_plain_text_to_the_sender_alone_and_not_kept() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    alice.ask(json!({"type": "echo", "text": "hello \"there\""}));
    assert_eq!(alice.hear(), "echo: hello \"there\"");
    alice.post("next");
    assert_eq!(bob.hear_a("message")["text"], "next");
    assert_eq!(page(&mut bob, json!({})).0.len(), 1);
}

// Errors.

#[test]
fn what_can_not_be_understood_is_told_to_the_sender_alone_who_stays() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    for (frame, code) in [
        (json!({}), "bad_frame"),
        (json!({"type": 7}), "bad_frame"),
        (json!({"text": "no type"}), "bad_frame"),
        (json!({"type": "message"}), "bad_frame"),
        (json!({"type": "message", "text": ["no", "text"]}), "bad_frame"),
        (json!({"type": "message", "text": "x", "ref": 7}), "bad_frame"),
        (json!({"type": "message", "text": "x", "ref": ""}), "bad_frame"),
        (json!({"type": "message", "text": "x", "ref": "r".repeat(129)}), "bad_frame"),
        (json!({"type": "echo"}), "bad_frame"),
        (json!({"type": "history", "before": "yesterday"}), "bad_frame"),
        (json!({"type": "history", "after": "tomorrow"}), "bad_frame"),
        (
            json!({"type": "history", "before": Uuid::now_v7().to_string(), "after": Uuid::now_v7().to_string()}),
            "bad_frame",
        ),
        (json!({"type": "history", "limit": 0}), "bad_frame"),
        (json!({"type": "history", "limit": -1}), "bad_frame"),
        (json!({"type": "history", "limit": "all"}), "bad_frame"),
        (json!({"type": "dance"}), "unknown_type"),
        (json!({"type": "join", "user": ALICE.email}), "unknown_type"),
        (json!({"type": "auth", "payload": "late"}), "unknown_type"),
    ] {
        alice.ask(frame.clone());
        assert_eq!(error_code(&mut alice), code, "{frame}");
    }
    alice.ask(json!({"type": "message", "text": "still here", "ref": "r".repeat(128)}));
    assert_eq!(bob.hear_a("message")["text"], "still here");
}

#[test]
fn a_message_that_can_not_be_stored_is_an_error_to_its_sender_with_its_ref() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    faults::fill_disk(&server);
    alice.ask(json!({"type": "message", "text": "lost", "ref": "r"}));
    let error = alice.hear_a("error");
    assert_eq!((&error["code"], &error["ref"]), (&json!("unavailable"), &json!("r")));
    faults::free_disk(&server);
    alice.ask(json!({"type": "message", "text": "found", "ref": "r"}));
    assert_eq!(bob.hear_a("message")["text"], "found", "the ref of what was not stored is free");
}

#[test]
fn who_sends_too_fast_is_told_and_closed() {
    let server = Server::with().env("MESSAGE_RATE", "1").start();
    let mut alice = server.channel(ALICE, "garden");
    for _ in 0..60 {
        // The last come after the end.
        let _ = alice.try_say(r#"{"type":"ping"}"#);
    }
    assert_eq!([(); 5].map(|()| alice.hear_frame()), [(); 5].map(|()| json!({"type": "pong"})));
    // A machine that takes a second for them gives the rate time to allow one more.
    let error = loop {
        let frame = alice.hear_frame();
        if frame["type"] != "pong" {
            break frame;
        }
    };
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("rate_limited")), "{error}");
    assert_eq!(alice.closed_because(), (1008, "rate_limited".to_owned()));
}

// History.

#[test]
fn who_joins_hears_the_last_messages_oldest_first() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    let mut alice = server.channel(ALICE, "garden");
    let all = numbered(&mut alice, 120);
    let mut bob = server.channel(BOB, "garden");
    assert_eq!(bob.hear_all_up_to_now(), all[20..], "the last 100");
    let server = Server::with().env("HISTORY_ON_JOIN", "3").start();
    let all = numbered(&mut server.channel(ALICE, "garden"), 5);
    assert_eq!(server.channel(BOB, "garden").hear_all_up_to_now(), all[2..]);
}

#[test]
fn a_page_of_history_is_oldest_first_and_says_whether_there_is_more() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "0").start();
    let all = numbered(&mut server.channel(ALICE, "garden"), 260);
    let mut bob = server.channel(BOB, "garden");
    assert_eq!(page(&mut bob, json!({})), (all[210..].to_vec(), true), "50 if no number is named");
    assert_eq!(page(&mut bob, json!({"limit": 3})), (all[257..].to_vec(), true));
    assert_eq!(page(&mut bob, json!({"limit": 1000})), (all[60..].to_vec(), true), "200 at most");
    let before = |index: usize| json!({"before": all[index]["id"], "limit": 60});
    assert_eq!(page(&mut bob, before(61)), (all[1..61].to_vec(), true));
    assert_eq!(page(&mut bob, before(60)), (all[..60].to_vec(), false), "all that there is");
    assert_eq!(page(&mut bob, before(0)), (Vec::new(), false));
}

#[test]
fn pages_are_asked_for_by_their_oldest_message_without_gap_or_double() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "0").start();
    let all = numbered(&mut server.channel(ALICE, "garden"), 110);
    let mut bob = server.channel(BOB, "garden");
    let (mut seen, mut more) = page(&mut bob, json!({"limit": 25}));
    while more {
        let (mut older, is_more) = page(&mut bob, json!({"before": seen[0]["id"], "limit": 25}));
        older.append(&mut seen);
        (seen, more) = (older, is_more);
    }
    assert_eq!(seen, all);
}

#[test]
fn what_follows_a_message_is_read_page_by_page_without_gap_or_double() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "0").start();
    let mut alice = server.channel(ALICE, "garden");
    let all = numbered(&mut alice, 110);
    let mut bob = server.channel(BOB, "garden");
    let after = |id: &Value, limit: usize| json!({"after": id, "limit": limit});
    assert_eq!(page(&mut bob, after(&all[9]["id"], 60)), (all[10..70].to_vec(), true));
    assert_eq!(page(&mut bob, after(&all[49]["id"], 60)), (all[50..].to_vec(), false), "all that there is");
    assert_eq!(page(&mut bob, after(&all[109]["id"], 60)), (Vec::new(), false));
    assert_eq!(page(&mut bob, json!({"after": all[59]["id"]})).0.len(), 50, "50 if no number is named");
    assert_eq!(
        page(&mut bob, after(&json!("00000000-0000-7000-8000-000000000000"), 3)).0,
        all[..3],
        "before the first"
    );
    // Changes in between are no messages, and what a message has become is what one reads.
    let edited = all[11]["id"].as_str().expect("an id");
    for text in ["once", "twice"] {
        alice.ask(json!({"type": "edit", "id": edited, "text": text}));
        assert_eq!(bob.hear_a("edited")["text"], text);
    }
    alice.ask(json!({"type": "delete", "id": all[12]["id"]}));
    bob.hear_a("deleted");
    let (found, more) = page(&mut bob, after(&all[10]["id"], 2));
    assert_eq!(ids(&found), [edited, all[13]["id"].as_str().expect("an id")]);
    assert_eq!((&found[0]["text"], more), (&json!("twice"), true));
    // A message that is gone is still a place.
    assert_eq!(page(&mut bob, after(&all[12]["id"], 1)).0, all[13..14]);
    let (mut seen, mut more) = (all[..1].to_vec(), true);
    while more {
        let (newer, is_more) = page(&mut bob, after(&seen[seen.len() - 1]["id"], 25));
        seen.extend(newer);
        more = is_more;
    }
    let kept: Vec<_> = ids(&all).into_iter().filter(|id| *id != all[12]["id"]).collect();
    assert_eq!(ids(&seen), kept);
}

#[test]
fn long_messages_that_follow_one_come_in_several_pages() {
    let settings = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "0");
    let server = settings.env("SEND_QUEUE", "400KiB").start();
    let mut alice = server.channel(ALICE, "garden");
    // Control characters take six bytes each in a frame, so one frame of all of them would not fit into the queue.
    let long = "\u{1}".repeat(2_600);
    let sent: Vec<_> = (0..60).map(|_| alice.post(&long)["id"].as_str().expect("an id").to_owned()).collect();
    let mut bob = server.channel(BOB, "garden");
    let (mut seen, mut more, mut pages) = (vec![json!(sent[0])], true, 0);
    while more {
        let (messages, is_more) = page(&mut bob, json!({"after": seen[seen.len() - 1], "limit": 200}));
        assert!(!messages.is_empty());
        seen.extend(messages.into_iter().map(|message| message["id"].clone()));
        (more, pages) = (is_more, pages + 1);
    }
    assert_eq!(seen, sent);
    assert!(pages > 1, "one page of {} bytes", 6 * 60 * long.len());
}

#[test]
fn a_page_of_very_long_messages_holds_fewer_of_them_and_says_that_there_is_more() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "0").start();
    let mut alice = server.channel(ALICE, "garden");
    let long = "x".repeat(16_000);
    let sent: Vec<_> = (0..60).map(|_| alice.post(&long)["id"].as_str().expect("an id").to_owned()).collect();
    let mut bob = server.channel(BOB, "garden");
    let (mut seen, mut more, mut pages) = (Vec::new(), true, 0);
    while more {
        let mut question = json!({"limit": 200});
        if let Some(oldest) = seen.first() {
            question["before"] = Value::clone(oldest);
        }
        let (messages, is_more) = page(&mut bob, question);
        assert!(!messages.is_empty());
        seen.splice(0..0, messages.into_iter().map(|message| message["id"].clone()));
        (more, pages) = (is_more, pages + 1);
    }
    assert_eq!(seen, sent);
    assert!(pages > 1, "one page of {} bytes", 60 * long.len());
}

#[test]
fn history_survives_a_restart() {
    let mut server = Server::start();
    let all = numbered(&mut server.channel(ALICE, "garden"), 5);
    assert!(server.terminate().success());
    let server = server.restart();
    let mut bob = server.channel(BOB, "garden");
    assert_eq!(bob.hear_all_up_to_now(), all);
    assert_eq!(page(&mut bob, json!({})), (all, false));
}

#[test]
fn since_replays_all_after_that_message_instead_of_the_last_ones() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    let all = numbered(&mut server.channel(ALICE, "garden"), 250);
    for (seen, missed) in [(49, 200), (0, 249), (248, 1), (249, 0)] {
        let since = all[seen]["id"].as_str().expect("an id");
        let mut bob = server.channel(BOB, &format!("garden?since={since}"));
        let heard = bob.hear_all_up_to_now();
        assert_eq!((heard.len(), &heard[..]), (missed, &all[seen + 1..]));
    }
}

#[test]
fn who_comes_back_with_since_loses_and_doubles_nothing_while_others_talk() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    let mut alice = server.channel(ALICE, "garden");
    let mut bob = server.channel(BOB, "garden");
    let talking = std::thread::spawn(move || {
        let sent = numbered(&mut alice, 1500);
        (alice, sent)
    });
    let mut heard: Vec<Value> = Vec::new();
    while heard.len() < 1500 {
        for _ in 0..(1500 - heard.len()).min(150) {
            heard.push(bob.wait_for("message"));
        }
        let last = heard[heard.len() - 1]["id"].as_str().expect("an id").to_owned();
        bob = server.channel(BOB, &format!("garden?since={last}"));
    }
    let (_alice, sent) = talking.join().expect("the talk");
    assert_eq!(ids(&heard), ids(&sent));
}

#[test]
fn since_works_with_both_other_ways_in() {
    let server = Server::start();
    let all = numbered(&mut server.channel(ALICE, "garden"), 3);
    let since = all[1]["id"].as_str().expect("an id");
    let first_step = format!("/channel/garden?since={since}&token={}", server.first_step(BOB));
    for path in [format!("/channel/garden?since={since}"), first_step] {
        let access = server.access(BOB);
        let mut bob = Client::open(server.address, &path);
        bob.say(support::channel::jwt(&access));
        assert_eq!(bob.hear(), "authentication successful");
        assert_eq!(bob.hear_all_up_to_now(), all[2..]);
    }
}

#[test]
fn since_a_message_that_is_no_longer_kept_says_reload_and_never_silently_less() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_MAX", "10").env("HISTORY_ON_JOIN", "4").start();
    let mut alice = server.channel(ALICE, "garden");
    let first = alice.post("the first")["id"].as_str().expect("an id").to_owned();
    let mut reloaded = Vec::new();
    eventually("the first message is no longer kept", || {
        alice.post("another");
        reloaded = server.channel(BOB, &format!("garden?since={first}")).hear_all_up_to_now();
        reloaded[0]["type"] == "error"
    });
    assert_eq!(reloaded[0]["code"], "reload");
    let rest: Vec<_> = reloaded[1..].iter().map(|frame| frame["type"].as_str()).collect();
    assert_eq!(rest, [Some("message"); 4], "then as for any newcomer");
}

#[test]
fn since_a_message_that_never_was_here_says_reload() {
    let server = Server::start();
    let elsewhere = server.channel(ALICE, "orchard").post("elsewhere")["id"].as_str().expect("an id").to_owned();
    let here = server.channel(ALICE, "garden").post("here");
    let unknown = uuid::Uuid::now_v7().to_string();
    for since in [elsewhere, unknown, "00000000-0000-7000-8000-000000000000".to_owned()] {
        let mut bob = server.channel(BOB, &format!("garden?since={since}"));
        assert_eq!(error_code(&mut bob), "reload", "{since}");
        assert_eq!(bob.hear_frame(), here);
    }
}

#[test]
fn since_something_that_is_no_id_is_refused_and_spends_nothing() {
    let server = Server::start();
    let ticket = server.ticket(ALICE);
    for since in ["", "yesterday", "1"] {
        let refusal = server.refused(&format!("/channel/garden?since={since}&ticket={ticket}"), &[]);
        assert_eq!((refusal.status, refusal.reason().as_str()), (400, "bad_request"), "{since}");
    }
    Client::open(server.address, &format!("/channel/garden?ticket={ticket}")).post("hello");
}

// Rooms.

#[test]
fn channels_do_not_hear_each_other() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.channel(ALICE, "garden"), server.channel(BOB, "Garden"));
    alice.post("in the garden");
    assert_eq!(bob.hear_all_up_to_now(), Vec::<Value>::new());
}

#[test]
fn one_room_is_reachable_through_two_doors_each_client_hearing_its_own_format() {
    let server = Server::start();
    for (name, segment) in [(DEMO, DEMO), (support::HASHED, support::HASHED_SEGMENT)] {
        let mut by_chat = server.join(ALICE, segment);
        let mut by_channel = server.channel(BOB, segment);

        let spoken = by_chat.say_and_hear("from the Propromo door");
        let heard = by_channel.hear_frame();
        let expected = json!({
            "type": "message", "id": spoken.id, "room": name, "user": ALICE.email, "timestamp": spoken.timestamp,
            "text": "from the Propromo door", "name": "Alice Demo",
        });
        assert_eq!(heard, expected);

        by_channel.ask(json!({"type": "message", "text": "from the channel door", "ref": "r"}));
        let (sent, ack) = (by_channel.hear_a("message"), by_channel.hear_a("ack"));
        let text = by_chat.hear();
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(fields(&frame), ["email", "id", "messageId", "text", "timestamp"]);
        let heard = said(&text).expect("a message of the Propromo door");
        assert_eq!((heard.email.as_str(), heard.text.as_str()), (BOB.email, "from the channel door"));
        assert_eq!((json!(heard.id), json!(heard.timestamp)), (sent["id"].clone(), ack["timestamp"].clone()));

        by_channel.ask(json!({"type": "presence"}));
        assert_eq!(by_channel.hear_a("presence")["users"], json!([ALICE.email, BOB.email]));

        // History, too, is one: each reads it in its own words.
        let mut late = server.join(BOB, segment);
        assert_eq!([late.hear_message(), late.hear_message()], [spoken, heard]);
        let mut late = server.channel(ALICE, segment);
        assert_eq!([late.hear_a("message"), late.hear_a("message")], [expected, sent]);
    }
}

#[test]
fn a_burst_of_a_hundred_messages_is_delivered_whole_and_in_order() {
    let server = Server::start();
    let (mut alice, mut bob) = two(&server);
    let sent = numbered(&mut alice, 100);
    assert_eq!((0..100).map(|_| bob.wait_for("message")).collect::<Vec<_>>(), sent);
}
