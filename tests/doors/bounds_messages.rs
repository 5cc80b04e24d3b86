//! One account says no more over many connections than over some.

use serde_json::json;
use std::{thread, time::Instant};
use support::{ALICE, BOB, Client, DEMO, Server, channel::ticket};

/// Messages a second of one connection: bursts of 5, and of 50 for an account.
const RATE: usize = 1;
const CONNECTIONS: usize = 100;

/// A connection at one of two doors, and a ping there.
fn open(server: &Server, access: &str, n: usize) -> (Client, &'static str) {
    let (path, ping) = match n % 2 {
        0 => ("/channel/garden".to_owned(), r#"{"type":"ping"}"#),
        _ => (format!("/chat/{DEMO}"), r#"propromo.chat({event:"ping",action:"pong"})"#),
    };
    (Client::open(server.address, &format!("{path}?ticket={}", ticket(server.address, access))), ping)
}

/// Sends what the connection alone may send at once. Returns whether it is closed for that.
fn is_closed((mut client, ping): (Client, &str)) -> bool {
    let texts = (0..4).map(|n| format!("message {n}")).chain([ping.to_owned()]);
    for text in texts {
        if client.try_say(text).is_err() {
            return true;
        }
    }
    loop {
        match client.try_hear() {
            Ok(text) if text == "pong" || text == r#"{"type":"pong"}"# => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

// Seen to fail with connections that share nothing: all 400 messages are stored, and none is closed.
#[test]
fn one_account_sends_no_more_by_many_connections() {
    let setup = Server::with().env("MESSAGE_RATE", RATE.to_string()).env("ADMIN_LISTEN", "127.0.0.1:0");
    let server = setup.start();
    let access = server.access(ALICE);
    let flood: Vec<_> = (0..CONNECTIONS).map(|n| open(&server, &access, n)).collect();
    let begun = Instant::now();
    let closed = thread::scope(|scope| {
        let floods: Vec<_> = flood.into_iter().map(|client| scope.spawn(move || is_closed(client))).collect();
        floods.into_iter().map(|flood| flood.join().expect("it floods")).filter(|closed| *closed).count()
    });
    let most = 10 * RATE * (5 + 1 + begun.elapsed().as_secs() as usize);
    let stored = server.figure(r#"propromo_chat_messages_total{result="stored"}"#);
    assert!((30.0..=most as f64).contains(&stored), "{stored} stored, though at most {most} may be");
    let closes = server.figure(r#"propromo_chat_closes_total{code="1008",reason="rate_limited"}"#);
    assert!(closed >= 1 && closes >= closed as f64, "{closed} closed, {closes} counted");
    // Another account says what it likes.
    let mut bob = server.channel(BOB, "garden");
    for n in 0..4 {
        bob.ask(json!({"type": "message", "text": format!("hello {n}"), "ref": n.to_string()}));
        bob.wait_for("ack");
    }
}
