//! A cluster moves the slot of a room: what is said there meanwhile waits for it, and nobody else does.

use crate::{
    outcomes::nodes,
    several::{NORA, hear_type, message, say_until_stored},
};
use serde_json::{Value, json};
use std::cell::Cell;
use support::{
    Client,
    api::{MASTER, call},
    eventually,
    redis::Cluster,
};

/// The next answer to this message: `ack`, or what is wrong.
#[track_caller]
fn answer_to(client: &mut Client, reference: &str) -> Value {
    loop {
        let frame: Value = serde_json::from_str(&client.hear()).expect("frames are JSON");
        if frame["ref"] == reference && (frame["type"] == "ack" || frame["type"] == "error") {
            return frame;
        }
    }
}

// Seen to fail with `Failure::is_moving` always false: what is said is refused at once.
#[test]
fn what_is_said_while_a_slot_moves_is_stored_once_it_has_moved() {
    let cluster = Cluster::start();
    let count = Cell::new(0);
    let nodes = nodes(2, &cluster.url(), |setup| {
        // Who waits for long at the first node, and hardly at the second.
        let patience = if count.replace(1) == 0 { "120s" } else { "1s" };
        setup.env("STORE_PATIENCE", patience)
    });
    let (mut alice, mut bob) = (nodes.join(0, "moves", NORA.email), nodes.join(1, "moves", NORA.email));
    let mut carol = nodes.join(0, "stays", NORA.email);
    say_until_stored(&mut alice, "before");
    assert_eq!(hear_type(&mut bob, "message")["text"], "before");
    let slot = cluster.begin_to_move("propromo:{channel:moves}:head");
    for n in 0..3 {
        alice.say(message(&format!("held {n}"), &format!("held {n}")));
    }
    let refused = || cluster.servers.iter().any(|server| server.info("errorstats").contains("errorstat_TRYAGAIN"));
    eventually("the cluster says TRYAGAIN", refused);
    say_until_stored(&mut carol, "meanwhile");
    bob.say(message("given up", "given up"));
    let error = answer_to(&mut bob, "given up");
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unavailable")), "{error}");
    cluster.end_move(slot);
    for n in 0..3 {
        let answer = answer_to(&mut alice, &format!("held {n}"));
        assert_eq!(answer["type"], "ack", "{answer}");
    }
    say_until_stored(&mut alice, "after");
    let said = ["before", "held 0", "held 1", "held 2", "after"];
    let page = call(nodes.servers[0].address, MASTER, "GET", "/api/v1/rooms/channel:moves/messages", None).json();
    let kept = page["messages"].as_array().expect("messages").iter().map(|message| message["text"].as_str());
    assert!(kept.eq(said.iter().map(|text| Some(*text))), "{page}");
    let live: Vec<Value> = said[1..].iter().map(|_| hear_type(&mut bob, "message")["text"].clone()).collect();
    assert_eq!(live, said[1..]);
}

// Seen to fail without `Fleet::learn`: each message is redirected.
#[test]
fn once_a_slot_has_moved_what_is_said_goes_straight_to_where_it_is() {
    let cluster = Cluster::start();
    let nodes = nodes(1, &cluster.url(), |setup| setup);
    let mut alice = nodes.join(0, "moves", NORA.email);
    say_until_stored(&mut alice, "before");
    let slot = cluster.begin_to_move("propromo:{channel:moves}:head");
    cluster.end_move(slot);
    say_until_stored(&mut alice, "the first is redirected");
    let redirected = || cluster.servers.iter().map(|server| times_moved(&server.info("errorstats"))).sum::<u32>();
    let before = redirected();
    assert!(before > 0, "nothing was redirected");
    for n in 0..30 {
        say_until_stored(&mut alice, &n.to_string());
    }
    let more = redirected() - before;
    assert!(more < 10, "{more} commands were redirected for 30 messages");
}

/// How often a server has said `MOVED`, by its `INFO errorstats`.
fn times_moved(errors: &str) -> u32 {
    let line = errors.lines().find_map(|line| line.strip_prefix("errorstat_MOVED:count="));
    line.map_or(0, |count| count.trim().parse().expect("a count"))
}
