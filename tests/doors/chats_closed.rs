//! Closed rooms of the rooms door: their passwords, their tokens, and what is shown without.

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use support::{
    ALICE, Client, Server,
    chats::{Guest, SECRET_OF_ROOM, ask, closed_room, fails, fields, names, public_room, room_token},
    claims_of, forge,
    token::sign_hs256,
};

#[test]
fn the_password_of_a_closed_room_gives_a_token() {
    let server = Server::start();
    let id = closed_room(&server, "Cave", "hidden");
    let body = json!({"secret": SECRET_OF_ROOM, "name": "Ali Baba", "room_id": "Cave"});
    let answer = ask(&server, "POST", "/chats/cave/token", None, Some(body));
    let given = answer.json();
    assert_eq!(answer.status, 201);
    assert_eq!(fields(&given), BTreeSet::from(["status", "name", "room_id", "token"]));
    assert_eq!((&given["status"], &given["name"], &given["room_id"]), (&json!(true), &json!("Ali Baba"), &json!(id)));
    let claims = claims_of(given["token"].as_str().expect("a token"));
    assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(3600));
}

#[test]
fn without_the_right_password_and_a_name_there_is_no_token() {
    let server = Server::start();
    let path = format!("/chats/{}/token", closed_room(&server, "Cave", "private"));
    let token = |body: Value| ask(&server, "POST", &path, None, Some(body));
    fails(&token(json!({"secret": "open barley", "name": "Cassim"})), 401, 304, "secret");
    fails(&token(json!({"name": "Cassim"})), 401, 304, "secret");
    fails(&token(json!({"secret": SECRET_OF_ROOM})), 400, 303, "name");
    fails(&token(json!({"secret": SECRET_OF_ROOM, "name": " "})), 400, 303, "name");
    fails(&server.post(&path, "application/json", "secret"), 400, 303, "");
    fails(&ask(&server, "POST", "/chats/77/token", None, Some(json!({"secret": "x", "name": "y"}))), 404, 101, "id");
}

#[test]
fn a_public_room_needs_no_token() {
    let server = Server::start();
    let answer = ask(&server, "POST", "/chats/1/token", None, Some(json!({"secret": "", "name": "Ann"})));
    assert_eq!((answer.status, answer.json()), (200, json!({"status": true})));
    let answer = ask(&server, "GET", "/chats/1/token/renew", None, None);
    assert_eq!((answer.status, answer.json()), (200, json!({"status": true})));
}

#[test]
fn only_wrong_passwords_count_against_an_address() {
    let server = Server::with().env("LOGIN_RATE", "2").start();
    let id = closed_room(&server, "Cave", "private");
    for _ in 0..4 {
        room_token(&server, id, "Ali");
    }
    // At the turn of a minute the count starts again: some more are let through then.
    let path = format!("/chats/{id}/token");
    let guess = |secret: &str| ask(&server, "POST", &path, None, Some(json!({"secret": secret, "name": "Cassim"})));
    let mut guesses = (0..12).map(|_| guess("open barley"));
    let refused = guesses.find(|answer| answer.status == 429).expect("an end to guessing");
    assert!(refused.header("retry-after").is_some());
}

#[test]
fn a_token_is_renewed_and_may_be_used_again() {
    let server = Server::start();
    let id = closed_room(&server, "Cave", "private");
    let first = room_token(&server, id, "Ali");
    let path = format!("/chats/{id}/token/renew");
    for _ in 0..2 {
        let renewed = ask(&server, "GET", &path, Some(&first), None);
        let body = renewed.json();
        assert_eq!((renewed.status, &body["name"], &body["room_id"]), (201, &json!("Ali"), &json!(id)));
        let token = body["token"].as_str().expect("a token");
        assert_ne!(token, first);
        assert_eq!(ask(&server, "GET", &path, Some(token), None).status, 201);
    }
    fails(&ask(&server, "GET", &path, None, None), 403, 403, "token");
    fails(&ask(&server, "GET", &path, Some(&first[..first.len() - 2]), None), 403, 403, "token");
}

#[test]
fn a_closed_room_is_changed_and_deleted_only_with_its_token() {
    let server = Server::start();
    let (id, other) = (closed_room(&server, "Cave", "private"), closed_room(&server, "Well", "private"));
    let path = format!("/chats/{id}");
    let genuine = room_token(&server, id, "Ali");
    let expired = forge(&genuine, |claims| {
        for (claim, age) in [("iat", 20), ("nbf", 20), ("exp", 10)] {
            claims.insert(claim.into(), json!(support::now() - age));
        }
    });
    let claims = claims_of(&genuine);
    let unsigned = sign_hs256(b"", &json!({"alg": "none", "typ": "JWT"}), &claims);
    let wrong = [
        (None, 403, 403, "token"),
        (Some("no token".to_owned()), 403, 403, "token"),
        (Some(server.access_token(ALICE)), 403, 403, "token"),
        (Some(room_token(&server, other, "Ali")), 403, 403, "token"),
        (Some(expired), 403, 403, "token"),
        (Some(sign_hs256(b"another secret", &json!({"alg": "HS256"}), &claims)), 401, 401, "signature"),
        (Some(unsigned), 401, 402, "signing method"),
    ];
    for (token, status, code, field) in &wrong {
        let change = ask(&server, "PUT", &path, token.as_deref(), Some(json!({"description": "mine"})));
        fails(&change, *status, *code, field);
        fails(&ask(&server, "DELETE", &path, token.as_deref(), None), *status, *code, field);
    }
    let changed = ask(&server, "PUT", &path, Some(&genuine), Some(json!({"description": "ours"})));
    assert_eq!((changed.status, &changed.json()["description"]), (200, &json!("ours")));
    let deleted = ask(&server, "DELETE", &path, Some(&genuine), None);
    assert_eq!((deleted.status, deleted.json()), (200, json!({"status": true})));
}

#[test]
fn tokens_die_with_the_password_and_members_have_to_come_in_anew() {
    let server = Server::start();
    let id = closed_room(&server, "Cave", "private");
    let (path, old) = (format!("/chats/{id}"), room_token(&server, id, "Ali"));
    let mut ali = Guest::admitted(&server, id, "Ali", &old);
    assert_eq!(ask(&server, "PUT", &path, Some(&old), Some(json!({"description": "same password"}))).status, 200);
    assert_eq!(ask(&server, "PUT", &path, Some(&old), Some(json!({"password": "new password"}))).status, 200);
    ali.is_told(403, "token");
    assert_eq!(ali.client.close_code(), Some(1008));
    fails(&ask(&server, "PUT", &path, Some(&old), Some(json!({"title": "Mine"}))), 403, 403, "token");
    fails(&server.refused(&format!("{path}/ws?token={old}"), &[]), 403, 403, "token");
    let body = json!({"secret": "new password", "name": "Ali"});
    assert_eq!(ask(&server, "POST", &format!("{path}/token"), None, Some(body)).status, 201);
}

#[test]
fn a_closed_room_opens_with_its_token_in_any_place() {
    let server = Server::start();
    let id = closed_room(&server, "Cave", "hidden");
    let path = format!("/chats/{id}/ws");
    let token = room_token(&server, id, "Ali");
    fails(&server.refused(&path, &[]), 404, 101, "id");
    fails(&server.refused(&format!("{path}?token=no.token"), &[]), 404, 101, "id");
    fails(&server.refused("/chats/99/ws", &[]), 404, 101, "id");
    let ali = Guest::admitted(&server, id, "Ali", &token);
    assert_eq!(ali.client.opened.header("sec-websocket-protocol"), Some(&*token));
    Client::open(server.address, &format!("{path}?token={token}"));
    assert!(Client::try_open(server.address, &path, &[("Authorization", &format!("Bearer {token}"))]).is_ok());
}

#[test]
fn in_a_closed_room_a_name_is_the_tokens() {
    let server = Server::start();
    let id = closed_room(&server, "Cave", "private");
    let mut ali = Guest::admitted(&server, id, "Cassim", &room_token(&server, id, "Ali"));
    ali.event("join", "");
    ali.is_told(304, "name");
    ali.event("send", "let me in");
    ali.is_told(304, "name");
    ali.name = "Ali".to_owned();
    ali.event("join", "");
    ali.hears("join", "Ali");
}

#[test]
fn users_and_events_of_a_closed_room_are_shown_only_with_its_token() {
    let server = Server::start();
    let id = closed_room(&server, "Cave", "private");
    let token = room_token(&server, id, "Ali");
    let mut ali = Guest::admitted(&server, id, "Ali", &token);
    ali.event("join", "");
    let joined = ali.hear();
    let (room, events) = (format!("/chats/{id}"), format!("/chats/events/{id}"));
    assert_eq!(names(&ask(&server, "GET", &room, None, None).json()), [""; 0]);
    assert_eq!(names(&ask(&server, "GET", &room, Some(&token), None).json()), ["Ali"]);
    assert_eq!(names(&ask(&server, "GET", "/chats", None, None).json()[1]), [""; 0]);
    fails(&ask(&server, "GET", &events, None, None), 403, 403, "token");
    assert_eq!(ask(&server, "GET", &events, Some(&token), None).json(), json!([joined]));
}

#[test]
fn a_public_room_that_gets_a_password_is_closed_to_those_who_came_without() {
    let server = Server::start();
    let id = public_room(&server, "Square");
    let mut ann = Guest::join(&server, id, "Ann");
    let body = json!({"visibility": "private", "password": SECRET_OF_ROOM});
    assert_eq!(ask(&server, "PUT", &format!("/chats/{id}"), None, Some(body)).status, 200);
    ann.is_told(403, "token");
    assert_eq!(ann.client.close_code(), Some(1008));
    fails(&server.refused(&format!("/chats/{id}/ws"), &[]), 403, 403, "token");
}

/// Every way to ask for a room, by number or title, without its token.
fn strangers_questions(server: &Server, room: &str, token: Option<&str>) -> Vec<(u16, String)> {
    let guess = |body: Value| ask(server, "POST", &format!("/chats/{room}/token"), None, Some(body));
    let answers = [
        ask(server, "GET", &format!("/chats/{room}"), token, None),
        ask(server, "GET", &format!("/chats/events/{room}"), token, None),
        ask(server, "PUT", &format!("/chats/{room}"), token, Some(json!({"description": "mine"}))),
        ask(server, "DELETE", &format!("/chats/{room}"), token, None),
        ask(server, "GET", &format!("/chats/{room}/token/renew"), token, None),
        guess(json!({"secret": "open barley", "name": "Cassim"})),
        guess(json!({"secret": "too long to be one".repeat(5), "name": "Cassim"})),
        guess(json!({"name": "Cassim"})),
        guess(json!({})),
        server.refused(&format!("/chats/{room}/ws"), &[]),
        server.refused(&format!("/chats/{room}/ws?token={}", token.unwrap_or("no.token")), &[]),
    ];
    answers.iter().map(|answer| (answer.status, answer.text().to_owned())).collect()
}

// Seen to fail with `door::chitchat::find` finding a hidden room as any other: 200 by its number.
#[test]
fn without_its_token_a_hidden_room_is_not_there() {
    let server = Server::start();
    let (id, other) = (closed_room(&server, "Cave", "hidden"), closed_room(&server, "Well", "private"));
    let of_another = room_token(&server, other, "Ali");
    for token in [None, Some("no.token"), Some(&*of_another)] {
        let none = strangers_questions(&server, "99", token);
        assert!(none.iter().all(|(status, _)| *status == 404), "{none:?}");
        for room in [&*id.to_string(), "Cave", "cAVE"] {
            assert_eq!(strangers_questions(&server, room, token), none, "{room}, {token:?}");
        }
    }
    let token = room_token(&server, id, "Ali");
    for path in [format!("/chats/{id}"), "/chats/cave".to_owned(), format!("/chats/events/{id}")] {
        assert_eq!(ask(&server, "GET", &path, Some(&token), None).status, 200, "{path}");
    }
    assert_eq!(ask(&server, "GET", "/chats/Cave/token/renew", Some(&token), None).status, 201);
}

// Seen to fail with no hash for a room that is not there: 1 ms for none, 374 for a hidden one.
#[test]
fn a_hidden_room_is_not_found_out_by_the_time_of_a_refusal() {
    let server = Server::start();
    let id = closed_room(&server, "Cave", "hidden");
    let refusal = |room: i64| {
        let started = Instant::now();
        let body = json!({"secret": "open barley", "name": "Cassim"});
        assert_eq!(ask(&server, "POST", &format!("/chats/{room}/token"), None, Some(body)).status, 404);
        started.elapsed()
    };
    let (mut hidden, mut none) = (Vec::new(), Vec::new());
    let median = |times: &mut [Duration]| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    // More of them if a busy machine gives no clear picture; it never becomes the same if only one takes a hash.
    for n in 1..=25 {
        hidden.push(refusal(id));
        none.push(refusal(99));
        let (hidden, none) = (median(&mut hidden), median(&mut none));
        if n >= 5 && hidden < 2 * none && none < 2 * hidden {
            return;
        }
        assert!(n < 25, "{hidden:?} for a hidden room, {none:?} for none");
    }
}

// What the count for a room that is not there is for, in `api::chats_token::enter`.
// Seen to fail with hidden rooms looked up as others are: 401 instead of 404.
#[test]
fn a_hidden_room_is_not_found_out_by_when_guesses_are_too_many() {
    let server = Server::with().env("LOGIN_RATE", "2").start();
    let id = closed_room(&server, "Cave", "hidden");
    let guesses = |room: &str| {
        let body = || json!({"secret": "open barley", "name": "Cassim"});
        let guess = || ask(&server, "POST", &format!("/chats/{room}/token"), None, Some(body())).status;
        (0..3).map(|_| guess()).collect::<Vec<_>>()
    };
    for room in [&*id.to_string(), "cave", "99", "well"] {
        assert_eq!(guesses(room), [404, 404, 429], "{room}");
    }
}
