//! What messages cost Redis and the nodes; `docs/SCALING.md` tells what this printed. To be asked for by name:
//! `cargo test --test nodes feed_costs -- --ignored --nocapture`

use crate::{
    presence_costs::{field, processor, start},
    several::{Nodes, hear_type, message, say_until_stored},
};
use redis::{Connection, cmd};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use support::{Client, eventually, redis::Redis};

const TEXT: usize = 100;
const ROOMS: usize = 100;
const EACH: usize = 200;
/// How many messages of a room are on their way at a time.
const WINDOW: usize = 10;
const CHANNELS: usize = 10_000;
const MESSAGES: usize = 20_000;
const ANNOUNCEMENTS: usize = 2_000;

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

#[test]
#[ignore = "it is measured by hand"]
fn what_a_ref_costs_redis() {
    let redis = Redis::start();
    redis.configure("appendfsync", "everysec");
    let nodes = Nodes::start(1, &redis.url());
    let mut client = nodes.join(0, "refs", "somebody@example.com");
    say_until_stored(&mut client, "first");
    let text = "x".repeat(TEXT);
    let mut before = 0.0;
    for what in ["without a ref", "with a ref"] {
        let memory = || {
            // Until what is on its way to the file is written.
            thread::sleep(Duration::from_secs(3));
            field(&redis.info("memory"), "used_memory")
        };
        let (bytes, time) = (memory(), processor(&redis));
        for batch in 0..MESSAGES / WINDOW {
            for n in 0..WINDOW {
                let reference = format!("{batch}-{n}");
                let alone = || json!({"type": "message", "text": text}).to_string();
                client.say(if what == "with a ref" { message(&text, &reference) } else { alone() });
            }
            for _ in 0..WINDOW {
                while hear_type(&mut client, "message")["text"] != text {}
            }
        }
        let time = (processor(&redis) - time) / MESSAGES as f64;
        let bytes = (memory() - bytes) / MESSAGES as f64;
        println!("a message of {TEXT} bytes {what}: {bytes:.0} bytes ({:.0} more), {time:.1} µs", bytes - before);
        before = bytes;
    }
    let mut find = cmd("KEYS");
    find.arg("*:ref:*");
    let keys: Vec<String> = redis.ask(find).expect("Redis has keys");
    let key = keys.first().expect("there are refs");
    let ask = |command: &str, key: &str| -> i64 {
        let mut ask = redis::cmd(command);
        if command == "MEMORY" {
            ask.arg("USAGE");
        }
        redis.ask(ask.arg(key).to_owned()).expect("Redis knows the key")
    };
    println!("{} keys as {key}: MEMORY USAGE {}, TTL {}", keys.len(), ask("MEMORY", key), ask("TTL", key));
}

/// Subscribes as so many nodes, which read what comes. Returns their connections, and how many bytes they have read.
fn listeners(redis: &Redis, count: usize) -> (Vec<TcpStream>, Arc<AtomicUsize>) {
    let heard = Arc::<AtomicUsize>::default();
    let listen = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).expect("Redis can be reached");
        stream.write_all(b"SUBSCRIBE announcements\r\n").expect("it is sent");
        let (heard, mut from) = (heard.clone(), stream.try_clone().expect("a connection"));
        thread::spawn(move || {
            let mut bytes = [0; 1 << 14];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                heard.fetch_add(count, Ordering::Relaxed);
            }
        });
        stream
    };
    ((0..count).map(listen).collect(), heard)
}

#[test]
#[ignore = "it is measured by hand"]
fn what_an_announcement_costs_redis() {
    let redis = Redis::start();
    let mut connection =
        redis::Client::open(redis.url()).expect("a client").get_connection().expect("Redis can be reached");
    // As long as one in a room and of a user with names of 20 bytes.
    let publish = cmd("PUBLISH").arg("announcements").arg(&[b'x'; 60][..]).get_packed_command();
    for at_once in [1, 50] {
        let mut alone = 0.0;
        for count in [0, 1, 10, 100] {
            let (streams, heard) = listeners(&redis, count);
            let mut counted = cmd("PUBSUB");
            counted.arg("NUMSUB").arg("announcements");
            let all_listen = || redis.ask::<(String, usize)>(counted.clone()).is_ok_and(|(_, n)| n == count);
            eventually("all listen", all_listen);
            let before = heard.load(Ordering::Relaxed);
            let (time, all) = (processor(&redis), publish.repeat(at_once));
            for _ in 0..ANNOUNCEMENTS / at_once {
                connection.send_packed_command(&all).expect("it is sent");
                (0..at_once).for_each(|_| drop(connection.recv_response().expect("it is published")));
            }
            let least = ANNOUNCEMENTS * count * 60;
            eventually("all is heard", || heard.load(Ordering::Relaxed) - before >= least);
            let each = (processor(&redis) - time) / ANNOUNCEMENTS as f64;
            if count == 0 {
                alone = each;
            }
            let copy = (each - alone) / count.max(1) as f64;
            println!("an announcement, {at_once} at a time, to {count} nodes: {each:.1} µs, {copy:.2} µs a copy");
            streams.iter().for_each(|stream| drop(stream.shutdown(std::net::Shutdown::Both)));
            drop(streams);
        }
    }
}
