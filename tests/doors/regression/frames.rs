//! Frames that were misunderstood.

use serde_json::{Value, json};
use support::{
    ALICE, BOB, Server,
    chats::{Guest, public_room},
};

/// `JSON.stringify` writes this for a text that was cut inside an emoji.
#[test]
fn a_text_cut_inside_an_emoji_was_published_as_a_whole_frame() {
    let server = Server::start();
    let mut alice = server.channel(ALICE, "garden");
    alice.say(r#"{"type":"message","text":"cut \ud83d","ref":"m1"}"#);
    assert_eq!(alice.hear_a("message")["text"], "cut \u{fffd}");
    assert_eq!(alice.hear_a("ack")["ref"], "m1");
    alice.say(r#"{"type":"echo","text":"\ude00\ud83d\ude00"}"#);
    assert_eq!(alice.hear(), "echo: \u{fffd}😀");
}

#[test]
fn a_frame_that_was_cut_off_published_its_token() {
    let server = Server::start();
    let mut alice = server.channel(ALICE, "garden");
    let mut bob = server.channel(BOB, "garden");
    let token = server.access(ALICE);
    for frame in [
        &format!(r#"{{"type":"auth","payload":"{token}"#),
        &format!("\u{feff}{{\"type\":\"jwt\",\"token\":\"{token}"),
        "{not json}",
        "{}{}",
        r#"{"type":"message","text":"x","n":NaN}"#,
    ] {
        alice.say(frame);
        let error = alice.wait_for("error");
        assert_eq!(error["code"], "bad_frame", "{frame}");
    }
    assert_eq!(bob.hear_all_up_to_now(), Vec::<Value>::new());
    assert!(!server.log().contains(&token));
}

#[test]
fn an_error_did_not_name_the_frame_that_it_is_about() {
    let server = Server::start();
    let mut alice = server.channel(ALICE, "garden");
    for frame in [json!({"type": "message", "ref": "m1"}), json!({"type": "dance", "ref": "m1"})] {
        alice.ask(frame);
        assert_eq!(alice.hear_a("error")["ref"], "m1");
    }
}

#[test]
fn a_whole_number_with_a_fraction_of_nothing_was_no_number() {
    let server = Server::start();
    let mut alice = server.channel(ALICE, "garden");
    alice.post("one");
    alice.post("two");
    for limit in ["1.0", "1e0", "10E-1"] {
        alice.say(format!(r#"{{"type":"history","limit":{limit}}}"#));
        let page = alice.hear_a("history");
        assert_eq!((page["messages"].as_array().expect("a list").len(), &page["more"]), (1, &json!(true)), "{limit}");
    }
    alice.say(r#"{"type":"history","limit":1.5}"#);
    assert_eq!(alice.hear_a("error")["code"], "bad_frame");
}

#[test]
fn the_rooms_door_refused_whole_numbers_and_texts_cut_inside_an_emoji() {
    let server = Server::start();
    let id = public_room(&server, "Garden");
    let mut ali = Guest::join(&server, id, "Ali");
    for room in [format!("{id}.0"), "0.0".to_owned(), format!("{id}e0")] {
        ali.client.say(format!(r#"{{"event_type":"send","name":"Ali","msg":"cut \ud83d","room_id":{room}}}"#));
        assert_eq!(ali.hear()["msg"], "cut \u{fffd}", "{room}");
    }
    let made = server.post("/chats", "application/json", r#"{"title":"Cut \ud83d","visibility":"public"}"#);
    assert_eq!((made.status, &made.json()["title"]), (201, &json!("Cut \u{fffd}")));
}

/// That API's own page prints `name` and `msg` of every frame.
#[test]
fn a_page_of_the_rooms_door_showed_undefined_twice_where_a_name_was_taken() {
    let server = Server::start();
    let id = public_room(&server, "Garden");
    let _ali = Guest::join(&server, id, "Ali");
    let mut other = Guest::open(&server, id, "Ali");
    other.event("join", "");
    let error = other.hear();
    assert_eq!((&error["event_type"], &error["code"], &error["name"]), (&json!("error"), &json!(202), &json!("")));
    assert_eq!((&error["msg"], &error["error"]), (&error["error"], &json!("Client error: Duplicate username")));
}
