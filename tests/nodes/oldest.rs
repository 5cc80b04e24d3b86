//! Redis 6.2, the oldest that is supported: several providers offer it, and the original Propromo chat runs with it.

use crate::{
    crowd::Crowd,
    several::{Nodes, hear_type, say_until_stored},
};
use std::sync::Mutex;
use support::{
    eventually,
    redis::{Cluster, Redis},
};

#[test]
fn nodes_on_the_oldest_redis_act_as_one_server() {
    let redis = Redis::oldest();
    let nodes = Nodes::start(2, &redis.url());
    let mut ann = nodes.join(0, "lobby", "ann@example.org");
    let path = nodes.path("lobby", "bob@example.org");
    let mut bob = support::Client::open(nodes.servers[1].address, &path);
    assert_eq!(hear_type(&mut ann, "join")["user"], "bob@example.org");
    say_until_stored(&mut ann, "hello");
    assert_eq!(hear_type(&mut bob, "message")["text"], "hello");
    assert_eq!(nodes.servers[0].refused(&path, &[]).reason(), "token_used", "on the other node");
    let mut cleo = nodes.join(1, "lobby", "cleo@example.org");
    assert_eq!(hear_type(&mut cleo, "message")["text"], "hello", "from history");
    drop(bob);
    assert_eq!(hear_type(&mut ann, "leave")["user"], "bob@example.org");
}

// Seen to fail with `Reach::Sharded` for every cluster.
#[test]
fn nodes_on_a_cluster_without_sharded_channels_act_as_one_server() {
    let cluster = Cluster::oldest();
    let nodes = Nodes::start(2, &cluster.url());
    let says = |n: usize| nodes.servers[n].log().contains("no sharded channels");
    eventually("the nodes say what it costs", || says(0) && says(1));
    Crowd { rooms: 6, listeners: 24, senders: 12, messages: 1_200 }.talk(&Mutex::new(nodes), 2, |_| {});
}
