//! The ticket door: log in at `/auth`, fetch a ticket, open a channel with it; or authenticate by the first message.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{
    ALICE, BOB, CAROL, Client, Server,
    channel::{fields, jwt},
    claims_of, forge,
    http::{get, post_with},
    now,
};
use tungstenite::Message;

fn auth(server: &Server, body: Value) -> support::Response {
    server.post("/auth", "application/json", body.to_string())
}

#[test]
fn auth_answers_an_access_token_and_when_it_expires() {
    let server = Server::start();
    let answer = server.auth(ALICE);
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(fields(&answer), ["expires", "token"]);
    let claims = claims_of(answer["token"].as_str().expect("a token"));
    assert_eq!(claims["exp"], answer["expires"]);
    assert_eq!(claims["email"], ALICE.email);
    let life = claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time");
    assert_eq!(life, 3600);
}

#[test]
fn auth_takes_each_pair_of_names() {
    let server = Server::start();
    for (user, password) in [("user", "pwd"), ("username", "password"), ("email", "password")] {
        let answer = auth(&server, json!({user: ALICE.email, password: ALICE.password}));
        assert_eq!(answer.status, 200, "{user}: {}", answer.text());
    }
}

#[test]
fn auth_may_be_a_get_with_the_same_body() {
    let server = Server::start();
    let body = json!({"user": ALICE.email, "pwd": ALICE.password}).to_string();
    for headers in [&[][..], &[("Content-Type", "application/json")]] {
        let request = post_with("/auth", headers, &body);
        let request = String::from_utf8(request).expect("text").replacen("POST", "GET", 1);
        let answer = server.connect().send(request).response();
        assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
    }
}

#[test]
fn an_account_without_any_monitor_may_log_in_here() {
    let server = Server::start();
    assert_eq!(server.login(CAROL).status, 403, "but not there");
    assert_eq!(server.auth(CAROL).status, 200);
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let server = Server::start();
    let wrong = auth(&server, json!({"user": ALICE.email, "pwd": "wrong"}));
    let unknown = auth(&server, json!({"user": "nobody@propromo.example", "pwd": "wrong"}));
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.json()["success"], false);
    assert_eq!((wrong.status, wrong.text()), (unknown.status, unknown.text()));
}

#[test]
fn what_is_missing_or_unreadable_is_refused() {
    let server = Server::start();
    let missing = auth(&server, json!({"user": ALICE.email}));
    assert_eq!(missing.status, 400);
    assert_eq!(fields(&missing.json()), ["detail", "message", "reason", "success"]);
    assert_eq!(server.post("/auth", "application/json", "{").status, 400);
    assert_eq!(server.post("/auth", "application/json", "").status, 400);
    assert_eq!(server.post("/auth", "image/png", "x").status, 415);
    let large = support::http::post("/auth", "application/json", vec![b' '; 65537]);
    assert_eq!(server.connect().send_what_fits(large).response().status, 413);
}

#[test]
fn too_many_attempts_have_to_wait() {
    let server = Server::with().env("LOGIN_RATE", "2").start();
    let wrong = || auth(&server, json!({"user": ALICE.email, "pwd": "wrong"}));
    assert_eq!([(); 2].map(|()| wrong().status), [401, 401]);
    let answer = wrong();
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|s| s > 0)));
}

#[test]
fn no_answer_and_no_log_line_carries_the_password() {
    let server = Server::start();
    let answer = auth(&server, json!({"user": ALICE.email, "pwd": "hunter2-but-wrong"}));
    assert!(!answer.text().contains("hunter2"));
    server.logs(&["wrong_credentials", "127.0.0.1"]);
    assert!(!server.log().contains("hunter2"));
}

#[test]
fn an_access_token_buys_a_ticket_by_get_and_by_post() {
    let server = Server::start();
    let bearer = format!("Bearer {}", server.access(ALICE));
    let headers = [("Authorization", bearer.as_str())];
    for request in [get("/ws_ticket", &headers).into_bytes(), post_with("/ws_ticket", &headers, "")] {
        let answer = server.connect().send(request).response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(fields(&answer), ["expires", "ticket"]);
        assert_eq!(claims_of(answer["ticket"].as_str().expect("a ticket"))["exp"], answer["expires"]);
    }
}

#[test]
fn a_ticket_lives_a_minute_unless_told_otherwise() {
    let life = |server: &Server| {
        let claims = claims_of(&server.ticket(ALICE));
        claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time")
    };
    assert_eq!(life(&Server::start()), 60);
    assert_eq!(life(&Server::with().env("TICKET_TTL", "7").start()), 7);
}

#[test]
fn nothing_but_an_access_token_buys_a_ticket() {
    let server = Server::start();
    let expired = forge(&server.access(ALICE), |claims| {
        claims.insert("iat".into(), json!(now() - 20));
        claims.insert("nbf".into(), json!(now() - 20));
        claims.insert("exp".into(), json!(now() - 2));
    });
    for (token, reason) in [
        (server.ticket(ALICE), "token_wrong_kind"),
        (server.token(ALICE), "token_wrong_kind"),
        (expired, "token_expired"),
        ("rubbish".to_owned(), "token_malformed"),
    ] {
        let answer = server.get_with_bearer("/ws_ticket", &token);
        assert_eq!((answer.status, answer.reason().as_str()), (401, reason));
        server.logs(&[reason, "127.0.0.1"]);
    }
    let answer = server.get("/ws_ticket");
    assert_eq!((answer.status, answer.reason().as_str()), (401, "token_missing"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn a_ticket_opens_one_channel_once() {
    let server = Server::start();
    let path = format!("/channel/garden?ticket={}", server.ticket(ALICE));
    assert_eq!(Client::open(server.address, &path).post("hello")["room"], "garden");
    let refusal = server.refused(&path, &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (403, "token_used"));
}

#[test]
fn the_default_room_is_the_lobby() {
    let server = Server::start();
    let mut named = server.channel(BOB, "lobby");
    for path in ["/channel", "/channel/"] {
        let mut client = Client::open(server.address, &format!("{path}?ticket={}", server.ticket(ALICE)));
        let said = client.post(path);
        assert_eq!(said["room"], "lobby");
        assert_eq!(named.wait_for("message"), said);
    }
}

#[test]
fn any_account_may_join_any_channel() {
    let server = Server::start();
    let (mut carol, mut alice) =
        (server.channel(CAROL, "any%20name%2Fat%20all"), server.channel(ALICE, "any%20name%2Fat%20all"));
    let said = carol.post("hello");
    assert_eq!(said["room"], "any name/at all");
    assert_eq!(alice.wait_for("message"), said);
}

#[test]
fn a_channel_named_after_a_monitor_is_for_its_members_only() {
    let server = Server::start();
    let ticket = server.ticket(CAROL);
    for room in [support::DEMO, support::HASHED_SEGMENT] {
        let refusal = server.refused(&format!("/channel/{room}?ticket={ticket}"), &[]);
        assert_eq!((refusal.status, refusal.reason().as_str()), (403, "room_denied"), "{room}");
    }
    server.logs(&["room_denied", "127.0.0.1"]);
    Client::open(server.address, &format!("/channel/garden?ticket={ticket}")).post("the ticket was not spent");
    assert_eq!(server.channel(ALICE, support::HASHED_SEGMENT).post("hello")["room"], support::HASHED);
}

#[test]
fn a_token_that_was_narrowed_to_a_monitor_opens_no_other_channel() {
    let server = Server::start();
    let body = json!({"email": ALICE.email, "password": ALICE.password, "monitor_id": support::DEMO});
    let answer = server.post("/login", "application/json", body.to_string()).json();
    let token = answer["token"].as_str().expect("a token");
    let refusal = server.refused(&format!("/channel/garden?ticket={token}"), &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (401, "token_wrong_room"));
    Client::open(server.address, &format!("/channel/demo?ticket={token}")).post("hello");
}

#[test]
fn a_room_name_that_is_too_long_or_holds_control_characters_is_refused() {
    let server = Server::start();
    let ticket = server.ticket(ALICE);
    for room in ["x".repeat(257), "a%0Ab".to_owned()] {
        let refusal = server.refused(&format!("/channel/{room}?ticket={ticket}"), &[]);
        assert_eq!((refusal.status, refusal.reason().as_str()), (400, "bad_request"));
    }
    Client::open(server.address, &format!("/channel/{}?ticket={ticket}", "x".repeat(256))).post("hello");
}

#[test]
fn a_plain_get_is_told_what_this_address_speaks() {
    let server = Server::start();
    for path in ["/channel", "/channel/lobby"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.reason().as_str()), (426, "upgrade_required"), "{path}");
    }
}

/// Both forms of the first message.
fn introductions(token: &str) -> [String; 2] {
    [json!({"type": "auth", "payload": token}).to_string(), jwt(token)]
}

#[test]
fn without_a_token_the_first_message_may_be_the_access_token() {
    let server = Server::start();
    let mut bob = server.channel(BOB, "garden");
    for introduction in introductions(&server.access(ALICE)) {
        let mut alice = Client::open(server.address, "/channel/garden");
        alice.say(&introduction);
        assert_eq!(alice.hear(), "authentication successful");
        let said = alice.post(&introduction[2..12]);
        assert_eq!((&said["user"], &said["room"]), (&json!(ALICE.email), &json!("garden")));
        assert_eq!(bob.wait_for("message"), said);
    }
}

#[test]
fn nobody_hears_anything_before_the_first_message_and_everything_after_it() {
    let server = Server::with().env("AUTH_DEADLINE", "60").start();
    let mut bob = server.channel(BOB, "garden");
    let before = bob.post("before the connection");
    let mut stranger = Client::open(server.address, "/channel/garden");
    let meanwhile = bob.post("while the stranger waits");
    bob.ask(json!({"type": "typing"}));
    bob.ask(json!({"type": "presence"}));
    assert_eq!(bob.hear_a("presence")["users"], json!([BOB.email]), "the stranger is not there yet");
    stranger.say(jwt(&server.access(ALICE)));
    assert_eq!(stranger.hear(), "authentication successful");
    assert_eq!([stranger.hear_frame(), stranger.hear_frame()], [before, meanwhile]);
    assert_eq!(bob.hear_a("join")["user"], ALICE.email);
}

#[test]
fn any_other_first_message_closes_with_1008() {
    let server = Server::start();
    let expired = forge(&server.access(ALICE), |claims| {
        claims.insert("iat".into(), json!(now() - 20));
        claims.insert("nbf".into(), json!(now() - 20));
        claims.insert("exp".into(), json!(now() - 2));
    });
    for (message, reason) in [
        ("hello".to_owned(), "token_missing"),
        ("".to_owned(), "token_missing"),
        (server.access(ALICE), "token_missing"),
        (json!({"type": "ping"}).to_string(), "token_missing"),
        (json!({"type": "message", "text": "hello"}).to_string(), "token_missing"),
        (json!({"type": "jwt"}).to_string(), "token_missing"),
        (json!({"type": "jwt", "token": 7}).to_string(), "token_missing"),
        (json!({"type": "jwt", "payload": server.access(ALICE)}).to_string(), "token_missing"),
        (jwt("rubbish"), "token_malformed"),
        (jwt(&server.ticket(ALICE)), "token_wrong_kind"),
        (jwt(&server.first_step(ALICE)), "token_wrong_kind"),
        (jwt(&expired), "token_expired"),
    ] {
        let mut client = Client::open(server.address, "/channel/garden");
        client.say(&message);
        assert_eq!(client.closed_because(), (1008, reason.to_owned()), "{message:.20}");
        server.logs(&[reason, "refused", "127.0.0.1"]);
    }
}

#[test]
fn the_first_message_of_someone_who_may_not_enter_closes_with_1008() {
    let server = Server::start();
    let access = server.access(CAROL);
    let mut carol = Client::open(server.address, "/channel/demo");
    carol.say(jwt(&access));
    assert_eq!(carol.closed_because(), (1008, "room_denied".to_owned()));
}

#[test]
fn silence_closes_with_1008_after_ten_seconds() {
    let server = Server::start();
    let started = Instant::now();
    let mut client = Client::open(server.address, "/channel/garden");
    assert_eq!(client.closed_because(), (1008, "auth_deadline".to_owned()));
    let waited = started.elapsed();
    // Not longer by much; a busy machine may be late.
    assert!((Duration::from_secs(10)..Duration::from_secs(30)).contains(&waited), "{waited:?}");
    server.logs(&["auth_deadline", "127.0.0.1"]);
}

#[test]
fn pings_and_half_a_frame_do_not_put_the_deadline_off() {
    let server = Server::with().env("AUTH_DEADLINE", "1").start();
    let mut pinging = Client::open(server.address, "/channel/garden");
    pinging.wait_at_most(Duration::from_millis(100));
    let mut closed = false;
    support::eventually("the server loses its patience", || {
        // Fails once the server has closed.
        let _ = pinging.try_send(Message::Ping(Default::default()));
        closed |= pinging.is_closed_with(1008);
        closed
    });
    let mut dripping = Client::open(server.address, "/channel/garden");
    dripping.send_raw(&[0x81, 0xfe]);
    assert_eq!(dripping.close_code(), Some(1008));
}

#[test]
fn who_is_silent_in_time_is_not_closed_afterwards() {
    let server = Server::with().env("AUTH_DEADLINE", "5").start();
    let access = server.access(ALICE);
    let mut alice = Client::open(server.address, "/channel/garden");
    alice.say(jwt(&access));
    assert_eq!(alice.hear(), "authentication successful");
    let mut stranger = Client::open(server.address, "/channel/garden");
    assert_eq!(stranger.close_code(), Some(1008), "the deadline is over");
    alice.post("still here");
}

#[test]
fn those_who_say_nothing_take_only_their_own_places() {
    let server = Server::with().env("MAX_UNAUTHENTICATED", "2").env("AUTH_DEADLINE", "60").start();
    let silent = Client::open(server.address, "/channel/garden");
    let mut other = Client::open(server.address, "/channel/garden");
    let refusal = server.refused("/channel/garden", &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (503, "overloaded"));
    server.channel(BOB, "garden").post("with a ticket one gets in");

    other.say(jwt(&server.access(ALICE)));
    assert_eq!(other.hear(), "authentication successful");
    let third = Client::open(server.address, "/channel/garden");
    assert_eq!(server.refused("/channel/garden", &[]).status, 503, "of two places two are taken again");
    drop(silent);
    support::eventually("a place is given back", || Client::try_open(server.address, "/channel/garden", &[]).is_ok());
    drop(third);
}

#[test]
fn where_first_message_authentication_is_off_a_token_is_needed() {
    let server = Server::with().env("FIRST_MESSAGE_AUTH", "false").start();
    for path in ["/channel", "/channel/garden"] {
        let refusal = server.refused(path, &[]);
        assert_eq!((refusal.status, refusal.reason().as_str()), (401, "token_missing"), "{path}");
    }
    server.logs(&["token_missing", "127.0.0.1"]);
    server.channel(ALICE, "garden").post("with a ticket one gets in");
}
