//! Redis stands still, comes back empty, or cuts a node off.

use crate::several::{Nodes, hear_type, log_in, message, node, say_until_stored};
use std::time::{Duration, Instant};
use support::{Server, redis::Redis};

/// A figure of the process, from the kernel: `Threads` or `VmRSS` (KiB).
fn figure(server: &Server, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the process is there");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells it");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn a_redis_that_stands_still_costs_nothing_and_chat_goes_on_with_it() {
    let redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let (mut alice, mut bob) = (nodes.join(0, "still", "alice"), nodes.join(1, "still", "bob"));
    say_until_stored(&mut alice, "before");
    hear_type(&mut bob, "message");
    let threads: Vec<u64> = nodes.servers.iter().map(|server| figure(server, "Threads")).collect();
    let memory = figure(&nodes.servers[0], "VmRSS");
    redis.pause();
    let standing = Instant::now();
    let mut waits = Vec::new();
    // So many that a thread, or much memory, for each of them would show.
    while standing.elapsed() < Duration::from_secs(20) || waits.len() < 40 {
        let said = Instant::now();
        alice.say(message("lost", "lost"));
        // The first may be carried out when it goes on, for all that is known; then it is known that nothing is.
        let code = if waits.is_empty() { "unknown" } else { "unavailable" };
        assert_eq!(hear_type(&mut alice, "error")["code"], code);
        waits.push(said.elapsed());
        let answer = log_in(&nodes.servers[0]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        // Who reads nothing for long answers no pings.
        bob.wait_at_most(Duration::from_millis(10));
        let _ = bob.try_hear();
    }
    bob.wait_at_most(support::PATIENCE);
    // The first waits for 5 s, and then for what became of it; after it each is refused at once, though a busy machine may take its time for one or two.
    let late = waits[1..].iter().filter(|wait| **wait > Duration::from_secs(3)).count();
    assert!(late * 4 < waits.len(), "{waits:?}");
    assert_eq!(nodes.servers[0].get("/readyz").status, 503);
    for (server, before) in nodes.servers.iter().zip(&threads) {
        // Some handlers of plain requests may have been busy at the time.
        let now = figure(server, "Threads");
        assert!(now <= before + 16, "{before} threads became {now}");
    }
    let grown = figure(&nodes.servers[0], "VmRSS").saturating_sub(memory);
    assert!(grown < 64 << 10, "{grown} KiB more");
    redis.go_on();
    let going = Instant::now();
    say_until_stored(&mut alice, "after");
    assert_eq!(hear_type(&mut bob, "message")["text"], "after");
    // It is tried each second.
    assert!(going.elapsed() < Duration::from_secs(30), "{:?}", going.elapsed());
}

#[test]
fn a_redis_that_comes_back_empty_is_used_from_its_beginning() {
    let mut redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let (mut alice, mut bob) = (nodes.join(0, "anew", "alice"), nodes.join(1, "anew", "bob"));
    say_until_stored(&mut alice, "old");
    hear_type(&mut bob, "message");
    redis.kill();
    redis.wipe();
    redis.run();
    for text in ["one", "two"] {
        say_until_stored(&mut alice, text);
        assert_eq!(hear_type(&mut bob, "message")["text"], text);
    }
}

#[test]
fn a_redis_that_may_throw_messages_away_is_warned_of_while_nodes_run() {
    let redis = Redis::start();
    let server = node(&redis.url(), None).start();
    const WARNED: &str = "Redis may throw away messages";
    assert!(!server.log().contains(WARNED));
    redis.configure("maxmemory", "100mb");
    redis.configure("maxmemory-policy", "allkeys-lru");
    server.logs(&[WARNED, "allkeys-lru"]);
}

#[test]
fn a_subscription_that_breaks_loses_no_message() {
    let redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let (mut alice, mut bob) = (nodes.join(0, "broken", "alice"), nodes.join(1, "broken", "bob"));
    for n in 0..20 {
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub");
        redis.ask::<usize>(kill).expect("Redis can cut its subscribers off");
        let text = n.to_string();
        say_until_stored(&mut alice, &text);
        assert_eq!(hear_type(&mut bob, "message")["text"], text);
    }
}
