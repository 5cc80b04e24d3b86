//! What nodes and silent rooms cost Redis; `docs/SCALING.md` tells what this printed. To be asked for by name:
//! `cargo test --test nodes presence_costs -- --ignored --nocapture`

use crate::several::{NORA, Nodes, node};
use std::{
    thread,
    time::{Duration, Instant},
};
use support::{Client, Server, eventually_within, raise_open_files, redis::Redis};

const NODES: usize = 5;
const ROOMS: usize = 300;
const USERS: usize = 10;
const WHILE: Duration = Duration::from_secs(30);

/// Processor time that Redis has used, in microseconds, without what its persistence costs in children.
pub fn processor(redis: &Redis) -> f64 {
    let info = redis.info("cpu");
    (field(&info, "used_cpu_user") + field(&info, "used_cpu_sys")) * 1e6
}

/// A number of what Redis tells of itself.
pub fn field(info: &str, name: &str) -> f64 {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect("Redis tells it").trim().parse().expect("a number")
}

/// Calls and microseconds of each command since `CONFIG RESETSTAT`.
fn commands(redis: &Redis) -> String {
    let stats = redis.info("commandstats");
    let told = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let field = |name: &str| rest.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        Some(format!("{name} {} × {} µs", field("calls")?, field("usec_per_call")?))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn compared(servers: &[Server]) -> f64 {
    servers.iter().map(|server| server.figure("propromo_chat_presence_compared_rooms_total")).sum()
}

pub fn start(redis: &Redis) -> Nodes {
    raise_open_files();
    let admin = |accounts: Option<&str>| node(&redis.url(), accounts).env("ADMIN_LISTEN", "127.0.0.1:0");
    let first = admin(None).account(NORA.email, NORA.password, &[]);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let mut servers = vec![first.start()];
    servers.extend((1..NODES).map(|_| admin(Some(&accounts)).start()));
    Nodes::of(servers)
}

#[test]
#[ignore = "it measures for two minutes"]
fn what_nodes_and_silent_rooms_cost_redis() {
    let redis = Redis::start();
    redis.configure("appendfsync", "everysec");
    let nodes = start(&redis);
    thread::sleep(Duration::from_secs(5));
    let reset = || redis.ask::<()>(redis::cmd("CONFIG").arg("RESETSTAT").to_owned()).expect("Redis counts anew");
    let per_second = |used: f64| used / WHILE.as_secs_f64();

    reset();
    let before = processor(&redis);
    thread::sleep(WHILE);
    let idle = per_second(processor(&redis) - before);
    println!("a node without rooms: {:.0} µs a second ({})", idle / NODES as f64, commands(&redis));

    reset();
    let before = processor(&redis);
    let began = Instant::now();
    let member = |n: usize| nodes.join(n % NODES, &format!("silent-{}", n / USERS), &format!("u{}", n % USERS));
    let members: Vec<Client> = (0..ROOMS * USERS).map(member).collect();
    let base = idle * began.elapsed().as_secs_f64();
    let joins = members.len() as f64;
    println!(
        "a join, with ticket and history: {:.0} µs ({})",
        (processor(&redis) - before - base) / joins,
        commands(&redis)
    );

    let known = || {
        let seen = compared(&nodes.servers);
        seen >= (ROOMS * NODES) as f64
    };
    eventually_within(Duration::from_secs(120), "each room is compared once", known);
    reset();
    let (before, seen) = (processor(&redis), compared(&nodes.servers));
    thread::sleep(WHILE);
    let (used, seen) = (processor(&redis) - before, compared(&nodes.servers) - seen);
    let each = (used - idle * WHILE.as_secs_f64()) / seen;
    let rate = seen / WHILE.as_secs_f64() / NODES as f64;
    println!(
        "a silent room of {USERS} users, each time: {each:.1} µs, {rate:.0} a second and node ({})",
        commands(&redis)
    );
    let cores = 100.0 * rate * each / 1e6;
    println!("1,000,000 silent members in 100,000 rooms on 100 nodes: {cores:.3} of a core");
    assert!(cores < 0.1, "silent members cost a tenth of a Redis");
    drop(members);
}
