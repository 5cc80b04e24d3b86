//! Attacks by what is written: paths and their encoding, line breaks in names and reasons, forged lines of the log.

use serde_json::json;
use support::{
    ALICE, BOB, Client, DEMO, HASHED_SEGMENT, Server,
    chats::{Guest, ask, fails, public_room},
    http::get,
    ws::FrameStart,
};

// Seen to fail with a path that no route knows read as a file's.
#[test]
fn no_path_leads_to_a_file_of_the_machine() {
    let server = Server::start();
    let secret = "a file beside the server";
    std::fs::write(server.data_dir().join("secret.txt"), secret).expect("the test's directory is writable");
    let up =
        ["..", "%2e%2e", "%2E.", "..%2f..", "..%5c..", "..;", "%252e%252e", "....", "%c0%ae%c0%ae", "%u002e%u002e"];
    let targets = ["etc/passwd", "data/secret.txt", "data/chat.db", "proc/self/environ", "Cargo.toml"];
    for up in up {
        for target in targets {
            for prefix in ["", "/static", "/app.js", "/chats", "/stream"] {
                let path = format!("{prefix}/{up}/{up}/{up}/{target}");
                let answer = server.get(&path);
                assert!(matches!(answer.status, 400 | 404 | 405 | 426), "{} for {path}", answer.status);
                let body = String::from_utf8_lossy(&answer.body);
                for found in [secret, "root:", "SQLite format", "[package]", support::SECRET] {
                    assert!(!body.contains(found), "{path} gave {found:?}");
                }
            }
        }
    }
}

// Seen to fail with segments that are decoded twice: the double encoding opens the room.
#[test]
fn an_escape_is_decoded_once_and_only_once() {
    let server = Server::start();
    let token = server.token(ALICE);
    for room in ["%2564emo", "dem%256f", "demo%2500", "demo/.", "./demo", "x/../demo"] {
        let path = format!("/chat/{room}?auth={token}");
        assert!(matches!(server.refused(&path, &[]).status, 403 | 404), "{room}");
    }
    for room in ["demo%00", "%ff", "%c1%a4emo", "demo%", "%g4emo"] {
        assert_eq!(server.refused(&format!("/chat/{room}?auth={token}"), &[]).status, 400, "{room}");
    }
    server.enter(&token, "%64em%6F").say_and_hear("one name, however it is written");
    server.join(ALICE, HASHED_SEGMENT).say_and_hear("a slash within a name");
}

// Seen to fail with channels' names that are trimmed and in lower case: the stranger is refused at `DEMO`, too.
#[test]
fn a_room_of_members_is_not_entered_through_another_spelling() {
    let server = Server::start();
    let member = server.ticket(ALICE);
    let stranger = server.ticket(support::CAROL);
    for room in ["demo", "%64emo", "dem%6f"] {
        let refusal = server.refused(&format!("/channel/{room}?ticket={stranger}"), &[]);
        assert_eq!((refusal.status, &*refusal.reason()), (403, "room_denied"), "{room}");
    }
    // These are other names, so other rooms, and nobody of `demo` hears what is said there.
    let mut alice = Client::open(server.address, &format!("/channel/demo?ticket={member}"));
    for room in ["DEMO", "demo%20", "%20demo", "demo%EF%BC%8F", "d%C3%A9mo"] {
        server.channel(support::CAROL, room).post("into another room");
    }
    let heard = alice.hear_all_up_to_now();
    assert!(heard.iter().all(|frame| frame["type"] != "message"), "{heard:?}");
}

// Seen to fail without the check for control characters in `door::channel::channel`: the handshake is let in.
#[test]
fn a_rooms_name_breaks_no_line_of_an_answer() {
    let server = Server::start();
    let broken = "x%0d%0aSet-Cookie:%20stolen=1%0d%0a%0d%0a";
    for door in ["channel", "stream", "chat", "chats"] {
        let path = format!("/{door}/{broken}?ticket={}", server.ticket(ALICE));
        for answer in [server.refused(&path, &[]), server.get(&path)] {
            assert!(matches!(answer.status, 400 | 401 | 403 | 404 | 426), "{} for {door}", answer.status);
            assert_eq!(answer.header("set-cookie"), None, "{door}");
            assert!(!answer.headers.iter().any(|(_, value)| value.contains("stolen")), "{:?}", answer.headers);
        }
    }
    for title in ["two\r\nlines", "nul\0", "bell\u{7}"] {
        let made = ask(&server, "POST", "/chats", None, Some(json!({"title": title, "visibility": "public"})));
        fails(&made, 400, 105, "title");
    }
}

// Seen to fail with offers that are echoed unchecked (`is_rfc_token` made true).
#[test]
fn an_offered_protocol_breaks_no_line_of_the_101() {
    let server = Server::start();
    let token = server.token(ALICE);
    let offer = format!("bearer.{token}, a b, x\"y, caf\u{e9}, good");
    let client = Client::try_open(server.address, "/chat/demo", &[("Sec-WebSocket-Protocol", &offer)]);
    let client = client.unwrap_or_else(|refusal| panic!("refused: {}", refusal.text()));
    assert_eq!(client.opened.header("sec-websocket-protocol"), Some("good"));
}

// Seen to fail with reasons handed to `Conversation::heard`.
#[test]
fn a_close_reason_is_told_to_nobody_else() {
    let server = Server::start();
    let id = public_room(&server, "Reasons");
    let (mut stays, mut goes) = (Guest::join(&server, id, "stays"), Guest::join(&server, id, "goes"));
    stays.hears("join", "goes");
    let reason = "\r\n{\"event_type\":\"send\",\"name\":\"goes\",\"msg\":\"forged\"}";
    goes.client.send_raw(&FrameStart::whole(8).with(&[&1000u16.to_be_bytes()[..], reason.as_bytes()].concat()));
    assert_eq!(goes.client.close_code(), Some(1000));
    assert_eq!(stays.hears("leave", "goes"), "goes has left the room.");
    stays.event("send", "nothing in between");
    assert_eq!(stays.hears("send", "stays"), "nothing in between");
}

// Seen to fail with names that are written into JSON unescaped.
#[test]
fn what_somebody_says_or_is_called_stays_text_in_everybody_elses_frames() {
    let server = Server::start();
    let id = public_room(&server, "Quotes");
    let name = "\",\"admin\":true,\"x\":\"<img src=x>";
    let mut guest = Guest::join(&server, id, name);
    guest.event("send", "</script>\u{2028}\",\"msg\":\"forged");
    assert_eq!(guest.hears("send", name), "</script>\u{2028}\",\"msg\":\"forged");
    let mut bob = server.join(BOB, DEMO);
    let text = "\"}\n{\"id\":\"forged\"";
    assert_eq!(bob.say_and_hear(text).text, text);
}

// Seen to fail with the path, decoded, in the line about a refused handshake.
#[test]
fn nothing_that_a_client_writes_makes_a_line_of_the_log() {
    let server = Server::with().env("LOG_LEVEL", "debug").start();
    let line = "2026-01-01T00:00:00Z  WARN forged: \u{1b}[31mby a client";
    let encoded = "%0a2026-01-01T00:00:00Z%20%20WARN%20forged:%20%1b[31mby%20a%20client";
    for door in ["chat", "channel", "stream", "chats", "nothing"] {
        server.get(&format!("/{door}/{encoded}"));
        server.refused(&format!("/{door}/{encoded}?auth={encoded}"), &[]);
    }
    for header in ["User-Agent", "X-Forwarded-For", "Origin", "Authorization", "X-Request-Id", "Sec-WebSocket-Protocol"]
    {
        // A line break can't be in a header; what a terminal obeys can be tried.
        let value = "1.2.3.4 forged: \u{9b}31mby a client";
        server.connect().send_what_fits(get("/", &[(header, value)])).try_response().ok();
        server.connect().send_what_fits(get("/chat/demo", &[(header, value)])).try_response().ok();
    }
    server.log_in_as(&format!("\n{line}"), &format!("\n{line}"));
    ask(&server, "POST", "/chats", None, Some(json!({"title": format!("\n{line}"), "visibility": "public"})));
    let mut alice = server.join(ALICE, DEMO);
    alice.say_and_hear(&format!("\n{line}"));
    let reason = [&1000u16.to_be_bytes()[..], b"\n2026-01-01T00:00:00Z  WARN forged: \x1b[31m"].concat();
    alice.send_raw(&FrameStart::whole(8).with(&reason));
    alice.close_code();
    server.refused("/chat/demo?auth=the-last", &[]);
    server.logs(&["token_malformed"]);
    let log = server.log();
    assert!(!log.contains("forged"), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\u{9b}'), "{log}");
}
