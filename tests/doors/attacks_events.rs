//! Attacks by coming and going: each time, all who are there may have to be told.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{ALICE, BOB, CAROL, Client, Server, attack::Chat, forge};

/// Users of a room from which on they are counted, and some more.
const MANY: usize = 250;

/// Enters a channel as the user of this name, with a ticket like this one.
fn enter(server: &Server, like: &str, user: &str, channel: &str) -> Client {
    let ticket = forge(like, |claims| drop(claims.insert("email".into(), json!(user))));
    Client::open(server.address, &format!("/channel/{channel}?ticket={ticket}"))
}

fn is_about(frame: &Value, user: &str) -> bool {
    matches!(frame["type"].as_str(), Some("join" | "leave")) && frame["user"] == user
}

// Seen to fail with `MANY` of `room::attendance` without a bound: each coming and going is told to all.
#[test]
fn who_comes_and_goes_without_end_in_a_large_room_delays_nobody_in_another() {
    let server = Server::with().env("ADMIN_LISTEN", "127.0.0.1:0").start();
    let like = server.ticket(BOB);
    let mut crowd: Vec<_> = (0..MANY).map(|n| enter(&server, &like, &format!("user{n}"), "lobby")).collect();
    crowd[0].hear_all_up_to_now();
    let mut chat = Chat::start(&server);
    let started = Instant::now();
    let mut times = 0;
    while started.elapsed() < Duration::from_secs(3) || times < 100 {
        drop(enter(&server, &like, "restless", "lobby"));
        times += 1;
        if times % 25 == 0 {
            chat.goes_on();
        }
    }
    let seconds = started.elapsed().as_secs() as usize + 1;
    let count = crowd[0].wait_for("members");
    assert!((MANY as u64..=MANY as u64 + 1).contains(&count["count"].as_u64().expect("a number")), "{count}");
    let heard = crowd[0].hear_all_up_to_now();
    assert!(!heard.iter().any(|frame| is_about(frame, "restless")), "{times} times in and out: {heard:?}");
    assert!(heard.len() <= 2 * seconds, "{} frames in {seconds} seconds", heard.len());
    let counted = server.figure(r#"propromo_chat_attendance_total{told="counted"}"#);
    assert!(counted >= times as f64, "{counted} of {times}");
}

// Seen to fail with `is_often` of `room::attendance` always false: each time is told.
#[test]
fn who_comes_and_goes_often_is_told_of_once_a_second() {
    const TIMES: usize = 400;
    // Whoever asks whether more has come sends a message each time.
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    let like = server.ticket(CAROL);
    let mut alice = server.channel(ALICE, "garden");
    let started = Instant::now();
    for _ in 0..TIMES {
        drop(enter(&server, &like, "restless", "garden"));
    }
    let seconds = started.elapsed().as_secs() as usize + 2;
    let stays = enter(&server, &like, "restless", "garden");
    let mut told = Vec::new();
    support::eventually("the last that is told is that it is there", || {
        told.extend(alice.hear_all_up_to_now().into_iter().filter(|frame| is_about(frame, "restless")));
        told.last().is_some_and(|frame| frame["type"] == "join")
    });
    assert!(told.len() <= 200 + 12 * seconds, "{} times in {seconds} seconds", told.len());
    drop(stays);
    alice.wait_for("leave");
    alice.ask(json!({"type": "presence"}));
    assert_eq!(alice.wait_for("presence")["users"], json!([ALICE.email]));
}

// Seen to fail with any number of users told one by one, and with no rate.
#[test]
fn who_is_told_one_by_one_and_how_often_is_a_setting() {
    let setup = Server::with().env("ANNOUNCE_USERS", "2").env("ANNOUNCE_RATE", "1").env("ADMIN_LISTEN", "127.0.0.1:0");
    let server = setup.start();
    let like = server.ticket(CAROL);
    let mut alice = server.channel(ALICE, "garden");
    let mut bob = server.channel(BOB, "garden");
    assert!(is_about(&alice.hear_frame(), BOB.email));
    let third = enter(&server, &like, "third", "garden");
    assert_eq!(alice.hear_frame(), json!({"type": "members", "count": 3}));
    drop(third);
    let left = |frame: Value| frame["type"] == "leave" || frame["count"] == 2;
    assert!(left(alice.hear_frame()));
    // A burst is twenty of them.
    support::eventually("some are told later", || {
        drop(enter(&server, &like, "restless", "lobby"));
        server.figure(r#"propromo_chat_attendance_total{told="later"}"#) >= 1.0
    });
    bob.ask(json!({"type": "presence"}));
    assert_eq!(bob.wait_for("presence")["users"], json!([ALICE.email, BOB.email]));
}
