//! Attacks over an open WebSocket: tiny frames, floods of control frames, endless fragments, members who do not read.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};
use support::{
    ALICE, BOB, Client, DEMO, Server,
    attack::{Chat, without_message_rate},
    eventually,
    ws::FrameStart,
};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Sends `begin` and then the same bytes again and again, while a chat goes on, until the server ends it: how?
#[track_caller]
fn flood(server: &Server, begin: &[u8], again: &[u8]) -> (Option<u16>, String) {
    let mut chat = Chat::start(server);
    let mut attacker = server.join(ALICE, DEMO);
    attacker.send_raw(begin);
    let many = again.repeat(64);
    let until = Instant::now() + Duration::from_secs(3);
    // Fails soon after the server has ended it; one that never does is found out below.
    while Instant::now() < until && attacker.stream().write_all(&many).is_ok() {}
    chat.goes_on();
    loop {
        match attacker.try_read() {
            Ok(tungstenite::Message::Close(Some(frame))) => return (Some(frame.code.into()), frame.reason.to_string()),
            Ok(_) => {}
            Err(_) => return (None, String::new()),
        }
    }
}

// Seen to fail without the count of fragments in `Framing::begin`: they go on for ever.
#[test]
fn endless_empty_fragments_are_ended() {
    let server = Server::start();
    let (begin, again) = (FrameStart::part(TEXT).with(b""), FrameStart::part(CONTINUATION).with(b""));
    assert_eq!(flood(&server, &begin, &again), (Some(1008), "too many fragments".to_owned()));
}

// Seen to fail without the count of fragments in `Framing::begin`: 1009, after 16 times the work.
#[test]
fn fragments_of_one_byte_are_ended_long_before_the_message_is_too_large() {
    let server = Server::start();
    let (begin, again) = (FrameStart::part(TEXT).with(b"x"), FrameStart::part(CONTINUATION).with(b"x"));
    assert_eq!(flood(&server, &begin, &again), (Some(1008), "too many fragments".to_owned()));
}

// Seen to fail with MESSAGE_RATE=0: they are answered for ever.
#[test]
fn floods_of_pings_pongs_and_tiny_messages_are_ended() {
    let server = Server::start();
    for opcode in [PING, PONG, TEXT] {
        let frame = FrameStart::whole(opcode).with(b"x");
        assert_eq!(flood(&server, &frame, &frame), (Some(1008), "rate_limited".to_owned()), "opcode {opcode}");
    }
    server.logs(&["rate_limited", "127.0.0.1"]);
}

// Seen to fail with a handshake that answers `permessage-deflate` (a line added to `handshake::response`).
#[test]
fn nothing_is_ever_decompressed() {
    let server = Server::start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let offer = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let mut client = Client::try_open(server.address, &path, &[offer]).unwrap_or_else(|_| panic!("refused"));
    assert_eq!(client.opened.header("sec-websocket-extensions"), None);
    // 16 KiB of zeros, compressed a thousand times.
    let bomb = FrameStart { reserved: 4, ..FrameStart::whole(TEXT) };
    client.send_raw(&bomb.with(&[0x62, 0x60, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x0c, 0x77, 0x00, 0x00]));
    assert_eq!(client.hear_to_the_end(), (vec![], Some(1002)));
}

// Seen to fail with MAX_MESSAGE=1048576: what should be refused is delivered, 64 times as much.
#[test]
fn messages_at_the_limit_from_every_member_at_once_reach_all_in_one_order() {
    const MEMBERS: usize = 16;
    const EACH: usize = 20;
    // What one member hears fits its queue: who talks before it listens is not what this is about.
    let server = Server::with().env("HISTORY_ON_JOIN", "0").env("SEND_QUEUE", "8388608").start();
    let before = server.memory();
    let text = "x".repeat(16 << 10);
    let mut members: Vec<_> = (0..MEMBERS).map(|n| server.join([ALICE, BOB][n % 2], DEMO)).collect();
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        let talks: Vec<_> = members
            .iter_mut()
            .map(|member| {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        member.say(text.as_str());
                    }
                    (0..MEMBERS * EACH).map(|_| member.hear_message().id).collect()
                })
            })
            .collect();
        talks.into_iter().map(|talk| talk.join().expect("a member")).collect()
    });
    assert!(heard.iter().all(|ids| *ids == heard[0]));
    assert!(server.memory() < before + (200 << 20), "{} MiB", server.memory() >> 20);
    members[0].say("x".repeat((16 << 10) + 1));
    assert_eq!(members[0].close_code(), Some(1009));
    assert_eq!(members[1].say_and_hear("undisturbed").text, "undisturbed");
}

// Seen to fail with SEND_QUEUE=1073741824 and SEND_STALL=86400: 60 MiB are kept for those who do not read.
#[test]
fn members_who_stop_reading_cost_little_memory_slow_nobody_and_are_dropped() {
    const DEAF: usize = 10;
    // They are dropped for what waits for them, not for their silence; and see why, however much later they read.
    let setup =
        without_message_rate().env("SEND_STALL", "3600").env("PING_INTERVAL", "3600").env("PONG_TIMEOUT", "7200");
    let server = setup.env("HISTORY_ON_JOIN", "0").env("HISTORY_MAX", "100").start();
    let mut deaf: Vec<_> = (0..DEAF).map(|_| server.join(BOB, DEMO)).collect();
    let mut chat = Chat::start(&server);
    let mut talker = server.join(ALICE, DEMO);
    let text = "x".repeat(16 << 10);
    // What the kernel keeps for them comes first.
    let before = server.memory();
    let dropped = || server.log().lines().filter(|line| line.contains("slow_reader")).count();
    for _ in 0..40 {
        for _ in 0..100 {
            talker.say(text.as_str());
        }
        for _ in 0..100 {
            while talker.hear_message().text.len() != text.len() {}
        }
        chat.goes_on();
        let grown = server.memory().saturating_sub(before);
        assert!(grown < 25 << 20, "{} MiB more", grown >> 20);
        if dropped() == DEAF {
            break;
        }
    }
    eventually("all of them are dropped", || dropped() == DEAF);
    chat.goes_on();
    for member in &mut deaf {
        // What was on its way, whole frames, and then why.
        let (texts, code) = member.hear_to_the_end();
        assert_eq!(code, Some(1013));
        assert!(texts.iter().all(|text| support::said(text).is_some()));
    }
}
