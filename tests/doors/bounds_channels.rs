//! Nobody makes rooms without end: channels are counted by the account or key whose first message begins them.

use serde_json::{Value, json};
use std::thread;
use support::{
    ALICE, BOB, Client, DEMO, Person, Server,
    api::{call, only},
    channel::enter,
    http::post_with,
    server::Setup,
};

const PUBLISHER: &str = "the-publishers-key";

const MANY: &str = "too_many_channels";

fn server(most: u32) -> Setup {
    Server::with_api().env("CHANNELS_PER_ACCOUNT", most.to_string()).env("ADMIN_LISTEN", "127.0.0.1:0")
}

/// Says something, and returns the id of the message, or the error.
#[track_caller]
fn said(client: &mut Client, text: &str) -> Result<Value, Value> {
    client.ask(json!({"type": "message", "text": text, "ref": text}));
    loop {
        let frame = client.hear_frame();
        match frame["type"].as_str() {
            Some("ack") => return Ok(frame["id"].clone()),
            Some("error") => {
                assert_eq!(frame["ref"], text);
                return Err(frame);
            }
            _ => {}
        }
    }
}

/// Whether this person's first message in a channel is refused for this reason.
#[track_caller]
fn is_refused(server: &Server, person: Person, channel: &str) -> bool {
    let refused = said(&mut server.channel(person, channel), "hello");
    refused.is_err_and(|error| error["code"] == MANY && error["message"].as_str().is_some_and(|text| text.len() > 20))
}

/// How many channels the log has.
fn kept(server: &Server) -> usize {
    let answer = server.call("GET", "/api/v1/rooms", None).json();
    let rooms = answer["rooms"].as_array().expect("a list");
    let is_channel = |room: &&Value| room["room"].as_str().is_some_and(|name| name.starts_with("channel:"));
    rooms.iter().filter(is_channel).filter(|room| !room["last"].is_null()).count()
}

// Seen to fail with CHANNELS_PER_ACCOUNT=0: the fourth is begun as well.
#[test]
fn an_account_begins_so_many_channels_and_another_one_its_own() {
    let mut server = server(3).start();
    for n in 0..3 {
        said(&mut server.channel(ALICE, &format!("mine-{n}")), "hello").expect("it may begin it");
    }
    let mut fourth = server.channel(ALICE, "mine-3");
    for text in ["hello", "hello again"] {
        assert_eq!(said(&mut fourth, text).expect_err("one too many")["code"], MANY);
    }
    assert_eq!(server.figure(&format!("propromo_chat_refusals_total{{reason=\"{MANY}\"}}")), 2.0);
    assert_eq!(kept(&server), 3);
    // It goes on in those that it has begun, in those of others, and in its monitors. The connection has stayed.
    said(&mut server.channel(ALICE, "mine-0"), "on and on").expect("it is there");
    said(&mut server.channel(BOB, "mine-3"), "hello").expect("others have their own share");
    said(&mut fourth, "now it is there").expect("somebody else has begun it");
    said(&mut server.channel(ALICE, DEMO), "a monitor").expect("nobody begins a monitor");
    server.kill9();
    server = server.restart();
    assert!(is_refused(&server, ALICE, "mine-4"), "it outlives restarts");
    said(&mut server.channel(ALICE, "mine-0"), "still here").expect("it is there");
}

// Seen to fail with CHANNELS_PER_ACCOUNT=0: all 40 are begun.
#[test]
fn many_connections_at_once_begin_no_more() {
    let server = server(5).start();
    let access = server.access(ALICE);
    let clients: Vec<Client> = (0..40).map(|n| enter(server.address, &access, &format!("race-{n}"))).collect();
    let begun = thread::scope(|scope| {
        let racers: Vec<_> =
            clients.into_iter().map(|mut client| scope.spawn(move || said(&mut client, "hello").is_ok())).collect();
        racers.into_iter().map(|racer| racer.join().expect("an answer")).filter(|begun| *begun).count()
    });
    assert_eq!((begun, kept(&server)), (5, 5));
}

// Seen to fail with `forget_ended` that finds none: an account whose channels have ended never begins another one.
#[test]
fn a_channel_in_which_nothing_is_kept_counts_no_more() {
    let server = server(2).start();
    let said_there: Vec<Value> = ["one", "two"]
        .iter()
        .map(|name| said(&mut server.channel(ALICE, name), "hello").expect("it may begin it"))
        .collect();
    assert!(is_refused(&server, ALICE, "three"));
    // That it was deleted is still known: whoever makes channels and empties them makes no more than others.
    let path = format!("/api/v1/rooms/channel%3Aone/messages/{}", said_there[0].as_str().expect("an id"));
    assert_eq!(server.call("DELETE", &path, None).status, 204);
    assert!(is_refused(&server, ALICE, "three"));
    // Begun an hour ago, and nothing is left: what age, number or STORE_MAX do in the end.
    let accounts = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the accounts");
    accounts.busy_timeout(support::PATIENCE).expect("a time-out");
    accounts
        .execute("UPDATE channels SET begun = begun - 3600000, room = room || ' that is gone'", ())
        .expect("old ones");
    said(&mut server.channel(ALICE, "three"), "hello").expect("there is place again");
    said(&mut server.channel(ALICE, "four"), "hello").expect("for two");
    assert!(is_refused(&server, ALICE, "five"));
}

// Seen to fail with CHANNEL_RATE=0: the third is begun.
#[test]
fn an_account_begins_channels_no_faster_than_it_may() {
    let server = server(0).env("CHANNEL_RATE", "2").start();
    for name in ["one", "two"] {
        said(&mut server.channel(ALICE, name), "hello").expect("a few at once");
    }
    let error = said(&mut server.channel(ALICE, "three"), "hello").expect_err("too fast");
    assert!(error["code"] == MANY && error["message"].as_str().is_some_and(|text| text.contains("faster")), "{error}");
    said(&mut server.channel(ALICE, "one"), "again").expect("it is there");
    said(&mut server.channel(BOB, "three"), "hello").expect("others have their own rate");
}

// Seen to fail with CHANNELS_PER_KEY=0: 201 and 202.
#[test]
fn backends_begin_so_many_channels_for_each_key_and_publishers_so_many_streams() {
    let setup = server(1).env("CHANNELS_PER_KEY", "2").env("STREAM_PUBLIC", "true");
    let server = setup.env("STREAM_PUBLISH_KEY", PUBLISHER).start();
    let publish = |key: &str, room: &str| {
        let path = format!("/api/v1/rooms/{room}/messages");
        call(server.address, key, "POST", &path, Some(json!({"text": "hello"})))
    };
    let key = only("publish");
    for room in ["channel%3Aa", "channel%3Ab", "channel%3Aa", &format!("monitor%3A{DEMO}"), "chitchat%3A1"] {
        assert_eq!(publish(&key, room).status, 201, "{room}");
    }
    let refused = publish(&key, "channel%3Ac");
    assert_eq!((refused.status, refused.reason().as_str()), (403, MANY));
    assert_eq!(publish(support::api::MASTER, "channel%3Ac").status, 201, "another key");
    assert_eq!(publish(&key, "channel%3Ac").status, 201, "it is there now");
    let bearer = format!("Bearer {PUBLISHER}");
    let post =
        |path: &str| server.connect().send(post_with(path, &[("Authorization", &bearer)], "block")).response().status;
    assert_eq!(["/stream/a?history=1", "/stream/b?history=1", "/stream/a?history=1"].map(post), [202; 3]);
    assert_eq!(["/stream/c?history=1", "/stream/c"].map(post), [403, 202], "what is not kept makes no room");
    said(&mut server.channel(ALICE, "hers"), "hello").expect("accounts have their own shares");
}
