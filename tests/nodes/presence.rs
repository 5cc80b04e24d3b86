//! Who is here, who types, and who listens, over all nodes.

use crate::several::{NORA, Nodes, hear_type, node, say_until_stored};
use serde_json::json;
use std::{thread, time::Duration};
use support::{
    Client, Response, eventually,
    http::post_with,
    redis::{Cluster, Redis},
    server::Setup,
};

#[test]
fn who_is_here_is_known_on_every_node() {
    let redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let mut alice = nodes.join(0, "who", "alice");
    let bob = nodes.join(1, "who", "bob");
    assert_eq!(hear_type(&mut alice, "join")["user"], "bob");
    alice.say(json!({"type": "presence"}).to_string());
    assert_eq!(hear_type(&mut alice, "presence")["users"], json!(["alice", "bob"]));
    bob.close();
    assert_eq!(hear_type(&mut alice, "leave")["user"], "bob");
}

#[test]
fn who_is_here_is_known_on_every_node_of_a_cluster_and_is_written_again_when_a_master_was_emptied() {
    let cluster = Cluster::start();
    let nodes = Nodes::start(2, &cluster.url());
    let (mut alice, mut bob) = (nodes.join(0, "of-a-cluster", "alice"), nodes.join(1, "of-a-cluster", "bob"));
    let mut all_know = |users: &[&str]| {
        eventually("all know", || {
            [&mut alice, &mut bob].iter_mut().all(|client| {
                client.say(json!({"type": "presence"}).to_string());
                hear_type(client, "presence")["users"] == json!(users)
            })
        });
    };
    all_know(&["alice", "bob"]);
    for master in &cluster.servers {
        master.ask::<()>(redis::cmd("FLUSHALL")).expect("a master can be emptied");
    }
    all_know(&["alice", "bob"]);
    let carol = nodes.join(1, "of-a-cluster", "carol");
    all_know(&["alice", "bob", "carol"]);
    carol.close();
    all_know(&["alice", "bob"]);
}

#[test]
fn beside_a_node_without_a_lease_everybody_is_known_and_little_is_asked() {
    let redis = Redis::start();
    let nodes = Nodes::start(1, &redis.url());
    let mut alice = nodes.join(0, "upgrade", "alice");
    // What a node of the version before tells of its user.
    let old = |sockets: u32| {
        let mut tell = redis::cmd("EVAL");
        tell.arg(include_str!("../../src/store/redis/tests/presence-without-leases.lua")).arg(2);
        tell.arg("propromo:{channel:upgrade}:nodes").arg("propromo:{channel:upgrade}:here");
        tell.arg("00000000000000ff").arg(30_000).arg("propromo:feed:0").arg("channel:upgrade");
        redis.ask::<i64>(tell.arg("bob").arg(sockets).arg("").to_owned()).expect("the script of the version before");
    };
    let mut lists = |users: &[&str]| {
        eventually("she knows who is there", || {
            alice.say(json!({"type": "presence"}).to_string());
            hear_type(&mut alice, "presence")["users"] == json!(users)
        });
    };
    lists(&["alice"]);
    old(1);
    lists(&["alice", "bob"]);
    let scripts = || -> u64 {
        let stats = redis.info("commandstats");
        let calls = |line: &str| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok();
        let found = stats.lines().find_map(calls);
        found.unwrap_or(0)
    };
    // Its claims make those of others expire, so they are written again, but now and then.
    thread::sleep(Duration::from_secs(1));
    let before = scripts();
    thread::sleep(Duration::from_secs(4));
    let ran = scripts() - before;
    assert!(ran < 20, "{ran} scripts");
    old(0);
    lists(&["alice"]);
}

#[test]
fn people_are_named_on_every_node() {
    let redis = Redis::start();
    let mut nodes = Nodes::start(3, &redis.url());
    let accounts = rusqlite::Connection::open(nodes.servers[0].data_dir().join("chat.db")).expect("the accounts");
    accounts.busy_timeout(support::PATIENCE).expect("a time-out");
    let named = accounts.execute("UPDATE users SET name = 'Nora Ω \"=~'", []).expect("a name");
    assert_eq!(named, 1);
    let name = "Nora Ω \"=~";
    let mut watcher = nodes.join(0, "names", "watcher");
    say_until_stored(&mut watcher, "here");
    let mut nora = nodes.join(1, "names", NORA.email);
    assert_eq!(hear_type(&mut watcher, "join"), json!({"type": "join", "user": NORA.email, "name": name}));
    nora.say(json!({"type": "typing"}).to_string());
    assert_eq!(hear_type(&mut watcher, "typing"), json!({"type": "typing", "user": NORA.email, "name": name}));
    watcher.say(json!({"type": "presence"}).to_string());
    let here = hear_type(&mut watcher, "presence");
    assert_eq!((&here["users"][0], &here["names"][NORA.email]), (&json!(NORA.email), &json!(name)));
    nora.done(json!({"type": "message", "text": "it is me"}), "m");
    let said = hear_type(&mut watcher, "message");
    assert_eq!((&said["text"], &said["name"]), (&json!("it is me"), &json!(name)));
    let second = nodes.join(2, "names", NORA.email);
    nora.close();
    second.close();
    assert_eq!(hear_type(&mut watcher, "leave"), json!({"type": "leave", "user": NORA.email, "name": name}));
    let mut killed = nodes.servers.remove(2);
    killed.kill9();
    let again = killed.restart();
    let mut late = Client::open(again.address, &nodes.path("names", "late"));
    assert_eq!(hear_type(&mut late, "message")["text"], "here");
    assert_eq!(hear_type(&mut late, "message"), said);
}

#[test]
fn typing_is_seen_on_every_node() {
    let redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let (mut alice, mut bob) = (nodes.join(0, "typing", "alice"), nodes.join(1, "typing", "bob"));
    // Events are not repeated for those who come late, so bob must be known to listen.
    say_until_stored(&mut bob, "here");
    alice.say(json!({"type": "typing"}).to_string());
    assert_eq!(hear_type(&mut bob, "typing")["user"], "alice");
}

#[test]
fn what_is_published_reaches_the_listeners_of_every_node() {
    let redis = Redis::start();
    let stream = |setup: Setup| setup.env("STREAM_PUBLIC", "true").env("STREAM_PUBLISH_KEY", "key-of-the-feed");
    let (one, other) = (stream(node(&redis.url(), None)).start(), stream(node(&redis.url(), None)).start());
    let mut listeners: Vec<Client> =
        [&one, &other, &other].iter().map(|server| Client::open(server.address, "/stream/feed")).collect();
    let publish = || -> Response {
        let headers = [("Authorization", "Bearer key-of-the-feed"), ("Connection", "close")];
        one.connect().send(post_with("/stream/feed", &headers, "block")).response()
    };
    eventually("every node's listeners are counted", || publish().json()["listeners"] == 3);
    for listener in &mut listeners {
        assert_eq!(listener.hear(), "block");
    }
}
