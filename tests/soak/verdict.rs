//! What a soak has shown.

use crate::world::{Archive, HOT, Heard, Phase, ROOMS, World, lock};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};
use support::faults::status;

/// How long what is stored may take to reach those who listen, once all is quiet.
const CATCH_UP: Duration = Duration::from_secs(180);

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    pid: u32,
    pub kib: u64,
    pub threads: u64,
}

impl Footprint {
    /// Of each node.
    pub fn of(world: &World) -> Vec<Footprint> {
        let of = |pid| {
            let number = |field| status(pid, field).expect("the server runs");
            Footprint { pid, kib: number("VmRSS"), threads: number("Threads") }
        };
        (0..world.nodes()).map(|node| of(world.with_node(node, |server| server.pid()))).collect()
    }
}

pub struct Verdict {
    pub confirmed: usize,
    counts: Vec<String>,
    /// What must not be; empty if all is well.
    wrong: Vec<String>,
}

impl Verdict {
    /// Lets everybody fall silent, and holds what was confirmed against what was heard.
    pub fn of(world: &World) -> Verdict {
        world.set(Phase::Quiet);
        let missing = missing_at_last(world);
        let mut wrong = std::mem::take(&mut *lock(&world.broken));
        for (listener, missing) in missing.iter().enumerate() {
            if !missing.is_empty() {
                wrong.push(format!("listener {listener} never heard {} stored messages: {missing:?}", missing.len()));
            }
            wrong.extend(out_of_order(&lock(&world.heard[listener])));
        }
        let confirmed = confirmed(world);
        if let Some(archive) = &world.archive {
            wrong.extend((0..ROOMS.len()).flat_map(|room| unlike_archive(world, archive, room)));
        }
        let counts = &world.counts;
        let counts = [
            ("messages stored", confirmed as u64),
            ("messages refused", counts.refused.load(Ordering::Relaxed)),
            ("channels opened", counts.connections.load(Ordering::Relaxed)),
            ("logins", counts.logins.load(Ordering::Relaxed)),
            ("races for a token", counts.races.load(Ordering::Relaxed)),
            ("faults", counts.faults.load(Ordering::Relaxed)),
        ];
        let counts = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
        Verdict { confirmed, counts, wrong }
    }

    /// Also that no server has ended and, if the run was long enough to tell, that none holds more than before.
    pub fn with_footprints(mut self, before: &[Footprint], after: &[Footprint], long: bool) -> Verdict {
        for (before, after) in before.iter().zip(after) {
            let (kib, threads) = (before.kib, before.threads);
            self.counts.push(format!("{kib} KiB and {threads} threads, then {} and {}", after.kib, after.threads));
            if before.pid != after.pid {
                self.wrong.push("a server has ended without having been asked to".into());
            } else if long && (after.kib > kib + kib / 10 || after.threads > threads + threads / 10) {
                self.wrong.push(format!("more than a tenth more is held than before: {before:?}, {after:?}"));
            }
        }
        self
    }

    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.counts.join("\n"))?;
        match &self.wrong[..] {
            [] => write!(f, "verdict: nothing lost, no token used twice"),
            wrong => write!(f, "verdict: WRONG\n{}", wrong.join("\n")),
        }
    }
}

fn confirmed(world: &World) -> usize {
    world.confirmed.iter().map(|room| lock(room).len()).sum()
}

/// What each listener has not heard once nothing more is confirmed and all of it was heard, or [`CATCH_UP`] is over.
fn missing_at_last(world: &World) -> Vec<Vec<(String, String)>> {
    let until = Instant::now() + CATCH_UP;
    let mut before = None;
    loop {
        let now = Some(confirmed(world));
        let missing: Vec<_> = (0..world.heard.len()).map(|listener| missing(world, listener)).collect();
        let is_done = now == before && missing.iter().all(Vec::is_empty);
        if is_done || Instant::now() > until {
            return missing;
        }
        before = now;
        // A sender that is still at work needs some time for its next message.
        thread::sleep(Duration::from_millis(300));
    }
}

/// What was confirmed and this listener has not heard.
fn missing(world: &World, listener: usize) -> Vec<(String, String)> {
    let heard = lock(&world.heard[listener]);
    let known: BTreeMap<&String, &String> = heard.messages.iter().map(|(id, text)| (id, text)).collect();
    let confirmed = lock(&world.confirmed[heard.room]);
    let missing = confirmed.iter().filter(|(id, text)| known.get(id) != Some(text));
    missing.map(|(id, text)| (id.clone(), text.clone())).take(10).collect()
}

/// How the archive of a room differs from what its listeners have heard, once all of it is archived.
fn unlike_archive(world: &World, archive: &Archive, room: usize) -> Vec<String> {
    let name = ROOMS[room];
    let heard: BTreeMap<String, String> = {
        let listeners = world.heard.iter().map(lock).filter(|heard| heard.room == room);
        listeners.flat_map(|heard| heard.messages.clone()).collect()
    };
    // Texts are 18 characters of ASCII, and come last in a body.
    let select = format!(
        "SELECT id || ' ' || right(encode(body, 'escape'), 18) FROM chat.messages WHERE room = 'channel:{name}' ORDER BY id"
    );
    let until = Instant::now() + CATCH_UP;
    loop {
        let archived = archive.sql(&select);
        let rows: BTreeMap<String, String> = archived
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, text)| (id.to_owned(), text.to_owned()))
            .collect();
        let hot = hot(world, name);
        if rows == heard && hot <= HOT + HOT / 10 {
            return Vec::new();
        }
        if Instant::now() > until {
            let differing = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
                let differing = one.iter().filter(|(id, text)| other.get(*id) != Some(text));
                differing.map(|(id, text)| format!("{id} {text}")).take(5).collect::<Vec<_>>()
            };
            return vec![format!(
                "of {name}, {} were heard and {} are archived, and {hot} are in Redis; not archived: {:?}; not heard: {:?}",
                heard.len(),
                rows.len(),
                differing(&heard, &rows),
                differing(&rows, &heard)
            )];
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// How many messages of a channel Redis has.
fn hot(world: &World, name: &str) -> usize {
    let mut length = redis::cmd("XLEN");
    length.arg(format!("propromo:{{channel:{name}}}:log"));
    lock(world.redis.as_ref().expect("there is one")).ask(length).expect("Redis answers")
}

/// Everything that was heard twice, or after what came later.
fn out_of_order(heard: &Heard) -> Vec<String> {
    let room = ROOMS[heard.room];
    let mut wrong: Vec<String> = heard
        .messages
        .windows(2)
        .filter(|two| two[0].0 >= two[1].0)
        .map(|two| format!("in {room}, {:?} came before {:?}", two[0], two[1]))
        .collect();
    let mut texts = HashSet::new();
    let twice = heard.messages.iter().filter(|(_, text)| !texts.insert(text));
    wrong.extend(twice.map(|message| format!("in {room}, {message:?} was heard twice")));
    wrong
}
