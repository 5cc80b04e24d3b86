//! The stream door: a backend publishes, passive listeners with tokens of another backend hear it word for word.

use serde_json::{Value, json};
use std::{
    io::Read,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};
use support::{
    ALICE, Client, Response, Server, claims_of, eventually,
    http::{post, post_with},
    now,
    server::Setup,
    sign_hs256,
    ws::FrameStart,
};
use tungstenite::Message;

const SECRET: &str = "the secret of the backend that signs stream tokens";
const KEY: &str = "the-publishers-key";

fn with_streams() -> Setup {
    Server::with().env("STREAM_JWT_SECRET", SECRET).env("STREAM_PUBLISH_KEY", KEY)
}

/// A token with these claims, as the other backend signs it.
fn signed(claims: Value) -> String {
    sign_hs256(SECRET.as_bytes(), &json!({"alg": "HS256", "typ": "JWT"}), claims.as_object().expect("an object"))
}

/// A good token that no other test uses.
fn token() -> String {
    static ISSUED: AtomicUsize = AtomicUsize::new(0);
    signed(json!({"exp": now() + 60, "n": ISSUED.fetch_add(1, Ordering::Relaxed)}))
}

fn listen(server: &Server, path: &str) -> Client {
    Client::open(server.address, &format!("{path}?t={}", token()))
}

fn publish(server: &Server, path: &str, body: impl AsRef<[u8]>) -> Response {
    let headers = [("Authorization", format!("Bearer {KEY}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    server.connect().send(post_with(path, &headers, body)).response()
}

/// Publishes, and gives the number of listeners.
#[track_caller]
fn published(server: &Server, path: &str, body: &str) -> u64 {
    let answer = publish(server, path, body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["listeners"].as_u64().expect("a number")
}

// Listening.

#[test]
fn the_only_claim_that_a_token_needs_is_its_end() {
    let server = with_streams().start();
    let bare = signed(json!({"exp": now() + 60}));
    let mut client = Client::open(server.address, &format!("/?t={bare}"));
    assert_eq!(published(&server, "/stream", "hello"), 1);
    assert_eq!(client.hear(), "hello");
}

#[test]
fn the_root_and_stream_without_a_name_are_the_stream_default() {
    let server = with_streams().start();
    let paths = ["/", "/stream", "/stream/", "/stream/default"];
    let mut listeners = paths.map(|path| listen(&server, path));
    for path in ["/stream", "/stream/default"] {
        assert_eq!(published(&server, path, path), 4);
        for client in &mut listeners {
            assert_eq!(client.hear(), path);
        }
    }
}

#[test]
fn a_named_stream_is_heard_by_its_listeners_only() {
    let server = with_streams().start();
    let (mut blocks, mut builds) = (listen(&server, "/stream/blocks"), listen(&server, "/stream/a%2Fb"));
    assert_eq!(published(&server, "/stream/blocks", "a block"), 1);
    assert_eq!(published(&server, "/stream/a%2Fb", "a build"), 1);
    assert_eq!(published(&server, "/stream", "nobody hears this"), 0);
    assert_eq!((blocks.hear().as_str(), builds.hear().as_str()), ("a block", "a build"));
    assert_eq!(published(&server, "/stream/blocks", "the next"), 1);
    assert_eq!(blocks.hear(), "the next");
}

#[test]
fn what_listeners_send_is_ignored() {
    let server = with_streams().start();
    let (mut one, mut other) = (listen(&server, "/"), listen(&server, "/"));
    for text in ["hello", r#"{"type":"ping"}"#, r#"propromo.chat({event:"ping",action:"pong"})"#] {
        one.say(text);
    }
    // The pong shows that what came before it has been read.
    one.send(Message::Ping("all read".into()));
    assert_eq!(one.read(), Message::Pong("all read".into()));
    published(&server, "/stream", "the feed");
    assert_eq!((one.hear().as_str(), other.hear().as_str()), ("the feed", "the feed"));
}

#[track_caller]
fn assert_refused(server: &Server, token: Option<&str>, reason: &str) {
    for path in ["/", "/stream/blocks"] {
        let path = token.map_or(path.to_owned(), |token| format!("{path}?t={token}"));
        let answer = server.refused(&path, &[]);
        assert_eq!((answer.status, answer.reason().as_str()), (401, reason), "{}", answer.text());
        server.logs(&[reason, "127.0.0.1", "stream"]);
        for part in token.iter().flat_map(|token| token.split('.')).filter(|part| part.len() > 8) {
            assert!(!server.log().contains(part), "the log holds a part of the token:\n{}", server.log());
        }
    }
}

#[test]
fn no_token_is_refused() {
    assert_refused(&with_streams().start(), None, "token_missing");
}

#[test]
fn a_bad_signature_is_refused() {
    let server = with_streams().start();
    let claims = claims_of(&token());
    let header = json!({"alg": "HS256"});
    let forged = sign_hs256(b"some other secret, as long as the real one", &header, &claims);
    assert_refused(&server, Some(&forged), "token_bad_signature");
    assert_refused(&server, Some(&server.token(ALICE)), "token_bad_signature");
    let hs512 = support::token::sign_hs512(SECRET.as_bytes(), &json!({"alg": "HS512"}), &claims);
    let unsigned = format!("{}.", support::token::signed_part(&json!({"alg": "none"}), &claims));
    for other in [hs512, unsigned] {
        assert_eq!(server.refused(&format!("/?t={other}"), &[]).status, 401);
    }
}

#[test]
fn a_token_without_an_end_is_refused() {
    assert_refused(&with_streams().start(), Some(&signed(json!({"sub": "x"}))), "token_no_expiry");
}

#[test]
fn an_expired_token_is_refused_in_the_second_after_its_end() {
    let server = with_streams().start();
    assert_refused(&server, Some(&signed(json!({"exp": now() - 1}))), "token_expired");
    let expires = now() + 2;
    let token = signed(json!({"exp": expires}));
    eventually("the token expires", || now() > expires);
    assert_refused(&server, Some(&token), "token_expired");
}

#[test]
fn a_token_that_was_used_is_refused_at_every_stream() {
    let server = with_streams().start();
    let token = token();
    Client::open(server.address, &format!("/stream/first?t={token}"));
    assert_refused(&server, Some(&token), "token_used");
}

#[test]
fn a_refused_handshake_spends_nothing() {
    let server = with_streams().env("ORIGIN_ALLOWLIST", "feed.example").start();
    let path = format!("/?t={}", token());
    assert_eq!(server.refused(&path, &[("Origin", "https://evil.example")]).reason(), "origin_denied");
    assert!(Client::try_open(server.address, &path, &[("Origin", "https://feed.example")]).is_ok());
}

#[test]
fn without_a_secret_the_door_is_shut() {
    let server = Server::with().env("STREAM_PUBLISH_KEY", KEY).start();
    for path in ["/".to_owned(), format!("/?t={}", token()), format!("/stream/x?t={}", server.token(ALICE))] {
        let answer = server.refused(&path, &[]);
        assert_eq!((answer.status, answer.reason().as_str()), (403, "room_denied"), "{path:.10}");
    }
    let answer = publish(&server, "/stream", "x");
    assert_eq!((answer.status, answer.reason().as_str()), (403, "room_denied"));
    assert!(server.get("/").text().starts_with("<!"), "the home page is not shut");
}

#[test]
fn a_public_stream_is_open_to_all_with_or_without_a_secret() {
    for setup in [with_streams(), with_streams().without("STREAM_JWT_SECRET")] {
        let server = setup.env("STREAM_PUBLIC", "true").start();
        let mut listeners = ["/", "/stream/default", "/?t=whatever"].map(|path| Client::open(server.address, path));
        assert_eq!(published(&server, "/stream", "for all"), 3);
        for client in &mut listeners {
            assert_eq!(client.hear(), "for all");
        }
    }
}

#[test]
fn a_plain_get_of_a_stream_is_told_to_upgrade_and_the_root_is_the_home_page() {
    let server = with_streams().start();
    for path in ["/stream", "/stream/blocks"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.reason().as_str()), (426, "upgrade_required"), "{path}");
    }
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_listener_that_does_not_answer_pings_is_dropped_and_one_that_does_stays() {
    let server = with_streams().env("PING_INTERVAL", "1").env("PONG_TIMEOUT", "10").start();
    let started = Instant::now();
    let (mut faithful, silent) = (listen(&server, "/"), listen(&server, "/"));
    // Reading answers the pings.
    let reading = thread::spawn(move || faithful.hear());
    // What is read past tungstenite is not answered.
    let mut heard = Vec::new();
    let end = silent.stream().read_to_end(&mut heard);
    assert!(!matches!(end, Err(error) if support::timed_out(&error)), "the listener is still there");
    assert_eq!(heard[0], 0x89, "it was pinged");
    assert!(started.elapsed() >= Duration::from_secs(10));
    assert_eq!(published(&server, "/stream", "still there?"), 1);
    reading.join().expect("the faithful one is still there");
}

// Publishing.

#[test]
fn any_text_goes_out_word_for_word_as_one_frame() {
    let server = with_streams().start();
    let mut client = listen(&server, "/");
    for body in ["plain", "", " \r\n\t ", "{\"a\": [1,2]}\n", "\u{0}\u{feff}😀 \u{202e}"] {
        published(&server, "/stream", body);
        assert_eq!(client.read(), Message::text(body));
    }
}

#[test]
fn up_to_64_kib_are_taken_and_not_a_byte_more() {
    let server = with_streams().start();
    let mut client = listen(&server, "/");
    let body = "é".repeat(32 << 10);
    assert_eq!(body.len(), 64 << 10);
    published(&server, "/stream", &body);
    assert_eq!(client.hear(), body);
    let headers = [("Authorization", format!("Bearer {KEY}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let request = post_with("/stream", &headers, body + "x");
    assert_eq!(server.connect().send_what_fits(request).response().status, 413);
}

#[test]
fn what_is_not_utf_8_is_refused() {
    let server = with_streams().start();
    let answer = publish(&server, "/stream", b"\xff\xfe");
    assert_eq!((answer.status, answer.reason().as_str()), (400, "bad_request"));
}

#[test]
fn messages_arrive_in_the_order_in_which_they_were_posted() {
    let server = with_streams().start();
    let mut listeners = [(); 3].map(|()| listen(&server, "/"));
    for number in 0..200 {
        // Some of them kept: they take another way to the store.
        let path = if number % 3 == 0 { "/stream?history=5" } else { "/stream" };
        published(&server, path, &number.to_string());
    }
    for client in &mut listeners {
        assert_eq!(
            (0..200).map(|_| client.hear()).collect::<Vec<_>>(),
            (0..200).map(|n| n.to_string()).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_key_may_be_a_bearer_token_or_a_parameter() {
    let server = with_streams().start();
    let bearer = format!("Bearer {KEY}");
    for (path, headers) in [
        ("/stream".to_owned(), vec![("Authorization", bearer.as_str())]),
        (format!("/stream?key={KEY}"), vec![]),
        (format!("/stream/blocks?key={KEY}"), vec![]),
    ] {
        assert_eq!(server.connect().send(post_with(&path, &headers, "x")).response().status, 202, "{path}");
    }
}

#[test]
fn without_the_key_or_with_another_nothing_is_published() {
    let server = with_streams().start();
    let mut client = listen(&server, "/");
    for (path, authorization, reason) in [
        ("/stream", None, "token_missing"),
        ("/stream?key=", None, "wrong_credentials"),
        ("/stream?key=wrong", None, "wrong_credentials"),
        ("/stream", Some("Bearer wrong"), "wrong_credentials"),
        ("/stream", Some("Basic dXNlcjpwd2Q="), "token_missing"),
    ] {
        let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        let answer = server.connect().send(post_with(path, &headers, "x")).response();
        assert_eq!((answer.status, answer.reason().as_str()), (401, reason), "{path} {authorization:?}");
        server.logs(&[reason, "127.0.0.1"]);
    }
    let listeners_token = format!("Bearer {}", token());
    let answer = server.connect().send(post_with("/stream", &[("Authorization", &listeners_token)], "x")).response();
    assert_eq!(answer.status, 401, "a listener's token is no key");
    published(&server, "/stream", "the first thing heard");
    assert_eq!(client.hear(), "the first thing heard");
}

#[test]
fn where_no_key_is_set_no_key_is_right() {
    let server = with_streams().without("STREAM_PUBLISH_KEY").start();
    for path in ["/stream", "/stream?key=", "/stream?key=any"] {
        assert_eq!(server.post(path, "text/plain", "x").status, 401, "{path}");
    }
}

#[test]
fn the_key_is_never_logged() {
    let server = with_streams().start();
    published(&server, &format!("/stream?key={KEY}"), "x");
    assert_eq!(server.post("/stream?key=a-wrong-key", "text/plain", "x").status, 401);
    server.logs(&["wrong_credentials"]);
    assert!(!server.log().contains(KEY) && !server.log().contains("a-wrong-key"), "{}", server.log());
}

#[test]
fn from_this_machine_no_key_is_needed_where_that_is_allowed() {
    let server = with_streams().env("STREAM_PUBLISH_LOOPBACK", "true").start();
    assert_eq!(server.connect().send(post_with("/stream", &[], "x")).response().status, 202);
    assert_eq!(server.post("/stream?key=wrong", "text/plain", "x").status, 401, "a wrong key is wrong from anywhere");
}

#[test]
fn what_a_proxy_or_a_browser_sends_is_not_from_this_machine() {
    for proxies in ["", "127.0.0.0/8"] {
        let server = with_streams().env("STREAM_PUBLISH_LOOPBACK", "true").env("TRUSTED_PROXIES", proxies).start();
        for (name, value) in [
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-For", "203.0.113.7"),
            ("Forwarded", "for=127.0.0.1"),
            ("Origin", "https://evil.example"),
        ] {
            let answer = server.connect().send(post_with("/stream", &[(name, value)], "x")).response();
            assert_eq!((answer.status, answer.reason().as_str()), (401, "token_missing"), "{name}: {value}");
        }
    }
}

#[test]
fn the_callback_of_a_nano_node_is_passed_on_as_it_is() {
    let server = with_streams().env("STREAM_PUBLISH_LOOPBACK", "true").start();
    let mut client = listen(&server, "/");
    let callback = r#"{
    "account": "nano_1234567dd9sokm7jqdnkkzq8n6gc3nhi7xa5zpnh5chdq6jhnz6c67u8nzwg",
    "hash": "4B8D4B7B0F3A0B6E5F1F5C6C1D4B3B2A9F8E7D6C5B4A39281706F5E4D3C2B1A0",
    "block": "{\n    \"type\": \"state\",\n    \"balance\": \"1000000000000000000000000000000\",\n    \"link\": \"FF0144381CFF0B2C079A115E7ADA7E96F43FD219446E7524C48D1CC9900C4F17\"\n}\n",
    "amount": "1000000000000000000000000000000",
    "is_send": "true",
    "subtype": "send"
}
"#;
    serde_json::from_str::<Value>(callback).expect("the node sends JSON");
    // What the node's HTTP client sends: a target, a host, a type, a length, and nothing to authenticate with.
    let request = format!(
        "POST /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{callback}",
        callback.len()
    );
    let answer = server.connect().send(request).response();
    assert_eq!((answer.status, answer.json()), (202, json!({"listeners": 1})));
    assert_eq!(client.hear(), callback);
}

#[test]
fn the_number_of_listeners_is_answered() {
    let server = with_streams().start();
    assert_eq!(publish(&server, "/stream", "x").json(), json!({"listeners": 0}));
    let clients = [(); 3].map(|()| listen(&server, "/"));
    assert_eq!(publish(&server, "/stream", "x").json(), json!({"listeners": 3}));
    drop(clients);
    eventually("nobody listens any more", || published(&server, "/stream", "x") == 0);
}

#[test]
fn the_last_n_are_kept_for_who_comes_late() {
    let server = with_streams().start();
    published(&server, "/stream", "not kept");
    for number in 1..=5 {
        published(&server, "/stream?history=3", &number.to_string());
    }
    published(&server, "/stream", "not kept either");
    published(&server, "/stream/other?history=3", "of another stream");
    let mut late = listen(&server, "/");
    assert_eq!([(); 3].map(|()| late.hear()), ["3", "4", "5"]);
    published(&server, "/stream", "live");
    assert_eq!(late.hear(), "live");
}

#[test]
fn the_newest_kept_message_says_how_many() {
    let server = with_streams().start();
    for number in 1..=5 {
        published(&server, "/stream?history=5", &number.to_string());
    }
    published(&server, "/stream?history=2", "6");
    let mut late = listen(&server, "/");
    assert_eq!([(); 2].map(|()| late.hear()), ["5", "6"]);
    published(&server, "/stream", "live");
    assert_eq!(late.hear(), "live");
}

#[test]
fn what_is_kept_survives_a_crash() {
    let mut server = with_streams().start();
    published(&server, "/stream?history=1", "remember this");
    server.kill9();
    assert_eq!(listen(&server.restart(), "/").hear(), "remember this");
}

#[test]
fn without_history_nothing_is_kept() {
    let server = with_streams().start();
    published(&server, "/stream", "gone");
    published(&server, "/stream?history=0", "gone, too");
    let mut late = listen(&server, "/");
    published(&server, "/stream", "live");
    assert_eq!(late.hear(), "live");
}

#[test]
fn a_history_that_is_no_small_number_is_refused() {
    let server = with_streams().start();
    for history in ["-1", "many", "1001", ""] {
        let answer = publish(&server, &format!("/stream?history={history}"), "x");
        assert_eq!((answer.status, answer.reason().as_str()), (400, "bad_request"), "{history}");
    }
}

#[test]
fn a_name_that_is_too_long_or_holds_control_characters_is_refused() {
    let server = with_streams().start();
    for name in ["x".repeat(257), "a%0Ab".to_owned()] {
        assert_eq!(publish(&server, &format!("/stream/{name}"), "x").status, 400);
        assert_eq!(server.refused(&format!("/stream/{name}?t={}", token()), &[]).status, 400);
    }
}

#[test]
fn a_listener_is_bound_by_the_rules_of_every_connection() {
    let server = with_streams().start();
    let mut binary = listen(&server, "/");
    binary.send(Message::binary(vec![1]));
    assert_eq!(binary.close_code(), Some(1003));
    let mut broken = listen(&server, "/");
    broken.send_raw(&FrameStart::whole(1).with(b"\xff"));
    assert_eq!(broken.close_code(), Some(1007));
}

#[test]
fn a_body_of_any_type_is_text() {
    let server = with_streams().start();
    let mut client = listen(&server, "/");
    for content_type in ["text/plain", "application/json", "application/x-www-form-urlencoded", "image/png"] {
        let answer = server.connect().send(post(&format!("/stream?key={KEY}"), content_type, "a=b&c")).response();
        assert_eq!(answer.status, 202, "{content_type}");
        assert_eq!(client.hear(), "a=b&c");
    }
}
