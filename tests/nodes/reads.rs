//! How far somebody has read is the same on every node.

use crate::several::{NORA, Nodes};
use serde_json::{Value, json};
use support::{Server, eventually, redis::Redis};

const ROOMS: usize = 61;

#[track_caller]
fn rooms(server: &Server) -> Vec<Value> {
    let access = server.access(NORA);
    let answer = server.get_with_bearer("/rooms", &access);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["rooms"].as_array().expect("a list").clone()
}

#[track_caller]
fn unread(server: &Server) -> Vec<u64> {
    rooms(server).iter().map(|room| room["unread"].as_u64().expect("a number")).collect()
}

// Seen to fail where `advance` takes any id: the mark goes back.
#[test]
fn a_mark_only_moves_forward_on_whichever_node_it_is_set_and_across_a_kill() {
    let redis = Redis::start();
    let mut nodes = Nodes::start(3, &redis.url());
    let mut other = nodes.join(1, "lobby", "other@propromo.example");
    let [first, second, last] = ["one", "two", "three"].map(|text| other.post(text)["id"].clone());
    let read = |id: &Value| json!({"type": "read", "id": id});
    let is_marked = |server: &Server, name: &str, id: &Value| {
        rooms(server).iter().any(|room| room["room"] == name && room["read"] == *id)
    };
    let mut here = nodes.join(0, "lobby", NORA.email);
    here.ask(read(&last));
    for server in &nodes.servers {
        eventually("every node knows the mark", || is_marked(server, "channel:lobby", &last));
    }
    // Other nodes are told of earlier ones, and of one in another room after them.
    for node in [1, 2] {
        let mut there = nodes.join(node, "lobby", NORA.email);
        there.ask(read(&second));
        there.ask(read(&first));
        there.hear_all_up_to_now();
        let room = format!("room{node}");
        let mut elsewhere = nodes.join(node, &room, NORA.email);
        let later = elsewhere.post("later")["id"].clone();
        elsewhere.ask(read(&later));
        for server in &nodes.servers {
            eventually("the later mark is kept", || is_marked(server, &format!("channel:{room}"), &later));
            assert!(is_marked(server, "channel:lobby", &last), "{:?}", rooms(server));
        }
    }
    assert!(here.hear_all_up_to_now().iter().all(|frame| frame["type"] != "read"), "the earlier ones were told");
    let mut killed = nodes.servers.remove(2);
    killed.kill9();
    assert!(is_marked(&killed.restart(), "channel:lobby", &last));
}

#[test]
fn sixty_one_rooms_are_right_after_absence_on_every_node_and_after_a_restart() {
    let redis = Redis::start();
    let mut nodes = Nodes::start(3, &redis.url());
    let accounts = rusqlite::Connection::open(nodes.servers[0].data_dir().join("chat.db")).expect("the accounts");
    accounts.busy_timeout(support::PATIENCE).expect("a time-out");
    for n in 0..ROOMS {
        let hash = format!("m{n:02}");
        accounts.execute("INSERT INTO monitors (monitor_hash) VALUES (?1)", [&hash]).expect("a monitor");
    }
    accounts
        .execute_batch("INSERT INTO monitor_user SELECT users.id, monitors.id FROM users, monitors")
        .expect("members");

    // Others talk in all rooms while she is away: one message in the first, two in the second, …
    let mut last = Vec::new();
    for n in 0..ROOMS {
        let mut other = nodes.join(n % 3, &format!("m{n:02}"), "other@propromo.example");
        let ids: Vec<_> = (0..=n % 5).map(|m| other.post(&m.to_string())["id"].clone()).collect();
        last.push(ids.last().expect("a message").clone());
    }
    let expected: Vec<u64> = (0..ROOMS as u64).map(|n| n % 5 + 1).collect();
    for server in &nodes.servers {
        assert_eq!(unread(server), expected);
    }
    // She reads on one node, and her connection to another hears of it.
    let mut elsewhere = nodes.join(1, "m07", NORA.email);
    for (n, id) in last.iter().enumerate() {
        let mut nora = nodes.join(0, &format!("m{n:02}"), NORA.email);
        nora.ask(json!({"type": "read", "id": id}));
        nora.hear_all_up_to_now();
    }
    assert_eq!(elsewhere.wait_for("read"), json!({"type": "read", "room": "m07", "id": last[7]}));
    for server in &nodes.servers {
        eventually("all is read", || unread(server).iter().all(|unread| *unread == 0));
    }
    let mut killed = nodes.servers.remove(2);
    killed.kill9();
    let again = killed.restart();
    let all = rooms(&again);
    assert!(all.iter().zip(&last).all(|(room, id)| room["read"] == *id && room["unread"] == 0));
}
