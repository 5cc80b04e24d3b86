//! How often one may do what costs work: each limit is a setting, names the time to wait, and counts whom it should.
//! Logins are in `login.rs` and `client_address.rs`, wrong passwords of rooms in `chats_closed.rs`.

use serde_json::json;
use support::{
    ALICE, BOB, DEMO, Response, Server,
    chats::ask,
    http::post_with,
    server::Setup,
    ws::{Client, said},
};

const PROXY: &str = "127.0.0.0/8";

/// A handshake without a token, as a proxy would hand it on.
fn handshake(server: &Server, forwarded: &str) -> Response {
    server.refused("/chat/demo", &[("X-Forwarded-For", forwarded)])
}

fn create(server: &Server, title: &str, forwarded: &str) -> Response {
    let body = json!({"title": title, "visibility": "public"}).to_string();
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", forwarded)];
    server.connect().send(post_with("/chats", &headers, body)).response()
}

#[track_caller]
fn assert_limited(answer: &Response) {
    assert_eq!(answer.status, 429, "{}", answer.text());
    let seconds = answer.header("retry-after").expect("Retry-After").parse::<u64>().expect("whole seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

fn behind_a_proxy(setting: &str) -> Setup {
    Server::with().env("TRUSTED_PROXIES", PROXY).env(setting, "2")
}

// Seen to fail without `handshake_limits.check` in `handshake::prepare`.
#[test]
fn handshakes_are_limited_and_told_when_to_come_back() {
    let server = Server::with().env("HANDSHAKE_RATE", "2").start();
    let token = server.token(ALICE);
    server.enter(&token, DEMO).close();
    assert_eq!(server.refused("/chat/demo", &[]).status, 400, "a refused one counts");
    let spare = server.token(ALICE);
    let answer = server.refused(&format!("/chat/demo?auth={spare}"), &[]);
    assert_limited(&answer);
    assert_eq!(answer.reason(), "rate_limited");
    server.logs(&["rate_limited", "refused", "propromo", "127.0.0.1"]);
    assert_eq!(server.get("/").status, 200, "plain requests are not counted");
}

// Seen to fail without `handshake_limits.check` in `handshake::prepare`.
#[test]
fn a_handshake_that_comes_too_often_spends_no_token() {
    let server = behind_a_proxy("HANDSHAKE_RATE").start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    handshake(&server, "203.0.113.1");
    handshake(&server, "203.0.113.1");
    assert_limited(&server.refused(&path, &[("X-Forwarded-For", "203.0.113.1")]));
    let elsewhere = Client::try_open(server.address, &path, &[("X-Forwarded-For", "203.0.113.2")]);
    elsewhere.unwrap_or_else(|_| panic!("refused")).say_and_hear("in at last");
}

// Seen to fail without `handshake_limits.check` in `handshake::prepare`.
#[test]
fn handshakes_are_counted_by_the_clients_address_and_ipv6_by_its_64() {
    let server = behind_a_proxy("HANDSHAKE_RATE").start();
    for address in ["203.0.113.1", "198.51.100.9, 203.0.113.1"] {
        assert_eq!(handshake(&server, address).status, 400);
    }
    assert_limited(&handshake(&server, "198.51.100.8, 203.0.113.1"));
    assert_eq!(handshake(&server, "203.0.113.2").status, 400);
    for address in ["2001:db8:1:2::1", "2001:db8:1:2:ffff::7"] {
        assert_eq!(handshake(&server, address).status, 400);
    }
    assert_limited(&handshake(&server, "2001:db8:1:2:8000::"));
    assert_eq!(handshake(&server, "2001:db8:1:3::1").status, 400);
}

// Seen to fail without `room_limits.may_create` in `api::chats`.
#[test]
fn without_a_trusted_proxy_nobody_names_the_address_that_is_counted() {
    let server = Server::with().env("HANDSHAKE_RATE", "2").env("ROOM_RATE", "2").start();
    for n in 1..3 {
        assert_eq!(handshake(&server, &format!("203.0.113.{n}")).status, 400);
        assert_eq!(create(&server, &format!("Room {n}"), &format!("203.0.113.{n}")).status, 201);
    }
    assert_limited(&handshake(&server, "203.0.113.3"));
    assert_limited(&create(&server, "Room 3", "203.0.113.3"));
}

// Seen to fail with ROOM_RATE=30.
#[test]
fn a_limit_of_zero_is_none() {
    let server = Server::with().env("HANDSHAKE_RATE", "0").env("ROOM_RATE", "0").start();
    for n in 0..50 {
        assert_eq!(handshake(&server, "203.0.113.1").status, 400);
        assert_eq!(create(&server, &format!("Room {n}"), "203.0.113.1").status, 201);
    }
}

// Seen to fail without `room_limits.may_create` in `api::chats`.
#[test]
fn new_rooms_are_counted_by_the_clients_address_and_ipv6_by_its_64() {
    let server = behind_a_proxy("ROOM_RATE").start();
    assert_eq!(create(&server, "One", "203.0.113.1").status, 201);
    assert_eq!(create(&server, "Two", "198.51.100.9, 203.0.113.1").status, 201);
    assert_limited(&create(&server, "Three", "203.0.113.1"));
    assert_eq!(create(&server, "Four", "2001:db8:1:2::1").status, 201);
    assert_eq!(create(&server, "Five", "2001:db8:1:2:ffff::7").status, 201);
    assert_limited(&create(&server, "Six", "2001:db8:1:2:8000::"));
    assert_eq!(create(&server, "Seven", "2001:db8:1:3::1").status, 201);
}

// Seen to fail with HANDSHAKE_RATE=500.
#[test]
fn a_thousand_clients_behind_one_address_may_come_back_at_once() {
    let server = Server::start();
    for _ in 0..1000 {
        assert_eq!(handshake(&server, "").status, 400);
    }
    assert_eq!(ask(&server, "GET", "/chats/1", None, None).status, 200);
}

// Seen to fail without `rooms.settle` in `door::session`: the close overtakes the last echoes.
#[test]
fn who_is_closed_for_talking_too_fast_has_seen_the_echoes_of_all_that_was_accepted() {
    let server = Server::with().env("MESSAGE_RATE", "20").start();
    for _ in 0..5 {
        let (mut witness, mut alice) = (server.join(BOB, DEMO), server.join(ALICE, DEMO));
        for number in 0..400 {
            if alice.try_say(number.to_string()).is_err() {
                break;
            }
        }
        let (texts, code) = alice.hear_to_the_end();
        assert_eq!(code, Some(1008));
        let last_echo = texts.iter().rev().find_map(|text| said(text)).expect("some were accepted");
        witness.say("the last");
        let mut heard = Vec::new();
        while heard.last().is_none_or(|text| text != "the last") {
            heard.push(witness.hear_message().text);
        }
        assert_eq!(heard.get(heard.len().wrapping_sub(2)), Some(&last_echo.text));
    }
}
