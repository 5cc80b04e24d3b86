//! Redis 6.2, the oldest that is supported: several providers offer it, and the original Propromo chat runs with it.

use crate::several::{Nodes, hear_type, say_until_stored};
use support::redis::Redis;

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
