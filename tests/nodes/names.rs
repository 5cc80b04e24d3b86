//! Names in the rooms of the rooms door are one member's at a time over all nodes.

use crate::several::{NORA, node};
use serde_json::json;
use std::time::Duration;
use support::{
    Server,
    chats::{Guest, ask, closed_room, names, public_room, room_token},
    eventually, eventually_within,
    redis::Redis,
};

/// Two nodes on one Redis and one file of rooms.
fn two_nodes(redis: &Redis) -> [Server; 2] {
    two_nodes_with(redis, &[])
}

/// The same, with settings of the first.
fn two_nodes_with(redis: &Redis, settings: &[(&str, &str)]) -> [Server; 2] {
    let first = node(&redis.url(), None).account(NORA.email, NORA.password, &[]);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let first = settings.iter().fold(first, |first, (name, value)| first.env(name, value));
    [first.start(), node(&redis.url(), Some(&accounts)).start()]
}

fn users(server: &Server, path: &str) -> Vec<String> {
    let room = ask(server, "GET", path, None, None).json();
    // `/chats` gives a list of rooms, of which the first is the public chat.
    let room = if room.is_array() { &room[0] } else { &room };
    names(room).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_name_that_is_taken_on_one_node_is_taken_on_all() {
    let redis = Redis::start();
    let [here, there] = two_nodes(&redis);
    let mut ann = Guest::join(&here, 1, "Ann");
    for asked in ["join", "send"] {
        let mut other = Guest::open(&there, 1, " ann ");
        other.event(asked, "It's me");
        other.is_told(202, "name");
    }
    ann.event("leave", "");
    ann.hears("leave", "Ann");
    eventually("the name is free", || {
        let mut other = Guest::open(&there, 1, "Ann");
        other.event("join", "");
        // Who has left before may be heard of late.
        let answer = std::iter::repeat_with(|| other.hear()).find(|event| event["event_type"] != "leave");
        answer.is_some_and(|event| event["event_type"] == "join")
    });
}

#[test]
fn a_room_that_is_deleted_on_one_node_is_closed_on_all() {
    let redis = Redis::start();
    let [here, there] = two_nodes(&redis);
    let room = public_room(&here, "Short-lived");
    let mut ann = Guest::join(&there, room, "Ann");
    assert_eq!(ask(&here, "DELETE", &format!("/chats/{room}"), None, None).status, 200);
    ann.is_told(101, "room_id");
    assert_eq!(ann.client.close_code(), Some(1000));
}

#[test]
fn whoever_came_in_by_a_password_that_was_changed_is_sent_out_on_all_nodes() {
    let redis = Redis::start();
    let [here, there] = two_nodes(&redis);
    let room = closed_room(&here, "Locked", "private");
    let token = room_token(&here, room, "Ann");
    let mut ann = Guest::admitted(&there, room, "Ann", &token);
    let body = json!({"password": "another password"});
    assert_eq!(ask(&here, "PUT", &format!("/chats/{room}"), Some(&token), Some(body)).status, 200);
    ann.is_told(403, "token");
    assert_eq!(ann.client.close_code(), Some(1008));
}

#[test]
fn users_of_all_nodes_are_listed_on_each() {
    let redis = Redis::start();
    let [here, there] = two_nodes(&redis);
    let ann = Guest::join(&here, 1, "Ann");
    let mut bob = Guest::open(&there, 1, "Bob");
    bob.event("join", "");
    bob.hears("join", "Bob");
    for server in [&here, &there] {
        for path in ["/chats/1", "/chats"] {
            assert_eq!(users(server, path), ["Ann", "Bob"], "{path}");
        }
    }
    ann.client.close();
    eventually("who has left is listed nowhere", || {
        [&here, &there].iter().all(|server| users(server, "/chats/1") == ["Bob"])
    });
}

// Seen to fail where only names were asked for on other nodes: the room went, and its listener was closed.
#[test]
fn a_room_is_not_unused_while_somebody_listens_on_another_node() {
    const REMOVAL: Duration = Duration::from_secs(120);
    let redis = Redis::start();
    // Long enough to enter it, also on a slow machine.
    let [here, there] = two_nodes_with(&redis, &[("ROOM_UNUSED", "20"), ("ROOM_IDLE", "3600")]);
    let is_there = |id: i64| ask(&here, "GET", &format!("/chats/{id}"), None, None).status == 200;
    let entered = public_room(&here, "Entered");
    let listener = Guest::open(&there, entered, "");
    // Looked at behind the other.
    let empty = public_room(&here, "Empty");
    eventually_within(REMOVAL, "the empty one is removed", || !is_there(empty));
    assert!(is_there(entered), "somebody listens there");
    drop(listener);
    eventually_within(REMOVAL, "nobody listens there any more", || !is_there(entered));
}

#[test]
fn without_redis_no_name_is_given_out() {
    let mut redis = Redis::start();
    let [here, _there] = two_nodes(&redis);
    let mut ann = Guest::open(&here, 1, "Ann");
    redis.kill();
    ann.event("join", "");
    ann.is_told(503, "");
    redis.run();
    eventually("the node is ready", || here.get("/readyz").status == 200);
    ann.event("join", "");
    ann.hears("join", "Ann");
}

#[test]
fn a_redis_that_comes_back_empty_is_told_the_names_again() {
    let mut redis = Redis::start();
    let [here, there] = two_nodes(&redis);
    let _ann = Guest::join(&here, 1, "Ann");
    redis.kill();
    redis.wipe();
    redis.run();
    eventually("Ann is known again", || users(&there, "/chats/1") == ["Ann"]);
    let mut other = Guest::open(&there, 1, "Ann");
    other.client.say(json!({"event_type": "join", "name": "Ann"}).to_string());
    other.is_told(202, "name");
}
