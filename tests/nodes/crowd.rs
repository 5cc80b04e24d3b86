//! Many clients on several nodes: each hears all that is said in its room, once, in one order.

use crate::{
    several::{Nodes, message},
    single_use::one_of_many_gets_in,
};
use serde_json::Value;
use std::{
    collections::HashSet,
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use support::{
    Client, eventually_within,
    redis::{Cluster, Redis},
};

/// How long a crowd may talk. Long, since the machine may be busy.
const TALK: Duration = Duration::from_secs(600);

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
        let deadline = Instant::now() + TALK;
        let mut ended = 0;
        while ended < senders {
            assert!(Instant::now() < deadline, "{} of {senders} have ended in {}", ended, self.room);
            let Ok(text) = client.try_hear() else {
                client = self.come_back();
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

    fn come_back(&mut self) -> Client {
        let mut places = self.addresses.clone().into_iter().cycle().skip(1);
        let mut back = None;
        eventually_within(TALK, "there is a way back into the room", || {
            let address = places.next().expect("an address");
            // A node that is gone refuses the connection itself, and needs no ticket.
            if TcpStream::connect(address).is_err() {
                return false;
            }
            let path = self.paths.pop().expect("another ticket");
            let since = self.heard.last().map_or_else(String::new, |(id, _)| format!("&since={id}"));
            // It may also go in the middle of the handshake.
            back = Client::attempt(address, &format!("{path}{since}")).ok().and_then(Result::ok);
            back.is_some()
        });
        back.expect("it is back")
    }
}

/// How far the senders are.
#[derive(Default)]
pub struct Progress {
    stored: AtomicUsize,
    refused: AtomicUsize,
}

impl Progress {
    /// Waits until this many messages are stored in all.
    pub fn reaches(&self, stored: usize) {
        eventually_within(TALK, "messages are stored", || self.stored.load(Ordering::Relaxed) >= stored);
    }

    /// Waits until one more message is refused than by now.
    pub fn meets_an_outage(&self) {
        let before = self.refused.load(Ordering::Relaxed);
        eventually_within(TALK, "a message is refused", || self.refused.load(Ordering::Relaxed) > before);
    }
}

/// Says `texts`, some at a time, each again until it is stored; the last of them after all others.
fn send(mut client: Client, texts: &[String], progress: &Progress) {
    const WINDOW: usize = 32;
    let (others, last) = texts.split_at(texts.len() - 1);
    for batch in others.chunks(WINDOW).chain([last]) {
        let mut waiting: HashSet<&str> = batch.iter().map(String::as_str).collect();
        eventually_within(TALK, "what is said is stored", || {
            waiting.iter().for_each(|text| client.say(message(text, text)));
            let mut unanswered = waiting.len();
            while unanswered > 0 {
                let frame: Value = serde_json::from_str(&client.hear()).expect("frames are JSON");
                match frame["type"].as_str() {
                    Some("ack") => {
                        waiting.remove(frame["ref"].as_str().expect("a reference"));
                        progress.stored.fetch_add(1, Ordering::Relaxed);
                        unanswered -= 1;
                    }
                    Some("error") => {
                        progress.refused.fetch_add(1, Ordering::Relaxed);
                        unanswered -= 1;
                    }
                    _ => {}
                }
            }
            waiting.is_empty()
        });
    }
}

/// What is to be said and heard.
pub struct Crowd {
    pub rooms: usize,
    pub listeners: usize,
    pub senders: usize,
    pub messages: usize,
}

impl Crowd {
    /// Lets everybody talk while `meanwhile` runs; every listener of a room must hear all of it once, in one order.
    /// Only nodes after the first `safe_nodes` may fail.
    #[track_caller]
    pub fn talk(&self, nodes: &Mutex<Nodes>, safe_nodes: usize, meanwhile: impl FnOnce(&Progress)) {
        let room_of = |n: usize| format!("room-{}", n % self.rooms);
        let (senders_of_a_room, each) = (self.senders / self.rooms, self.messages / self.senders);
        let all = nodes.lock().expect("nobody panics with it");
        let addresses = all.addresses();
        let listeners: Vec<_> = (0..self.listeners)
            .map(|n| {
                let (room, node) = (room_of(n), n / self.rooms % addresses.len());
                let mut addresses = addresses.clone();
                addresses.rotate_left(node);
                let client = all.join(node, &room, "listener");
                client.wait_at_most(TALK);
                let paths = (0..200).map(|_| all.path(&room, "listener"));
                // Tickets are only needed by those whose node may fail.
                let paths = if node < safe_nodes { Vec::new() } else { paths.collect() };
                (Listener { room, addresses, paths, heard: Vec::new() }, client)
            })
            .collect();
        let senders: Vec<_> =
            (0..self.senders).map(|n| all.join(n / self.rooms % safe_nodes, &room_of(n), "sender")).collect();
        drop(all);
        let progress = Progress::default();
        let heard: Vec<(usize, Vec<(String, String)>)> = thread::scope(|scope| {
            let listening: Vec<_> = listeners
                .into_iter()
                .enumerate()
                .map(|(n, (listener, client))| {
                    (n % self.rooms, scope.spawn(move || listener.listen(client, senders_of_a_room)))
                })
                .collect();
            for (name, client) in senders.into_iter().enumerate() {
                let texts: Vec<String> =
                    (1..each).map(|n| format!("{name} {n}")).chain([format!("{name} end")]).collect();
                let progress = &progress;
                scope.spawn(move || send(client, &texts, progress));
            }
            meanwhile(&progress);
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
            assert_eq!(first.len(), senders_of_a_room * each);
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
    Crowd { rooms: 10, listeners: 300, senders: 20, messages: 20_000 }.talk(&nodes, 3, |_| {});
}

#[test]
fn nothing_is_lost_or_doubled_when_redis_and_a_node_are_killed() {
    let mut redis = Redis::start();
    let nodes = Mutex::new(Nodes::start(3, &redis.url()));
    let crowd = Crowd { rooms: 5, listeners: 60, senders: 10, messages: 10_000 };
    crowd.talk(&nodes, 2, |progress| {
        for outage in 1..=3 {
            progress.reaches(outage * 2_500);
            redis.kill();
            progress.meets_an_outage();
            redis.run();
            if outage == 2 {
                nodes.lock().expect("nobody panics with it").servers[2].kill9();
            }
        }
    });
}

#[test]
fn a_cluster_keeps_order_and_single_use() {
    let cluster = Cluster::start();
    let nodes = Mutex::new(Nodes::start(2, &cluster.url()));
    // More rooms than masters, so that each master has some.
    Crowd { rooms: 12, listeners: 48, senders: 24, messages: 2_400 }.talk(&nodes, 2, |_| {});
    one_of_many_gets_in(&nodes.into_inner().expect("nobody panics with it"), 100);
}

#[test]
fn a_cluster_whose_master_was_killed_loses_nothing() {
    let mut cluster = Cluster::start();
    let nodes = Mutex::new(Nodes::start(2, &cluster.url()));
    Crowd { rooms: 6, listeners: 12, senders: 6, messages: 1_200 }.talk(&nodes, 2, |progress| {
        progress.reaches(300);
        cluster.servers[1].kill();
        progress.meets_an_outage();
        cluster.servers[1].run();
    });
}
