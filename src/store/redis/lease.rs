//! Whether this node and the others are alive: one lease per node, which only Redis ends.
//!
//! One hash holds the end of each node's lease, by the clock of the server that has the hash. Every other second a node
//! renews its own lease there and reads those of the others, in one command. A node's claims of rooms carry the name of
//! its *epoch*. It takes a new one, never used before, with each lease. When the lease is over, all those claims are
//! void at once, and late commands change nothing.
//!
//! Each node believes that the others live for as long as Redis last said, even if Redis has been emptied since: each
//! node notices that within [`RENEW_EVERY`], and puts its lease back. A node that was itself cut off gives the others
//! [`SETTLE`] to come back too.

use super::{call::Call, failure::Failure, health::Health, script};
use crate::{store::presence::Standing, vital};
use parking_lot::Mutex;
use redis::Value;
use std::{
    collections::{HashMap, HashSet},
    io, mem,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

/// The leases of all nodes.
const LEASES: &str = "propromo:{nodes}:leases";

/// How long a lease stands without renewal.
const LIFE: Duration = Duration::from_secs(10);

const RENEW_EVERY: Duration = Duration::from_secs(2);

/// A node claims nothing under a lease this long before its end, since a command may take a while to arrive.
const MARGIN: Duration = Duration::from_secs(5);

/// The shortest time between two renewals, when another node's lease is about to end.
const LEAST: Duration = Duration::from_millis(100);

/// How long a node that comes back waits for others to come back before it takes them for gone. They try to come back
/// at least every 1.25 s.
const SETTLE: Duration = Duration::from_secs(3);

/// How many ended epochs are remembered, and how many earlier ones of this node. For any other, Redis is asked again.
const REMEMBERED: usize = 10_000;
const EARLIER: usize = 4;

/// An epoch of a node. Nodes of versions before leases use a name of 16 hexadecimal digits instead.
pub(super) type Epoch = Arc<str>;

/// Whether a name found among claims is that of an epoch.
pub(super) fn is_epoch(name: &str) -> bool {
    name.starts_with('n')
}

fn new_epoch() -> Epoch {
    format!("n{:015x}", rand::random::<u64>() >> 4).into()
}

/// This node's lease, and what it knows of the others' leases.
pub(super) struct Lease {
    state: Mutex<State>,
    /// Allows one renewal at a time; held while Redis is asked.
    renewing: Mutex<()>,
}

struct State {
    epoch: Epoch,
    /// The last epochs of this process before it.
    earlier: Vec<Epoch>,
    /// When the last answered renewal was sent.
    renewed: Option<Instant>,
    has_left: bool,
    /// Until then no node is taken for gone.
    settled: Instant,
    /// Until when each other node lives.
    others: HashMap<Epoch, Instant>,
    over: HashSet<Epoch>,
    standing: Standing,
}

impl Lease {
    pub fn new() -> Lease {
        let state = State {
            epoch: new_epoch(),
            earlier: Vec::new(),
            renewed: None,
            has_left: false,
            settled: Instant::now(),
            others: HashMap::new(),
            over: HashSet::new(),
            standing: Standing::default(),
        };
        Lease { state: Mutex::new(state), renewing: Mutex::default() }
    }

    /// Renews the lease until it is dropped.
    pub fn keep(lease: &Arc<Lease>, health: &Arc<Health>) -> io::Result<()> {
        let (lease, health) = (Arc::downgrade(lease), health.clone());
        vital::spawn("redis-lease", move || keep(&lease, &health)).map(drop)
    }

    pub fn standing(&self) -> Standing {
        self.state.lock().standing
    }

    /// The epoch under which this node may claim something now. Takes a lease if there is none.
    pub fn hold(&self, health: &Health) -> Result<Epoch, Failure> {
        if let Some(epoch) = self.held() {
            return Ok(epoch);
        }
        self.renew(health)?;
        self.held().ok_or_else(|| Failure::Away("this node has left".into()))
    }

    /// Like [`Lease::hold`], but without asking Redis.
    pub fn held(&self) -> Option<Epoch> {
        let state = self.state.lock();
        let is_held = state.renewed.is_some_and(|renewed| renewed.elapsed() < LIFE - MARGIN);
        (is_held && !state.has_left).then(|| state.epoch.clone())
    }

    /// The epochs of this node, the present one first.
    pub fn own(&self) -> Vec<Epoch> {
        let state = self.state.lock();
        std::iter::once(&state.epoch).chain(&state.earlier).cloned().collect()
    }

    /// Those of these epochs that are over. Asks Redis if one of them is unknown.
    pub fn over<'a>(
        &self,
        health: &Health,
        epochs: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Vec<Epoch>, Failure> {
        if epochs.clone().any(|epoch| self.state.lock().is_over(epoch).is_none()) {
            self.renew(health)?;
        }
        let mut state = self.state.lock();
        let mut over = Vec::new();
        for epoch in epochs {
            // Redis does not know it either.
            if state.is_over(epoch).unwrap_or(true) {
                if state.over.len() >= REMEMBERED {
                    state.over.clear();
                }
                state.over.insert(epoch.into());
                over.push(epoch.into());
            }
        }
        Ok(over)
    }

    /// Renews the lease, or takes another one if it is over.
    pub fn renew(&self, health: &Health) -> Result<(), Failure> {
        let _alone = self.renewing.lock();
        if self.state.lock().has_left {
            return Ok(());
        }
        let asked = Instant::now();
        let (epoch, renewed) = {
            let state = self.state.lock();
            (state.epoch.clone(), state.renewed)
        };
        // Within this time no other node can have found it over: if it is not there, Redis has lost it.
        let is_fresh = renewed.is_none_or(|renewed| renewed.elapsed() < MARGIN);
        let answer = self.ask(health, &epoch, if is_fresh { "keep" } else { "renew" })?;
        if let Some(answer) = answer {
            self.state.lock().renewed(asked, answer);
            return Ok(());
        }
        tracing::warn!(
            "this node could not renew its lease, so the other nodes took it for gone; it claims its members again"
        );
        let epoch = self.state.lock().next_epoch();
        let answer = self.ask(health, &epoch, "keep")?.ok_or(Failure::Unreadable)?;
        self.state.lock().renewed(asked, answer);
        Ok(())
    }

    /// Gives the lease back: this node claims nothing any more.
    pub fn leave(&self, health: &Health) -> Result<(), Failure> {
        let _alone = self.renewing.lock();
        let epoch = {
            let mut state = self.state.lock();
            state.has_left = true;
            state.epoch.clone()
        };
        self.ask(health, &epoch, "leave").map(drop)
    }

    /// `None`: the lease is over.
    fn ask(&self, health: &Health, epoch: &str, what: &str) -> Result<Option<Leases>, Failure> {
        let answer = health.ask_again(|fleet| {
            Call::script(&script::ALIVE, &[LEASES], |command| {
                command.arg(fleet.deadline_soon(LEASES.as_bytes())).arg(epoch).arg(LIFE.as_millis() as u64).arg(what);
            })
            .soon()
        })?;
        Leases::read(answer).ok_or(Failure::Unreadable)
    }
}

impl State {
    /// `None`: unknown.
    fn is_over(&self, epoch: &str) -> Option<bool> {
        if *epoch == *self.epoch || self.others.contains_key(epoch) {
            Some(false)
        } else if self.over.contains(epoch) || self.earlier.iter().any(|earlier| **earlier == *epoch) {
            Some(true)
        } else {
            (Instant::now() < self.settled).then_some(false)
        }
    }

    /// How long to wait with the next renewal: no longer than until another node's lease ends.
    fn pause(&self) -> Duration {
        let ends = self.others.values().min().map(|until| (*until).max(self.settled));
        let left = ends.map_or(RENEW_EVERY, |end| end.saturating_duration_since(Instant::now()));
        left.clamp(LEAST, RENEW_EVERY)
    }

    /// Takes another epoch, since the lease is over.
    fn next_epoch(&mut self) -> Epoch {
        let before = mem::replace(&mut self.epoch, new_epoch());
        self.earlier.insert(0, before);
        self.earlier.truncate(EARLIER);
        self.renewed = None;
        self.standing.epoch += 1;
        self.epoch.clone()
    }

    fn renewed(&mut self, asked: Instant, leases: Leases) {
        let now = Instant::now();
        let was_away = self.renewed.is_none_or(|renewed| asked - renewed > 2 * RENEW_EVERY);
        if was_away {
            self.settled = now + SETTLE;
        }
        if leases.anew && self.renewed.is_some() {
            // Then claims may be lost as well.
            self.standing.doubts += 1;
        }
        self.renewed = Some(asked);
        for (epoch, left) in leases.others {
            match left {
                Some(left) => {
                    self.over.remove(&epoch);
                    self.others.insert(epoch, now + left);
                }
                // That node withdrew all its claims first.
                None => {
                    self.others.remove(&epoch);
                    self.over.insert(epoch);
                }
            }
        }
        let known = self.others.len();
        let settled = self.settled;
        let died: Vec<Epoch> =
            self.others.extract_if(|_, until| now >= (*until).max(settled)).map(|(epoch, _)| epoch).collect();
        self.over.extend(died);
        if self.others.len() < known {
            // Its claims have to be found and removed.
            self.standing.doubts += 1;
        }
        self.standing.nodes = self.others.len() + 1;
    }
}

/// The answer of Redis to a renewal.
struct Leases {
    /// Whether Redis did not have the lease.
    anew: bool,
    /// For how long the others' leases stand; `None`: given back.
    others: Vec<(Epoch, Option<Duration>)>,
}

impl Leases {
    /// `Some(None)`: the lease is over.
    fn read(answer: Value) -> Option<Option<Leases>> {
        let Value::Array(parts) = answer else { return None };
        let (Value::Int(state), others) = parts.split_first()? else { return None };
        let (pairs, []) = others.as_chunks::<2>() else { return None };
        let others = pairs.iter().map(|pair| {
            let [Value::BulkString(epoch), Value::Int(left)] = pair else { return None };
            let left = u64::try_from(*left).ok().map(Duration::from_millis);
            Some((std::str::from_utf8(epoch).ok()?.into(), left))
        });
        let others = others.collect::<Option<_>>()?;
        Some((*state != 0).then_some(Leases { anew: *state == 2, others }))
    }
}

fn keep(lease: &Weak<Lease>, health: &Health) {
    let (mut generation, mut pause) = (None, RENEW_EVERY);
    loop {
        vital::may_panic("redis-lease");
        // Renews at once when Redis can be used again.
        let other = health.wait_for_other(generation, pause);
        let Some(lease) = lease.upgrade() else { return };
        if let Some(fleet) = other {
            generation = Some(fleet.generation);
        }
        // Every caller learns the cause from its own command. The next round tries again.
        pause = lease.renew(health).map_or(RENEW_EVERY, |()| lease.state.lock().pause());
    }
}
