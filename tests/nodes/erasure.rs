//! Erasing on the command line where messages are in Redis.

use redis::cmd;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::{
    ALICE, BOB, Client, DEMO, Server,
    chats::{Guest, ask, public_room},
    eventually,
    redis::Redis,
};

const SECRET: &str = "heliotrope";

/// A node with the demo accounts in a file.
#[track_caller]
fn node(redis: &Redis) -> Server {
    let mut demo = Server::start();
    demo.terminate();
    demo.setup().clone().without_demo().env("CHAT_STORAGE_URL", redis.url()).env("MESSAGE_RATE", "0").start()
}

/// All keys, as `DUMP` gives them: what was deleted and not overwritten stands there, too.
fn dumped(redis: &Redis) -> BTreeMap<String, Vec<u8>> {
    let keys: Vec<String> = redis.ask(cmd("KEYS").arg("*").to_owned()).expect("keys are listed");
    let dump = |key: &String| -> redis::RedisResult<Vec<u8>> { redis.ask(cmd("DUMP").arg(key).to_owned()) };
    keys.into_iter().map(|key| (dump(&key).expect("a key is dumped"), key)).map(|(bytes, key)| (key, bytes)).collect()
}

fn keys_with(redis: &Redis, word: &str) -> Vec<String> {
    let has = |bytes: &[u8]| bytes.windows(word.len()).any(|part| part == word.as_bytes());
    dumped(redis).into_iter().filter(|(_, bytes)| has(bytes)).map(|(key, _)| key).collect()
}

/// The last messages of the room.
#[track_caller]
fn history(client: &mut Client) -> Value {
    client.ask(json!({"type": "history", "limit": 200}));
    client.wait_for("history")["messages"].take()
}

#[test]
fn what_was_erased_is_in_no_key_any_more_and_nodes_hear_of_it() {
    let redis = Redis::start();
    // Or long texts could not be found.
    redis.configure("rdbcompression", "no");
    let server = node(&redis);
    let mut bob = server.channel(BOB, "lobby");
    let mut alice = server.channel(ALICE, "lobby");
    for n in 0..250 {
        alice.post(&format!("{SECRET} number {n}"));
        if n % 3 == 0 {
            bob.post(&format!("others' {n}"));
        }
    }
    let mut in_demo = server.channel(ALICE, DEMO);
    in_demo.post(&format!("{SECRET} in the monitor's room"));
    assert_eq!(keys_with(&redis, SECRET).len(), 2);
    let removed = server.setup().run(&["account", "remove", ALICE.email, "--erase-messages"]);
    assert!(String::from_utf8_lossy(&removed.stdout).contains("251 messages erased"), "{removed:?}");
    assert_eq!(keys_with(&redis, SECRET), [""; 0]);
    assert_eq!(bob.wait_for("deleted")["user"], "bot:operators");
    bob.post("and on it goes");
    let mut again = server.channel(BOB, "lobby");
    let kept = history(&mut again);
    assert_eq!(kept.as_array().map(Vec::len), Some(85));
    // Bob reads on from a message that was there before.
    let id = kept[0]["id"].as_str().expect("an id");
    let mut since = server.channel(BOB, &format!("lobby?since={id}"));
    since.ask(json!({"type": "message", "text": "the end"}));
    let mut texts = 0;
    while since.wait_for("message")["text"] != "the end" {
        texts += 1;
    }
    assert_eq!(texts, 84);
}

#[test]
fn a_removed_monitors_messages_are_erased_or_kept_where_no_later_monitor_shows_them() {
    let redis = Redis::start();
    redis.configure("rdbcompression", "no");
    let server = node(&redis);
    let setup = server.setup();
    let run = |arguments: &[&str]| assert!(setup.run(arguments).status.success(), "{arguments:?}");
    server.channel(BOB, DEMO).post(&format!("{SECRET} of the first"));
    run(&["monitor", "remove", DEMO, "--keep-messages"]);
    let kept = keys_with(&redis, SECRET);
    assert!(matches!(&kept[..], [key] if key.contains("removed:")), "{kept:?}");
    run(&["monitor", "add", DEMO]);
    run(&["monitor", "join", DEMO, BOB.email]);
    let mut bob = server.channel(BOB, DEMO);
    assert_eq!(history(&mut bob), json!([]));
    bob.post("sarsaparilla of the second");
    run(&["monitor", "remove", DEMO, "--erase-messages"]);
    assert_eq!(keys_with(&redis, "sarsaparilla"), [""; 0]);
    run(&["account", "erase", BOB.email]);
    assert_eq!(keys_with(&redis, SECRET), [""; 0]);
}

/// The keys of this room.
fn keys_of(redis: &Redis, room: &str) -> Vec<String> {
    redis.ask(cmd("KEYS").arg(format!("propromo:{{{room}}}:log")).to_owned()).expect("keys are listed")
}

#[test]
fn a_room_that_is_deleted_while_redis_is_away_is_erased_when_it_is_back() {
    let mut redis = Redis::start();
    let mut demo = Server::start();
    demo.terminate();
    let setup = demo.setup().clone().without_demo().env("CHAT_STORAGE_URL", redis.url());
    let server = setup.env("PUBLIC_ROOM_CHANGES", "anyone").start();
    let id = public_room(&server, "short-lived");
    let mut guest = Guest::open(&server, id, "Ann");
    guest.event("join", "");
    guest.event("send", "hello");
    let room = format!("chitchat:{id}");
    eventually("it is stored", || keys_of(&redis, &room).len() == 1);
    redis.kill();
    eventually("Redis is known to be away", || server.get("/readyz").status == 503);
    assert_eq!(ask(&server, "DELETE", &format!("/chats/{id}"), None, None).status, 200);
    redis.run();
    eventually("its messages are erased", || keys_of(&redis, &room).is_empty());
}

#[test]
fn what_a_command_can_not_erase_while_redis_is_away_a_node_erases_later() {
    let mut redis = Redis::start();
    let server = node(&redis);
    let mut alice = server.channel(ALICE, "lobby");
    alice.post(SECRET);
    redis.kill();
    let removed = server.setup().run(&["account", "remove", ALICE.email, "--erase-messages"]);
    assert_eq!(removed.status.code(), Some(1), "{removed:?}");
    assert!(String::from_utf8_lossy(&removed.stderr).contains("a node erases the messages"), "{removed:?}");
    redis.run();
    eventually("its messages are erased", || keys_with(&redis, SECRET).is_empty());
}

#[test]
fn what_a_person_said_on_three_nodes_is_exported_beside_any_of_them() {
    let redis = Redis::start();
    let first = node(&redis);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let beside = || Server::with().without_demo().env("CHAT_STORAGE_URL", redis.url()).env("DATABASE_URL", &accounts);
    let nodes = [first, beside().start(), beside().start()];
    let mut alice = nodes.each_ref().map(|node| node.channel(ALICE, "lobby"));
    let mut node = 0;
    let said = alice.each_mut().map(|alice| {
        node += 1;
        alice.post(&format!("{SECRET} on node {node}"))["id"].clone()
    });
    nodes[1].channel(BOB, "lobby").post("of somebody else");
    alice[1].ask(json!({"type": "edit", "id": said[0], "text": format!("{SECRET} is edited")}));
    alice[0].wait_for("edited");
    alice[2].ask(json!({"type": "react", "id": said[1], "emoji": "🎉", "on": true}));
    alice[0].wait_for("reacted");
    alice[0].ask(json!({"type": "delete", "id": said[2]}));
    alice[1].wait_for("deleted");
    for node in &nodes {
        let exported = node.setup().run(&["account", "export", ALICE.email]);
        assert!(exported.status.success(), "{exported:?}");
        let text = String::from_utf8(exported.stdout).expect("text");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
        let texts: Vec<_> = of("message").iter().map(|line| line["text"].clone()).collect();
        assert_eq!(texts.len(), 2, "{text}");
        let expected = [format!("{SECRET} is edited"), format!("{SECRET} on node 2")];
        assert!(expected.iter().all(|expected| texts.contains(&json!(expected))), "{text}");
        assert_eq!(["edit", "react", "delete"].map(|kind| of(kind).len()), [1, 1, 1], "{text}");
        assert!(!text.contains("somebody else"), "{text}");
    }
}
