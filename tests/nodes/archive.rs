//! History that outlives Redis: the newest messages of a room are there, all of them in PostgreSQL.

use redis::cmd;
use serde_json::{Value, json};
use std::{fs, path::Path};
use support::{
    ALICE, BOB, Client, DEMO, Server, eventually,
    postgres::{Cluster, Database},
    redis::Redis,
};

/// Messages of a room that stay in Redis, and those that are said.
const HOT: usize = 20;
const SAID: usize = 90;

fn nodes(count: usize, redis: &Redis, database: &Database<'_>) -> Vec<Server> {
    let node = || {
        Server::with_api()
            .without_demo()
            .env("DATABASE_URL", database.url())
            .env("CHAT_STORAGE_URL", redis.url())
            .env("HISTORY_HOT", HOT.to_string())
            .env("HISTORY_ON_JOIN", "200")
            .env("MESSAGE_RATE", "0")
            .env("ADMIN_LISTEN", "127.0.0.1:0")
            .env("PUBLISH_RATE", "0")
            .env("SEARCH_RATE", "0")
    };
    (0..count).map(|_| node().start()).collect()
}

/// Has so many messages said in a room by Alice; their ids.
#[track_caller]
fn say_many(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|n| client.post(&format!("number {n}"))["id"].as_str().expect("an id").to_owned()).collect()
}

/// How many messages of a room Redis has.
fn hot(redis: &Redis, room: &str) -> usize {
    redis.ask(cmd("XLEN").arg(format!("propromo:{{{room}}}:log")).to_owned()).expect("Redis answers")
}

fn archived(database: &Database<'_>, room: &str) -> usize {
    let count = database.sql(&format!("SELECT count(*) FROM chat.messages WHERE room = '{room}'"));
    count.trim().parse().expect("a number")
}

#[track_caller]
fn wait_until_archived(redis: &Redis, database: &Database<'_>, room: &str, count: usize) {
    eventually("all is archived, and Redis keeps the newest", || {
        archived(database, room) == count && hot(redis, room) <= HOT + HOT / 10
    });
}

/// All messages of a channel, page by page, oldest first.
#[track_caller]
fn pages(client: &mut Client) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let before = all.first().map(|message| message["id"].clone());
        client.ask(json!({"type": "history", "before": before, "limit": 33}));
        let page = client.wait_for("history");
        all.splice(0..0, page["messages"].as_array().expect("messages").clone());
        if page["more"] == false {
            return all;
        }
    }
}

/// All messages of a channel after its first, page by page.
#[track_caller]
fn pages_after(client: &mut Client, first: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let after = all.last().map_or(json!(first), |message| message["id"].clone());
        client.ask(json!({"type": "history", "after": after, "limit": 33}));
        let page = client.wait_for("history");
        all.extend(page["messages"].as_array().expect("messages").clone());
        if page["more"] == false {
            return all;
        }
    }
}

fn ids(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
}

/// All messages of a room, as backends read them.
#[track_caller]
fn by_api(server: &Server, room: &str) -> Vec<String> {
    let answer = server.call("GET", &format!("/api/v1/rooms/{room}/messages?limit=200"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    ids(answer.json()["messages"].as_array().expect("messages"))
}

#[test]
fn history_goes_back_to_the_first_message_at_every_door_and_old_messages_change_as_new_ones_do() {
    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let nodes = nodes(3, &redis, &database);
    let mut alice = nodes[0].channel(ALICE, "lobby");
    let said = say_many(&mut alice, SAID);
    let in_demo = say_many(&mut nodes[1].channel(ALICE, DEMO), 40);
    wait_until_archived(&redis, &database, "channel:lobby", SAID);
    wait_until_archived(&redis, &database, &format!("monitor:{DEMO}"), 40);
    let access = nodes[0].access(BOB);
    let enter = |node: &Server, room: &str| support::channel::enter(node.address, &access, room);
    let mut readers: Vec<Client> = nodes.iter().map(|node| enter(node, "lobby")).collect();
    for (node, reader) in nodes.iter().zip(&mut readers) {
        assert_eq!(ids(&pages(reader)), said);
        assert_eq!(ids(&pages_after(reader, &said[0])), said[1..]);
        assert_eq!(by_api(node, "channel%3Alobby"), said);
    }
    let mut at_chat = nodes[2].join(BOB, DEMO);
    let mut shown = Vec::new();
    while shown.len() < in_demo.len() {
        let frame: Value = serde_json::from_str(&at_chat.hear()).expect("JSON");
        shown.extend(frame["id"].as_str().map(str::to_owned));
    }
    assert_eq!(shown, in_demo);
    let mut back = nodes[2].channel(BOB, &format!("lobby?since={}", said[0]));
    for id in &said[1..] {
        assert_eq!(back.wait_for("message")["id"], **id);
    }

    // Changes of what only the archive has.
    let mut bob = enter(&nodes[1], "lobby");
    let refused = |client: &mut Client, frame: Value| {
        client.ask(frame);
        client.wait_for("error")["code"].as_str().expect("a code").to_owned()
    };
    assert_eq!(refused(&mut bob, json!({"type": "edit", "id": said[3], "text": "mine"})), "not_yours");
    alice.ask(json!({"type": "edit", "id": said[3], "text": "sycamore"}));
    assert_eq!(bob.wait_for("edited")["text"], "sycamore");
    bob.ask(json!({"type": "react", "id": said[3], "emoji": "👍", "on": true}));
    assert_eq!(back.wait_for("reacted")["id"], *said[3]);
    assert_eq!(refused(&mut bob, json!({"type": "react", "id": said[3], "emoji": "👍", "on": true})), "unchanged");
    alice.ask(json!({"type": "delete", "id": said[4]}));
    assert_eq!(bob.wait_for("deleted")["id"], *said[4]);
    assert_eq!(refused(&mut alice, json!({"type": "edit", "id": said[4], "text": "x"})), "no_such_message");
    bob.ask(json!({"type": "message", "text": "to that", "reply_to": said[5]}));
    assert_eq!(alice.wait_for("message")["reply_to"], *said[5]);
    let patched = nodes[2].call(
        "PATCH",
        &format!("/api/v1/rooms/channel%3Alobby/messages/{}", said[6]),
        Some(json!({"text": "plane tree"})),
    );
    assert_eq!(patched.status, 200, "{}", patched.text());
    let mut look = || {
        for reader in &mut readers {
            let messages = pages(reader);
            assert_eq!(messages.len(), SAID);
            assert_eq!(
                (&messages[3]["text"], &messages[3]["reactions"]),
                (&json!("sycamore"), &json!({"👍": [BOB.email]}))
            );
            assert_eq!((&messages[4]["id"], &messages[5]["text"]), (&json!(said[5]), &json!("plane tree")));
            eventually("it is found as it is now", || {
                reader.ask(json!({"type": "search", "query": "plane tre"}));
                reader.wait_for("results")["messages"][0]["id"] == *said[6]
            });
        }
    };
    look();
    wait_until_archived(&redis, &database, "channel:lobby", SAID);
    look();
    // Who was away since the first message hears each change once.
    let mut since = nodes[0].channel(BOB, &format!("lobby?since={}", said[80]));
    since.ask(json!({"type": "message", "text": "the end"}));
    let mut heard = Vec::new();
    loop {
        let frame = since.hear_frame();
        match frame["type"].as_str().expect("a type") {
            "message" if frame["text"] == "the end" => break,
            kind @ ("message" | "edited" | "reacted" | "deleted") => heard.push(kind.to_owned()),
            _ => {}
        }
    }
    let count = |kind: &str| heard.iter().filter(|one| *one == kind).count();
    assert_eq!(["message", "edited", "reacted", "deleted"].map(count), [10, 2, 1, 1], "{heard:?}");
}

#[test]
fn a_redis_that_was_emptied_loses_nothing_that_is_archived_and_no_id_comes_twice() {
    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let nodes = nodes(2, &redis, &database);
    let mut alice = nodes[0].channel(ALICE, "lobby");
    let said = say_many(&mut alice, 30);
    wait_until_archived(&redis, &database, "channel:lobby", 30);
    redis.ask::<()>(cmd("FLUSHALL").to_owned()).expect("it is emptied");
    eventually("a node says what was lost", || {
        nodes.iter().any(|node| {
            node.log()
                .lines()
                .any(|line| line.contains("they go on from the archive") && line.contains("channel:lobby"))
        })
    });
    let mut again = nodes[1].channel(BOB, "lobby");
    assert_eq!(ids(&pages(&mut again)), said);
    let new = say_many(&mut again, 3);
    assert!(new[0] > said[29]);
    assert_eq!(alice.wait_for("message")["id"], *new[0], "who was there all the time hears it");
    wait_until_archived(&redis, &database, "channel:lobby", 33);
    assert_eq!(ids(&pages(&mut nodes[0].channel(BOB, "lobby"))), [said, new].concat());
}

#[test]
fn each_node_says_how_many_of_its_messages_a_redis_lost_that_were_not_archived() {
    let redis = Redis::start();
    let cluster = Cluster::start();
    let database = cluster.database();
    let nodes = nodes(2, &redis, &database);
    let (mut alice, mut bob) = (nodes[0].channel(ALICE, "lobby"), nodes[1].channel(BOB, "hall"));
    let said = say_many(&mut alice, 10);
    // While PostgreSQL is away, nobody begins a channel.
    say_many(&mut bob, 1);
    wait_until_archived(&redis, &database, "channel:lobby", 10);
    wait_until_archived(&redis, &database, "channel:hall", 1);
    cluster.stop();
    say_many(&mut alice, 7);
    say_many(&mut bob, 5);
    redis.ask::<()>(cmd("FLUSHALL").to_owned()).expect("it is emptied");
    eventually("the nodes notice", || nodes.iter().all(|node| node.log().contains("Redis has lost data")));
    cluster.run();
    let lost = |node: &Server| node.sample("propromo_chat_archive_messages_lost_total").unwrap_or_default();
    eventually("each counts its own", || [7.0, 5.0] == [lost(&nodes[0]), lost(&nodes[1])]);
    nodes[0].logs(&["that this node had confirmed are lost", "channel:lobby: 7"]);
    nodes[1].logs(&["that this node had confirmed are lost", "channel:hall: 5"]);
    eventually("what was archived is there", || {
        let answer = nodes[1].call("GET", "/api/v1/rooms/channel%3Alobby/messages?limit=200", None);
        answer.status == 200 && ids(answer.json()["messages"].as_array().expect("messages")) == said
    });
}

#[test]
fn when_the_archiving_node_is_killed_another_goes_on_and_nothing_is_lost_or_doubled() {
    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let mut nodes = nodes(2, &redis, &database);
    let mut alice = nodes[1].channel(ALICE, "lobby");
    let mut said = say_many(&mut alice, 30);
    eventually("it has begun", || archived(&database, "channel:lobby") > 0);
    let leader: Option<String> = redis.ask(cmd("GET").arg("propromo:{archive}:leader").to_owned()).expect("an answer");
    assert!(leader.is_some(), "one node archives");
    nodes[0].kill9();
    said.extend(say_many(&mut alice, 60));
    wait_until_archived(&redis, &database, "channel:lobby", 90);
    assert_eq!(ids(&pages(&mut nodes[1].channel(BOB, "lobby"))), said);
    let in_order = database.sql("SELECT id FROM chat.messages WHERE room = 'channel:lobby' ORDER BY id");
    assert_eq!(in_order.lines().collect::<Vec<_>>(), said);
}

#[test]
fn while_postgresql_is_away_redis_keeps_what_is_not_archived() {
    let redis = Redis::start();
    let cluster = Cluster::start();
    let database = cluster.database();
    let nodes = nodes(1, &redis, &database);
    let mut alice = nodes[0].channel(ALICE, "lobby");
    say_many(&mut alice, 5);
    wait_until_archived(&redis, &database, "channel:lobby", 5);
    cluster.stop();
    let later = say_many(&mut alice, 60);
    eventually("it is counted", || {
        let figure = |name: &str| nodes[0].sample(name).unwrap_or_default();
        figure("propromo_chat_archive_failures_total") > 0.0 && figure("propromo_chat_archive_lag_seconds") > 1.0
    });
    assert_eq!(hot(&redis, "channel:lobby"), 65);
    cluster.run();
    wait_until_archived(&redis, &database, "channel:lobby", 65);
    eventually("accounts are there again", || nodes[0].login(BOB).status == 200);
    assert_eq!(ids(&pages(&mut nodes[0].channel(BOB, "lobby")))[5..], later);
}

const SECRET: &str = "heliotrope";

fn files_with(directory: &Path, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, word));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(word.len()).any(|part| part == word.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn what_is_erased_is_erased_in_the_archive_too_and_never_comes_back() {
    let redis = Redis::start();
    redis.configure("rdbcompression", "no");
    let cluster = Cluster::start();
    let database = cluster.database();
    let nodes = nodes(2, &redis, &database);
    let mut bob = nodes[0].channel(BOB, "lobby");
    let mut alice = nodes[1].channel(ALICE, "lobby");
    for n in 0..60 {
        alice.post(&format!("{SECRET} number {n}"));
        if n % 3 == 0 {
            bob.post(&format!("others' {n}"));
        }
    }
    wait_until_archived(&redis, &database, "channel:lobby", 80);
    let with_secret = || {
        let rows =
            database.sql(&format!("SELECT count(*) FROM chat.messages WHERE position('{SECRET}'::bytea IN body) > 0"));
        rows.trim().parse::<usize>().expect("a number")
    };
    assert_eq!(with_secret(), 60);
    let setup = nodes[0].setup();
    let exported = setup.run(&["account", "export", ALICE.email]);
    let exported = String::from_utf8_lossy(&exported.stdout).into_owned();
    assert_eq!(exported.lines().filter(|line| line.contains(SECRET)).count(), 60, "{exported}");
    let erased = setup.run(&["account", "erase", ALICE.email]);
    assert!(String::from_utf8_lossy(&erased.stdout).contains("60 messages erased"), "{erased:?}");
    assert_eq!(with_secret(), 0);
    // What dead rows keep goes with VACUUM FULL; the write-ahead log is PostgreSQL's own.
    database.sql("VACUUM FULL chat.messages");
    database.sql("VACUUM FULL chat.changes");
    database.sql("CHECKPOINT");
    eventually("no file of a table has it", || files_with(&cluster.data().join("base"), SECRET).is_empty());
    let words: Vec<String> = redis.ask(cmd("KEYS").arg("*").to_owned()).expect("keys are listed");
    for key in words {
        let bytes: Vec<u8> = redis.ask(cmd("DUMP").arg(&key).to_owned()).expect("a key is dumped");
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{key}");
    }
    bob.post("and on it goes");
    wait_until_archived(&redis, &database, "channel:lobby", 21);
    assert_eq!(pages(&mut nodes[1].channel(BOB, "lobby")).len(), 21);
    // A room that is deleted as a whole.
    let room = nodes[0].call("DELETE", &format!("/api/v1/users/{}/messages", BOB.email), None);
    assert_eq!((room.status, &room.json()["erased"]), (200, &json!(21)), "{}", room.text());
    wait_until_archived(&redis, &database, "channel:lobby", 0);
}
