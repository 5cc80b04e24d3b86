//! Ends and new beginnings: closes are spread, what was taken up is echoed first, keys change without a restart.

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::Signal,
};
use serde_json::json;
use std::{
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};
use support::{
    ALICE, BOB, Client, DEMO, HASHED_SEGMENT, SECRET, Server, eventually,
    faults::{SMALL_JOURNAL, hold_log},
    forge,
    token::Claims,
};

const NEW_SECRET: &str = "another-secret-of-the-tests-which-is-long-enough-0123456789";

/// A server whose key is in a file, which is given as well.
fn with_key_file() -> support::server::Setup {
    let setup = Server::with().without("JWT_PRIVATE_KEY").file("key", SECRET);
    let path = setup.path("key");
    setup.env("JWT_PRIVATE_KEY_FILE", path)
}

fn set_key(server: &Server, key: &str) {
    std::fs::write(server.setup().path("key"), key).expect("the key file can be written");
    server.signal(Signal::HUP);
}

fn is_signed_with(token: &str, secret: &str) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("a token has three parts");
    let again = {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        use hmac::{Hmac, KeyInit, Mac};
        let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
        URL_SAFE_NO_PAD.encode(mac.chain_update(signed).finalize().into_bytes())
    };
    signature == again
}

#[test]
fn after_sighup_the_new_key_signs_and_tokens_of_the_old_one_stay_good() {
    let server = with_key_file().start();
    let old = server.token(ALICE);
    assert!(is_signed_with(&old, SECRET));
    set_key(&server, NEW_SECRET);
    server.logs(&["the keys were read again", "new one"]);
    let new = server.token(BOB);
    assert!(is_signed_with(&new, NEW_SECRET) && !is_signed_with(&new, SECRET));
    server.enter(&old, DEMO).say_and_hear("by the old key");
    server.enter(&new, DEMO).say_and_hear("by the new key");
    assert_eq!(server.refused(&format!("/chat/demo?auth={old}"), &[]).reason(), "token_used");
}

#[test]
fn an_old_key_is_forgotten_when_its_last_token_has_expired() {
    let setup = ["TOKEN_TTL", "TICKET_TTL", "WS_TOKEN_TTL", "ACCESS_TTL", "ROOM_TOKEN_TTL"]
        .into_iter()
        .fold(with_key_file(), |setup, life| setup.env(life, "6"));
    let server = setup.start();
    let genuine = server.token(ALICE);
    // One that nobody signed here: it lives longer than any token of this server.
    let long_lived = || {
        forge(&genuine, |claims: &mut Claims| {
            claims.insert("exp".into(), json!(support::now() + 3600));
        })
    };
    set_key(&server, NEW_SECRET);
    server.logs(&["the keys were read again", "new one"]);
    drop(server.enter(&long_lived(), DEMO));
    eventually("the old key is forgotten", || {
        let refused = Client::try_open(server.address, &format!("/chat/demo?auth={}", long_lived()), &[]).err();
        refused.is_some_and(|refused| refused.reason() == "token_bad_signature")
    });
}

#[test]
fn a_key_that_cannot_be_read_changes_nothing_and_is_said_once() {
    let mut server = with_key_file().start();
    let token = server.token(ALICE);
    for broken in ["-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXdvcmQ\n-----END PRIVATE KEY-----\n", "short-secret", ""] {
        let count = |text: &str| server.log().matches(text).count();
        let errors = || count("could not be read again");
        // The file must not change while it is read.
        let reload_with = |key| {
            let ended = count(": reloaded");
            set_key(&server, key);
            eventually("all is read again", || count(": reloaded") > ended);
        };
        let before = errors();
        reload_with(broken);
        assert_eq!(errors(), before + 1, "{}", server.log());
        reload_with(SECRET);
    }
    let log = server.log();
    assert!(log.contains("JWT_PRIVATE_KEY_FILE"), "{log}");
    assert!(!log.contains("c2VjcmV0LXdvcmQ") && !log.contains("short-secret"), "a key is in the log: {log}");
    assert!(is_signed_with(&server.token(BOB), SECRET));
    server.enter(&token, DEMO).say_and_hear("as before");
    assert!(server.is_running());
}

#[test]
fn sighup_without_a_new_key_changes_nothing() {
    let server = with_key_file().start();
    server.signal(Signal::HUP);
    server.logs(&["nothing has changed"]);
    server.join(ALICE, DEMO).say_and_hear("as before");
}

#[test]
fn messages_taken_up_before_the_end_are_echoed_before_the_close() {
    // So that its end waits for a store for twelve seconds.
    let setup = Server::with().env("MESSAGE_RATE", "0").env("SHUTDOWN_SPREAD", "60").env("JOURNAL_MAX", SMALL_JOURNAL);
    let mut server = setup.start();
    // In a small room it is alice's own thread that waits for the store, and takes up nothing more.
    let _crowd: Vec<_> = (0..16).map(|_| server.join(BOB, DEMO)).collect();
    let mut alice = server.join(ALICE, DEMO);
    let mut filler = server.join(ALICE, HASHED_SEGMENT);
    let held = hold_log(&server.data_dir(), &mut filler);
    for number in 0..200 {
        alice.say(number.to_string());
    }
    alice.say(r#"propromo.chat({event:"ping",action:"pong"})"#);
    assert_eq!(alice.hear(), "pong", "all before it is taken up");
    server.signal(Signal::TERM);
    server.logs(&["closing all sockets"]);
    alice.wait_at_most(Duration::from_millis(300));
    let heard = alice.try_hear();
    assert!(matches!(&heard, Err(tungstenite::Error::Io(error)) if support::timed_out(error)), "{heard:?}");
    held.release();
    alice.wait_at_most(support::PATIENCE);
    let (texts, code) = alice.hear_to_the_end();
    let echoed = texts.iter().filter_map(|text| support::ws::said(text)).count();
    assert_eq!((echoed, code), (200, Some(1001)));
    assert_eq!(server.exited().code(), Some(0));
}

#[test]
fn many_sockets_are_not_closed_in_one_instant() {
    support::raise_open_files();
    let mut server = Server::start();
    let genuine = server.token(ALICE);
    let clients: Vec<_> = (0..400).map(|_| server.enter(&forge(&genuine, |_| {}), DEMO)).collect();
    let begin = Instant::now();
    server.signal(Signal::TERM);
    let streams: Vec<_> = clients.iter().map(Client::stream).collect();
    let mut waiting: Vec<PollFd<'_>> = streams.iter().map(|stream| PollFd::new(*stream, PollFlags::IN)).collect();
    while !waiting.is_empty() {
        poll(&mut waiting, None).expect("sockets can be polled");
        waiting.retain(|socket| socket.revents().is_empty());
    }
    // A millisecond each. From the signal on, since a busy machine may show this test the first close as late as the last.
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(350), "{took:?}");
    for mut client in clients {
        assert_eq!(client.close_code(), Some(1001));
    }
    assert_eq!(server.exited().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::with().env("SHUTDOWN_SPREAD", "60").env("HEAD_DEADLINE", "3600").start();
    // A member that answers no close frame, and half a request: there is something to wait for.
    let _deaf = server.join(ALICE, DEMO);
    let mut half = server.connect();
    half.send("POST /login HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 100\r\n\r\n{");
    server.signal(Signal::TERM);
    server.logs(&["shutting down"]);
    server.signal(Signal::TERM);
    let status = server.exited();
    assert_eq!((status.code(), status.signal()), (Some(128 + 15), None), "{}", server.log());
}

#[test]
fn a_spent_token_stays_spent_over_a_restart_and_a_new_key() {
    let mut server = with_key_file().start();
    let token = server.token(ALICE);
    drop(server.enter(&token, DEMO));
    assert!(server.terminate().success());
    let server = server.restart();
    assert_eq!(server.refused(&format!("/chat/demo?auth={token}"), &[]).reason(), "token_used");
    set_key(&server, NEW_SECRET);
    server.logs(&["the keys were read again", "new one"]);
    assert_eq!(server.refused(&format!("/chat/demo?auth={token}"), &[]).reason(), "token_used");
}
