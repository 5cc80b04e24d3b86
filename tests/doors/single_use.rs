//! A connection token opens exactly one WebSocket, ever.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    net::SocketAddr,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use support::{
    ALICE, Client, Connection, DEMO, HASHED_SEGMENT, Server, raise_open_files,
    ws::{HANDSHAKE, handshake},
};

/// Connects `racers` sockets, then sends the same handshake over all of them from several threads at once, and
/// gives the statuses of the answers (0: none) with the sockets, still open.
fn race(address: SocketAddr, racers: usize, path: &str) -> Vec<(u16, Connection)> {
    const THREADS: usize = 10;
    let start = Barrier::new(THREADS);
    let request = handshake(path, &[]);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut sockets: Vec<_> = (0..racers / THREADS).map(|_| Connection::open(address)).collect();
                    start.wait();
                    for socket in &mut sockets {
                        socket.send_what_fits(&request);
                    }
                    let answered =
                        |mut socket: Connection| (socket.try_response().map_or(0, |answer| answer.status), socket);
                    sockets.into_iter().map(answered).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a racing thread")).collect()
    })
}

fn count(results: &[(u16, Connection)], status: u16) -> usize {
    results.iter().filter(|(got, _)| *got == status).count()
}

#[test]
fn of_a_thousand_connections_racing_with_one_token_exactly_one_gets_in() {
    raise_open_files();
    // All connect before any of them asks, which takes a busy machine its time.
    let server = Server::with().env("IDLE_DEADLINE", "3600").start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let results = race(server.address, 1000, &path);
    // 503: on a slow machine some wait for the ledger longer than they may.
    assert_eq!((count(&results, 101), count(&results, 403) + count(&results, 503)), (1, 999));
}

#[test]
fn a_token_spent_before_a_crash_stays_spent() {
    let mut server = Server::start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let _held = Client::open(server.address, &path);
    server.kill9();
    let server = server.restart();
    let results = race(server.address, 100, &path);
    assert_eq!(count(&results, 403), 100);
}

#[test]
fn a_token_spent_before_an_orderly_restart_stays_spent() {
    let mut server = Server::start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    Client::open(server.address, &path).close();
    server.terminate();
    assert_eq!(server.restart().refused(&path, &[]).reason(), "token_used");
}

#[test]
fn a_crash_in_the_middle_of_the_race_lets_in_nobody_twice() {
    raise_open_files();
    let mut server = Server::start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let answered = AtomicUsize::new(0);
    let before = thread::scope(|scope| {
        let racing = scope.spawn(|| {
            let results = race(server.address, 500, &path);
            answered.store(1, Ordering::Release);
            count(&results, 101)
        });
        // Killed as soon as the first refusal shows that somebody has got in.
        while !server.log().contains("token_used") && answered.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        support::server::kill9(server.pid());
        racing.join().expect("the race")
    });
    server.exited();
    let server = server.restart();
    let after = count(&race(server.address, 500, &path), 101);
    assert!(before + after <= 1, "{before} before the crash and {after} after it");
}

#[test]
fn a_spent_token_is_refused_at_every_place_where_a_token_may_stand() {
    let server = Server::start();
    let token = server.token(ALICE);
    let _held = server.enter(&token, DEMO);
    for name in ["auth", "ticket", "token", "t"] {
        assert_eq!(server.refused(&format!("/chat/demo?{name}={token}"), &[]).reason(), "token_used", "{name}");
    }
    for (name, value) in [
        ("Authorization", format!("Bearer {token}")),
        ("Authorization", format!("bearer   {token}")),
        ("Sec-WebSocket-Protocol", token.clone()),
        ("Sec-WebSocket-Protocol", format!("chat, bearer.{token}")),
    ] {
        assert_eq!(server.refused("/chat/demo", &[(name, &value)]).reason(), "token_used", "{name}");
    }
}

/// Other texts of the same token: a lenient reader takes them for it.
fn spellings(token: &str) -> Vec<String> {
    let (signed, signature) = token.rsplit_once('.').expect("a token has three parts");
    let mut spellings = vec![format!("{token}="), format!("{token}=="), format!("{token}%3D")];
    // 32 bytes end in a character with two unused bits.
    let (rest, last) = signature.split_at(signature.len() - 1);
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        let text = format!("{rest}{other}");
        if last != other.to_string() && same_bytes_but_the_unused_bits(signature, &text) {
            spellings.push(format!("{signed}.{text}"));
        }
    }
    assert_eq!(spellings.len(), 6, "three other last characters make the same signature");
    spellings.push(signature.replace('-', "%2B").replace('_', "/"));
    spellings.last_mut().expect("just pushed").insert_str(0, &format!("{signed}."));
    spellings.push(token.bytes().map(|byte| format!("%{byte:02x}")).collect());
    spellings.push(token.replacen("ey", "%65%79", 1));
    for space in ["%20", "%09", "%0A", "+"] {
        spellings.push(format!("{token}{space}"));
        spellings.push(format!("{space}{token}"));
    }
    spellings.push(format!("{token}."));
    spellings
}

fn same_bytes_but_the_unused_bits(one: &str, other: &str) -> bool {
    let decode = |text: &str| {
        use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone);
        GeneralPurpose::new(&base64::alphabet::URL_SAFE, config).decode(text).expect("base64url")
    };
    decode(one) == decode(other)
}

#[test]
fn a_spent_token_is_refused_however_it_is_spelt() {
    let server = Server::start();
    let token = server.token(ALICE);
    let _held = server.enter(&token, DEMO);
    for spelling in spellings(&token) {
        let refusal = server.refused(&format!("/chat/demo?auth={spelling}"), &[]);
        assert!(matches!(refusal.status, 401 | 403), "{} for {spelling}", refusal.status);
    }
    assert_eq!(server.refused(&format!("/chat/demo?auth={token}"), &[]).reason(), "token_used");
}

#[test]
fn of_all_spellings_of_one_token_only_one_gets_in() {
    let server = Server::start();
    for (index, _) in spellings(&server.token(ALICE)).iter().enumerate() {
        let token = server.token(ALICE);
        let spelling = &spellings(&token)[index];
        let first = Client::try_open(server.address, &format!("/chat/demo?auth={spelling}"), &[]).is_ok();
        let then = Client::try_open(server.address, &format!("/chat/demo?auth={token}"), &[]).is_ok();
        assert!(first != then, "{spelling}: {}", if first { "both got in" } else { "a refusal spent the token" });
    }
}

#[test]
fn a_changed_claim_does_not_make_a_new_token() {
    let server = Server::start();
    let token = server.token(ALICE);
    let _held = server.enter(&token, DEMO);
    let parts: Vec<_> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url");
    let spaced = String::from_utf8(claims).expect("JSON").replacen('{', "{ ", 1);
    let changed = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(spaced), parts[2]);
    assert_eq!(server.refused(&format!("/chat/demo?auth={changed}"), &[]).reason(), "token_bad_signature");
}

#[test]
fn a_refused_handshake_spends_nothing() {
    let server = Server::with().env("ORIGIN_ALLOWLIST", "chat.example").start();
    let (token, other) = (server.token(ALICE), server.token(ALICE));
    let path = format!("/chat/demo?auth={token}");

    assert_eq!(server.refused(&format!("/chat/no-such-monitor?auth={token}"), &[]).status, 403);
    assert_eq!(server.refused(&path, &[("Origin", "https://evil.example")]).status, 403);
    assert_eq!(server.refused(&format!("{path}&t={other}"), &[]).status, 400);
    assert_eq!(server.get(&path).status, 426);
    for (missing, _) in HANDSHAKE {
        let headers: Vec<_> = HANDSHAKE.iter().copied().filter(|(name, _)| name != missing).collect();
        let answer = server.connect().send(support::http::get(&path, &headers)).response();
        assert!(answer.status >= 400, "without {missing}");
    }
    let whole = handshake(&path, &[]);
    for broken in [
        whole.replace("Version: 13", "Version: 12"),
        whole.replace("GET ", "POST "),
        whole.replace("HTTP/1.1", "HTTP/1.0"),
        whole.replace("Host: chat.test\r\n", ""),
        whole.replace("\r\n\r\n", "\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        assert!(server.connect().send(broken).response().status >= 400);
    }
    // A head that breaks off in the middle.
    server.connect().send(&whole[..whole.len() - 2]);

    server.enter(&token, DEMO).say_and_hear("still good");
    server.enter(&other, DEMO).say_and_hear("this one too");
}

#[test]
fn a_token_narrowed_to_another_room_is_not_spent_by_the_wrong_one() {
    let server = Server::start();
    let body = serde_json::json!({"email": ALICE.email, "password": ALICE.password, "monitor_id": DEMO}).to_string();
    let answer = server.post("/login", "application/json", body).json();
    let token = answer["token"].as_str().expect("a token");
    let refusal = server.refused(&format!("/chat/{HASHED_SEGMENT}?auth={token}"), &[]);
    assert_eq!(refusal.reason(), "token_wrong_room");
    server.enter(token, DEMO).say_and_hear("the right one");
}

#[test]
fn a_token_opens_one_room_not_one_of_each() {
    let server = Server::start();
    let token = server.token(ALICE);
    let _held = server.enter(&token, DEMO);
    assert_eq!(server.refused(&format!("/chat/{HASHED_SEGMENT}?auth={token}"), &[]).reason(), "token_used");
}
