//! Who is here is the same on all nodes soon after a fault, and whoever watches heard exactly what lead there.

use crate::several::{NORA, Nodes, node};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};
use support::{
    Client, Server,
    chats::{Guest, ask, names},
    eventually,
    line::Line,
    lossy::{Loss, LossyWay},
    redis::Redis,
};

/// A node tries again in less than this what it could not tell.
const TRIED_AGAIN: Duration = Duration::from_secs(2);

/// A node's lease may end so soon after the last time that it was renewed.
pub const OF_A_LEASE: Duration = Duration::from_secs(8);

/// How long they may take on a machine that is busy with other tests. How soon they do is for `chaos` to see, which tries
/// more than once.
const PATIENCE: Duration = Duration::from_secs(30);

/// One who is in a room and notes who comes and goes.
pub struct Watcher {
    pub client: Client,
    /// Whom it believes to be there.
    pub list: BTreeSet<String>,
    /// What it was told since [`Watcher::forgets`], as `+alice`, `-bob`.
    pub told: Vec<String>,
    /// What was said.
    pub texts: Vec<String>,
}

impl Watcher {
    #[track_caller]
    pub fn enters(nodes: &Nodes, node: usize, room: &str, name: &str) -> Watcher {
        let client = nodes.join(node, room, name);
        let mut watcher = Watcher { client, list: BTreeSet::new(), told: Vec::new(), texts: Vec::new() };
        eventually("it is in the list itself", || {
            watcher.list = watcher.asks();
            watcher.list.contains(name)
        });
        watcher
    }

    /// Whom the node says to be there.
    #[track_caller]
    fn asks(&mut self) -> BTreeSet<String> {
        self.client.ask(json!({"type": "presence"}));
        loop {
            let frame = self.client.hear_frame();
            if frame["type"] == "presence" {
                let users = frame["users"].as_array().expect("a list");
                return users.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            }
            self.note(&frame);
        }
    }

    /// Hears what it was told up to now.
    #[track_caller]
    pub fn listens(&mut self) {
        for frame in self.client.hear_all_up_to_now() {
            self.note(&frame);
        }
    }

    pub fn note(&mut self, frame: &Value) {
        if frame["type"] == "message" {
            self.texts.push(frame["text"].as_str().expect("a text").to_owned());
        }
        let Some(user) = frame["user"].as_str() else { return };
        if frame["type"] == "join" {
            self.list.insert(user.to_owned());
            self.told.push(format!("+{user}"));
        } else if frame["type"] == "leave" {
            self.list.remove(user);
            self.told.push(format!("-{user}"));
        }
    }

    pub fn forgets(&mut self) {
        self.listens();
        self.told.clear();
    }
}

fn set(users: &[&str]) -> BTreeSet<String> {
    users.iter().map(|user| (*user).to_owned()).collect()
}

/// Waits until all watchers have just these in their lists, by what they were told and by what they ask.
#[track_caller]
pub fn all_know(watchers: &mut [&mut Watcher], users: &[&str]) {
    let (start, users) = (Instant::now(), set(users));
    let mut lists = Vec::new();
    let agree = |watchers: &mut [&mut Watcher], lists: &mut Vec<_>| {
        lists.clear();
        for watcher in watchers {
            watcher.listens();
            lists.push((watcher.list.clone(), watcher.asks()));
        }
        lists.iter().all(|(told, asked)| *told == users && *asked == users)
    };
    while !agree(watchers, &mut lists) {
        assert!(start.elapsed() < PATIENCE, "told and asked {lists:?}, not {users:?}");
        thread::sleep(Duration::from_millis(20));
    }
    eprintln!("the same on all nodes after {:?}", start.elapsed());
}

/// What a watcher was told, in whatever order.
pub fn told(watcher: &Watcher) -> Vec<String> {
    let mut told = watcher.told.clone();
    told.sort_unstable();
    told
}

/// Two nodes, of which the second has a way of its own to Redis.
#[track_caller]
fn two_nodes(redis: &Redis, way: &str) -> Nodes {
    let mut nodes = Nodes::start(1, &redis.url());
    let accounts = format!("sqlite:{}", nodes.servers[0].data_dir().join("chat.db").display());
    nodes.servers.push(node(way, Some(&accounts)).env("ADMIN_LISTEN", "127.0.0.1:0").start());
    nodes
}

#[test]
fn whoever_comes_back_while_nobody_answers_her_node_is_in_every_list() {
    let redis = Redis::start();
    let way = LossyWay::to(redis.port);
    let nodes = two_nodes(&redis, &format!("redis://127.0.0.1:{}", way.port));
    let mut here = Watcher::enters(&nodes, 0, "back", "here");
    let mut there = Watcher::enters(&nodes, 1, "back", "there");
    let alice = nodes.join(1, "back", "alice");
    all_know(&mut [&mut here, &mut there], &["alice", "here", "there"]);
    way.lose(Loss::Answer, "alice");
    alice.close();
    eventually("Redis hears that she has left, and nobody hears that it did", || {
        let mut get = redis::cmd("HGET");
        get.arg("propromo:{channel:back}:here").arg("alice");
        way.lost() > 0 && redis.ask::<Option<String>>(get).is_ok_and(|claims| claims.is_none())
    });
    let mut alice = None;
    eventually("she comes back", || {
        alice = Client::try_open(nodes.servers[1].address, &nodes.path("back", "alice"), &[]).ok();
        alice.is_some()
    });
    thread::sleep(TRIED_AGAIN);
    way.mend();
    all_know(&mut [&mut here, &mut there], &["alice", "here", "there"]);
}

#[test]
fn whoever_leaves_while_nobody_answers_her_node_is_no_ghost() {
    let redis = Redis::start();
    let way = LossyWay::to(redis.port);
    let nodes = two_nodes(&redis, &format!("redis://127.0.0.1:{}", way.port));
    let mut here = Watcher::enters(&nodes, 0, "ghost", "here");
    let mut there = Watcher::enters(&nodes, 1, "ghost", "there");
    way.lose(Loss::Answer, "alice");
    let alice = nodes.join(1, "ghost", "alice");
    eventually("Redis hears that she has come, and nobody hears that it did", || way.lost() > 0);
    drop(alice);
    let connections = "propromo_chat_connections{door=\"channel\"}";
    eventually("she is gone", || nodes.servers[1].figure(connections) == 1.0);
    thread::sleep(TRIED_AGAIN);
    way.mend();
    all_know(&mut [&mut here, &mut there], &["here", "there"]);
}

#[test]
fn what_happened_while_a_node_was_cut_off_is_told_when_it_is_back() {
    for fault in [Line::cut, Line::fall_silent, Line::tear] {
        let redis = Redis::start();
        let line = Line::to(redis.port);
        let nodes = two_nodes(&redis, &line.url());
        let mut here = Watcher::enters(&nodes, 0, "cut", "here");
        let mut there = Watcher::enters(&nodes, 1, "cut", "there");
        let (bob, dave) = (nodes.join(1, "cut", "bob"), nodes.join(0, "cut", "dave"));
        all_know(&mut [&mut here, &mut there], &["bob", "dave", "here", "there"]);
        here.forgets();
        there.forgets();
        let begun = Instant::now();
        fault(&line);
        bob.close();
        dave.close();
        let _carol = nodes.join(0, "cut", "carol");
        eventually("it is known on this side", || {
            here.listens();
            here.list == set(&["bob", "carol", "here", "there"])
        });
        eventually("the node knows that it is cut off", || nodes.servers[1].get("/readyz").status == 503);
        line.mend();
        all_know(&mut [&mut here, &mut there], &["carol", "here", "there"]);
        let mut of_here = told(&here);
        // On a machine that is slower than the node's lease is long, its claims have ended and come back.
        if begun.elapsed() > OF_A_LEASE && of_here.contains(&"-there".to_owned()) {
            assert!(of_here.contains(&"+there".to_owned()), "{of_here:?}");
            of_here.retain(|word| !word.ends_with("there"));
        }
        assert_eq!(of_here, ["+carol", "-bob", "-dave"]);
        assert_eq!(told(&there), ["+carol", "-bob", "-dave"]);
    }
}

#[test]
fn a_node_that_stood_still_beyond_its_lease_is_gone_and_comes_back() {
    let redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let mut here = Watcher::enters(&nodes, 0, "frozen", "here");
    let mut there = Watcher::enters(&nodes, 1, "frozen", "there");
    let _bob = nodes.join(1, "frozen", "bob");
    all_know(&mut [&mut here, &mut there], &["bob", "here", "there"]);
    here.forgets();
    there.forgets();
    nodes.servers[1].signal(Signal::STOP);
    all_know(&mut [&mut here], &["here"]);
    nodes.servers[1].signal(Signal::CONT);
    all_know(&mut [&mut here, &mut there], &["bob", "here", "there"]);
    assert_eq!(told(&here), ["+bob", "+there", "-bob", "-there"]);
    assert!(there.told.is_empty(), "nobody has moved where it stood still: {:?}", there.told);
}

#[test]
fn a_node_that_died_takes_all_its_claims_along() {
    let redis = Redis::start();
    let mut nodes = Nodes::start(2, &redis.url());
    let mut here = Watcher::enters(&nodes, 0, "dead", "here");
    let (_alice, _bob) = (nodes.join(1, "dead", "alice"), nodes.join(1, "dead", "bob"));
    let also_here = nodes.join(0, "dead", "bob");
    let _ann = Guest::join(&nodes.servers[1], 1, "Ann");
    all_know(&mut [&mut here], &["alice", "bob", "here"]);
    here.forgets();
    nodes.servers[1].kill9();
    all_know(&mut [&mut here], &["bob", "here"]);
    assert_eq!(told(&here), ["-alice"]);
    let mut heir = Guest::open(&nodes.servers[0], 1, "Ann");
    heir.event("join", "");
    heir.hears("join", "Ann");
    also_here.close();
    all_know(&mut [&mut here], &["here"]);
}

#[test]
fn of_a_redis_that_was_emptied_nobody_hears() {
    let redis = Redis::start();
    let nodes = Nodes::start(3, &redis.url());
    let mut watchers: Vec<Watcher> =
        (0..3).map(|node| Watcher::enters(&nodes, node, "flushed", &format!("w{node}"))).collect();
    let _ann = Guest::join(&nodes.servers[1], 1, "Ann");
    let users = |server: &Server| -> Vec<String> {
        names(&ask(server, "GET", "/chats/1", None, None).json()).into_iter().map(str::to_owned).collect()
    };
    let mut all: Vec<&mut Watcher> = watchers.iter_mut().collect();
    all_know(&mut all, &["w0", "w1", "w2"]);
    all.iter_mut().for_each(|watcher| watcher.forgets());
    for _ in 0..2 {
        let flush = redis::cmd("FLUSHALL");
        redis.ask::<()>(flush).expect("Redis can be emptied");
        all_know(&mut all, &["w0", "w1", "w2"]);
    }
    eventually("the names are known again", || nodes.servers.iter().all(|server| users(server) == ["Ann"]));
    // So long a claim that was lost would be missed without being told of.
    thread::sleep(Duration::from_secs(5));
    all_know(&mut all, &["w0", "w1", "w2"]);
    for watcher in &all {
        assert!(watcher.told.is_empty(), "{:?}", watcher.told);
    }
}

#[test]
fn a_key_that_was_lost_is_written_again() {
    let redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let mut here = Watcher::enters(&nodes, 0, "evicted", "here");
    let mut there = Watcher::enters(&nodes, 1, "evicted", "there");
    all_know(&mut [&mut here, &mut there], &["here", "there"]);
    here.forgets();
    there.forgets();
    for key in ["here", "nodes"] {
        let mut delete = redis::cmd("DEL");
        delete.arg(format!("propromo:{{channel:evicted}}:{key}"));
        assert_eq!(redis.ask::<usize>(delete).expect("Redis deletes"), 1, "{key}");
        all_know(&mut [&mut here, &mut there], &["here", "there"]);
        let both = || -> usize {
            let mut length = redis::cmd("HLEN");
            length.arg("propromo:{channel:evicted}:here");
            redis.ask(length).expect("Redis counts")
        };
        eventually("it is there again", || both() == 2);
    }
    all_know(&mut [&mut here, &mut there], &["here", "there"]);
    assert_eq!((&here.told[..], &there.told[..]), (&[][..], &[][..]) as (&[String], &[String]));
}

#[test]
fn many_rooms_behind_a_slow_line_cost_little_and_nobody_flaps() {
    const ROOMS: usize = 500;
    let redis = Redis::start();
    let line = Line::to(redis.port);
    let nodes = two_nodes(&redis, &line.url());
    let _members: Vec<Client> = (0..ROOMS).map(|n| nodes.join(1, &format!("room-{n}"), "member")).collect();
    let mut watchers: Vec<Watcher> =
        (0..5).map(|n| Watcher::enters(&nodes, 0, &format!("room-{}", n * 100), "here")).collect();
    for watcher in &mut watchers {
        all_know(&mut [watcher], &["here", "member"]);
        watcher.forgets();
    }
    line.slow(Duration::from_millis(16));
    let scripts = || -> u64 {
        let stats = redis.info("commandstats");
        let calls = |line: &str| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok();
        let found = stats.lines().find_map(calls);
        found.unwrap_or(0)
    };
    let (before, begun) = (scripts(), Instant::now());
    thread::sleep(Duration::from_secs(11));
    let (ran, seconds) = (scripts() - before, begun.elapsed().as_secs_f64());
    assert!(ran as f64 / seconds < 9.0, "{ran} scripts in {seconds} s for rooms in which nothing happens");
    let came = Instant::now();
    let _late = nodes.join(1, "room-0", "late");
    all_know(&mut [&mut watchers[0]], &["here", "late", "member"]);
    assert!(came.elapsed() < Duration::from_secs(30), "{:?}", came.elapsed());
    for watcher in &mut watchers[1..] {
        watcher.listens();
        assert!(watcher.told.is_empty(), "{:?}", watcher.told);
    }
}

#[test]
fn names_of_a_node_that_was_cut_off_are_its_members_again() {
    let redis = Redis::start();
    let line = Line::to(redis.port);
    let first = node(&redis.url(), None).account(NORA.email, NORA.password, &[]);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let [here, there] = [first.start(), node(&line.url(), Some(&accounts)).start()];
    let mut ann = Guest::join(&there, 1, "Ann");
    let bob = Guest::join(&there, 1, "Bob");
    line.cut();
    eventually("the node knows that it is cut off", || there.get("/readyz").status == 503);
    drop(bob);
    line.mend();
    let users = |server: &Server| -> Vec<String> {
        names(&ask(server, "GET", "/chats/1", None, None).json()).into_iter().map(str::to_owned).collect()
    };
    eventually("Bob's name is free, and Ann's is hers", || {
        [&here, &there].iter().all(|server| users(server) == ["Ann"])
    });
    let mut other = Guest::open(&here, 1, "ann");
    other.event("join", "");
    other.is_told(202, "name");
    eventually("the node works again", || there.get("/readyz").status == 200);
    ann.event("send", "It's me");
    eventually("she is heard", || ann.hear()["msg"] == "It's me");
}
