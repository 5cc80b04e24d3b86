//! An inbox hears of rooms in which nobody is on its node.

use crate::several::{NORA, Nodes};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{Client, redis::Redis};

const ROOMS: usize = 61;

fn inbox(nodes: &Nodes, node: usize) -> Client {
    let server = &nodes.servers[node];
    Client::open(server.address, &format!("/inbox?ticket={}", server.ticket(NORA)))
}

/// How much is unread in each room, as the frames up to now say.
fn badges(inbox: &mut Client) -> BTreeMap<String, Value> {
    let frames = inbox.hear_all_up_to_now();
    frames.iter().map(|frame| (frame["room"].as_str().expect("a room").to_owned(), frame["unread"].clone())).collect()
}

#[test]
fn sixty_one_rooms_and_one_inbox_on_two_nodes_after_absence_live_and_after_a_restart() {
    let redis = Redis::start();
    let mut nodes = Nodes::start(2, &redis.url());
    let accounts = rusqlite::Connection::open(nodes.servers[0].data_dir().join("chat.db")).expect("the accounts");
    accounts.busy_timeout(support::PATIENCE).expect("a time-out");
    for n in 0..ROOMS {
        accounts.execute("INSERT INTO monitors (monitor_hash) VALUES (?1)", [format!("m{n:02}")]).expect("a monitor");
    }
    accounts
        .execute_batch("INSERT INTO monitor_user SELECT users.id, monitors.id FROM users, monitors")
        .expect("members");
    for n in 0..ROOMS {
        let mut other = nodes.join(0, &format!("m{n:02}"), "other@propromo.example");
        (0..=n % 3).for_each(|m| drop(other.post(&m.to_string())));
    }
    let expected: BTreeMap<String, Value> =
        (0..ROOMS).map(|n| (format!("monitor:m{n:02}"), json!(n % 3 + 1))).collect();
    let mut here = inbox(&nodes, 1);
    assert_eq!(badges(&mut here), expected);

    // Live, from the other node, where alone somebody is in the room.
    let mut other = nodes.join(0, "m07", "other@propromo.example");
    let id = other.post("live")["id"].clone();
    let news = here.wait_for("news");
    assert_eq!((&news["room"], &news["id"], &news["unread"]), (&json!("monitor:m07"), &id, &json!(3)));
    let mut nora = nodes.join(0, "m07", NORA.email);
    nora.ask(json!({"type": "read", "id": id}));
    assert_eq!(here.wait_for("read"), json!({"type": "read", "room": "monitor:m07", "id": id, "unread": 0}));

    let mut killed = nodes.servers.remove(1);
    killed.kill9();
    nodes.servers.push(killed.restart());
    let mut left = expected;
    left.remove("monitor:m07");
    for node in 0..2 {
        assert_eq!(badges(&mut inbox(&nodes, node)), left);
    }
}
