//! The two-step door: a connection token opens the socket, the access token as first message opens the room.

use serde_json::json;
use std::time::{Duration, Instant};
use support::{
    ALICE, BOB, CAROL, Client, Server,
    channel::{fields, jwt},
    claims_of, eventually,
    http::{get, post_with},
    now,
};

/// Opens a socket with a fresh connection token, and says nothing yet.
#[track_caller]
fn first_step(server: &Server, person: support::Person, room: &str) -> Client {
    Client::open(server.address, &format!("/channel/{room}?token={}", server.first_step(person)))
}

#[test]
fn an_access_token_buys_a_connection_token_by_get_and_by_post() {
    let server = Server::start();
    let bearer = format!("Bearer {}", server.access(ALICE));
    let headers = [("Authorization", bearer.as_str())];
    for request in [get("/token/ws", &headers).into_bytes(), post_with("/token/ws", &headers, "")] {
        let answer = server.connect().send(request).response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(fields(&answer), ["data", "message", "status", "success"]);
        assert_eq!((&answer["success"], &answer["message"]), (&json!(true), &json!("Token generated successfully")));
        assert_eq!(fields(&answer["data"]), ["expires", "token"]);
        let claims = claims_of(answer["data"]["token"].as_str().expect("a token"));
        assert_eq!(claims["exp"], answer["data"]["expires"]);
    }
}

#[test]
fn a_connection_token_lives_a_quarter_of_an_hour_unless_told_otherwise() {
    let life = |server: &Server| {
        let claims = claims_of(&server.first_step(ALICE));
        claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time")
    };
    assert_eq!(life(&Server::start()), 900);
    assert_eq!(life(&Server::with().env("WS_TOKEN_TTL", "11").start()), 11);
}

#[test]
fn nothing_but_an_access_token_buys_a_connection_token() {
    let server = Server::start();
    for (token, reason) in [(server.first_step(ALICE), "token_wrong_kind"), ("rubbish".to_owned(), "token_malformed")] {
        let answer = server.get_with_bearer("/token/ws", &token);
        assert_eq!((answer.status, answer.reason().as_str()), (401, reason));
    }
    assert_eq!(server.get("/token/ws").status, 401);
}

#[test]
fn a_connection_token_is_used_once() {
    let server = Server::start();
    let path = format!("/channel/garden?token={}", server.first_step(ALICE));
    Client::open(server.address, &path);
    let refusal = server.refused(&path, &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (403, "token_used"));
}

#[test]
fn with_reuse_a_connection_token_is_valid_until_it_expires() {
    let server = Server::with().env("WS_TOKEN_REUSE", "true").env("WS_TOKEN_TTL", "10").start();
    let (access, token) = (server.access(ALICE), server.first_step(ALICE));
    let path = format!("/channel/garden?token={token}");
    for _ in 0..2 {
        let mut client = Client::open(server.address, &path);
        client.say(jwt(&access));
        assert_eq!(client.hear(), "authentication successful");
    }
    let expires = claims_of(&token)["exp"].as_u64().expect("a time");
    eventually("the token expires", || now() > expires);
    let refusal = server.refused(&path, &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (401, "token_expired"));
}

#[test]
fn reuse_is_for_tokens_of_this_door_only() {
    let server = Server::with().env("WS_TOKEN_REUSE", "true").start();
    let path = format!("/channel/garden?token={}", server.ticket(ALICE));
    Client::open(server.address, &path);
    assert_eq!(server.refused(&path, &[]).reason(), "token_used");
}

#[test]
fn a_missing_an_unknown_and_an_expired_token_open_nothing() {
    let server = Server::with().env("WS_TOKEN_TTL", "1").start();
    let expired = server.first_step(ALICE);
    let expires = claims_of(&expired)["exp"].as_u64().expect("a time");
    eventually("the token expires", || now() > expires);
    for (token, reason) in [("", "token_missing"), ("unknown", "token_malformed"), (&expired, "token_expired")] {
        let refusal = server.refused(&format!("/channel/garden?token={token}"), &[]);
        assert_eq!((refusal.status, refusal.reason().as_str()), (401, reason), "{token:.10}");
        server.logs(&[reason, "127.0.0.1"]);
    }
}

#[test]
fn an_access_token_is_no_first_step() {
    let server = Server::start();
    let refusal = server.refused(&format!("/channel/garden?token={}", server.access(ALICE)), &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (401, "token_wrong_kind"));
}

#[test]
fn what_a_token_was_issued_for_decides_and_not_the_name_of_its_place() {
    let server = Server::start();
    let mut in_two_steps =
        Client::open(server.address, &format!("/channel/garden?ticket={}", server.first_step(ALICE)));
    in_two_steps.say("hello");
    assert_eq!(in_two_steps.close_code(), Some(1008));
    let at_once = format!("/channel/garden?token={}", server.ticket(ALICE));
    Client::open(server.address, &at_once).post("hello");
}

#[test]
fn a_first_step_does_not_open_a_door_that_knows_no_second() {
    let server = Server::start();
    let refusal = server.refused(&format!("/chat/demo?token={}", server.first_step(ALICE)), &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (401, "token_wrong_kind"));
}

#[test]
fn nothing_is_delivered_between_the_two_steps_and_everything_after_them() {
    let server = Server::with().env("AUTH_DEADLINE", "60").start();
    let mut bob = server.channel(BOB, "garden");
    let before = bob.post("before the first step");
    let mut alice = first_step(&server, ALICE, "garden");
    let meanwhile = bob.post("between the steps");
    bob.ask(json!({"type": "presence"}));
    assert_eq!(bob.hear_a("presence")["users"], json!([BOB.email]));
    alice.say(jwt(&server.access(ALICE)));
    assert_eq!(alice.hear(), "authentication successful");
    assert_eq!([alice.hear_frame(), alice.hear_frame()], [before, meanwhile]);
    assert_eq!(bob.hear_a("join")["user"], ALICE.email);
    let said = alice.post("after both");
    assert_eq!(said["user"], ALICE.email);
    assert_eq!(bob.hear_a("message"), said);
}

#[test]
fn a_wrong_second_step_closes_at_once_with_1008() {
    let server = Server::start();
    for (message, reason) in [
        (jwt(&server.access(BOB)), "token_wrong_kind"),
        (jwt(&server.first_step(ALICE)), "token_wrong_kind"),
        (jwt("rubbish"), "token_malformed"),
        (json!({"type": "auth", "payload": server.access(ALICE)}).to_string(), "token_missing"),
        (json!({"type": "message", "text": "hello"}).to_string(), "token_missing"),
        ("hello".to_owned(), "token_missing"),
    ] {
        let mut alice = first_step(&server, ALICE, "garden");
        alice.say(&message);
        assert_eq!(alice.closed_because(), (1008, reason.to_owned()), "{message:.20}");
        server.logs(&[reason, "refused", "127.0.0.1"]);
    }
}

#[test]
fn a_right_second_step_after_a_wrong_one_comes_too_late() {
    let server = Server::start();
    let mut alice = first_step(&server, ALICE, "garden");
    // Both in one segment, so that the second is there when the first is judged.
    let (wrong, right) = (jwt("rubbish"), jwt(&server.access(ALICE)));
    let frame = |text: &str| support::ws::FrameStart::whole(1).with(text.as_bytes());
    alice.send_raw(&[frame(&wrong), frame(&right)].concat());
    assert_eq!(alice.hear_to_the_end(), (Vec::new(), Some(1008)));
}

#[test]
fn a_second_step_that_does_not_come_closes_with_1008() {
    let server = Server::with().env("AUTH_DEADLINE", "1").start();
    let started = Instant::now();
    let mut alice = first_step(&server, ALICE, "garden");
    assert_eq!(alice.closed_because(), (1008, "auth_deadline".to_owned()));
    assert!(started.elapsed() >= Duration::from_secs(1));
    server.logs(&["auth_deadline", "127.0.0.1"]);
}

#[test]
fn a_monitors_room_is_closed_to_others_before_the_upgrade() {
    let server = Server::start();
    let refusal = server.refused(&format!("/channel/demo?token={}", server.first_step(CAROL)), &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (403, "room_denied"));
}

#[test]
fn whose_account_is_removed_between_the_steps_is_not_let_in() {
    let server = Server::with().env("AUTH_DEADLINE", "60").start();
    let access = server.access(ALICE);
    let mut waiting = first_step(&server, ALICE, "demo");
    let removed = server.setup().run(&["account", "remove", ALICE.email, "--keep-messages"]);
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    waiting.say(jwt(&access));
    assert_eq!(waiting.closed_because(), (1008, "room_denied".to_owned()));
}
