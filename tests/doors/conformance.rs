//! RFC 6455, subject by subject as the Autobahn test suite has them, each failure with the close code of §7.4.1.
//!
//! Each case has a connection of its own to one server: what it sends, and all that comes back up to the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use support::{
    ALICE, Client, Server,
    channel::enter,
    ws::{FrameStart, KEY},
};
use tungstenite::Message;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A server with room for the suite's largest messages.
struct Bench {
    server: Server,
    access: String,
}

impl Bench {
    fn start() -> Bench {
        let server = Server::with().env("MAX_MESSAGE", "131072").env("HISTORY_ON_JOIN", "0").start();
        let access = server.access(ALICE);
        Bench { server, access }
    }

    /// A client alone in a room of its own.
    #[track_caller]
    fn client(&self) -> Client {
        static ROOMS: AtomicUsize = AtomicUsize::new(0);
        let room = ROOMS.fetch_add(1, Ordering::Relaxed);
        enter(self.server.address, &self.access, &format!("case-{room}"))
    }

    /// The close code to which these bytes lead, and that nothing is heard before.
    #[track_caller]
    fn ends_with(&self, what: &str, bytes: &[u8], code: u16) {
        let mut client = self.client();
        client.send_raw(bytes);
        assert_eq!(client.hear_to_the_end(), (vec![], Some(code)), "{what}");
    }

    /// That these bytes are one message with this text, and the connection is as good as before.
    #[track_caller]
    fn says(&self, what: &str, bytes: &[u8], text: &str) {
        let mut client = self.client();
        client.send_raw(bytes);
        assert!(client.wait_for("message")["text"] == text, "{what}");
        client.send_raw(&whole(TEXT, b"still here"));
        assert_eq!(client.wait_for("message")["text"], "still here", "{what}");
    }
}

fn whole(opcode: u8, payload: &[u8]) -> Vec<u8> {
    FrameStart::whole(opcode).with(payload)
}

fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    FrameStart::part(opcode).with(payload)
}

/// `payload` cut at these places, as fragments of one text message.
fn fragments(payload: &[u8], cuts: &[usize]) -> Vec<u8> {
    let (mut bytes, mut from) = (Vec::new(), 0);
    for (n, &to) in cuts.iter().enumerate() {
        bytes.extend(part(if n == 0 { TEXT } else { CONTINUATION }, &payload[from..to]));
        from = to;
    }
    bytes.extend(whole(if cuts.is_empty() { TEXT } else { CONTINUATION }, &payload[from..]));
    bytes
}

/// A frame whose length is written as told.
fn frame_of_length(opcode: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode, 0x80 | length[0]];
    bytes.extend(&length[1..]);
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

#[test]
fn framing_texts_of_every_form_of_length_are_echoed_whole() {
    let bench = Bench::start();
    for length in [1, 125, 126, 127, 128, 65_535, 65_536, 131_072] {
        let text = "*".repeat(length);
        bench.says(&format!("{length} bytes"), &whole(TEXT, text.as_bytes()), &text);
    }
    let mut empty = bench.client();
    empty.send_raw(&whole(TEXT, b""));
    assert_eq!(empty.wait_for("message")["text"], "", "no bytes at all");
}

#[test]
fn framing_a_message_may_arrive_in_any_pieces() {
    let bench = Bench::start();
    let text = "*".repeat(300);
    for piece in [1, 2, 3, 7, 200] {
        let mut client = bench.client();
        for bytes in whole(TEXT, text.as_bytes()).chunks(piece) {
            client.send_raw(bytes);
        }
        assert_eq!(client.wait_for("message")["text"], text, "in pieces of {piece}");
    }
}

#[test]
fn framing_a_length_that_is_not_in_its_shortest_form_fails_the_connection() {
    let bench = Bench::start();
    for (what, length) in [
        ("0 in 16 bits", &[126, 0, 0][..]),
        ("125 in 16 bits", &[126, 0, 125]),
        ("5 in 64 bits", &[127, 0, 0, 0, 0, 0, 0, 0, 5]),
        ("65,535 in 64 bits", &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ("the most significant bit", &[127, 0x80, 0, 0, 0, 0, 0, 0, 5]),
        ("all bits", &[127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        bench.ends_with(what, &frame_of_length(TEXT, length, b"*****"), 1002);
    }
    bench.ends_with("a ping", &frame_of_length(PING, &[126, 0, 5], b"*****"), 1002);
}

#[test]
fn framing_what_is_in_front_of_a_broken_frame_is_heard() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.send_raw(&[whole(TEXT, b"before"), frame_of_length(TEXT, &[126, 0, 5], b"*****")].concat());
    let (texts, code) = client.hear_to_the_end();
    assert!(texts.iter().any(|text| text.contains("before")), "{texts:?}");
    assert_eq!(code, Some(1002));
}

#[test]
fn framing_a_longer_message_than_allowed_closes_with_1009() {
    let bench = Bench::start();
    bench.ends_with("in one frame", &whole(TEXT, &[b'*'; 131_073]), 1009);
    bench.ends_with("in fragments", &fragments(&[b'*'; 131_073], &[65_536, 131_072]), 1009);
    bench.ends_with("announced", &frame_of_length(TEXT, &[127, 0x7f, 0, 0, 0, 0, 0, 0, 5], b""), 1009);
}

#[test]
fn framing_a_frame_without_a_mask_fails_the_connection() {
    let bench = Bench::start();
    for opcode in [TEXT, PING, CLOSE] {
        let frame = FrameStart { masked: false, ..FrameStart::whole(opcode) };
        bench.ends_with(&format!("opcode {opcode}"), &frame.with(b""), 1002);
    }
}

#[test]
fn framing_a_mask_is_taken_off() {
    let bench = Bench::start();
    // RFC 6455 §5.7: "Hello", masked.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    bench.says("the example of §5.7", &hello, "Hello");
}

#[test]
fn pings_of_every_size_are_answered_with_their_own_payload() {
    let bench = Bench::start();
    let mut client = bench.client();
    for payload in [&b""[..], b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", &[0xfe; 125]] {
        client.send_raw(&whole(PING, payload));
        assert_eq!(client.read(), Message::Pong(payload.to_vec().into()));
    }
    // Byte by byte.
    for byte in whole(PING, &[0xfe; 125]) {
        client.send_raw(&[byte]);
    }
    assert_eq!(client.read(), Message::Pong(vec![0xfe; 125].into()));
}

#[test]
fn pings_that_come_together_are_answered_in_order() {
    let bench = Bench::start();
    let mut client = bench.client();
    let pings: Vec<u8> = (0..10u8).flat_map(|n| whole(PING, &[n])).collect();
    client.send_raw(&pings);
    for n in 0..10 {
        assert_eq!(client.read(), Message::Pong(vec![n].into()));
    }
}

#[test]
fn pongs_that_nobody_asked_for_are_ignored() {
    let bench = Bench::start();
    let pongs = [whole(PONG, b""), whole(PONG, b"unsolicited"), whole(PONG, &[0xff; 125])].concat();
    let mut client = bench.client();
    client.send_raw(&[pongs, whole(PING, b"then")].concat());
    assert_eq!(client.read(), Message::Pong(b"then".to_vec().into()));
}

#[test]
fn pings_and_pongs_of_126_bytes_fail_the_connection() {
    let bench = Bench::start();
    for opcode in [PING, PONG, CLOSE] {
        bench.ends_with(&format!("opcode {opcode}"), &whole(opcode, &[0x03; 126]), 1002);
    }
}

#[test]
fn reserved_bits_fail_the_connection_in_every_kind_of_frame() {
    let bench = Bench::start();
    for reserved in 1..8 {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            let frame = FrameStart { reserved, ..FrameStart::whole(opcode) };
            bench.ends_with(&format!("bits {reserved} of opcode {opcode}"), &frame.with(b""), 1002);
        }
    }
    let later = FrameStart { reserved: 4, ..FrameStart::whole(CONTINUATION) };
    bench.ends_with("a later fragment", &[part(TEXT, b"a"), later.with(b"b")].concat(), 1002);
}

#[test]
fn reserved_opcodes_fail_the_connection() {
    let bench = Bench::start();
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"payload"] {
            bench.ends_with(&format!("opcode {opcode}"), &whole(opcode, payload), 1002);
        }
    }
}

#[test]
fn fragments_are_one_message_however_they_are_cut() {
    let bench = Bench::start();
    let text = "0123456789".repeat(30);
    for cuts in [&[150][..], &[0], &[300], &[0, 0, 0], &[1, 2, 3, 4, 5], &[126, 252]] {
        bench.says(&format!("cut at {cuts:?}"), &fragments(text.as_bytes(), cuts), &text);
    }
}

#[test]
fn fragments_may_have_control_frames_between_them() {
    let bench = Bench::start();
    let mut client = bench.client();
    let bytes = [
        part(TEXT, b"one "),
        whole(PING, b"1"),
        part(CONTINUATION, b"two "),
        whole(PONG, b"unsolicited"),
        whole(PING, b"2"),
        whole(CONTINUATION, b"three"),
    ];
    client.send_raw(&bytes.concat());
    assert_eq!(client.read(), Message::Pong(b"1".to_vec().into()));
    assert_eq!(client.read(), Message::Pong(b"2".to_vec().into()));
    assert_eq!(client.wait_for("message")["text"], "one two three");
}

#[test]
fn fragments_in_the_wrong_order_fail_the_connection() {
    let bench = Bench::start();
    for (what, frames) in [
        ("a continuation of nothing", vec![whole(CONTINUATION, b"a")]),
        ("an unfinished continuation of nothing", vec![part(CONTINUATION, b"a")]),
        ("a text within a text", vec![part(TEXT, b"a"), whole(TEXT, b"b")]),
        ("a fragment of another text", vec![part(TEXT, b"a"), part(TEXT, b"b")]),
        ("bytes within a text", vec![part(TEXT, b"a"), whole(BINARY, b"b")]),
        ("a ping in fragments", vec![part(PING, b"a"), whole(CONTINUATION, b"b")]),
        ("a pong in fragments", vec![part(PONG, b"a")]),
        ("a close in fragments", vec![part(CLOSE, &close_payload(1000, b""))]),
    ] {
        bench.ends_with(what, &frames.concat(), 1002);
    }
    let twice = [part(TEXT, b"a"), whole(CONTINUATION, b"b"), whole(CONTINUATION, b"c")].concat();
    let mut client = bench.client();
    client.send_raw(&twice);
    assert_eq!(client.close_code(), Some(1002), "a continuation of what is finished");
}

#[test]
fn binary_messages_close_with_1003() {
    let bench = Bench::start();
    bench.ends_with("whole", &whole(BINARY, b"\x00\xff"), 1003);
    bench.ends_with("empty", &whole(BINARY, b""), 1003);
    bench.ends_with("in fragments", &[part(BINARY, b"\x00"), whole(CONTINUATION, b"\xff")].concat(), 1003);
}

/// First and last code points of each length, and around the gap of the surrogates (RFC 3629 §3).
const GOOD: &[&str] = &[
    "\u{0}",
    "\u{7f}",
    "\u{80}",
    "\u{7ff}",
    "\u{800}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{10000}",
    "\u{10ffff}",
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "👾 in parts",
];

const BAD: &[(&str, &[u8])] = &[
    ("a lonely continuation", b"\x80"),
    ("several of them", b"\xbf\x80\xbf"),
    ("a start of two without its second", b"\xc2"),
    ("a start of two, then ASCII", b"\xc2 "),
    ("a start of three without its last", b"\xe1\x80"),
    ("a start of four without its last", b"\xf1\x80\x80"),
    ("a slash in two bytes", b"\xc0\xaf"),
    ("a slash in three bytes", b"\xe0\x80\xaf"),
    ("a slash in four bytes", b"\xf0\x80\x80\xaf"),
    ("the largest overlong of two", b"\xc1\xbf"),
    ("the largest overlong of three", b"\xe0\x9f\xbf"),
    ("the largest overlong of four", b"\xf0\x8f\xbf\xbf"),
    ("NUL in two bytes", b"\xc0\x80"),
    ("the first surrogate", b"\xed\xa0\x80"),
    ("the last surrogate", b"\xed\xbf\xbf"),
    ("a pair of surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("above U+10FFFF", b"\xf4\x90\x80\x80"),
    ("a start of five", b"\xf8\x88\x80\x80\x80"),
    ("a start of six", b"\xfc\x84\x80\x80\x80\x80"),
    ("0xFE", b"\xfe"),
    ("0xFF", b"\xff"),
    ("text with a bad end", b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xf4\x90"),
];

#[test]
fn utf_8_that_is_right_is_echoed_wherever_it_is_cut() {
    let bench = Bench::start();
    for text in GOOD {
        bench.says(&format!("{text:?}"), &whole(TEXT, text.as_bytes()), text);
        let cuts: Vec<usize> = (1..text.len()).collect();
        bench.says(&format!("{text:?} in single bytes"), &fragments(text.as_bytes(), &cuts), text);
    }
}

#[test]
fn utf_8_that_is_wrong_closes_with_1007_wherever_it_is_cut() {
    let bench = Bench::start();
    for (what, bytes) in BAD {
        bench.ends_with(what, &whole(TEXT, bytes), 1007);
        let cuts: Vec<usize> = (1..bytes.len()).collect();
        bench.ends_with(&format!("{what}, in single bytes"), &fragments(bytes, &cuts), 1007);
    }
}

#[test]
fn utf_8_that_is_wrong_is_not_waited_on_until_the_message_ends() {
    let bench = Bench::start();
    for (what, frames) in [
        ("in the first fragment", vec![part(TEXT, b"\xf4\x90\x80\x80")]),
        ("in the second", vec![part(TEXT, b"fine"), part(CONTINUATION, b"\xff")]),
        ("across both", vec![part(TEXT, b"\xed"), part(CONTINUATION, b"\xa0\x80")]),
    ] {
        // The last fragment never comes.
        bench.ends_with(what, &frames.concat(), 1007);
    }
}

#[test]
fn closing_with_a_code_that_may_be_sent_is_answered_with_it() {
    let bench = Bench::start();
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        bench.ends_with(&code.to_string(), &whole(CLOSE, &close_payload(code, b"")), code);
        bench.ends_with(&format!("{code} with a reason"), &whole(CLOSE, &close_payload(code, b"going away")), code);
    }
    let long = "x".repeat(123);
    bench.ends_with("the longest reason", &whole(CLOSE, &close_payload(1000, long.as_bytes())), 1000);
}

#[test]
fn closing_with_a_code_that_may_not_be_sent_fails_the_connection() {
    let bench = Bench::start();
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        bench.ends_with(&code.to_string(), &whole(CLOSE, &close_payload(code, b"")), 1002);
    }
}

#[test]
fn closing_without_a_code_is_answered_and_ends_the_connection() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.send_raw(&whole(CLOSE, b""));
    assert_eq!(client.read(), Message::Close(None));
    assert_eq!(client.hear_to_the_end(), (vec![], None));
}

#[test]
fn closing_with_half_a_code_fails_the_connection() {
    Bench::start().ends_with("one byte", &whole(CLOSE, b"\x03"), 1002);
}

#[test]
fn closing_with_a_reason_that_is_no_utf_8_closes_with_1007() {
    let bench = Bench::start();
    for (what, reason) in BAD {
        bench.ends_with(what, &whole(CLOSE, &close_payload(1000, reason)), 1007);
    }
}

#[test]
fn closing_ends_it_whatever_is_sent_behind() {
    let bench = Bench::start();
    for (what, behind) in [
        ("a text", whole(TEXT, b"behind")),
        ("a ping", whole(PING, b"behind")),
        ("another close", whole(CLOSE, &close_payload(1001, b""))),
        ("rubbish", vec![0xff; 20]),
        ("a lot", whole(TEXT, &[b'*'; 60_000])),
    ] {
        bench.ends_with(what, &[whole(CLOSE, &close_payload(1000, b"")), behind].concat(), 1000);
    }
}

#[test]
fn closing_in_the_middle_of_a_message_drops_what_has_come_of_it() {
    let bench = Bench::start();
    let bytes = [part(TEXT, b"never finished"), whole(CLOSE, &close_payload(1000, b""))].concat();
    bench.ends_with("after a fragment", &bytes, 1000);
}

#[test]
fn the_handshake_is_answered_with_the_accept_of_its_key() {
    let client = Bench::start().client();
    assert_eq!(KEY, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(client.opened.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "RFC 6455 §1.3");
    assert_eq!(client.opened.header("sec-websocket-extensions"), None, "none is spoken");
}
