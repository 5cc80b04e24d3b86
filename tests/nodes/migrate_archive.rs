//! `migrate` to Redis and PostgreSQL: the archive has all messages, and Redis the newest of each room.

use redis::cmd;
use serde_json::{Value, json};
use std::thread;
use support::{
    ALICE, BOB, Server,
    api::{MASTER, call},
    channel, eventually,
    postgres::{Cluster, Database},
    redis::Redis,
    server::Setup,
};

const HOT: usize = 20;

/// What is said in the large room.
const SAID: usize = 700;

/// An embedded installation with a large room and a small one. Returns ids of the large one.
#[track_caller]
fn installation() -> (Setup, Vec<Value>) {
    let mut server = Server::with_api().env("MESSAGE_RATE", "0").start();
    let (mut alice, mut bob) = (server.channel(ALICE, "large"), server.channel(BOB, "large"));
    let mut said = Vec::new();
    for n in 0..SAID {
        alice.ask(json!({"type": "message", "text": format!("number {n}"), "ref": format!("m{n}")}));
        if n % 50 == 49 {
            said.extend((n - 49..=n).map(|n| alice.acknowledged(&format!("m{n}"))));
        }
    }
    // The first messages change, so that changes are among the newest entries whose messages are not.
    for (reference, frame) in [
        ("e", json!({"type": "edit", "id": said[3], "text": "sycamore"})),
        ("r", json!({"type": "react", "id": said[4], "emoji": "👍", "on": true})),
        ("d", json!({"type": "delete", "id": said[5]})),
        ("a", json!({"type": "message", "text": "to the first", "reply_to": said[0]})),
    ] {
        alice.done(frame, reference);
    }
    bob.done(json!({"type": "react", "id": said[4], "emoji": "🎉", "on": true}), "b");
    server.channel(ALICE, "small").post("hello");
    server.terminate();
    (server.setup().clone().without_demo(), said)
}

pub fn moved_to(setup: &Setup, redis: &Redis, database: &Database<'_>) -> Setup {
    let setup = setup.clone().env("CHAT_STORAGE_URL", redis.url()).env("DATABASE_URL", database.url());
    setup.env("HISTORY_HOT", HOT.to_string())
}

/// What `migrate` says, and whether it succeeds.
#[track_caller]
pub fn migrate(setup: &Setup) -> (bool, String) {
    let output = setup.run(&["migrate"]);
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

/// All messages of a room, as backends read them.
#[track_caller]
pub fn messages(server: &Server, room: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let before =
            all.first().map_or(String::new(), |first| format!("&before={}", first["id"].as_str().expect("an id")));
        let path = format!("/api/v1/rooms/channel:{room}/messages?limit=200{before}");
        let page = call(server.address, MASTER, "GET", &path, None).json();
        all.splice(0..0, page["messages"].as_array().unwrap_or_else(|| panic!("no page: {page}")).clone());
        if page["more"] != true {
            return all;
        }
    }
}

/// Everything of the room that somebody hears who has missed all but the first message.
#[track_caller]
pub fn since(server: &Server, first: &Value) -> Vec<Value> {
    let access = server.access(BOB);
    let path = format!("large?since={}", first.as_str().expect("an id"));
    let mut frames = channel::enter(server.address, &access, &path).hear_all_up_to_now();
    frames
        .retain(|frame| ["message", "edited", "deleted", "reacted", "error"].iter().any(|kind| frame["type"] == *kind));
    frames
}

/// How many entries Redis has in a stream of a room.
fn hot(redis: &Redis, room: &str, stream: &str) -> usize {
    redis.ask(cmd("XLEN").arg(format!("propromo:{{channel:{room}}}:{stream}")).to_owned()).expect("Redis answers")
}

fn archived(database: &Database<'_>) -> String {
    database.sql("SELECT room, count(*) FROM chat.messages GROUP BY 1 ORDER BY 1").trim().replace('\n', " ")
}

#[test]
fn the_archive_has_all_and_redis_the_newest_and_every_door_shows_the_same() {
    let (setup, said) = installation();
    let embedded = setup.clone().start();
    let before = [messages(&embedded, "large"), messages(&embedded, "small"), since(&embedded, &said[0])];
    drop(embedded);
    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let setup = moved_to(&setup, &redis, &database);
    let (done, told) = migrate(&setup);
    assert!(done && told.contains(&format!("messages: {} of 2 rooms copied, and 4 changes", SAID + 1)), "{told}");
    assert_eq!(archived(&database), format!("channel:large|{SAID} channel:small|1"));
    let in_redis = hot(&redis, "large", "log") + hot(&redis, "large", "changes");
    assert_eq!((in_redis, hot(&redis, "small", "log")), (HOT, 1));

    let server = setup.clone().start();
    let look = || {
        let after = [messages(&server, "large"), messages(&server, "small"), since(&server, &said[0])];
        for (after, before) in after.iter().zip(&before) {
            assert_eq!(after, before);
        }
    };
    look();
    // Once the node has archived something itself, nothing is overwritten.
    let mut alice = server.channel(ALICE, "other");
    alice.post("new");
    eventually("it archives", || archived(&database).contains("channel:other|1"));
    look();
    let mut alice = server.channel(ALICE, "large");
    alice.ask(json!({"type": "message", "text": "number 7", "ref": "m7"}));
    assert_eq!(alice.acknowledged("m7"), said[7], "it is the message of before");
    alice.done(json!({"type": "react", "id": said[4], "emoji": "👍", "on": false}), "u");
    alice.done(json!({"type": "edit", "id": said[6], "text": "plane tree"}), "e2");
    alice.ask(json!({"type": "search", "query": "sycamore"}));
    assert_eq!(alice.wait_for("results")["messages"][0]["id"], said[3]);
    let now = messages(&server, "large");
    assert_eq!((&now[4]["reactions"], &now[5]["text"]), (&json!({"🎉": [BOB.email]}), &json!("plane tree")));
    drop(server);
    // Done again it copies nothing, though something was said since.
    let (done, told) = migrate(&setup);
    assert!(done && told.contains("messages: 0 of 2 rooms copied, and 0 changes"), "{told}");
}

#[test]
fn killed_at_any_moment_it_goes_on_and_ends_as_if_it_had_not_been() {
    let (setup, said) = installation();
    let cluster = Cluster::shared();
    let end = |kills: u32| {
        let (redis, database) = (Redis::start(), cluster.database());
        let setup = moved_to(&setup, &redis, &database);
        let copied = || {
            let count = "SELECT coalesce((SELECT kept FROM chat.archive WHERE room = 'channel:large'), 0)";
            let is_there = database.sql("SELECT to_regclass('chat.archive') IS NOT NULL");
            if is_there.trim() == "t" { database.sql(count).trim().parse::<usize>().expect("a number") } else { 0 }
        };
        for kill in 0..kills {
            let mut moving = setup.command(&["migrate"]).spawn().expect("it can be started");
            // A little later each time: while the archive is filled, and while Redis is.
            let wanted = 1 + kill as usize * SAID / 3;
            while copied() < wanted && moving.try_wait().expect("it can be asked").is_none() {
                thread::yield_now();
            }
            moving.kill().expect("it can be killed");
            moving.wait().expect("it ends");
        }
        let (done, told) = migrate(&setup);
        assert!(done, "{told}");
        let all = database.sql("SELECT room, id, body, edit, reactions, words FROM chat.messages ORDER BY 1, 2");
        let changes = database.sql("SELECT room, id, of, change FROM chat.changes ORDER BY 1, 2");
        let kept = database.sql("SELECT room, upto, kept, gap FROM chat.archive ORDER BY 1");
        let server = setup.clone().start();
        let shown = (messages(&server, "large"), since(&server, &said[0]));
        ((all, changes, kept), (hot(&redis, "large", "log"), hot(&redis, "large", "changes")), shown)
    };
    let (whole, cut) = (end(0), end(4));
    assert!(whole.0 == cut.0, "the archives differ");
    assert!(whole.2 == cut.2, "what is shown differs");
    assert!(cut.1.0 + cut.1.1 <= HOT, "{:?}", cut.1);
}

#[test]
fn an_archive_with_other_messages_is_refused() {
    let (setup, _) = installation();
    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let setup = moved_to(&setup, &redis, &database);
    let server = setup.clone().start();
    server.channel(ALICE, "small").post("mine");
    eventually("it is archived", || archived(&database) == "channel:small|1");
    drop(server);
    redis.ask::<()>(cmd("FLUSHALL").to_owned()).expect("it is emptied");
    let (done, told) = migrate(&setup);
    assert!(!done && told.contains("has other messages already in 1 room: channel:small"), "{told}");
    assert_eq!(archived(&database), "channel:small|1", "nothing was copied");
}
