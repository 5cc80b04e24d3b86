//! Nobody fills the list of rooms for long, and nobody makes the server hold much of it.

use serde_json::{Value, json};
use std::time::Duration;
use support::{
    Response, Server,
    chats::{Guest, ask, fails, public_room},
    eventually, eventually_within,
    http::post_with,
    server::Setup,
};

/// How long it may take until a room that nobody uses is gone.
const REMOVAL: Duration = Duration::from_secs(120);

/// Where there are 10,000 rooms already, made a while ago, in which nothing was ever said.
fn full(setup: &Setup) {
    let rooms = rusqlite::Connection::open(setup.data_dir().join("chat.db")).expect("the rooms can be opened");
    rooms.busy_timeout(support::PATIENCE).expect("a time-out");
    rooms
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
             INSERT INTO chat_rooms (title, title_key, description, visibility, created_at, updated_at)
             SELECT 'Room ' || n, 'room ' || n, '', 'public', now, now
             FROM n, (SELECT 1000 * unixepoch() - 100000 AS now)",
        )
        .expect("rooms can be added");
}

fn listed(server: &Server, path: &str) -> (Vec<i64>, Option<String>) {
    let answer = ask(server, "GET", path, None, None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rooms: Vec<Value> = serde_json::from_slice(&answer.body).expect("a list");
    let ids = rooms.iter().map(|room| room["id"].as_i64().expect("a number")).collect();
    (ids, answer.header("link").map(str::to_owned))
}

// Seen to fail with a million of `ROOMS_LISTED`: 1.6 MB, of all the rooms.
#[test]
fn the_list_of_10000_rooms_has_pages() {
    let server = Server::start();
    full(server.setup());
    let first = ask(&server, "GET", "/chats", None, None);
    assert!(first.body.len() < 100_000, "{} bytes", first.body.len());
    let (mut path, mut seen) = ("/chats".to_owned(), Vec::new());
    for _ in 0..50 {
        let (ids, link) = listed(&server, &path);
        assert!(ids.len() <= 200, "{}", ids.len());
        seen.extend(ids);
        let Some(link) = link else { break };
        let (next, rel) = link.trim_start_matches('<').split_once('>').expect("a link");
        assert_eq!(rel, "; rel=\"next\"");
        path = next.to_owned();
    }
    assert_eq!(seen, (1..=10_000).collect::<Vec<i64>>());
    assert_eq!(listed(&server, "/chats/all?limit=2").0, [1, 2]);
    assert_eq!(listed(&server, "/chats?after=9999"), (vec![10_000], None));
    assert_eq!(listed(&server, "/chats?limit=99999").0.len(), 200);
    assert_eq!(ask(&server, "GET", "/chats?after=x", None, None).status, 400);
}

// Seen to fail with `idle_rooms::make_place` finding none: 503 for everybody, for ever.
#[test]
fn where_10000_rooms_were_never_used_there_is_place_for_one_more() {
    let server = Server::with().env("ROOM_RATE", "0").env("ADMIN_LISTEN", "127.0.0.1:0").start();
    full(server.setup());
    let mut talker = Guest::join(&server, 2, "Ann");
    talker.event("send", "used");
    talker.hears("send", "Ann");
    for n in 0..3 {
        public_room(&server, &format!("One more {n}"));
    }
    // Those that were never used have made place, and the one that was has not.
    assert_eq!(ask(&server, "GET", "/chats/2", None, None).status, 200);
    for id in 3..6 {
        fails(&ask(&server, "GET", &format!("/chats/{id}"), None, None), 404, 101, "id");
    }
    assert_eq!(ask(&server, "GET", "/chats/10000", None, None).status, 200);
    assert!((server.figure(r#"propromo_chat_rooms_removed_total{why="made_place"}"#) - 3.0).abs() < 0.5);
}

// Seen to fail with any number of `MAX_ROOMS`: it is made.
#[test]
fn there_are_no_more_rooms_than_there_may_be() {
    let server = Server::with().env("MAX_ROOMS", "3").env("ROOM_RATE", "0").start();
    for n in 0..2 {
        public_room(&server, &format!("Room {n}"));
    }
    // Who has just made one has a while to use it.
    let refused = ask(&server, "POST", "/chats", None, Some(json!({"title": "One more", "visibility": "public"})));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(listed(&server, "/chats").0, [1, 2, 3]);
}

/// Makes a public room, as a proxy would hand it on for this client.
fn make(server: &Server, title: &str, client: &str) -> Response {
    let body = json!({"title": title, "visibility": "public"}).to_string();
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", client)];
    server.connect().send(post_with("/chats", &headers, body)).response()
}

// Seen to fail with ROOMS_PER_ADDRESS=0: the fourth is made.
#[test]
fn one_address_makes_no_more_than_its_share_of_the_rooms() {
    let setup = Server::with().env("TRUSTED_PROXIES", "127.0.0.1").env("ROOMS_PER_ADDRESS", "3");
    let mut server = setup.env("ADMIN_LISTEN", "127.0.0.1:0").start();
    let ids: Vec<i64> = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::7", "2001:db8:1:2::1"]
        .iter()
        .zip(0..)
        .map(|(client, n)| {
            let made = make(&server, &format!("Room {n}"), client);
            assert_eq!(made.status, 201, "{}", made.text());
            made.json()["id"].as_i64().expect("a number")
        })
        .collect();
    let refused = make(&server, "One more", "2001:db8:1:2:8000::");
    assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (429, json!(429)), "{}", refused.text());
    assert!(refused.header("retry-after").is_some() && refused.text().contains("Your address"), "{}", refused.text());
    assert_eq!(server.figure(r#"propromo_chat_refusals_total{reason="too_many_rooms"}"#), 1.0);
    assert_eq!(make(&server, "One more", "2001:db8:1:3::1").status, 201, "another network has its own");
    server.kill9();
    server = server.restart();
    assert_eq!(make(&server, "Two more", "2001:db8:1:2::1").status, 429, "it outlives restarts");
    assert_eq!(ask(&server, "DELETE", &format!("/chats/{}", ids[0]), None, None).status, 200);
    assert_eq!(make(&server, "Two more", "2001:db8:1:2::1").status, 201, "there is place again");
    // No address is written down.
    let rooms = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the rooms can be opened");
    let marks: Vec<Vec<u8>> = rooms
        .prepare("SELECT made_from FROM chat_rooms WHERE id > 1")
        .and_then(|mut rows| rows.query_map((), |row| row.get(0))?.collect())
        .expect("each room has a mark");
    assert!(marks.len() == 4 && marks.iter().all(|mark| mark.len() == 8), "{marks:?}");
}

// Seen to fail with ROOM_CHANGE_RATE=0: it is changed.
#[test]
fn one_address_changes_and_deletes_rooms_no_faster_than_it_may() {
    let setup = Server::with().env("ROOM_CHANGE_RATE", "2").env("ADMIN_LISTEN", "127.0.0.1:0");
    let server = setup.env("TRUSTED_PROXIES", "127.0.0.1").start();
    let id = public_room(&server, "Changed often");
    let path = format!("/chats/{id}");
    let change = || ask(&server, "PUT", &path, None, Some(json!({"description": "changed"})));
    assert_eq!(change().status, 200);
    assert_eq!(ask(&server, "DELETE", "/chats/4711", None, None).status, 404, "what changes nothing counts too");
    for refused in [change(), ask(&server, "DELETE", &path, None, None)] {
        assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (429, json!(429)));
        let wait = refused.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        assert!(wait.is_some_and(|seconds| (1..=60).contains(&seconds)), "{wait:?}");
    }
    assert_eq!(server.figure(r#"propromo_chat_refusals_total{reason="rate_limited"}"#), 2.0);
    assert_eq!(ask(&server, "GET", &path, None, None).json()["description"], "changed");
    let elsewhere = format!("DELETE {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!(server.connect().send(elsewhere).response().status, 200, "another address");
}

// Seen to fail with `idle_rooms::start` doing nothing: the empty one stays.
#[test]
fn a_room_that_nobody_uses_is_removed_and_one_that_is_used_is_not() {
    // Each is used, or entered, within this time also on a slow machine.
    let setup = Server::with().env("ROOM_UNUSED", "20").env("ROOM_IDLE", "3600").env("ADMIN_LISTEN", "127.0.0.1:0");
    let server = setup.start();
    let is_there = |id: i64| ask(&server, "GET", &format!("/chats/{id}"), None, None).status == 200;
    let entered = public_room(&server, "Entered");
    let listener = Guest::open(&server, entered, "");
    let used = public_room(&server, "Used");
    let mut talker = Guest::join(&server, used, "Ann");
    talker.event("send", "used");
    talker.hears("send", "Ann");
    drop(talker);
    // Looked at behind the others.
    let empty = public_room(&server, "Empty");
    eventually_within(REMOVAL, "the empty one is removed", || !is_there(empty));
    server.logs(&["a room that nobody uses was removed"]);
    assert!(is_there(used) && is_there(1));
    assert!(is_there(entered), "somebody listens there");
    drop(listener);
    eventually_within(REMOVAL, "nobody listens there any more", || !is_there(entered));
    eventually("both are counted", || server.figure(r#"propromo_chat_rooms_removed_total{why="unused"}"#) >= 2.0);
    assert!(is_there(used) && is_there(1));
}

// Seen to fail with `is_entered` always false: the room in which somebody is goes as well; and with a sweep that asks for
// nothing that was said: neither goes as `idle`.
#[test]
fn a_room_in_which_nothing_is_said_for_long_is_removed() {
    let setup = Server::with().env("ROOM_UNUSED", "20").env("ROOM_IDLE", "5").env("ADMIN_LISTEN", "127.0.0.1:0");
    let server = setup.start();
    let is_there = |id: i64| ask(&server, "GET", &format!("/chats/{id}"), None, None).status == 200;
    let talks = public_room(&server, "Talks");
    let mut talker = Guest::join(&server, talks, "Bob");
    let left = public_room(&server, "Left");
    drop(Guest::join(&server, left, "Ann"));
    eventually_within(REMOVAL, "the room that was left is removed", || !is_there(left));
    eventually("it is counted", || server.figure(r#"propromo_chat_rooms_removed_total{why="idle"}"#) >= 1.0);
    assert!(is_there(talks));
    talker.event("send", "still here");
    talker.hears("send", "Bob");
    fails(&ask(&server, "GET", &format!("/chats/{left}"), None, None), 404, 101, "id");
    assert_eq!(
        ask(&server, "POST", "/chats", None, Some(json!({"title": "Left", "visibility": "public"}))).status,
        201
    );
}

/// "Admin": as it is, in Cyrillic, in full width, and with a zero width space.
const ADMINS: [&str; 4] = ["Admin", "\u{410}dmin", "\u{ff21}\u{ff44}\u{ff4d}\u{ff49}\u{ff4e}", "Ad\u{200b}min"];

// Seen to fail with titles compared in lower case alone: each made a room.
#[test]
fn titles_that_look_the_same_are_one() {
    let server = Server::start();
    let id = public_room(&server, ADMINS[0]);
    for title in ADMINS {
        let room = json!({"title": title, "visibility": "public"});
        fails(&ask(&server, "POST", "/chats", None, Some(room)), 400, 102, "title");
        let segment: String = title.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert_eq!(ask(&server, "GET", &format!("/chats/{segment}"), None, None).json()["id"], id, "{title}");
    }
    let invisible = json!({"title": "\u{200b}\u{200b}", "visibility": "public"});
    fails(&ask(&server, "POST", "/chats", None, Some(invisible)), 400, 105, "title");
}

// Seen to fail with names compared in lower case alone: each came in.
#[test]
fn names_that_look_the_same_are_one_members() {
    let server = Server::start();
    let _admin = Guest::join(&server, 1, ADMINS[0]);
    for name in ADMINS {
        let mut other = Guest::open(&server, 1, name);
        other.event("join", "");
        other.is_told(202, "name");
    }
    let mut nobody = Guest::open(&server, 1, "\u{200b}");
    nobody.event("join", "");
    nobody.is_told(303, "name");
}
