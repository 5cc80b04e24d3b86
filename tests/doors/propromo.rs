//! The Propromo door: what is said and heard in a monitor's chat.

use serde_json::Value;
use support::{
    ALICE, BOB, Client, Connection, DEMO, HASHED_SEGMENT, Server, eventually,
    http::get,
    ws::{FrameStart, handshake},
};
use uuid::Uuid;

#[test]
fn everybody_in_the_room_hears_a_message_the_sender_too() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    alice.say("hello");
    let (echo, heard) = (alice.hear_message(), bob.hear_message());
    assert_eq!(echo, heard);
    assert_eq!((echo.email.as_str(), echo.text.as_str()), (ALICE.email, "hello"));
}

#[test]
fn a_message_has_exactly_the_fields_that_clients_know() {
    let server = Server::start();
    let mut alice = server.join(ALICE, DEMO);
    alice.say("hello");
    let frame: Value = serde_json::from_str(&alice.hear()).expect("a message is JSON");
    let mut names: Vec<_> = frame.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["email", "id", "messageId", "text", "timestamp"]);
    assert_eq!(frame["messageId"], frame["id"]);
    let id = frame["id"].as_str().expect("an id");
    let uuid = Uuid::parse_str(id).expect("a UUID");
    assert_eq!(uuid.get_version_num(), 7);
    assert_eq!(uuid.as_hyphenated().to_string(), id, "in its usual form");
}

#[test]
fn a_timestamp_is_utc_with_milliseconds() {
    let server = Server::start();
    let timestamp = server.join(ALICE, DEMO).say_and_hear("hello").timestamp;
    let shape: String = timestamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "9999-99-99T99:99:99.999Z", "{timestamp}");
    let sent: jiff::Timestamp = timestamp.parse().expect("RFC 3339");
    let age = jiff::Timestamp::now().duration_since(sent);
    assert!(age.as_secs().abs() < 600, "{timestamp} is not about now");
}

#[test]
fn a_newcomer_hears_the_last_messages_oldest_first_and_then_live_ones() {
    let server = Server::start();
    let mut alice = server.join(ALICE, DEMO);
    let earlier: Vec<_> = ["one", "two", "three"].map(|text| alice.say_and_hear(text)).into();
    let mut bob = server.join(BOB, DEMO);
    assert_eq!([(); 3].map(|()| bob.hear_message()).to_vec(), earlier);
    let live = alice.say_and_hear("four");
    assert_eq!(bob.hear_message(), live);
}

#[test]
fn a_newcomer_hears_as_many_messages_as_the_setting_says() {
    for (setting, expected) in [("2", &["four", "five", "live"][..]), ("0", &["live"])] {
        let server = Server::with().env("HISTORY_ON_JOIN", setting).start();
        let mut alice = server.join(ALICE, DEMO);
        for text in ["one", "two", "three", "four", "five"] {
            alice.say_and_hear(text);
        }
        let mut bob = server.join(BOB, DEMO);
        alice.say_and_hear("live");
        for text in expected {
            assert_eq!(bob.hear_message().text, *text);
        }
    }
}

#[test]
fn a_newcomer_hears_a_hundred_messages_unless_told_otherwise() {
    let server = Server::with().env("MESSAGE_RATE", "0").start();
    let mut alice = server.join(ALICE, DEMO);
    for number in 0..120 {
        alice.say_and_hear(&number.to_string());
    }
    assert_eq!(server.join(BOB, DEMO).hear_message().text, "20");
}

#[test]
fn a_ping_of_the_application_is_answered_to_its_sender_alone() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    for ping in [
        r#"propromo.chat({event:"ping",action:"pong"})"#,
        r#"propromo.chat({ event: "ping", action: "pong" })"#,
        "  propromo.chat( {\n\tevent : \"ping\" ,\r\n\taction : \"pong\"\n} )\n",
    ] {
        alice.say(ping);
        assert_eq!(alice.hear(), "pong", "{ping:?}");
    }
    alice.say(r#"propromo.chat({event:"pong", action:"ping"})"#);
    assert_eq!(alice.hear(), "ping");
    alice.say_and_hear("a message");
    assert_eq!(bob.hear_message().text, "a message", "what bob hears first");
    assert_eq!(server.join(BOB, DEMO).hear_message().text, "a message", "what is stored first");
}

#[test]
fn a_text_that_only_resembles_a_ping_is_a_message() {
    let server = Server::start();
    let mut alice = server.join(ALICE, DEMO);
    for text in [
        r#"propromo.chat({event:"ping",action:"ping"})"#,
        r#"propromo.chat({action:"pong",event:"ping"})"#,
        r#"propromo.chat({event:'ping',action:'pong'})"#,
        r#"propromo.chat({event:"ping",action:"pong"});"#,
        "ping",
    ] {
        alice.say(text);
        assert_eq!(alice.hear_message().text, text);
    }
}

#[test]
fn a_monitor_id_of_dollars_dots_and_slashes_names_one_room_however_it_is_escaped() {
    let server = Server::start();
    let mut alice = server.join(ALICE, HASHED_SEGMENT);
    let mut bob = server.join(BOB, &HASHED_SEGMENT.replace('$', "%24").replace("%2F", "%2f").replace('w', "%77"));
    let said = alice.say_and_hear("the same room");
    assert_eq!(bob.hear_message(), said);
}

#[test]
fn a_slash_that_is_not_escaped_is_no_part_of_a_monitor_id() {
    let server = Server::start();
    let path = format!("/chat/{}?auth={}", HASHED_SEGMENT.replace("%2F", "/"), server.token(ALICE));
    assert_eq!(server.refused(&path, &[]).status, 404);
}

#[test]
fn a_text_comes_back_as_it_was_sent() {
    let server = Server::start();
    let (mut alice, mut bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    for text in [
        r#"quotes " and ' and \ and / "#,
        "<script>alert(1)</script>",
        "line\nfeed, carriage\r\nreturn, tab\t, nul\0, bell\u{7}, escape\u{1b}, delete\u{7f}",
        "line\u{2028}and paragraph\u{2029}separators, next line\u{85}, no break\u{a0}space",
        "grüße, 你好, שלום, 👩‍👩‍👧‍👦🏳️‍🌈, \u{10ffff}",
        "\u{feff}byte order mark and \u{202e}right to left",
        r#"{"messageId":"x","email":"bob@propromo.example","text":"forged"}"#,
        "%2F%00 ${x} {{y}}",
        " ",
    ] {
        alice.say(text);
        assert_eq!(alice.hear_message().text, text);
        let heard = bob.hear_message();
        assert_eq!((heard.text.as_str(), heard.email.as_str()), (text, ALICE.email));
    }
}

#[test]
fn everybody_sees_the_same_order() {
    let server = Server::start();
    let mut clients = [(); 4].map(|()| server.join(ALICE, DEMO));
    for number in 0..20 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.say(format!("{index}-{number}"));
        }
    }
    let heard = clients.map(|mut client| (0..80).map(|_| client.hear_message().id).collect::<Vec<_>>());
    assert!(heard.iter().all(|order| *order == heard[0]));
    assert!(heard[0].is_sorted(), "ids grow with the order of the room");
}

#[test]
fn two_sockets_of_one_person_both_hear_everything() {
    let server = Server::start();
    let (mut desk, mut phone) = (server.join(ALICE, DEMO), server.join(ALICE, DEMO));
    let said = desk.say_and_hear("from the desk");
    assert_eq!(phone.hear_message(), said);
}

#[test]
fn one_member_leaving_disturbs_nobody() {
    let server = Server::start();
    let (mut alice, mut bob, polite) = (server.join(ALICE, DEMO), server.join(BOB, DEMO), server.join(ALICE, DEMO));
    let abrupt = server.join(ALICE, DEMO);
    polite.close();
    drop(abrupt);
    let said = alice.say_and_hear("still here");
    assert_eq!(bob.hear_message(), said);
}

#[test]
fn frames_sent_right_behind_the_handshake_are_heard() {
    let server = Server::start();
    let mut connection = Connection::open(server.address);
    let mut bytes = handshake(&format!("/chat/demo?auth={}", server.token(ALICE)), &[]).into_bytes();
    bytes.extend(FrameStart::whole(1).with(b"early"));
    connection.send(bytes);
    let Ok(mut client) = Client::opened(connection) else { panic!("refused") };
    assert_eq!(client.hear_message().text, "early");
}

#[test]
fn an_upgrade_may_follow_plain_requests_on_one_connection() {
    let server = Server::start();
    let mut connection = Connection::open(server.address);
    let head = connection.send("HEAD / HTTP/1.1\r\nHost: chat.test\r\n\r\n").response_to_head();
    let page = connection.send(get("/", &[])).response();
    assert_eq!((head.status, page.status), (200, 200));
    assert_eq!(head.header("content-length"), page.header("content-length"));
    assert_eq!(connection.send(get("/nothing/here", &[])).response().status, 404);
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let Ok(mut client) = Client::upgrade(connection, &path, &[]) else { panic!("refused") };
    client.say_and_hear("upgraded");
}

#[test]
fn headers_of_a_handshake_are_read_whatever_their_case_and_company() {
    let server = Server::start();
    let request = handshake(&format!("/chat/demo?auth={}", server.token(ALICE)), &[])
        .replace("Connection: Upgrade", "connection: keep-alive, UPGRADE")
        .replace("Upgrade: websocket", "UPGRADE: WebSocket");
    let mut connection = Connection::open(server.address);
    connection.send(request);
    let Ok(mut client) = Client::opened(connection) else { panic!("refused") };
    client.say_and_hear("hello");
}

#[test]
fn extensions_that_are_not_spoken_are_not_agreed_to() {
    let server = Server::start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let Ok(client) = Client::try_open(server.address, &path, &offer) else { panic!("refused") };
    assert_eq!(client.opened.header("sec-websocket-extensions"), None);
}

#[test]
fn a_trailing_slash_leads_to_the_same_room() {
    let server = Server::start();
    let mut client = Client::open(server.address, &format!("/chat/demo/?auth={}", server.token(ALICE)));
    client.say_and_hear("hello");
}

#[test]
fn a_room_stays_usable_after_its_last_member_has_left() {
    let server = Server::start();
    for round in 0..3 {
        let mut alice = server.join(ALICE, DEMO);
        alice.say_and_hear(&format!("round {round}"));
        alice.close();
    }
    let mut bob = server.join(BOB, DEMO);
    eventually("bob hears the last round", || bob.hear_message().text == "round 2");
}
