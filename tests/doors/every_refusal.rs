//! Every reason to refuse is logged once, by the id of the answer, and counted once.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use support::{
    ALICE, BOB, CAROL, Client, DEMO, Response, Server, claims_of,
    documents::document,
    eventually, forge,
    http::{Connection, get, post, post_with},
    now, sign_hs256,
};

const BACKEND: &str = "a-backends-secret-of-32-bytes-or-more";

/// What provokes a reason.
type Way = (&'static str, fn(&Server) -> Response);

const WAYS: &[Way] = &[
    ("token_missing", |server| server.refused("/chat/demo", &[])),
    ("token_malformed", |server| server.refused("/chat/demo?auth=rubbish", &[])),
    ("token_bad_signature", |server| {
        let claims = claims_of(&server.token(ALICE));
        shown(server, &sign_hs256(b"another secret that is long enough for this", &json!({"alg": "HS256"}), &claims))
    }),
    ("token_no_expiry", |server| shown(server, &with_times(server, json!({}), &["exp"]))),
    ("token_expired", |server| {
        shown(server, &with_times(server, json!({"iat": now() - 20, "nbf": now() - 20, "exp": now() - 2}), &[]))
    }),
    ("token_not_yet_valid", |server| shown(server, &with_times(server, json!({"nbf": now() + 100}), &[]))),
    ("token_wrong_kind", |server| shown(server, &server.access_token(ALICE))),
    ("token_used", |server| {
        let token = server.token(ALICE);
        server.enter(&token, DEMO).close();
        shown(server, &token)
    }),
    ("token_ambiguous", |server| {
        let (one, other) = (server.token(ALICE), server.token(BOB));
        server.refused(&format!("/chat/demo?auth={one}&ticket={other}"), &[])
    }),
    ("origin_denied", |server| {
        let token = server.token(ALICE);
        server.refused(&format!("/chat/demo?auth={token}"), &[("Origin", "https://evil.example")])
    }),
    ("session_missing", |server| server.post("/session/renew", "application/json", "")),
    ("session_ended", |server| {
        let cookie = format!("propromo_session={}", "a".repeat(64));
        server.connect().send(post_with("/session/renew", &[("Cookie", &cookie)], "")).response()
    }),
    ("room_denied", |server| {
        let token = server.token(ALICE);
        server.refused(&format!("/chat/no-such-monitor?auth={token}"), &[])
    }),
    ("wrong_credentials", |server| server.log_in_as(ALICE.email, "wrong")),
    ("scope_missing", |server| called(server, "POST", "/api/v1/notices", r#"{"text":"hello"}"#)),
    ("no_such_message", |server| {
        let nothing = "0190a5c0-0000-7000-8000-000000000000";
        called(server, "GET", &format!("/api/v1/rooms/channel%3Agarden/messages?after={nothing}"), "")
    }),
    ("user_not_found", |server| called(server, "POST", "/api/v1/tokens", r#"{"user":"nobody@propromo.example"}"#)),
    ("no_chats", |server| server.login(CAROL)),
    ("bad_request", |server| server.connect().send("GET / HTTP/1.1\r\n\r\n").response()),
    ("invalid_fields", |server| server.post("/login", "application/json", "{}")),
    ("not_found", |server| server.get("/nowhere")),
    ("method_not_allowed", |server| server.post("/healthz", "text/plain", "")),
    ("body_too_large", |server| {
        let head = format!("POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 1 << 20);
        server.connect().send(head).response()
    }),
    ("expectation_failed", |server| {
        server.connect().send(post_with("/login", &[("Expect", "the-best")], "")).response()
    }),
    ("unsupported_media_type", |server| server.post("/login", "text/plain", "email=a")),
    ("head_too_large", |server| {
        let mut connection = server.connect();
        connection.send_what_fits(get("/", &[("X-Long", &"x".repeat(20_000))]));
        connection.response()
    }),
    ("upgrade_required", |server| server.get("/chat/demo")),
    ("not_implemented", |server| server.connect().send("BREW / HTTP/1.1\r\nHost: x\r\n\r\n").response()),
    ("http_version_not_supported", |server| server.connect().send("GET / HTTP/3.0\r\nHost: x\r\n\r\n").response()),
    ("room_not_found", |server| server.get("/chats/4711")),
    ("room_title_taken", |server| {
        let room = r#"{"title":"Taken","visibility":"public"}"#;
        server.post("/chats", "application/json", room);
        server.post("/chats", "application/json", room)
    }),
    ("room_unreadable", |server| server.post("/chats", "application/json", "{")),
    ("room_invalid", |server| server.post("/chats", "application/json", r#"{"title":"","visibility":"public"}"#)),
    ("room_protected", |server| server.connect().send(deleted(1)).response()),
];

/// Reasons that need more than a request: each has a test of its own where its defence is tested.
const ELSEWHERE: &[&str] = &[
    "token_wrong_algorithm", // tests/doors/chats_closed.rs
    "token_wrong_room",      // tests/doors/tokens.rs
    "token_revoked",         // tests/doors/revocation.rs
    "rate_limited",          // tests/doors/rate_limits.rs
    "unavailable",           // tests/doors/store_failure.rs
    "store_full",            // tests/doors/bounds_store.rs
    "clock_skew",            // tests/nodes
    "unknown",               // tests/nodes/outcomes.rs
    "overloaded",            // tests/doors/attacks_places.rs
    "request_timeout",       // tests/doors/attacks_slow.rs
    "internal",              // tests/doors/faults.rs
    "muted",                 // tests/doors/moderation.rs
    "too_many_channels",     // tests/doors/bounds_channels.rs
    "too_many_mutes",        // tests/backends/mutes.rs
    "too_many_rooms",        // tests/doors/bounds_rooms.rs
    "too_late",              // tests/backends/changes.rs
    "unchanged",             // tests/backends/changes.rs
    // Of the rooms door, on an open WebSocket or with a name: tests/doors/chats.rs, chats_closed.rs
    "name_not_held",
    "name_taken",
    "event_unreadable",
    "not_yours",
];

#[test]
fn every_reason_is_logged_once_and_counted_once() {
    let server = Server::with()
        .env("ADMIN_LISTEN", "127.0.0.1:0")
        .env("LOG_FORMAT", "json")
        .env("ORIGIN_ALLOWLIST", "chat.example")
        .env("LOGIN_RATE", "0")
        .env("API_KEYS", format!("backend tokens,read,publish {BACKEND}"))
        .start();
    for (reason, provoke) in WAYS {
        let before = counted(&server);
        let answer = provoke(&server);
        let id = answer.header("x-request-id").unwrap_or_else(|| panic!("{reason}: no id: {answer:?}")).to_owned();
        let mut lines = Vec::new();
        eventually(reason, || {
            lines = refusals_of(&server, &id);
            !lines.is_empty()
        });
        assert_eq!(lines.len(), 1, "{reason}: {lines:?}");
        assert_eq!(lines[0]["reason"], *reason, "{answer:?}");
        let more: BTreeMap<_, _> = counted(&server)
            .into_iter()
            .map(|(name, count)| (name.clone(), count - before.get(&name).copied().unwrap_or_default()))
            .filter(|(_, count)| *count != 0.0)
            .collect();
        assert_eq!(more, BTreeMap::from([((*reason).to_owned(), 1.0)]), "{reason}");
    }
}

// Seen to fail when the line was only logged: the counter stayed where it was.
#[test]
fn so_is_a_wrong_first_message() {
    let server = Server::with().env("ADMIN_LISTEN", "127.0.0.1:0").env("LOG_FORMAT", "json").start();
    let before = counted(&server);
    let mut client = Client::open(server.address, "/channel/garden");
    let id = client.opened.header("x-request-id").expect("an id").to_owned();
    client.ask(json!({"type": "auth", "payload": "rubbish"}));
    assert_eq!(client.close_code(), Some(1008));
    // Its line may come a moment after the close.
    eventually("it is logged", || !refusals_of(&server, &id).is_empty());
    assert_eq!(refusals_of(&server, &id).len(), 1);
    let more = counted(&server)["token_malformed"] - before.get("token_malformed").copied().unwrap_or_default();
    assert_eq!(more, 1.0);
}

#[test]
fn no_reason_of_the_protocol_is_forgotten_here() {
    let page = document("docs/PROTOCOL.md");
    let table = page.split_once("| word | status | when |").expect("the table of refusals").1;
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let words: BTreeSet<&str> = rows.map(|row| row.split('`').nth(1).expect("a word")).collect();
    let known: BTreeSet<&str> = WAYS.iter().map(|(reason, _)| *reason).chain(ELSEWHERE.iter().copied()).collect();
    assert_eq!(words, known);
}

fn shown(server: &Server, token: &str) -> Response {
    server.refused(&format!("/chat/demo?auth={token}"), &[])
}

/// A token of Alice's with these claims, and without those.
fn with_times(server: &Server, claims: Value, without: &[&str]) -> String {
    forge(&server.token(ALICE), |all| {
        all.extend(claims.as_object().expect("claims").clone());
        for name in without {
            all.remove(*name);
        }
    })
}

fn called(server: &Server, method: &str, path: &str, body: &str) -> Response {
    let key = format!("Bearer {BACKEND}");
    let request = match method {
        "GET" => get(path, &[("Authorization", &key)]).into_bytes(),
        _ => post_with(path, &[("Authorization", &key), ("Content-Type", "application/json")], body),
    };
    server.connect().send(request).response()
}

fn deleted(room: u32) -> Vec<u8> {
    let request = String::from_utf8(post(&format!("/chats/{room}"), "application/json", "")).expect("a head");
    request.replacen("POST", "DELETE", 1).into_bytes()
}

/// How often each reason was counted.
fn counted(server: &Server) -> BTreeMap<String, f64> {
    let page = Connection::open(server.admin_address()).send(get("/metrics", &[("Connection", "close")])).response();
    let samples = page.text().lines().filter_map(|line| line.strip_prefix("propromo_chat_refusals_total{reason=\""));
    let read = |sample: &str| {
        let (reason, count) = sample.split_once("\"} ").expect("a count");
        (reason.to_owned(), count.parse().expect("a number"))
    };
    samples.map(read).collect()
}

/// The lines about a refusal of this request.
fn refusals_of(server: &Server, id: &str) -> Vec<Value> {
    let lines = server.log();
    let read = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    read.filter(|line| line["request"] == id && line["message"] == "refused").collect()
}
