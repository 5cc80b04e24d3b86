//! What one account may begin, it may begin on all nodes together.

use super::several::Nodes;
use serde_json::json;
use support::{Client, Server, redis::Redis};

/// Whether a first message is stored.
#[track_caller]
fn begins(nodes: &Nodes, node: usize, room: &str) -> bool {
    let mut client: Client = nodes.join(node, room, "somebody@propromo.example");
    client.ask(json!({"type": "message", "text": "hello", "ref": "r"}));
    loop {
        let frame = client.hear_frame();
        if frame["type"] == "ack" {
            return true;
        }
        if frame["type"] == "error" {
            assert_eq!(frame["code"], "too_many_channels");
            return false;
        }
    }
}

// Seen to fail with CHANNELS_PER_ACCOUNT=0: all nine are begun.
#[test]
fn an_account_begins_so_many_channels_on_three_nodes_together() {
    let redis = Redis::start();
    let nodes = Nodes::start_with(3, &redis.url(), |setup| setup.env("CHANNELS_PER_ACCOUNT", "4"));
    let begun = (0..9).filter(|n| begins(&nodes, n % 3, &format!("room-{n}"))).count();
    assert_eq!(begun, 4);
    for node in 0..3 {
        assert!(begins(&nodes, node, "room-0"), "it is there");
        assert!(!begins(&nodes, node, "room-8"));
    }
    let monitor = rusqlite::Connection::open(accounts(&nodes.servers[0])).expect("the accounts");
    monitor.busy_timeout(support::PATIENCE).expect("a time-out");
    let count: u32 = monitor.query_row("SELECT count(*) FROM channels", (), |row| row.get(0)).expect("a number");
    assert_eq!(count, 4);
}

fn accounts(server: &Server) -> std::path::PathBuf {
    server.data_dir().join("chat.db")
}
