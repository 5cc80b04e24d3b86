//! What holds at every WebSocket door alike: where a token may stand, which pages may connect.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{
    ALICE, BOB, Client, DEMO, Server,
    channel::jwt,
    chats::{closed_room, room_token},
    forge, now,
    server::Setup,
    sign_hs256,
};

const STREAM_SECRET: &str = "the secret of the backend that signs stream tokens";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";

/// A way in: a path and the tokens that open it, a fresh one each time.
struct Way<'a> {
    name: &'static str,
    path: String,
    token: Box<dyn Fn() -> String + 'a>,
    /// Shows that one is in.
    works: Box<dyn Fn(&mut Client) + 'a>,
}

fn with_every_door() -> Setup {
    Server::with().env("STREAM_JWT_SECRET", STREAM_SECRET).env("STREAM_PUBLISH_KEY", "key")
}

/// Every way in that there is with a token.
fn ways(server: &Server) -> Vec<Way<'_>> {
    // One login each: further tokens are made from these.
    let (login, ticket, first_step) = (server.token(ALICE), server.ticket(ALICE), server.first_step(ALICE));
    let access = server.access(ALICE);
    let room = closed_room(server, "Behind the door", "private");
    let chat = login.clone();
    let in_channel = |client: &mut Client| drop(client.post("hello"));
    vec![
        Way {
            name: "propromo",
            path: "/chat/demo".to_owned(),
            token: Box::new(move || forge(&chat, |_| {})),
            works: Box::new(|client| drop(client.say_and_hear("hello"))),
        },
        Way {
            name: "ticket",
            path: "/channel/garden".to_owned(),
            token: Box::new(move || forge(&ticket, |_| {})),
            works: Box::new(in_channel),
        },
        Way {
            name: "a login's token at a channel",
            path: format!("/channel/{DEMO}"),
            token: Box::new(move || forge(&login, |_| {})),
            works: Box::new(in_channel),
        },
        Way {
            name: "two steps",
            path: "/channel/garden".to_owned(),
            token: Box::new(move || forge(&first_step, |_| {})),
            works: Box::new(move |client| {
                client.say(jwt(&access));
                assert_eq!(client.hear(), "authentication successful");
                client.post("hello");
            }),
        },
        Way {
            name: "stream",
            path: "/stream/feed".to_owned(),
            token: Box::new(foreign),
            works: Box::new(|client| {
                assert_eq!(server.post("/stream/feed?key=key", "text/plain", "news").status, 202);
                assert_eq!(client.hear(), "news");
            }),
        },
        Way {
            name: "room",
            path: format!("/chats/{room}/ws"),
            token: Box::new(move || room_token(server, room, "ann")),
            works: Box::new(|client| {
                client.ask(json!({"event_type": "send", "name": "ann", "color": "", "msg": "hello"}));
                let frame: Value = client.hear_frame();
                assert_eq!((&frame["event_type"], &frame["msg"]), (&json!("send"), &json!("hello")), "{frame}");
                client.ask(json!({"event_type": "leave", "name": "ann"}));
                client.hear_frame();
            }),
        },
    ]
}

fn foreign() -> String {
    static ISSUED: AtomicUsize = AtomicUsize::new(0);
    let claims = json!({"exp": now() + 60, "n": ISSUED.fetch_add(1, Ordering::Relaxed)});
    sign_hs256(STREAM_SECRET.as_bytes(), &json!({"alg": "HS256"}), claims.as_object().expect("an object"))
}

#[track_caller]
fn open(server: &Server, way: &Way, path: &str, headers: &[(&str, &str)]) -> Client {
    match Client::try_open(server.address, path, headers) {
        Ok(client) => client,
        Err(refusal) => panic!("{}: {} {}", way.name, refusal.status, refusal.text()),
    }
}

#[test]
fn a_token_in_the_query_opens_every_door_under_each_name() {
    let server = with_every_door().start();
    for way in ways(&server) {
        for name in ["auth", "ticket", "token", "t"] {
            let mut client = open(&server, &way, &format!("{}?{name}={}", way.path, (way.token)()), &[]);
            (way.works)(&mut client);
        }
    }
}

#[test]
fn a_bearer_token_opens_every_door() {
    let server = with_every_door().start();
    for way in ways(&server) {
        let bearer = format!("Bearer {}", (way.token)());
        (way.works)(&mut open(&server, &way, &way.path, &[("Authorization", &bearer)]));
    }
}

#[test]
fn a_bare_token_as_subprotocol_opens_every_door_and_is_echoed() {
    let server = with_every_door().start();
    for way in ways(&server) {
        let token = (way.token)();
        let mut client = open(&server, &way, &way.path, &[(PROTOCOL, &token)]);
        assert_eq!(client.opened.header("sec-websocket-protocol"), Some(token.as_str()), "{}", way.name);
        (way.works)(&mut client);
    }
}

#[test]
fn a_marked_token_beside_a_protocol_opens_every_door_and_only_the_protocol_is_echoed() {
    let server = with_every_door().start();
    for way in ways(&server) {
        let offer = format!("propromo.chat, bearer.{}", (way.token)());
        let mut client = open(&server, &way, &way.path, &[(PROTOCOL, &offer)]);
        assert_eq!(client.opened.header("sec-websocket-protocol"), Some("propromo.chat"), "{}", way.name);
        (way.works)(&mut client);
    }
}

#[test]
fn a_token_may_be_a_segment_of_a_channels_path() {
    let server = Server::start();
    for (path, room) in [("", "lobby"), ("/", "lobby"), ("/garden", "garden"), ("/garden/", "garden")] {
        let mut client = Client::open(server.address, &format!("/channel/{}{path}", server.ticket(ALICE)));
        assert_eq!(client.post("hello")["room"], room, "{path}");
    }
    let mut client = Client::open(server.address, &format!("/channel/{}/", server.first_step(ALICE)));
    client.say(jwt(&server.access(ALICE)));
    assert_eq!(client.hear(), "authentication successful");
    assert_eq!(client.post("hello")["room"], "lobby");
}

#[test]
fn a_token_in_the_path_is_judged_like_any_other() {
    let server = Server::start();
    let (ticket, other) = (server.ticket(ALICE), server.ticket(BOB));
    let changed = format!("{}x", &ticket[..ticket.len() - 1]);
    assert_eq!(server.refused(&format!("/channel/{changed}/"), &[]).status, 401);
    assert_eq!(server.refused(&format!("/channel/{ticket}/?ticket={other}"), &[]).reason(), "token_ambiguous");
    assert_eq!(server.refused(&format!("/channel/{ticket}/demo/more"), &[]).status, 404);
    Client::open(server.address, &format!("/channel/{ticket}/")).post("hello");
    assert_eq!(server.refused(&format!("/channel/{ticket}/"), &[]).reason(), "token_used");
    assert!(!server.log().contains(ticket.rsplit('.').next().expect("a signature")), "{}", server.log());
}

#[test]
fn two_different_tokens_at_once_open_no_door_and_are_not_spent() {
    let server = with_every_door().start();
    for way in ways(&server) {
        let (one, other) = ((way.token)(), forge(&server.token(BOB), |_| {}));
        let (query, bearer) = (format!("{}?t={one}", way.path), format!("Bearer {other}"));
        assert_eq!(server.refused(&format!("{query}&auth={other}"), &[]).status, 400, "{}", way.name);
        assert_eq!(server.refused(&query, &[("Authorization", &bearer)]).status, 400, "{}", way.name);
        assert_eq!(server.refused(&query, &[(PROTOCOL, &other)]).status, 400, "{}", way.name);
        (way.works)(&mut open(&server, &way, &query, &[]));
    }
}

#[test]
fn a_page_of_another_origin_opens_no_door_and_spends_nothing() {
    let server = with_every_door().env("ORIGIN_ALLOWLIST", "localhost,*.example.org").start();
    for way in ways(&server) {
        let path = format!("{}?t={}", way.path, (way.token)());
        for origin in ["https://evil.example", "https://evilexample.org", "https://a.example.org.evil.example", "null"]
        {
            let refusal = server.refused(&path, &[("Origin", origin)]);
            assert_eq!(refusal.status, 403, "{} {origin}", way.name);
        }
        server.logs(&["origin_denied", "127.0.0.1"]);
        (way.works)(&mut open(&server, &way, &path, &[("Origin", "https://chat.example.org:8443")]));
    }
    let stranger = server.refused("/channel/garden", &[("Origin", "https://evil.example")]);
    assert_eq!((stranger.status, stranger.reason().as_str()), (403, "origin_denied"));
}

#[test]
fn without_an_origin_every_door_opens_unless_one_is_required() {
    let server = with_every_door().env("ORIGIN_ALLOWLIST", "localhost").start();
    for way in ways(&server) {
        (way.works)(&mut open(&server, &way, &format!("{}?t={}", way.path, (way.token)()), &[]));
    }
    let server = with_every_door().env("ORIGIN_ALLOWLIST", "localhost").env("ORIGIN_REQUIRED", "true").start();
    for way in ways(&server) {
        let path = format!("{}?t={}", way.path, (way.token)());
        assert_eq!(server.refused(&path, &[]).status, 403, "{}", way.name);
        (way.works)(&mut open(&server, &way, &path, &[("Origin", "http://localhost:3000")]));
    }
}
