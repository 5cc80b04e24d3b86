//! Whether Redis can be used: known once, told to all, logged once an outage.
//!
//! While it can't, every caller is refused at once: of 1,000 messages that wait, none waits for a time-out of its own.
//! Only the watch thread goes on trying. When Redis takes commands again it forms a new [`Fleet`], with new
//! connections, and everything goes on.

use super::{address::Deployment, failure::sentence, fleet::Fleet, rights, server::Wire, version, wire::BEAT};
use crate::vital;
use parking_lot::{Condvar, Mutex};
use redis::{RedisResult, cmd};
use std::{
    collections::HashMap,
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often a healthy Redis is asked for its time, and every feed hears that it still works.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Of so many beats one tries all rights: they may be taken away at any time.
const RIGHTS_EVERY: u64 = 3;

/// How long the answer may take before Redis counts as away. Commands on their way may wait longer, up to
/// [`server::ANSWER`].
const BEAT_ANSWER: Duration = Duration::from_secs(3);

/// While Redis is away: how often it is tried, and how long one try's connecting and each answer may take.
const TRY_EVERY: Duration = Duration::from_millis(250);
const TRY_ANSWER: Duration = Duration::from_secs(1);

/// What all threads know of Redis.
pub(super) struct Health {
    deployment: Deployment,
    channel: String,
    /// As other nodes know this one.
    node: String,
    /// How often Redis has lost data.
    losses: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What commands go to, or why none can.
    fleet: Result<Arc<Fleet>, Arc<str>>,
    /// Somebody met an error with the present fleet.
    suspected: bool,
    stopping: bool,
}

/// The thread that tries; it ends with this.
pub(super) struct Watch {
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Tries Redis once, and from then on in a thread of its own. Redis may be away at the start as at any time.
    pub fn watch(deployment: Deployment, channel: String, node: String) -> io::Result<(Arc<Health>, Watch)> {
        let state = State { fleet: Err("not tried yet".into()), suspected: false, stopping: false };
        let (losses, state) = (AtomicU64::new(0), Mutex::new(state));
        let health = Arc::new(Health { deployment, channel, node, losses, state, changed: Condvar::new() });
        let mut watcher = Watcher {
            health: health.clone(),
            wires: Vec::new(),
            signs: Signs::default(),
            beats: 0,
            generation: 0,
            away_since: None,
            evicts: None,
        };
        watcher.try_again();
        let thread = vital::spawn("redis-watch", move || watcher.run())?;
        Ok((health.clone(), Watch { health, thread: Some(thread) }))
    }

    /// What commands go to; else why Redis can't be used.
    pub fn fleet(&self) -> Result<Arc<Fleet>, Arc<str>> {
        self.state.lock().fleet.clone()
    }

    /// How often it was noticed that Redis had lost data that it had answered for.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// An error with the fleet of this generation: it is to be looked at now. After a time-out nobody else shall wait
    /// for another one meanwhile.
    pub fn report_failure(&self, generation: u64, timed_out: bool) {
        let mut state = self.state.lock();
        if state.fleet.as_ref().is_ok_and(|fleet| fleet.generation == generation) {
            state.suspected = true;
            if timed_out {
                state.fleet = Err("Redis does not answer".into());
            }
            self.changed.notify_all();
        }
    }

    /// Waits until there is another fleet than that of `generation`, or `patience` is over.
    pub fn wait_for_other(&self, generation: Option<u64>, patience: Duration) -> Option<Arc<Fleet>> {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        loop {
            if let Ok(fleet) = &state.fleet
                && Some(fleet.generation) != generation
            {
                return Some(fleet.clone());
            }
            if state.stopping || self.changed.wait_until(&mut state, until).timed_out() {
                return None;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.health.state.lock().stopping = true;
        self.health.changed.notify_all();
        // It ends within the patience of one try. Nobody waits for it but the end of the process.
        drop(self.thread.take());
    }
}

struct Watcher {
    health: Arc<Health>,
    /// One to each master, for beats.
    wires: Vec<Wire>,
    signs: Signs,
    beats: u64,
    generation: u64,
    away_since: Option<Instant>,
    /// The policy that was warned of.
    evicts: Option<String>,
}

impl Watcher {
    fn run(mut self) {
        loop {
            vital::may_panic("redis-watch");
            let fleet = {
                let mut state = self.health.state.lock();
                let pause = if state.fleet.is_ok() { BEAT_EVERY } else { TRY_EVERY };
                if !state.stopping && !state.suspected {
                    self.health.changed.wait_for(&mut state, pause);
                }
                if state.stopping {
                    return;
                }
                let suspected = mem::take(&mut state.suspected);
                state.fleet.as_ref().ok().filter(|_| !suspected).cloned()
            };
            if fleet.is_none_or(|fleet| self.beat(&fleet).is_err()) {
                self.try_again();
            }
        }
    }

    /// Lets every feed hear that it works, and reads the servers' clocks.
    fn beat(&mut self, fleet: &Fleet) -> RedisResult<()> {
        for (index, (master, wire)) in fleet.masters.iter().zip(&mut self.wires).enumerate() {
            if index == 0 {
                wire.ask(&cmd("PUBLISH").arg(&self.health.channel).arg(BEAT).get_packed_command())?;
            }
            master.server.read_clock(wire)?;
        }
        self.beats += 1;
        if self.beats.is_multiple_of(RIGHTS_EVERY) {
            self.try_rights(fleet)?;
            self.agree_on_version(fleet)?;
            self.warn_of_eviction();
        }
        self.look_for_losses(fleet)
    }

    /// Fails unless each master lets its user do all that the stores do. A node that may do half of it must do nothing.
    fn try_rights(&mut self, fleet: &Fleet) -> RedisResult<()> {
        let mut wires = self.wires.iter_mut().enumerate();
        wires.try_for_each(|(index, wire)| rights::try_all(&self.health.channel, wire, &fleet.probe_key(index)))
    }

    /// Fails if this node and another one would not understand each other.
    fn agree_on_version(&mut self, fleet: &Fleet) -> RedisResult<()> {
        version::agree(version::VERSIONS, &self.health.node, fleet, &mut self.wires)
    }

    /// Leaves a sign on each master, and looks whether the one before it is still there.
    fn look_for_losses(&mut self, fleet: &Fleet) -> RedisResult<()> {
        if self.signs.leave(&self.health.node, fleet, &mut self.wires)? {
            tracing::error!(
                redis = %self.health.deployment,
                "Redis has lost data: it was emptied, or is back with an older state; its newest messages may be gone"
            );
            self.health.losses.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Looks for servers that take commands, and tells everybody what came of it.
    fn try_again(&mut self) {
        self.generation += 1;
        self.wires.clear();
        let formed = Fleet::form(&self.health.deployment, self.generation, TRY_ANSWER).and_then(|(fleet, wires)| {
            wires.iter().try_for_each(|wire| wire.patience(BEAT_ANSWER))?;
            Ok((fleet, wires))
        });
        let formed = formed.and_then(|(fleet, wires)| {
            self.wires = wires;
            self.try_rights(&fleet)?;
            self.agree_on_version(&fleet)?;
            self.look_for_losses(&fleet).map(|()| fleet)
        });
        if formed.is_ok() {
            self.warn_of_eviction();
        }
        let fleet = match formed {
            Ok(fleet) => Ok(Arc::new(fleet)),
            Err(error) => Err(Arc::<str>::from(sentence(&error))),
        };
        self.tell(&fleet);
        let mut state = self.health.state.lock();
        // What was suspected meanwhile was the fleet before.
        state.suspected = false;
        let before = mem::replace(&mut state.fleet, fleet);
        self.health.changed.notify_all();
        drop(state);
        // Closes its connections, which need not be done under the lock.
        drop(before);
    }

    /// One line when Redis goes, one when it comes back.
    fn tell(&mut self, fleet: &Result<Arc<Fleet>, Arc<str>>) {
        let redis = &self.health.deployment;
        match (fleet, self.away_since) {
            (Err(cause), None) => {
                self.away_since = Some(Instant::now());
                tracing::error!(%redis, %cause, "Redis can't be used; messages and tokens are refused until it can");
            }
            (Ok(_), Some(since)) => {
                self.away_since = None;
                tracing::info!(%redis, seconds = since.elapsed().as_secs(), "Redis can be used again");
            }
            _ => {}
        }
    }

    /// A Redis that throws keys away when its memory is full forgets which tokens are spent.
    fn warn_of_eviction(&mut self) {
        let policy = self.wires.iter_mut().find_map(evicts);
        if policy != self.evicts
            && let Some(policy) = &policy
        {
            tracing::warn!(
                policy,
                "Redis may throw away messages and spent tokens when its memory is full; set its maxmemory-policy to \
                 noeviction"
            );
        }
        self.evicts = policy;
    }
}

/// By which policy this server throws keys away that have not expired, or spent tokens before they expire.
fn evicts(wire: &mut Wire) -> Option<String> {
    // An ACL may forbid to ask; then there is nothing to say.
    let answer = wire.ask(&cmd("INFO").arg("memory").get_packed_command()).ok()?;
    let info: String = redis::from_redis_value(answer).ok()?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let policy = field("maxmemory_policy").filter(|policy| *policy != "noeviction")?;
    field("maxmemory").is_some_and(|bytes| bytes != "0").then(|| policy.to_owned())
}

/// What the watch leaves on each master once a second, so that it knows a Redis that has lost data: which was emptied, was
/// set back, or followed a master only up to some time ago.
#[derive(Default)]
struct Signs {
    count: u64,
    /// The last sign that was answered, by its key.
    left: HashMap<String, (u64, Instant)>,
}

/// How long a sign of a node that is gone stays.
const SIGN_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

impl Signs {
    /// Leaves the next sign; whether the last one is not there any more.
    fn leave(&mut self, node: &str, fleet: &Fleet, wires: &mut [Wire]) -> RedisResult<bool> {
        self.count += 1;
        let mut lost = false;
        for (index, wire) in wires.iter_mut().enumerate() {
            let key = format!("{}:{node}", fleet.sign_key(index));
            let sign = cmd("SET").arg(&key).arg(self.count).arg("EX").arg(SIGN_KEPT.as_secs()).arg("GET").to_owned();
            let before: Option<u64> = redis::from_redis_value(wire.ask(&sign.get_packed_command())?)?;
            if let Some((last, when)) = self.left.insert(key, (self.count, Instant::now())) {
                // After so long it would be gone anyway.
                lost |= when.elapsed() < SIGN_KEPT / 2 && before.is_none_or(|before| before < last);
            }
        }
        Ok(lost)
    }
}
