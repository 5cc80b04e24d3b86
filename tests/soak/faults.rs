//! What goes wrong in a soak, one thing at a time.

use crate::world::{World, lock};
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};
use rustix::process::Signal;
use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};
use support::{
    Connection,
    faults::{Held, Limit, fill_disk, free_disk, limit, order_panic},
    ws::handshake,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGTERM, and a new start.
    Terminated,
    /// SIGKILL, and a new start.
    Killed,
    /// The log thread panics, which ends the server.
    Panicked,
    /// A process that stands still.
    Stopped,
    /// SIGHUP.
    HungUp,
    /// Another process holds the messages' file.
    LogHeld,
    /// Another process holds the file of spent tokens.
    LedgerHeld,
    DiskFull,
    OutOfFiles,
    /// Three hundred come at once, with a ticket each, and vanish.
    Crowd,
    RedisKilled,
    RedisStopped,
    PostgresKilled,
    PostgresStopped,
}

use Fault::*;

pub const ANY: &[Fault] = &[
    Terminated,
    Killed,
    Panicked,
    Stopped,
    HungUp,
    LogHeld,
    LedgerHeld,
    DiskFull,
    OutOfFiles,
    Crowd,
    RedisKilled,
    RedisStopped,
    PostgresKilled,
    PostgresStopped,
];

/// Those that a server lives through.
pub const SURVIVED: &[Fault] = &[
    Stopped,
    HungUp,
    LogHeld,
    LedgerHeld,
    DiskFull,
    OutOfFiles,
    Crowd,
    RedisKilled,
    RedisStopped,
    PostgresKilled,
    PostgresStopped,
];

/// Lets one of `faults` happen after each `pause`, for so long.
pub fn happen(world: &World, time: Duration, pause: Duration, faults: &[Fault], random: &mut SmallRng) {
    let possible: Vec<Fault> = faults.iter().copied().filter(|fault| fault.may_happen_to(world)).collect();
    let until = Instant::now() + time;
    loop {
        thread::sleep(pause.min(until.saturating_duration_since(Instant::now())));
        if Instant::now() >= until {
            return;
        }
        let fault = *possible.choose(random).expect("something can go wrong");
        let node = random.random_range(0..world.nodes());
        happens(fault, world, node, pause);
    }
}

/// Lets each of `faults` happen to each node.
pub fn happen_once_each(world: &World, pause: Duration, faults: &[Fault]) {
    for fault in faults.iter().filter(|fault| fault.may_happen_to(world)) {
        thread::sleep(pause);
        for node in 0..world.nodes() {
            happens(*fault, world, node, pause);
        }
    }
}

fn happens(fault: Fault, world: &World, node: usize, pause: Duration) {
    println!("{fault:?} (node {node})");
    fault.happens(world, node, (pause / 5).max(Duration::from_millis(500)));
    world.counts.faults.fetch_add(1, Ordering::Relaxed);
}

impl Fault {
    fn may_happen_to(self, world: &World) -> bool {
        match self {
            Panicked => cfg!(debug_assertions),
            LogHeld | LedgerHeld | DiskFull => world.is_embedded(),
            RedisKilled | RedisStopped => !world.is_embedded(),
            PostgresKilled | PostgresStopped => world.archive.is_some(),
            _ => true,
        }
    }

    /// Happens to a node or what is below it; if it has a time, for so long.
    fn happens(self, world: &World, node: usize, time: Duration) {
        match self {
            Terminated => world.restart(node, |server| assert!(server.terminate().success(), "{}", server.log())),
            Killed => world.restart(node, |server| server.kill9()),
            Panicked => world.restart(node, |server| {
                order_panic(server, "log");
                assert_eq!(server.exited().code(), Some(70), "{}", server.log());
            }),
            Stopped => world.with_node(node, |server| {
                server.signal(Signal::STOP);
                thread::sleep(time);
                server.signal(Signal::CONT);
            }),
            HungUp => world.with_node(node, |server| server.signal(Signal::HUP)),
            LogHeld | LedgerHeld => world.with_node(node, |server| {
                let held = Held::file(server, if self == LogHeld { "log.db" } else { "ledger.db" });
                thread::sleep(time);
                held.release();
            }),
            DiskFull => world.with_node(node, |server| {
                fill_disk(server);
                thread::sleep(time);
                free_disk(server);
            }),
            OutOfFiles => world.with_node(node, |server| {
                limit(server, Limit::OpenFiles, Some(open_files(server.pid())));
                thread::sleep(time);
                limit(server, Limit::OpenFiles, None);
            }),
            Crowd => {
                let address = world.address(node);
                let request = || handshake(&format!("/channel/crowd?ticket={}", world.ticket("many")), &[]);
                let crowd: Vec<_> = (0..300).filter_map(|_| Connection::try_open(address).ok()).collect();
                let crowd = crowd.into_iter().map(|mut one| one.try_send(request()).map(|()| one));
                let crowd: Vec<_> = crowd.collect();
                thread::sleep(time);
                drop(crowd);
            }
            RedisKilled => {
                let mut redis = lock(world.redis.as_ref().expect("there is one"));
                redis.kill();
                thread::sleep(time);
                redis.run();
            }
            RedisStopped => {
                let redis = lock(world.redis.as_ref().expect("there is one"));
                redis.pause();
                thread::sleep(time);
                redis.go_on();
            }
            PostgresKilled => {
                let archive = world.archive.as_ref().expect("there is one");
                let _alone = lock(&archive.in_use);
                archive.cluster.kill();
                thread::sleep(time);
                archive.cluster.run();
            }
            PostgresStopped => {
                let archive = world.archive.as_ref().expect("there is one");
                let _alone = lock(&archive.in_use);
                archive.cluster.pause();
                thread::sleep(time);
                archive.cluster.resume();
            }
        }
    }
}

fn open_files(pid: u32) -> u64 {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the server runs");
    files.count() as u64
}
