//! The bounds of one message and of many. What RFC 6455 itself says is in `conformance.rs`.

use serde_json::Value;
use support::{
    ALICE, BOB, DEMO, Server,
    ws::{FrameStart, said},
};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// What these bytes lead to: the texts that still come, and the close code.
fn after(bytes: &[u8]) -> (Vec<String>, Option<u16>) {
    let server = Server::start();
    let mut client = server.join(ALICE, DEMO);
    client.send_raw(bytes);
    let end = client.hear_to_the_end();
    server.join(BOB, DEMO).say_and_hear("nobody else is disturbed");
    end
}

#[test]
fn a_message_of_16_kib_is_delivered() {
    let server = Server::start();
    let text = "x".repeat(16 << 10);
    assert_eq!(server.join(ALICE, DEMO).say_and_hear(&text).text, text);
}

#[test]
fn a_longer_one_closes_with_1009() {
    assert_eq!(after(&FrameStart::whole(TEXT).with(&[b'x'; (16 << 10) + 1])), (vec![], Some(1009)));
}

#[test]
fn a_length_that_is_only_announced_closes_with_1009() {
    for length in [(16 << 10) + 1, u64::MAX >> 1] {
        let mut start = vec![0x81];
        match u16::try_from(length) {
            Ok(length) => start.extend([&[0xfe][..], &length.to_be_bytes()].concat()),
            Err(_) => start.extend([&[0xff][..], &length.to_be_bytes()].concat()),
        }
        start.extend([0; 4]);
        assert_eq!(after(&start), (vec![], Some(1009)), "{length}");
    }
}

#[test]
fn the_bound_holds_for_fragments_together() {
    let mut bytes = FrameStart::part(TEXT).with(&[b'x'; 10_000]);
    bytes.extend(FrameStart::whole(CONTINUATION).with(&[b'x'; 10_000]));
    assert_eq!(after(&bytes), (vec![], Some(1009)));
}

#[test]
fn the_bound_counts_bytes_not_characters() {
    assert_eq!(after(&FrameStart::whole(TEXT).with("ü".repeat(8193).as_bytes())).1, Some(1009));
}

#[test]
fn the_bound_is_a_setting() {
    let server = Server::with().env("MAX_MESSAGE", "100").start();
    let mut client = server.join(ALICE, DEMO);
    client.say_and_hear(&"x".repeat(100));
    client.say("x".repeat(101));
    assert_eq!(client.close_code(), Some(1009));
}

#[test]
fn messages_behind_a_close_frame_are_not_heard() {
    let server = Server::start();
    let mut bob = server.join(BOB, DEMO);
    let mut client = server.join(ALICE, DEMO);
    let mut bytes = FrameStart::whole(TEXT).with(b"before");
    bytes.extend(FrameStart::whole(CLOSE).with(&1000u16.to_be_bytes()));
    bytes.extend(FrameStart::whole(TEXT).with(b"behind"));
    client.send_raw(&bytes);
    client.close_code();
    assert_eq!(bob.hear_message().text, "before");
    bob.say("then");
    assert_eq!(bob.hear_message().text, "then");
}

#[test]
fn a_client_that_talks_too_fast_is_told_and_then_closed_with_1008() {
    let server = Server::with().env("MESSAGE_RATE", "1").start();
    let mut bob = server.join(BOB, DEMO);
    let mut alice = server.join(ALICE, DEMO);
    for number in 0..60 {
        if alice.try_say(number.to_string()).is_err() {
            break;
        }
    }
    let (texts, code) = alice.hear_to_the_end();
    assert_eq!(code, Some(1008));
    let errors: Vec<_> = texts.iter().filter(|text| said(text).is_none()).collect();
    assert!(!errors.is_empty(), "no error before the close");
    for error in errors {
        let error: Value = serde_json::from_str(error).expect("an error is JSON");
        assert_eq!((&error["success"], &error["reason"]), (&Value::Bool(false), &"rate_limited".into()));
        assert!(error["message"].is_string());
    }
    server.logs(&["rate_limited"]);
    bob.say("his own");
    let delivered = (0..).take_while(|_| bob.hear_message().text != "his own").count();
    // A burst of five seconds' worth is allowed; a slow machine may allow some more.
    assert!((5..60).contains(&delivered), "{delivered} were let through");
}

#[test]
fn the_log_names_the_address_of_who_talks_too_fast() {
    let server = Server::with().env("MESSAGE_RATE", "1").start();
    let mut alice = server.join(ALICE, DEMO);
    while alice.try_say("on and on").is_ok() {}
    server.logs(&["rate_limited", "127.0.0.1"]);
}

#[test]
fn a_burst_of_a_hundred_messages_is_let_through() {
    let server = Server::start();
    let mut client = server.join(ALICE, DEMO);
    for number in 0..100 {
        client.say(number.to_string());
    }
    for number in 0..100 {
        assert_eq!(client.hear_message().text, number.to_string());
    }
}

#[test]
fn pings_of_the_application_are_limited_like_messages() {
    let server = Server::with().env("MESSAGE_RATE", "1").start();
    let mut client = server.join(ALICE, DEMO);
    for _ in 0..60 {
        if client.try_say(r#"propromo.chat({event:"ping",action:"pong"})"#).is_err() {
            break;
        }
    }
    assert_eq!(client.close_code(), Some(1008));
}

#[test]
fn one_clients_rate_is_not_anothers() {
    let server = Server::with().env("MESSAGE_RATE", "1").start();
    let (mut alice, mut bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    for number in 0..60 {
        if alice.try_say(number.to_string()).is_err() {
            break;
        }
    }
    assert_eq!(alice.close_code(), Some(1008));
    bob.say_and_hear("from another connection");
}
