//! `POST /api/v1/tokens`: people whom a backend has logged in itself get in without a password.

use serde_json::{Value, json};
use support::{ALICE, CAROL, Client, DEMO, HASHED, HASHED_SEGMENT, Response, Server, claims_of, now};

#[track_caller]
fn make(server: &Server, body: Value) -> Response {
    server.call("POST", "/api/v1/tokens", Some(body))
}

#[track_caller]
fn token(server: &Server, body: Value) -> String {
    let answer = make(server, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_str().expect("a token").to_owned()
}

fn id_of(server: &Server, email: &str) -> u64 {
    claims_of(&token(server, json!({"user": email})))["sub"].as_str().expect("sub").parse().expect("a number")
}

#[test]
fn a_token_opens_every_door_that_takes_its_kind_once() {
    let server = Server::with_api().start();
    for path in [format!("/chat/{DEMO}?auth="), "/channel/garden?ticket=".into(), "/channel?token=".into()] {
        let token = token(&server, json!({"user": ALICE.email}));
        Client::open(server.address, &format!("{path}{token}"));
        let again = server.refused(&format!("{path}{token}"), &[]);
        assert_eq!((again.status, again.reason()), (403, "token_used".into()), "{path}");
        let elsewhere = server.refused(&format!("/channel/elsewhere?ticket={token}"), &[]);
        assert_eq!(elsewhere.reason(), "token_used");
    }
}

#[test]
fn an_access_token_is_one_for_all_that_wants_one() {
    let server = Server::with_api().start();
    let answer = make(&server, json!({"user": CAROL.email, "kind": "access"}));
    assert_eq!((answer.status, answer.json()["kind"].clone()), (201, "access".into()));
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let ticket = server.get_with_bearer("/ws_ticket", &token).json()["ticket"].as_str().expect("a ticket").to_owned();
    Client::open(server.address, &format!("/channel/garden?ticket={ticket}"));
    let mut client = Client::open(server.address, "/channel/garden");
    client.say(support::channel::jwt(&token));
    assert_eq!(client.hear(), "authentication successful");
    assert_eq!(server.refused(&format!("/channel/garden?ticket={token}"), &[]).reason(), "token_wrong_kind");
}

#[test]
fn somebody_without_a_password_gets_in() {
    // As accounts are that log in through another site: what stands in place of the hash matches nothing.
    let server = Server::with_api().start();
    let accounts = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the accounts");
    accounts.execute("UPDATE users SET password = '' WHERE email = ?1", [ALICE.email]).expect("a row");
    assert_eq!(server.login(ALICE).status, 401);
    let mut alice = server.enter(&token(&server, json!({"user": ALICE.email})), DEMO);
    assert_eq!(alice.say_and_hear("hello").email, ALICE.email);
}

#[test]
fn a_user_is_named_by_number_or_email() {
    let server = Server::with_api().start();
    let id = id_of(&server, ALICE.email);
    for user in [json!(id), json!(id.to_string()), json!("ALICE@propromo.example")] {
        let claims = claims_of(&token(&server, json!({"user": user})));
        assert_eq!((&claims["sub"], &claims["email"]), (&json!(id.to_string()), &json!(ALICE.email)));
    }
}

#[test]
fn a_room_narrows_it_and_must_be_one_that_the_user_may_enter() {
    let server = Server::with_api().start();
    let narrowed = token(&server, json!({"user": ALICE.email, "room": format!("monitor:{HASHED}")}));
    assert_eq!(server.refused(&format!("/chat/{DEMO}?auth={narrowed}"), &[]).reason(), "token_wrong_room");
    server.enter(&narrowed, HASHED_SEGMENT);
    let lobby = token(&server, json!({"user": CAROL.email, "room": "channel:lobby"}));
    assert_eq!(server.refused(&format!("/channel/garden?ticket={lobby}"), &[]).reason(), "token_wrong_room");
    Client::open(server.address, &format!("/channel/lobby?ticket={lobby}"));
    for (user, room) in [
        (CAROL.email, format!("monitor:{DEMO}")),
        (ALICE.email, "monitor:nowhere".into()),
        (ALICE.email, format!("channel:{DEMO}")),
        (ALICE.email, "stream:default".into()),
        (ALICE.email, "chitchat:1".into()),
    ] {
        let answer = make(&server, json!({"user": user, "room": room}));
        assert_eq!((answer.status, answer.reason()), (403, "room_denied".into()), "{user} {room}");
    }
}

#[test]
fn a_life_is_what_was_asked_for_and_no_longer_than_any_token_has() {
    let server = Server::with_api().env("TICKET_TTL", "40").env("ACCESS_TTL", "500").start();
    let life = |body: Value| {
        let answer = make(&server, body).json();
        let expires = answer["expires"].as_u64().expect("a time");
        assert_eq!(claims_of(answer["token"].as_str().expect("a token"))["exp"], expires);
        expires - now()
    };
    let near = |life: u64, wanted: u64| (wanted - 5..=wanted).contains(&life);
    assert!(near(life(json!({"user": ALICE.email})), 40));
    assert!(near(life(json!({"user": ALICE.email, "kind": "access"})), 500));
    assert!(near(life(json!({"user": ALICE.email, "ttl": 300.0})), 300));
    let longest = json!({"user": ALICE.email, "ttl": 3600});
    assert!(near(life(longest), 3600), "the longest life of the defaults, ROOM_TOKEN_TTL");
    let answer = make(&server, json!({"user": ALICE.email, "ttl": 3601}));
    assert_eq!((answer.status, answer.reason()), (400, "invalid_fields".into()));
    assert!(answer.json()["detail"].get("ttl").is_some());
}

#[test]
fn what_can_not_be_read_makes_no_token() {
    let server = Server::with_api().start();
    let alice = ALICE.email;
    for (body, field) in [
        (json!({}), "user"),
        (json!({"user": ""}), "user"),
        (json!({"user": [alice]}), "user"),
        (json!({"user": -1}), "user"),
        (json!({"user": 1.5}), "user"),
        (json!({"user": alice, "kind": "room"}), "kind"),
        (json!({"user": alice, "kind": 7}), "kind"),
        (json!({"user": alice, "room": "lobby"}), "room"),
        (json!({"user": alice, "room": "channel:"}), "room"),
        (json!({"user": alice, "room": 7}), "room"),
        (json!({"user": alice, "kind": "access", "room": "channel:lobby"}), "room"),
        (json!({"user": alice, "ttl": 0}), "ttl"),
        (json!({"user": alice, "ttl": -5}), "ttl"),
        (json!({"user": alice, "ttl": "60"}), "ttl"),
        (json!({"user": alice, "ttl": 1e300}), "ttl"),
        (json!([alice]), "body"),
    ] {
        let answer = make(&server, body.clone());
        assert_eq!((answer.status, answer.reason()), (400, "invalid_fields".into()), "{body}");
        assert!(answer.json()["detail"].get(field).is_some(), "{body}: {}", answer.text());
    }
    for user in [json!("nobody@propromo.example"), json!(u64::MAX), json!(0), json!("a\0b"), json!("x".repeat(5000))] {
        let answer = make(&server, json!({"user": user}));
        assert_eq!((answer.status, answer.reason()), (404, "user_not_found".into()), "{user}");
    }
}

#[test]
fn an_account_that_is_called_as_bots_are_gets_none() {
    let server = Server::with_api().start();
    let accounts = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the accounts");
    accounts.execute("UPDATE users SET email = 'bot:site' WHERE email = ?1", [ALICE.email]).expect("a row");
    assert_eq!(make(&server, json!({"user": "bot:site"})).reason(), "user_not_found");
    let refused = server.log_in_as("bot:site", ALICE.password);
    assert_eq!((refused.status, refused.reason()), (401, "wrong_credentials".into()));
}
