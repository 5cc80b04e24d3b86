//! Redis 6.2, the oldest that is supported: several providers offer it, and the original Propromo chat runs with it.

use support::{ALICE, BOB, DEMO, Server, redis::Redis};

#[test]
fn nodes_on_the_oldest_redis_act_as_one_server() {
    let redis = Redis::oldest();
    let node = || Server::with().env("CHAT_STORAGE_URL", redis.url()).start();
    let (one, other) = (node(), node());
    let mut alice = one.channel(ALICE, "lobby");
    let mut bob = other.channel(BOB, "lobby");
    assert_eq!(alice.wait_for("join")["user"], BOB.email);
    alice.post("hello");
    assert_eq!(bob.wait_for("message")["text"], "hello");
    let token = one.token(ALICE);
    other.enter(&token, DEMO).say_and_hear("kept");
    assert_eq!(one.refused(&format!("/chat/{DEMO}?auth={token}"), &[]).reason(), "token_used");
    assert_eq!(one.join(BOB, DEMO).hear_message().text, "kept");
}
