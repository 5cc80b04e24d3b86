//! What is said in the rooms door's rooms, and by whom.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{
    Server,
    chats::{Guest, ask, closed_room, fails, fields, names, public_room},
    eventually,
};

#[test]
fn an_event_has_exactly_the_fields_that_clients_know_and_goes_to_all() {
    let server = Server::start();
    let (mut ann, mut bob) = (Guest::open(&server, 1, "Ann"), Guest::open(&server, 1, "Bob"));
    ann.event("join", "");
    ann.event("send", "hello");
    let heard: Vec<Value> = (0..2).map(|_| ann.hear()).collect();
    assert_eq!((0..2).map(|_| bob.hear()).collect::<Vec<_>>(), heard);
    for (event, kind, text) in [(&heard[0], "join", "Ann entered the room."), (&heard[1], "send", "hello")] {
        assert_eq!(fields(event), BTreeSet::from(["event_type", "name", "color", "msg", "room_id", "time"]));
        assert_eq!(
            (&event["event_type"], &event["name"], &event["color"], &event["msg"], &event["room_id"]),
            (&json!(kind), &json!("Ann"), &json!("red"), &json!(text), &json!(1))
        );
        assert!(event["time"].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{event}");
    }
}

#[test]
fn the_last_events_are_listed_as_they_were_heard() {
    let server = Server::start();
    let mut ann = Guest::open(&server, 1, "Ann");
    ann.event("join", "");
    ann.event("send", "hello");
    ann.event("leave", "");
    let heard: Vec<Value> = (0..3).map(|_| ann.hear()).collect();
    for path in ["/chats/events/1", "/chats/events/public%20chat"] {
        assert_eq!(ask(&server, "GET", path, None, None).json(), json!(heard));
    }
    fails(&ask(&server, "GET", "/chats/events/99", None, None), 404, 101, "id");
}

// Seen to fail when the last events of any kind were listed: nothing that was said is among them.
#[test]
fn people_who_come_and_go_push_no_message_out() {
    let server = Server::with().env("HISTORY_ON_JOIN", "3").env("MESSAGE_RATE", "0").env("ANONYMOUS_RATE", "0").start();
    let (mut ann, mut ben) = (Guest::open(&server, 1, "Ann"), Guest::open(&server, 1, "Ben"));
    for text in ["one", "two", "three", "four"] {
        ann.event("send", text);
        ann.hear();
    }
    let last = (0..300).map(|_| {
        ben.event("join", "");
        ben.event("leave", "");
        [ann.hear(), ann.hear()]
    });
    let last = last.last().expect("there is one");
    let listed = ask(&server, "GET", "/chats/events/1", None, None).json();
    let listed = listed.as_array().expect("a list");
    let texts: Vec<_> =
        listed.iter().filter(|event| event["event_type"] == "send").map(|event| &event["msg"]).collect();
    assert_eq!(texts, ["two", "three", "four"]);
    assert_eq!(listed[listed.len() - 2..], last);
    assert_eq!(listed.len(), 6);
}

#[test]
fn rooms_and_events_survive_a_kill() {
    let mut server = Server::start();
    let id = closed_room(&server, "Kept", "private");
    let mut ann = Guest::join(&server, 1, "Ann");
    ann.event("send", "before");
    assert_eq!(ann.hears("send", "Ann"), "before");
    let (room, events) = (
        ask(&server, "GET", "/chats/kept", None, None).json(),
        ask(&server, "GET", "/chats/events/1", None, None).json(),
    );
    server.kill9();
    let server = server.restart();
    assert_eq!(ask(&server, "GET", &format!("/chats/{id}"), None, None).json(), room);
    assert_eq!(ask(&server, "GET", "/chats/events/1", None, None).json(), events);
}

#[test]
fn a_name_is_one_members_whatever_its_case_until_it_is_given_back() {
    let server = Server::start();
    let mut ann = Guest::join(&server, 1, "Ann");
    for name in ["Ann", "ann", "ANN"] {
        let mut other = Guest::open(&server, 1, name);
        other.event("join", "");
        other.is_told(202, "name");
        other.event("send", "I am Ann");
        other.is_told(202, "name");
    }
    let mut heir = Guest::open(&server, 1, "ANN");
    ann.event("leave", "");
    assert_eq!(heir.hears("leave", "Ann"), "Ann has left the room.");
    heir.event("join", "");
    assert_eq!(heir.hears("join", "ANN"), "ANN entered the room.");
}

#[test]
fn the_same_name_may_be_used_in_two_rooms() {
    let server = Server::start();
    let other = public_room(&server, "Other");
    let _here = Guest::join(&server, 1, "Ann");
    let _there = Guest::join(&server, other, "Ann");
}

#[test]
fn a_first_message_takes_the_name_without_announcing_it() {
    let server = Server::start();
    let mut bob = Guest::join(&server, 1, "Bob");
    let mut ann = Guest::open(&server, 1, "Ann");
    ann.event("send", "hello");
    assert_eq!(bob.hears("send", "Ann"), "hello");
    assert_eq!(ann.hears("send", "Ann"), "hello");
    ann.event("join", "");
    bob.hears("join", "Ann");
    drop(ann);
    assert_eq!(bob.hears("leave", "Ann"), "Ann has left the room.");
}

#[test]
fn a_connection_that_is_lost_is_a_leave_and_only_one() {
    let server = Server::start();
    let mut bob = Guest::join(&server, 1, "Bob");
    let mut said_so = Guest::join(&server, 1, "Ann");
    bob.hears("join", "Ann");
    said_so.event("leave", "");
    said_so.hears("leave", "Ann");
    bob.hears("leave", "Ann");
    said_so.client.close();
    let just_gone = Guest::join(&server, 1, "Cat");
    bob.hears("join", "Cat");
    drop(just_gone);
    bob.hears("leave", "Cat");
    bob.event("send", "alone");
    assert_eq!(bob.hears("send", "Bob"), "alone", "what is heard next");
}

#[test]
fn a_listener_without_a_name_comes_and_goes_unnoticed() {
    let server = Server::start();
    let mut bob = Guest::join(&server, 1, "Bob");
    Guest::open(&server, 1, "").client.close();
    bob.event("send", "alone");
    assert_eq!(bob.hears("send", "Bob"), "alone");
}

#[test]
fn joining_under_another_name_gives_up_the_first() {
    let server = Server::start();
    let mut ann = Guest::join(&server, 1, "Ann");
    ann.name = "Bea".to_owned();
    ann.event("send", "not yet");
    ann.is_told(201, "name");
    ann.event("join", "");
    ann.hears("leave", "Ann");
    ann.hears("join", "Bea");
    ann.event("join", "");
    ann.is_told(202, "name");
    assert_eq!(names(&ask(&server, "GET", "/chats/1", None, None).json()), ["Bea"]);
}

#[test]
fn what_is_wrong_is_told_to_its_sender_alone_who_stays() {
    let server = Server::start();
    let (mut ann, mut bob) = (Guest::join(&server, 1, "Ann"), Guest::open(&server, 1, "Bob"));
    for frame in ["hello", "[]", "{\"event_type\":"] {
        ann.client.say(frame);
        ann.is_told(303, "");
    }
    let wrong = [
        (json!({"event_type": "dance", "name": "Ann"}), 303, "event_type"),
        (json!({"event_type": "send", "msg": "x"}), 303, "name"),
        (json!({"event_type": "send", "name": "Ann"}), 303, "msg"),
        (json!({"event_type": "leave", "name": "Bob"}), 201, "name"),
        (json!({"event_type": "send", "name": "Ann", "msg": "x", "room_id": 2}), 304, "room_id"),
    ];
    for (frame, code, field) in wrong {
        ann.client.say(frame.to_string());
        ann.is_told(code, field);
    }
    ann.event("send", "still here");
    assert_eq!(bob.hears("send", "Ann"), "still here");
}

#[test]
fn users_are_shown_with_color_and_activity_and_vanish_when_they_go() {
    let server = Server::start();
    let mut ann = Guest::join(&server, 1, "Ann");
    let users = || ask(&server, "GET", "/chats/1", None, None).json()["users"].clone();
    let before = users();
    assert_eq!(fields(&before[0]), BTreeSet::from(["username", "color", "last_activity"]));
    assert_eq!((&before[0]["username"], &before[0]["color"]), (&json!("Ann"), &json!("red")));
    let at = |users: &Value| {
        users[0]["last_activity"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339")
    };
    eventually("activity is noted", || {
        ann.event("send", "hello");
        ann.hears("send", "Ann");
        at(&users()) > at(&before)
    });
    assert_eq!(names(&ask(&server, "GET", "/chats", None, None).json()[0]), ["Ann"]);
    ann.client.close();
    eventually("Ann is gone", || users() == json!([]));
}

#[test]
fn fifty_who_join_talk_and_leave_without_pause_are_all_heard_by_all() {
    const GUESTS: usize = 50;
    const SAID: usize = 4;
    let server = Server::start();
    let mut guests: Vec<Guest> = (0..GUESTS).map(|n| Guest::open(&server, 1, &format!("Guest {n}"))).collect();
    for guest in &mut guests {
        guest.event("join", "");
        for n in 0..SAID {
            guest.event("send", &n.to_string());
        }
    }
    let mut heard: Vec<Vec<Value>> = Vec::new();
    for guest in &mut guests {
        heard.push((0..GUESTS * (1 + SAID)).map(|_| guest.hear()).collect());
    }
    assert!(heard.iter().all(|events| *events == heard[0]), "the same order for everybody");
    for guest in &guests {
        let said: Vec<&str> = heard[0]
            .iter()
            .filter(|event| event["name"] == *guest.name)
            .map(|event| event["msg"].as_str().unwrap())
            .collect();
        assert_eq!(said, [&*format!("{} entered the room.", guest.name), "0", "1", "2", "3"]);
    }
    let mut last = guests.pop().expect("a guest");
    drop(guests);
    let left: BTreeSet<String> = (1..GUESTS)
        .map(|_| last.hear())
        .map(|event| {
            assert_eq!(event["event_type"], "leave", "{event}");
            event["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(left.len(), GUESTS - 1, "each left once");
}

#[test]
fn who_has_seen_the_handshakes_answer_misses_nothing() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    let mut ann = Guest::join(&server, 1, "Ann");
    for n in 0..30 {
        let mut newcomer = Guest::open(&server, 1, "");
        ann.event("send", &n.to_string());
        assert_eq!(newcomer.hears("send", "Ann"), n.to_string());
    }
}

#[test]
fn members_of_a_room_that_is_deleted_are_told_and_closed() {
    let mut server = Server::start();
    let id = public_room(&server, "Short-lived");
    let mut ann = Guest::join(&server, id, "Ann");
    assert_eq!(ask(&server, "DELETE", "/chats/short-lived", None, None).json(), json!({"status": true}));
    ann.is_told(101, "room_id");
    assert_eq!(ann.client.close_code(), Some(1000));
    for path in [format!("/chats/{id}"), format!("/chats/events/{id}")] {
        fails(&ask(&server, "GET", &path, None, None), 404, 101, "id");
    }
    fails(&server.refused(&format!("/chats/{id}/ws"), &[]), 404, 101, "id");
    assert!(server.terminate().success());
    let server = server.restart();
    fails(&ask(&server, "GET", "/chats/short-lived", None, None), 404, 101, "id");
    assert!(public_room(&server, "Short-lived") > id, "numbers are not given again");
}
