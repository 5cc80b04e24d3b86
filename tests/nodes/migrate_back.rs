//! `migrate --to embedded`: what Redis and the archive have comes back to one embedded server.

use crate::migrate_archive::{messages, since};
use redis::cmd;
use serde_json::{Value, json};
use std::{fs, thread};
use support::{
    ALICE, BOB, DEMO, Server, eventually,
    postgres::{Cluster, Database},
    redis::Redis,
    server::Setup,
};

const HOT: usize = 20;

/// What is said in the large room: more than is copied at a time.
const SAID: usize = 600;

/// What nodes have left in Redis and, if there is one, in the archive.
struct Left {
    /// A node.
    node: Setup,
    /// A server on the directory to which it moves.
    back: Setup,
    /// Ids of the large room.
    said: Vec<Value>,
    /// Messages of the rooms, and what somebody hears who has missed all but the first of the large one.
    shown: [Vec<Value>; 3],
    spent: String,
}

/// All that is compared.
#[track_caller]
fn shown(server: &Server, said: &[Value]) -> [Vec<Value>; 3] {
    [messages(server, "large"), messages(server, "small"), since(server, &said[0])]
}

impl Left {
    #[track_caller]
    fn behind(redis: &Redis, database: Option<&Database<'_>>) -> Left {
        let setup = Server::with_api()
            .without_demo()
            .env("MESSAGE_RATE", "0")
            .env("SEARCH_RATE", "0")
            .env("HISTORY_HOT", HOT.to_string());
        let setup = match database {
            Some(database) => setup.env("DATABASE_URL", database.url()),
            None => [ALICE, BOB]
                .into_iter()
                .fold(setup.monitor(DEMO), |setup, person| setup.account(person.email, person.password, &[DEMO])),
        };
        let node = setup.clone().env("CHAT_STORAGE_URL", redis.url());
        let mut server = node.clone().start();
        let (mut alice, mut bob) = (server.channel(ALICE, "large"), server.channel(BOB, "large"));
        let mut said = Vec::new();
        for n in 0..SAID {
            alice.ask(json!({"type": "message", "text": format!("number {n}"), "ref": format!("m{n}")}));
            if n % 50 == 49 {
                said.extend((n - 49..=n).map(|n| alice.acknowledged(&format!("m{n}"))));
            }
        }
        let archived = |count: usize| {
            let Some(database) = database else { return };
            eventually("Redis keeps the newest alone", || {
                let hot: usize =
                    redis.ask(cmd("XLEN").arg("propromo:{channel:large}:log").to_owned()).expect("a length");
                let rows = database.sql("SELECT count(*) FROM chat.messages WHERE room = 'channel:large'");
                rows.trim() == count.to_string() && hot <= HOT + HOT / 10
            });
        };
        archived(SAID);
        for (reference, frame) in [
            ("e", json!({"type": "edit", "id": said[3], "text": "sycamore"})),
            ("r", json!({"type": "react", "id": said[4], "emoji": "👍", "on": true})),
            ("d", json!({"type": "delete", "id": said[5]})),
            ("a", json!({"type": "message", "text": "to the first", "reply_to": said[0]})),
            ("e2", json!({"type": "edit", "id": said[3], "text": "plane tree"})),
        ] {
            alice.done(frame, reference);
        }
        bob.done(json!({"type": "react", "id": said[4], "emoji": "🎉", "on": true}), "b");
        archived(SAID);
        server.channel(ALICE, "small").post("hello");
        let spent = server.token(ALICE);
        server.enter(&spent, DEMO);
        let shown = shown(&server, &said);
        server.terminate();
        let back = setup.env("DATA_DIR", node.path("back"));
        // The accounts stay where they are.
        let accounts = format!("sqlite:{}", node.data_dir().join("chat.db").display());
        let back = if database.is_some() { back } else { back.env("DATABASE_URL", accounts) };
        Left { node, back, said, shown, spent }
    }

    fn moving(&self, redis: &Redis) -> Setup {
        self.back.clone().env("CHAT_STORAGE_URL", redis.url())
    }
}

/// What the command says, and whether it succeeds.
#[track_caller]
fn move_back(setup: &Setup) -> (bool, String) {
    let output = setup.run(&["migrate", "--to", "embedded"]);
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

#[track_caller]
fn everything_is_there(left: &Left) {
    let mut server = left.back.clone().start();
    let look = |server: &Server| {
        for (after, before) in shown(server, &left.said).iter().zip(&left.shown) {
            assert_eq!(after, before);
        }
    };
    look(&server);
    assert_eq!(server.refused(&format!("/chat/{}?auth={}", DEMO, left.spent), &[]).reason(), "token_used");
    let mut alice = server.channel(ALICE, "large");
    let newest = left.shown[0].last().expect("a message")["id"].as_str().expect("an id").to_owned();
    eventually("it is found", || {
        alice.ask(json!({"type": "search", "query": "plane tre"}));
        alice.wait_for("results")["messages"][0]["id"] == left.said[3]
    });
    alice.done(json!({"type": "react", "id": left.said[4], "emoji": "👍", "on": false}), "u");
    assert_eq!(messages(&server, "large")[4]["reactions"], json!({"🎉": [BOB.email]}));
    alice.done(json!({"type": "react", "id": left.said[4], "emoji": "👍", "on": true}), "u2");
    assert!(*alice.post("new")["id"].as_str().expect("an id") > *newest, "new ones come after those of before");
    server.terminate();
    let after = messages(&left.back.clone().start(), "large");
    assert_eq!(after.len(), left.shown[0].len() + 1);
    assert_eq!(after.last().expect("a message")["text"], "new");
}

#[test]
fn all_that_redis_and_the_archive_have_comes_back_to_one_server() {
    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let left = Left::behind(&redis, Some(&database));
    let (done, told) = move_back(&left.moving(&redis));
    assert!(done && told.contains(&format!("messages: {} of 2 rooms copied, and 5 changes", SAID + 1)), "{told}");
    let (done, told) = move_back(&left.moving(&redis));
    assert!(!done && told.contains("log.db is there already"), "{told}");
    everything_is_there(&left);
}

#[test]
fn all_that_redis_alone_has_comes_back_to_one_server() {
    let redis = Redis::start();
    let left = Left::behind(&redis, None);
    let (done, told) = move_back(&left.moving(&redis));
    assert!(done && told.contains(&format!("messages: {} of 2 rooms copied, and 5 changes", SAID + 1)), "{told}");
    everything_is_there(&left);
}

#[test]
fn a_way_back_that_is_killed_goes_on_though_nodes_have_run_in_between() {
    let (redis, cluster) = (Redis::start(), Cluster::shared());
    let database = cluster.database();
    let mut left = Left::behind(&redis, Some(&database));
    let moving = left.moving(&redis);
    let size = || fs::metadata(moving.path("back").join("moving.db-wal")).map_or(0, |file| file.len());
    for kill in 0..3 {
        let mut command = moving.command(&["migrate", "--to", "embedded"]).spawn().expect("it can be started");
        // A little later each time: once it is there, and once it has some of the messages.
        while size() < [1, 100_000, 200_000][kill] && command.try_wait().expect("it can be asked").is_none() {
            thread::yield_now();
        }
        command.kill().expect("it can be killed");
        command.wait().expect("it ends");
    }
    // Where the machine was too busy to kill it in time, it begins anew.
    if moving.path("back").join("log.db").exists() {
        fs::remove_dir_all(moving.path("back")).expect("it can be removed");
    }
    let mut server = left.node.clone().start();
    let mut alice = server.channel(ALICE, "large");
    for (reference, frame) in [
        ("e3", json!({"type": "edit", "id": left.said[7], "text": "larch"})),
        ("d3", json!({"type": "delete", "id": left.said[8]})),
        ("r3", json!({"type": "react", "id": left.said[9], "emoji": "👍", "on": true})),
        ("r4", json!({"type": "react", "id": left.said[4], "emoji": "👍", "on": false})),
        ("m3", json!({"type": "message", "text": "later"})),
    ] {
        alice.done(frame, reference);
    }
    alice.done(json!({"type": "react", "id": left.said[4], "emoji": "👍", "on": true}), "r5");
    left.shown = shown(&server, &left.said);
    server.terminate();
    let (done, told) = move_back(&moving);
    assert!(done, "{told}");
    everything_is_there(&left);
}
