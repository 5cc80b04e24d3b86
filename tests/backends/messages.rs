//! What backends say in rooms, and what they read there.

use serde_json::{Value, json};
use support::{
    ALICE, BOB, Client, DEMO, Server,
    api::{MASTER, call, call_with, only},
    chats::{Guest, public_room},
};

const LOBBY: &str = "/api/v1/rooms/channel%3Alobby/messages";

#[track_caller]
fn publish(server: &Server, path: &str, body: Value) -> Value {
    let answer = server.call("POST", path, Some(body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

fn texts(page: &Value) -> Vec<&str> {
    page["messages"].as_array().expect("messages").iter().map(|m| m["text"].as_str().expect("text")).collect()
}

#[test]
fn what_a_bot_says_is_stored_and_heard_at_every_door() {
    let server = Server::with_api().start();
    let mut app = server.join(ALICE, DEMO);
    let mut site = server.channel(BOB, DEMO);
    let said = publish(&server, "/api/v1/rooms/monitor%3Ademo/messages", json!({"text": "Deployed"}));
    let heard = app.hear_message();
    assert_eq!((heard.email.as_str(), heard.text.as_str()), ("bot:site", "Deployed"));
    assert_eq!((json!(heard.id), json!(heard.timestamp)), (said["id"].clone(), said["timestamp"].clone()));
    let frame = site.wait_for("message");
    assert_eq!((&frame["id"], &frame["user"], &frame["bot"]), (&said["id"], &json!("bot:site"), &json!(true)));
    app.say_and_hear("thanks");
    assert!(site.wait_for("message").get("bot").is_none(), "people are no bots");
    // It is kept as any other.
    assert_eq!(server.join(BOB, DEMO).hear_message(), heard);
}

#[test]
fn what_a_bot_said_is_a_bots_after_a_kill() {
    let mut server = Server::with_api().start();
    let mut alice = server.channel(ALICE, "lobby");
    let question = alice.post("is it green?")["id"].clone();
    let said = publish(&server, LOBBY, json!({"text": "yes", "name": "Build", "reply_to": question}));
    let is_as_said = |messages: &Value| {
        let [asked, answer] = &messages["messages"].as_array().expect("a list")[..] else { panic!("{messages}") };
        assert!(asked.get("bot").is_none(), "{asked}");
        assert_eq!((&answer["id"], &answer["user"], &answer["bot"]), (&said["id"], &json!("bot:site"), &json!(true)));
        assert_eq!((&answer["name"], &answer["reply_to"]), (&json!("Build"), &question));
    };
    server.kill9();
    // Of the journal, then of the tables.
    for _ in 0..2 {
        server = server.restart();
        let mut alice = server.channel(ALICE, "lobby");
        alice.ask(json!({"type": "history"}));
        is_as_said(&alice.wait_for("history"));
        is_as_said(&server.call("GET", LOBBY, None).json());
        server.terminate();
    }
}

#[test]
fn a_bot_talks_at_the_rooms_door_too() {
    let server = Server::with_api().start();
    let id = public_room(&server, "The Garden");
    let mut guest = Guest::join(&server, id, "Ann");
    publish(&server, &format!("/api/v1/rooms/chitchat%3A{id}/messages"), json!({"text": "hello"}));
    assert_eq!(guest.hears("send", "bot:site"), "hello");
}

#[test]
fn the_same_mark_says_it_once() {
    let server = Server::with_api().start();
    let bearer = format!("Bearer {MASTER}");
    let by_header = |key: &str, body: Value| {
        let headers = [("Authorization", &*bearer), ("Idempotency-Key", key)];
        call_with(server.address, &headers, "POST", LOBBY, Some(body))
    };
    let first = by_header("build-7", json!({"text": "Build 7 is done"}));
    assert_eq!(first.status, 201);
    let again = by_header("build-7", json!({"text": "Build 7 is done", "ref": "build-7"}));
    assert_eq!((again.status, again.json()), (200, first.json()));
    let by_field = server.call("POST", LOBBY, Some(json!({"text": "again", "ref": "build-7"})));
    assert_eq!((by_field.status, by_field.json()), (200, first.json()));
    let other = by_header("build-7", json!({"text": "x", "ref": "build-8"}));
    assert_eq!((other.status, other.reason()), (400, "invalid_fields".into()));
    assert_eq!(by_header(&"k".repeat(129), json!({"text": "x"})).status, 400);
    let page = server.call("GET", LOBBY, None).json();
    assert_eq!(texts(&page), ["Build 7 is done"]);
}

#[test]
fn what_can_not_be_said_is_refused_and_nothing_is_stored() {
    let server = Server::with_api().env("MAX_MESSAGE", "100").start();
    for (body, field) in [
        (json!({}), "text"),
        (json!({"text": ""}), "text"),
        (json!({"text": 7}), "text"),
        (json!({"text": "x".repeat(101)}), "text"),
        (json!({"text": "x", "ref": ""}), "ref"),
        (json!({"text": "x", "ref": 7}), "ref"),
        (json!("text"), "body"),
    ] {
        let answer = server.call("POST", LOBBY, Some(body.clone()));
        assert_eq!((answer.status, answer.reason()), (400, "invalid_fields".into()), "{body}");
        assert!(answer.json()["detail"].get(field).is_some(), "{body}: {}", answer.text());
    }
    for room in ["monitor%3Anowhere", "channel%3Ademo", "lobby", "chitchat%3A99", "chitchat%3Ax", "channel%3A%0A"] {
        let path = format!("/api/v1/rooms/{room}/messages");
        for (method, body) in [("POST", Some(json!({"text": "x"}))), ("GET", None)] {
            let answer = server.call(method, &path, body);
            assert_eq!((answer.status, answer.reason()), (404, "room_not_found".into()), "{method} {room}");
        }
    }
    let answer = server.call("POST", "/api/v1/rooms/stream%3Ablocks/messages", Some(json!({"text": "x"})));
    assert_eq!((answer.status, answer.reason()), (403, "room_denied".into()));
    assert_eq!(server.call("GET", LOBBY, None).json(), json!({"messages": [], "more": false}));
}

#[test]
fn messages_are_read_by_page_in_both_directions() {
    let server = Server::with_api().start();
    let ids: Vec<Value> =
        (0..7).map(|n| publish(&server, LOBBY, json!({"text": n.to_string()}))["id"].clone()).collect();
    let page = |query: &str| server.call("GET", &format!("{LOBBY}?{query}"), None).json();
    let id = |n: usize| ids[n].as_str().expect("an id");
    let newest = page("limit=3");
    assert_eq!((texts(&newest), &newest["more"]), (vec!["4", "5", "6"], &json!(true)));
    assert_eq!(newest["messages"][0]["room"], "channel:lobby");
    let before = page(&format!("limit=3&before={}", id(3)));
    assert_eq!((texts(&before), &before["more"]), (vec!["0", "1", "2"], &json!(false)));
    let after = page(&format!("limit=2&after={}", id(3)));
    assert_eq!((texts(&after), &after["more"]), (vec!["4", "5"], &json!(true)));
    let last = page(&format!("after={}", id(5)));
    assert_eq!((texts(&last), &last["more"]), (vec!["6"], &json!(false)));
    assert_eq!(page(&format!("after={}", id(6))), json!({"messages": [], "more": false}));
}

#[test]
fn a_page_that_can_not_be_given_is_refused() {
    let server = Server::with_api().start();
    let id = publish(&server, LOBBY, json!({"text": "x"}))["id"].as_str().expect("an id").to_owned();
    for (query, field) in [
        ("before=yesterday".to_owned(), "before"),
        ("after=7".into(), "after"),
        (format!("before={id}&after={id}"), "after"),
        ("limit=0".into(), "limit"),
        ("limit=201".into(), "limit"),
        ("limit=many".into(), "limit"),
    ] {
        let answer = server.call("GET", &format!("{LOBBY}?{query}"), None);
        assert_eq!((answer.status, answer.reason()), (400, "invalid_fields".into()), "{query}");
        assert!(answer.json()["detail"].get(field).is_some(), "{query}: {}", answer.text());
    }
    let unknown = uuid::Uuid::now_v7();
    let answer = server.call("GET", &format!("{LOBBY}?after={unknown}"), None);
    assert_eq!((answer.status, answer.reason()), (404, "no_such_message".into()));
}

#[test]
fn a_page_of_long_messages_is_shorter_and_never_empty() {
    let server = Server::with_api().env("MAX_MESSAGE", "600000").env("MAX_BODY", "700000").start();
    for n in 0..3 {
        publish(&server, LOBBY, json!({"text": format!("{n}{}", "x".repeat(550_000))}));
    }
    let page = server.call("GET", LOBBY, None).json();
    let first: Vec<_> = texts(&page).iter().map(|text| &text[..1]).collect();
    assert_eq!((first, &page["more"]), (vec!["2"], &json!(true)));
}

#[test]
fn a_bot_that_publishes_in_a_storm_keeps_its_order() {
    let server = Server::with_api().start();
    let mut listener = server.channel(ALICE, "storm");
    let mut connection = server.connect();
    let bearer = format!("Bearer {MASTER}");
    for n in 0..200 {
        let body = Some(json!({"text": n.to_string()}));
        let headers = [("Authorization", &*bearer)];
        connection.send(support::api::request(&headers, "POST", "/api/v1/rooms/channel%3Astorm/messages", body));
        assert_eq!(connection.response().status, 201);
    }
    for n in 0..200 {
        assert_eq!(listener.wait_for("message")["text"], n.to_string());
    }
}

#[test]
fn a_store_that_is_away_is_503_and_nothing_is_said() {
    let server = Server::with_api().without_demo().env("CHAT_STORAGE_URL", "redis://127.0.0.1:1").start();
    for (method, path, body) in [
        ("POST", LOBBY, Some(json!({"text": "x"}))),
        ("GET", LOBBY, None),
        ("GET", "/api/v1/rooms/channel%3Alobby/presence", None),
        ("POST", "/api/v1/notices", Some(json!({"text": "x"}))),
    ] {
        let answer = server.call(method, path, body);
        assert_eq!((answer.status, answer.reason()), (503, "unavailable".into()), "{method} {path}");
        assert!(answer.header("retry-after").is_some());
    }
}

#[test]
fn whoever_is_no_member_of_a_page_reads_nothing() {
    // A channel's ticket is no key.
    let server = Server::with_api().start();
    let ticket = server.ticket(ALICE);
    let answer = call_with(server.address, &[("Authorization", &format!("Bearer {ticket}"))], "GET", LOBBY, None);
    assert_eq!(answer.reason(), "wrong_credentials");
    Client::open(server.address, &format!("/channel/lobby?ticket={ticket}"));
}

#[test]
fn a_key_that_publishes_too_fast_is_slowed_down_and_no_other_is() {
    let server = Server::with_api().env("PUBLISH_RATE", "2/s").env("ADMIN_LISTEN", "127.0.0.1:0").start();
    let publish = |key: &str| {
        let path = "/api/v1/rooms/channel%3Alobby/messages";
        call(server.address, key, "POST", path, Some(json!({"text": "again and again"})))
    };
    let refused = (0..200).map(|_| publish(MASTER)).find(|answer| answer.status != 201).expect("an end to it");
    assert_eq!((refused.status, refused.reason()), (429, "rate_limited".into()));
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()));
    let edit =
        call(server.address, MASTER, "PATCH", "/api/v1/rooms/channel%3Alobby/messages/1", Some(json!({"text": "x"})));
    assert_eq!((edit.status, edit.reason()), (429, "rate_limited".into()), "a change counts as a message");
    assert_eq!(publish(&only("publish")).status, 201, "another key is not slowed down");
    let read = server.call("GET", "/api/v1/rooms/channel%3Alobby/messages", None);
    assert_eq!(read.status, 200, "nor is anything but publishing");
    let metrics =
        support::Connection::open(server.admin_address()).send(support::http::get("/metrics", &[])).response();
    let line = "propromo_chat_refusals_total{reason=\"rate_limited\"} ";
    assert!(metrics.text().lines().any(|found| found.starts_with(line)), "{}", metrics.text());
}
