//! What messages cost Redis and the nodes; `docs/SCALING.md` tells what this printed. To be asked for by name:
//! `cargo test --test nodes feed_costs -- --ignored --nocapture`

use crate::{
    presence_costs::{field, processor, start},
    several::{Nodes, hear_type, message, say_until_stored},
};
use redis::{Connection, cmd};
use support::{Client, redis::Redis};

const TEXT: usize = 100;
const ROOMS: usize = 100;
const EACH: usize = 200;
/// How many messages of a room are on their way at a time.
const WINDOW: usize = 10;
const CHANNELS: usize = 10_000;

/// What was used up to now: processor time of Redis, bytes that it sent, and processor time of each node, all in
/// microseconds or bytes.
struct Used {
    redis: f64,
    sent: f64,
    nodes: Vec<f64>,
}

fn used(redis: &Redis, nodes: &Nodes) -> Used {
    let nodes = nodes.servers.iter().map(|server| server.figure("process_cpu_seconds_total") * 1e6).collect();
    Used { redis: processor(redis), sent: field(&redis.info("stats"), "total_net_output_bytes"), nodes }
}

/// Members of rooms `first..first + ROOMS` at these nodes; the first of each room talks.
fn members(nodes: &Nodes, first: usize, at: &[usize]) -> Vec<Vec<Client>> {
    let room = |n: usize| at.iter().map(|node| nodes.join(*node, &format!("r-{n}"), &format!("u{node}"))).collect();
    let mut rooms: Vec<Vec<Client>> = (first..first + ROOMS).map(room).collect();
    rooms.iter_mut().for_each(|room| say_until_stored(&mut room[0], "first"));
    rooms
}

/// Lets each room hear the same number of messages.
fn talk(rooms: &mut [Vec<Client>]) {
    let text = "x".repeat(TEXT);
    for batch in 0..EACH / WINDOW {
        for room in &mut *rooms {
            (0..WINDOW).for_each(|n| room[0].say(message(&text, &format!("{batch}-{n}"))));
        }
        for client in rooms.iter_mut().flatten() {
            for _ in 0..WINDOW {
                while hear_type(client, "message")["text"] != text {}
            }
        }
    }
}

/// What a message costs Redis (µs, bytes sent) and the nodes (µs, all together).
fn cost(redis: &Redis, nodes: &Nodes, rooms: &mut [Vec<Client>]) -> (f64, f64, f64) {
    let before = used(redis, nodes);
    talk(rooms);
    let after = used(redis, nodes);
    let messages = (rooms.len() * EACH) as f64;
    let of_nodes: f64 = after.nodes.iter().zip(&before.nodes).map(|(after, before)| after - before).sum();
    let (redis, sent) = (after.redis - before.redis, after.sent - before.sent);
    (redis / messages, sent / messages, of_nodes / messages)
}

#[test]
#[ignore = "it measures for a minute or two"]
fn what_a_message_costs_with_members_on_one_node_or_several() {
    let redis = Redis::start();
    redis.configure("appendfsync", "everysec");
    let nodes = start(&redis);
    for (first, at) in [(0, &[0][..]), (1000, &[0, 1]), (2000, &[0, 1, 2, 3, 4])] {
        let mut rooms = members(&nodes, first, at);
        let (of_redis, sent, of_nodes) = cost(&redis, &nodes, &mut rooms);
        let count = at.len();
        println!(
            "a message of {TEXT} bytes, members on {count} of {} nodes: Redis {of_redis:.1} µs and {sent:.0} bytes, the \
             nodes {of_nodes:.1} µs in all",
            nodes.servers.len()
        );
    }
    // Three nodes whose rooms are others' beside one node alone.
    let mut rooms = members(&nodes, 3000, &[0]);
    let (.., alone) = cost(&redis, &nodes, &mut rooms);
    let mut rooms: Vec<_> = (0..3).flat_map(|node| members(&nodes, 4000 + node * 1000, &[node])).collect();
    let (_, sent, apart) = cost(&redis, &nodes, &mut rooms);
    println!(
        "rooms on one node: {alone:.1} µs of a node's processor time a message; on three nodes, each with rooms of its own: \
         {apart:.1} µs, and {sent:.0} bytes from Redis"
    );
    println!("so three nodes carry {:.2} times as much as one, if each has its own processors", 3.0 * alone / apart);
}

#[test]
#[ignore = "it is measured by hand"]
fn what_a_subscription_costs_redis() {
    let redis = Redis::start();
    let client = redis::Client::open(redis.url()).expect("a client");
    let memory = || field(&redis.info("memory"), "used_memory");
    let mut connections: Vec<Connection> = Vec::new();
    for what in ["the first node", "the second node"] {
        let mut connection = client.get_connection().expect("Redis can be reached");
        let (bytes, time) = (memory(), processor(&redis));
        for n in 0..CHANNELS {
            let subscribe =
                cmd("SUBSCRIBE").arg(format!("propromo:{{channel:room-{n:06}}}:feed:0")).get_packed_command();
            connection.send_packed_command(&subscribe).expect("it is sent");
            connection.recv_response().expect("it is confirmed");
        }
        let (bytes, time) = ((memory() - bytes) / CHANNELS as f64, (processor(&redis) - time) / CHANNELS as f64);
        println!("a room's channel, {what}: {bytes:.0} bytes, {time:.1} µs with its round trip");
        connections.push(connection);
    }
    let mut connection = client.get_connection().expect("Redis can be reached");
    let time = processor(&redis);
    let subscribe =
        |n: usize| cmd("SUBSCRIBE").arg(format!("propromo:{{channel:room-{n:06}}}:feed:0")).get_packed_command();
    let all: Vec<u8> = (0..CHANNELS).flat_map(subscribe).collect();
    connection.send_packed_command(&all).expect("it is sent");
    (0..CHANNELS).for_each(|_| drop(connection.recv_response().expect("it is confirmed")));
    println!("in one go: {:.1} µs", (processor(&redis) - time) / CHANNELS as f64);
}
