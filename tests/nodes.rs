//! Several nodes on one Redis act as one server, also when Redis or a node fails.

mod common;

use common::{
    Client, PATIENCE, Person, Response, Server, eventually, forge,
    http::{get, post_with},
    redis::{Cluster, Redis},
    server::Setup,
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

const NORA: Person = Person { email: "nora@propromo.example", password: "nora-password" };

/// A word in every message, to be found in no log.
const SECRET_TEXT: &str = "whispered";

/// Nodes that share one Redis and one file of accounts.
struct Nodes {
    servers: Vec<Server>,
    /// A genuine ticket, from which others are forged: each login costs a password's hash.
    ticket: String,
}

impl Nodes {
    #[track_caller]
    fn start(count: usize, redis_url: &str) -> Nodes {
        common::raise_open_files();
        let first = node(redis_url, None).account(NORA.email, NORA.password, &[]);
        let accounts = first.data_dir().join("chat.db");
        let mut servers = vec![first.start()];
        let others = (1..count).map(|_| node(redis_url, Some(&format!("sqlite:{}", accounts.display()))).start());
        servers.extend(others);
        let access = log_in(&servers[0]).json()["token"].as_str().expect("an access token").to_owned();
        let authorization = format!("Bearer {access}");
        let request = get("/ws_ticket", &[("Authorization", &authorization), ("Connection", "close")]);
        let ticket =
            servers[0].connect().send(request).response().json()["ticket"].as_str().expect("a ticket").to_owned();
        Nodes { servers, ticket }
    }

    /// A ticket that nobody has used, of a user of this name.
    fn ticket(&self, user: &str) -> String {
        forge(&self.ticket, |claims| {
            claims.insert("email".into(), user.into());
        })
    }

    fn path(&self, room: &str, user: &str) -> String {
        format!("/channel/{room}?ticket={}", self.ticket(user))
    }

    #[track_caller]
    fn join(&self, node: usize, room: &str, user: &str) -> Client {
        Client::open(self.servers[node].address, &self.path(room, user))
    }

    fn logs(&self) -> Vec<String> {
        self.servers.iter().map(Server::log).collect()
    }
}

fn node(redis_url: &str, accounts: Option<&str>) -> Setup {
    let setup = Server::with()
        .without_demo()
        .env("CHAT_STORAGE_URL", redis_url)
        .env("MESSAGE_RATE", "0")
        .env("TICKET_TTL", "3600");
    match accounts {
        Some(url) => setup.env("DATABASE_URL", url),
        None => setup,
    }
}

/// Which needs no Redis.
fn log_in(server: &Server) -> Response {
    let body = json!({"user": NORA.email, "pwd": NORA.password}).to_string();
    server.post("/auth", "application/json", body)
}

/// The next frame of this type; others are passed over.
#[track_caller]
fn hear_type(client: &mut Client, kind: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no {kind} is heard");
        let frame: Value = serde_json::from_str(&client.hear()).expect("frames are JSON");
        if frame["type"] == kind {
            return frame;
        }
    }
}

fn message(text: &str, reference: &str) -> String {
    json!({"type": "message", "text": text, "ref": reference}).to_string()
}

/// Sends one message until it is stored; how often it was refused.
#[track_caller]
fn say_until_stored(client: &mut Client, text: &str) -> usize {
    let deadline = Instant::now() + PATIENCE;
    for refused in 0.. {
        assert!(Instant::now() < deadline, "the message is never stored");
        client.say(message(text, text));
        loop {
            let frame: Value = serde_json::from_str(&client.hear()).expect("frames are JSON");
            if frame["type"] == "ack" && frame["ref"] == text {
                return refused;
            }
            if frame["type"] == "error" {
                thread::sleep(Duration::from_millis(20));
                break;
            }
        }
    }
    unreachable!()
}

/// One who listens in a room until it has heard every sender's last word, and comes back with `since` if it has to.
struct Listener {
    room: String,
    /// Where it may connect; it begins with the first.
    addresses: Vec<SocketAddr>,
    paths: Vec<String>,
    heard: Vec<(String, String)>,
}

impl Listener {
    /// Every message, in the order in which it came: id and text.
    fn listen(mut self, mut client: Client, senders: usize) -> Vec<(String, String)> {
        let deadline = Instant::now() + Duration::from_secs(55);
        let mut ended = 0;
        while ended < senders {
            assert!(Instant::now() < deadline, "{} of {senders} have ended in {}", ended, self.room);
            let Ok(text) = client.try_hear() else {
                client = self.come_back(deadline);
                continue;
            };
            let frame: Value = serde_json::from_str(&text).expect("frames are JSON");
            assert_ne!(frame["code"], "reload", "messages were lost");
            if frame["type"] == "message" {
                let field = |name: &str| frame[name].as_str().expect("a text").to_owned();
                ended += usize::from(field("text").ends_with("end"));
                self.heard.push((field("id"), field("text")));
            }
        }
        self.heard
    }

    fn come_back(&mut self, deadline: Instant) -> Client {
        let mut places = self.addresses.clone().into_iter().cycle().skip(1);
        loop {
            assert!(Instant::now() < deadline, "there is no way back into {}", self.room);
            let path = self.paths.pop().expect("another ticket");
            let since = self.heard.last().map_or_else(String::new, |(id, _)| format!("&since={id}"));
            let address = places.next().expect("an address");
            // A node that is gone refuses the connection itself.
            if std::net::TcpStream::connect(address).is_ok()
                && let Ok(client) = Client::try_open(address, &format!("{path}{since}"), &[])
            {
                return client;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Says `count` messages, some at a time, each again until it is stored, then `end`.
fn send(mut client: Client, name: &str, count: usize, paced: Option<Duration>) {
    const WINDOW: usize = 32;
    let mut texts: Vec<String> = (0..count).map(|n| format!("{SECRET_TEXT} {name} {n}")).collect();
    while !texts.is_empty() {
        let batch: Vec<String> = texts.drain(..WINDOW.min(texts.len())).collect();
        let mut waiting: HashSet<&str> = batch.iter().map(String::as_str).collect();
        batch.iter().for_each(|text| client.say(message(text, text)));
        while !waiting.is_empty() {
            let frame: Value = serde_json::from_str(&client.hear()).expect("frames are JSON");
            match frame["type"].as_str() {
                Some("ack") => drop(waiting.remove(frame["ref"].as_str().expect("a reference"))),
                Some("error") => {
                    let reference = frame["ref"].as_str().expect("an error names its message").to_owned();
                    thread::sleep(Duration::from_millis(10));
                    client.say(message(&reference, &reference));
                }
                _ => {}
            }
        }
        paced.into_iter().for_each(thread::sleep);
    }
    say_until_stored(&mut client, &format!("{SECRET_TEXT} {name} end"));
}

/// What is to be said and heard.
struct Crowd {
    rooms: usize,
    listeners: usize,
    senders: usize,
    messages: usize,
    /// Between a sender's batches.
    paced: Option<Duration>,
}

impl Crowd {
    /// Lets everybody talk while `meanwhile` runs; every listener of a room must hear all of it once, in one order.
    #[track_caller]
    fn talk(&self, nodes: &Mutex<Nodes>, safe_nodes: usize, meanwhile: impl FnOnce()) {
        let room_of = |n: usize| format!("room-{}", n % self.rooms);
        let (senders_of_a_room, each) = (self.senders / self.rooms, self.messages / self.senders);
        let all = nodes.lock().expect("nobody panics with it");
        let addresses: Vec<SocketAddr> = all.servers.iter().map(|server| server.address).collect();
        let listeners: Vec<_> = (0..self.listeners)
            .map(|n| {
                let (room, node) = (room_of(n), n / self.rooms % addresses.len());
                let mut addresses = addresses.clone();
                addresses.rotate_left(node);
                let client = all.join(node, &room, "listener");
                client.wait_at_most(Duration::from_secs(50));
                let paths = (0..200).map(|_| all.path(&room, "listener"));
                // Tickets are only needed by those whose node may fail.
                let paths = if node < safe_nodes { Vec::new() } else { paths.collect() };
                (Listener { room, addresses, paths, heard: Vec::new() }, client)
            })
            .collect();
        let senders: Vec<_> =
            (0..self.senders).map(|n| all.join(n / self.rooms % safe_nodes, &room_of(n), "sender")).collect();
        drop(all);
        let heard: Vec<(usize, Vec<(String, String)>)> = thread::scope(|scope| {
            let listening: Vec<_> = listeners
                .into_iter()
                .enumerate()
                .map(|(n, (listener, client))| {
                    (n % self.rooms, scope.spawn(move || listener.listen(client, senders_of_a_room)))
                })
                .collect();
            for (n, client) in senders.into_iter().enumerate() {
                scope.spawn(move || send(client, &n.to_string(), each, self.paced));
            }
            meanwhile();
            let joined =
                listening.into_iter().map(|(room, thread)| (room, thread.join().expect("a listener hears all")));
            joined.collect()
        });
        for room in 0..self.rooms {
            let mut of_this_room = heard.iter().filter(|(r, _)| *r == room).map(|(_, messages)| messages);
            let first = of_this_room.next().expect("a listener");
            let ids: HashSet<&str> = first.iter().map(|(id, _)| id.as_str()).collect();
            let texts: HashSet<&str> = first.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!((ids.len(), texts.len()), (first.len(), first.len()), "every message once");
            assert_eq!(first.len(), senders_of_a_room * (each + 1));
            assert!(first.is_sorted_by(|(a, _), (b, _)| a < b), "in the order of their ids");
            for other in of_this_room {
                assert!(other == first, "all hear the same, in the same order");
            }
        }
    }
}

#[test]
fn every_client_hears_every_message_once_in_one_order() {
    let redis = Redis::start();
    let nodes = Mutex::new(Nodes::start(3, &redis.url()));
    let crowd = Crowd { rooms: 10, listeners: 300, senders: 20, messages: 20_000, paced: None };
    crowd.talk(&nodes, 3, || {});
}

#[test]
fn nothing_is_lost_or_doubled_when_redis_and_a_node_are_killed() {
    let mut redis = Redis::start();
    let nodes = Mutex::new(Nodes::start(3, &redis.url()));
    let crowd =
        Crowd { rooms: 5, listeners: 60, senders: 10, messages: 10_000, paced: Some(Duration::from_millis(200)) };
    crowd.talk(&nodes, 2, || {
        for outage in 0..3 {
            thread::sleep(Duration::from_millis(1500));
            redis.kill();
            thread::sleep(Duration::from_millis(300));
            redis.run();
            if outage == 1 {
                nodes.lock().expect("nobody panics with it").servers[2].kill9();
            }
        }
    });
    let nodes = nodes.into_inner().expect("nobody panics with it");
    for log in nodes.logs() {
        assert!(!log.contains(SECRET_TEXT), "a message is in the log");
        assert!(!log.contains(&nodes.ticket[..40]), "a token is in the log");
        assert!(!log.contains(NORA.password), "a password is in the log");
        let alarms = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
        assert!(alarms <= 12, "{alarms} alarms for three outages:\n{log}");
    }
}

/// How the handshakes ended: 0 for those that got in, else the status.
fn race(addresses: &[SocketAddr], path: &str, runners: usize) -> Vec<u16> {
    let start = Barrier::new(runners);
    thread::scope(|scope| {
        let runners: Vec<_> = (0..runners)
            .map(|n| {
                let (start, address) = (&start, addresses[n % addresses.len()]);
                let runner = move || {
                    start.wait();
                    match Client::try_open(address, path, &[]) {
                        Ok(_) => 0,
                        Err(refusal) => refusal.status,
                    }
                };
                thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, runner).expect("a thread")
            })
            .collect();
        runners.into_iter().map(|runner| runner.join().expect("an answer")).collect()
    })
}

#[track_caller]
fn one_of_many_gets_in(nodes: &Nodes, runners: usize) {
    let addresses: Vec<SocketAddr> = nodes.servers.iter().map(|server| server.address).collect();
    let path = nodes.path("race", "racer");
    let ends = race(&addresses, &path, runners);
    assert_eq!(ends.iter().filter(|end| **end == 0).count(), 1);
    assert!(ends.iter().all(|end| matches!(end, 0 | 403)), "{:?}", ends.iter().collect::<HashSet<_>>());
}

#[test]
fn of_a_thousand_that_race_with_a_token_over_three_nodes_one_gets_in() {
    let redis = Redis::start();
    one_of_many_gets_in(&Nodes::start(3, &redis.url()), 1000);
}

#[test]
fn without_redis_nobody_gets_in_and_the_token_works_once_afterwards() {
    let mut redis = Redis::start();
    let nodes = Nodes::start(2, &redis.url());
    let path = nodes.path("later", "alice");
    redis.kill();
    for server in &nodes.servers {
        let refusal = server.refused(&path, &[]);
        assert_eq!((refusal.status, refusal.reason().as_str()), (503, "unavailable"));
        assert_eq!(server.get("/readyz").status, 503);
    }
    redis.run();
    eventually("the nodes are ready", || nodes.servers.iter().all(|server| server.get("/readyz").status == 200));
    let addresses: Vec<SocketAddr> = nodes.servers.iter().map(|server| server.address).collect();
    assert_eq!(race(&addresses, &path, 20).iter().filter(|end| **end == 0).count(), 1);
}

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
    let mut refused = 0;
    while standing.elapsed() < Duration::from_secs(20) {
        alice.say(message("lost", "lost"));
        refused += usize::from(hear_type(&mut alice, "error")["code"] == "unavailable");
        let answer = log_in(&nodes.servers[0]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        thread::sleep(Duration::from_millis(100));
    }
    assert!(refused > 10, "after the first time-out each message is refused at once; {refused} were");
    assert_eq!(nodes.servers[0].get("/readyz").status, 503);
    for (server, before) in nodes.servers.iter().zip(&threads) {
        // A handler of plain requests or two may have been busy at the time.
        let now = figure(server, "Threads");
        assert!(now <= before + 4, "{before} threads became {now}");
    }
    let grown = figure(&nodes.servers[0], "VmRSS").saturating_sub(memory);
    assert!(grown < 64 << 10, "{grown} KiB more");
    redis.go_on();
    let going = Instant::now();
    say_until_stored(&mut alice, "after");
    assert_eq!(hear_type(&mut bob, "message")["text"], "after");
    assert!(going.elapsed() < Duration::from_secs(2), "{:?}", going.elapsed());
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

#[test]
fn a_cluster_keeps_order_and_single_use() {
    let cluster = Cluster::start();
    let nodes = Mutex::new(Nodes::start(2, &cluster.url()));
    // More rooms than masters, so that each master has some.
    let crowd = Crowd { rooms: 12, listeners: 48, senders: 24, messages: 2_400, paced: None };
    crowd.talk(&nodes, 2, || {});
    one_of_many_gets_in(&nodes.into_inner().expect("nobody panics with it"), 100);
}

#[test]
fn a_cluster_whose_master_was_killed_loses_nothing() {
    let mut cluster = Cluster::start();
    let nodes = Mutex::new(Nodes::start(2, &cluster.url()));
    let crowd = Crowd { rooms: 6, listeners: 12, senders: 6, messages: 1_200, paced: Some(Duration::from_millis(200)) };
    crowd.talk(&nodes, 2, || {
        thread::sleep(Duration::from_millis(500));
        cluster.servers[1].kill();
        thread::sleep(Duration::from_millis(500));
        cluster.servers[1].run();
    });
}
