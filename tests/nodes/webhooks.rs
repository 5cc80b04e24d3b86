//! Webhooks of several nodes: one of them sends, each event once, and another goes on when it dies.

use super::several::NORA;
use rustix::process::Signal;
use std::collections::HashSet;
use support::{
    Client, Server, eventually,
    receiver::{Received, Receiver},
    redis::Redis,
    server::Setup,
};

fn node(redis: &Redis, receiver: &Receiver, accounts: Option<&Server>) -> Setup {
    let accounts = accounts.map(|first| format!("sqlite:{}", first.data_dir().join("chat.db").display()));
    super::several::node(&redis.url(), accounts.as_deref()).webhooks_to(&receiver.url())
}

fn three(redis: &Redis, receiver: &Receiver) -> Vec<Server> {
    let first = node(redis, receiver, None).monitor("team").account(NORA.email, NORA.password, &["team"]).start();
    let others = [node(redis, receiver, Some(&first)).start(), node(redis, receiver, Some(&first)).start()];
    [first].into_iter().chain(others).collect()
}

/// The texts that arrived of a room, in order, each once.
fn told(receiver: &Receiver, room: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let received = receiver.received();
    let of_room = received.iter().filter(|received| received.event["data"]["room"] == room);
    let messages = of_room.filter(|received| received.kind() == "message.created");
    messages.filter(|received| seen.insert(received.id())).map(|received| received.text().to_owned()).collect()
}

/// Says numbers in a room, at one node after the other. Returns who said them, still connected.
fn talk(nodes: &[&Server], room: &str, numbers: std::ops::Range<usize>) -> Vec<Client> {
    let mut talkers: Vec<_> = nodes.iter().map(|node| node.channel(NORA, room)).collect();
    let count = talkers.len();
    for n in numbers {
        talkers[n % count].post(&n.to_string());
    }
    talkers
}

fn numbers(to: usize) -> Vec<String> {
    (0..to).map(|n| n.to_string()).collect()
}

#[test]
fn each_event_is_sent_by_one_node() {
    let (redis, receiver) = (Redis::start(), Receiver::start());
    let nodes = three(&redis, &receiver);
    // Who leaves within a moment is absent, and who comes and goes within one is not told.
    let talkers = [talk(&[&nodes[0], &nodes[1], &nodes[2]], "team", 0..60), talk(&[&nodes[2]], "lobby", 0..20)];
    eventually("all arrive", || {
        told(&receiver, "monitor:team").len() == 60 && told(&receiver, "channel:lobby").len() == 20
    });
    assert_eq!(told(&receiver, "monitor:team"), numbers(60));
    let received = receiver.received();
    let messages: Vec<&Received> = received.iter().filter(|received| received.kind() == "message.created").collect();
    assert_eq!(messages.len(), 80, "none came twice");
    // Nora is there, at whichever node.
    assert!(messages.iter().all(|received| received.event["data"]["absent"].as_array().is_none_or(Vec::is_empty)));
    for (kind, talkers) in [("member.joined", Some(talkers)), ("member.left", None)] {
        eventually("comings and goings are told, whatever node they are at", || {
            receiver.received().iter().any(|received| received.kind() == kind)
        });
        drop(talkers);
    }
}

#[test]
fn another_node_goes_on_when_the_one_that_sends_is_killed() {
    let (redis, receiver) = (Redis::start(), Receiver::start());
    let mut nodes = three(&redis, &receiver);
    talk(&[&nodes[0], &nodes[1], &nodes[2]], "team", 0..9);
    eventually("the first arrive", || told(&receiver, "monitor:team").len() == 9);
    // The first node that started leads.
    nodes[0].kill9();
    talk(&[&nodes[1], &nodes[2]], "team", 9..40);
    talk(&[&nodes[1]], "quiet", 0..1);
    eventually("the rest arrives", || {
        told(&receiver, "monitor:team").len() == 40 && told(&receiver, "channel:quiet").len() == 1
    });
    assert_eq!(told(&receiver, "monitor:team"), numbers(40));
}

#[test]
fn a_node_that_ends_lets_another_send_at_once() {
    let (redis, receiver) = (Redis::start(), Receiver::start());
    let mut nodes = three(&redis, &receiver);
    talk(&[&nodes[0]], "team", 0..3);
    eventually("the first arrive", || told(&receiver, "monitor:team").len() == 3);
    nodes[0].signal(Signal::TERM);
    nodes[0].exited();
    talk(&[&nodes[1]], "team", 3..6);
    eventually("the rest arrives", || told(&receiver, "monitor:team").len() == 6);
    assert_eq!(told(&receiver, "monitor:team"), numbers(6));
}
