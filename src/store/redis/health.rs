//! Whether Redis can be used: determined in one place, told to all callers, logged once per outage.
//!
//! While it can't be used, every caller is refused at once: of 1,000 waiting messages, none waits for its own time-out.
//! Only the watch thread keeps trying. When Redis takes commands again, the watch forms a new [`Fleet`] with new
//! connections, and work goes on.

use super::{
    address::Deployment,
    channels::{Channels, Reach},
    failure::{is_full, sentence},
    fleet::Fleet,
    memory::{AMPLE, Memory, SHORT},
    rights,
    server::{SOON, Wire},
    signs::Signs,
    version,
    wire::BEAT,
};
use crate::vital;
use parking_lot::{Condvar, Mutex};
use redis::{RedisResult, cmd};
use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often a healthy Redis is asked for its time, and a beat shows every feed that it still works.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// After how many beats all rights are tried again, since they may be taken away at any time.
const RIGHTS_EVERY: u64 = 3;

/// For how long Redis counts as full after it has refused something: it may have space for less.
const FULL_FOR: Duration = Duration::from_secs(10);

/// How often Redis is tried while it is away, and how long connecting and each answer may take.
const TRY_EVERY: Duration = Duration::from_millis(250);
const TRY_ANSWER: Duration = Duration::from_secs(1);

/// For how long a node of an earlier version counts as there after it was last seen. It may be reconnecting.
const REMEMBERED: Duration = Duration::from_secs(15);

/// The state of Redis that all threads share.
pub(super) struct Health {
    deployment: Deployment,
    channels: Arc<Channels>,
    /// The name by which other nodes know this one.
    node: String,
    /// How often Redis has lost data.
    losses: AtomicU64,
    /// Whether the memory of a server is full, so that it stores nothing more.
    is_full: AtomicBool,
    /// Whether the memory of a server is short, so that what need not stay should not.
    is_short: AtomicBool,
    /// When a command was last refused for want of memory.
    refused: Mutex<Option<Instant>>,
    /// Whether nodes listen that are of a version before the channels of rooms, and whether one wants to know of all
    /// rooms.
    earlier_nodes: AtomicBool,
    wants_news: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

/// Who listens besides those that have members in a room.
#[derive(Clone, Copy)]
pub(super) struct Audience {
    /// Nodes that hear nothing but the channel of all nodes.
    pub earlier: bool,
    /// Nodes that want to know of everything that is stored, in any room.
    pub wants_news: bool,
}

struct State {
    /// The servers that commands go to, or why there are none.
    fleet: Result<Arc<Fleet>, Arc<str>>,
    /// Whether a caller met an error with the present fleet.
    suspected: bool,
    stopping: bool,
}

/// The watch thread; it ends when this is dropped.
pub(super) struct Watch {
    health: Arc<Health>,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Tries Redis once, and then goes on in its own thread. Redis may be away at the start, as at any time.
    pub fn watch(deployment: Deployment, channels: Arc<Channels>, node: String) -> io::Result<(Arc<Health>, Watch)> {
        let state = State { fleet: Err("not tried yet".into()), suspected: false, stopping: false };
        let health = Health {
            deployment,
            channels,
            node,
            losses: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
            refused: Mutex::default(),
            earlier_nodes: AtomicBool::new(false),
            wants_news: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        let health = Arc::new(health);
        let mut watcher = Watcher {
            health: health.clone(),
            wires: Vec::new(),
            signs: Signs::default(),
            beats: 0,
            generation: 0,
            away_since: None,
            evicts: None,
            earlier_node: None,
        };
        watcher.try_again();
        let thread = vital::spawn("redis-watch", move || watcher.run())?;
        Ok((health.clone(), Watch { health, thread: Some(thread) }))
    }

    /// The servers that commands go to, or why Redis can't be used.
    pub fn fleet(&self) -> Result<Arc<Fleet>, Arc<str>> {
        self.state.lock().fleet.clone()
    }

    /// How often this node noticed that Redis had lost confirmed data.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Whether messages and tokens are refused since the memory of a server is full. What is stored can be read.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Whether a server uses so much of its memory that what need not stay should not.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Reports that a command was refused for want of memory.
    pub fn report_full(&self) {
        *self.refused.lock() = Some(Instant::now());
    }

    pub fn audience(&self) -> Audience {
        Audience {
            earlier: self.earlier_nodes.load(Ordering::Relaxed),
            wants_news: self.wants_news.load(Ordering::Relaxed),
        }
    }

    /// Whether commands go to the fleet of this generation.
    pub fn has_fleet(&self, generation: u64) -> bool {
        self.state.lock().fleet.as_ref().is_ok_and(|fleet| fleet.generation == generation)
    }

    /// Reports an error with the fleet of this generation, which is then checked at once. After a time-out no other
    /// caller waits for another one in the meantime.
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

    /// Waits until there is a fleet other than that of `generation`, or until `patience` is over.
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
        // It ends within the time of one try. Only the end of the process waits for it.
        drop(self.thread.take());
    }
}

struct Watcher {
    health: Arc<Health>,
    /// One connection to each master, for beats.
    wires: Vec<Wire>,
    signs: Signs,
    beats: u64,
    generation: u64,
    away_since: Option<Instant>,
    /// The eviction policy that was last warned about.
    evicts: Option<String>,
    /// When a node of a version before the channels of rooms was last seen.
    earlier_node: Option<Instant>,
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

    /// Publishes a beat for every feed, and reads the servers' clocks.
    fn beat(&mut self, fleet: &Fleet) -> RedisResult<()> {
        let channels = &self.health.channels;
        for (index, (master, wire)) in fleet.masters.iter().zip(&mut self.wires).enumerate() {
            if index == 0 {
                wire.ask(&cmd("PUBLISH").arg(&channels.everybody).arg(BEAT).get_packed_command())?;
            }
            if fleet.reach == Reach::Sharded {
                // The channel of all nodes is heard over one of a node's connections only.
                let wake = fleet.wake_channel(index, &self.health.node);
                wire.ask(&cmd(fleet.reach.publish()).arg(wake).arg(BEAT).get_packed_command())?;
            }
            master.server.read_clock(wire)?;
        }
        self.count_listeners(fleet)?;
        self.beats += 1;
        if self.beats.is_multiple_of(RIGHTS_EVERY) {
            self.try_rights(fleet)?;
            self.agree_on_version(fleet)?;
            self.look_at_memory();
        }
        self.look_for_losses(fleet)
    }

    /// Fails unless each master gives its user every right that the stores need. A node that may do only half of it
    /// must do nothing.
    fn try_rights(&mut self, fleet: &Fleet) -> RedisResult<()> {
        let mut wires = self.wires.iter_mut().enumerate();
        wires.try_for_each(|(index, wire)| {
            let tried = rights::try_all(&self.health.channels, fleet.reach, wire, &fleet.probe_key(index));
            // The rights are tried again when there is space.
            tried.or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })
        })
    }

    /// Fails if this node and another one would not understand each other.
    fn agree_on_version(&mut self, fleet: &Fleet) -> RedisResult<()> {
        version::agree(version::VERSIONS, &self.health.node, fleet, &mut self.wires)
    }

    /// Finds out whether nodes listen that hear only the channel of all nodes, or that want to know of all rooms.
    fn count_listeners(&mut self, fleet: &Fleet) -> RedisResult<()> {
        let mut wants_news = false;
        for wire in &mut self.wires {
            let listeners = rights::listeners(&self.health.channels, wire)?;
            wants_news |= listeners.news > 0;
            if listeners.everybody > listeners.knowing {
                self.earlier_node = Some(Instant::now());
            }
        }
        let earlier = self.earlier_node.is_some_and(|seen| seen.elapsed() < REMEMBERED);
        if self.health.earlier_nodes.swap(earlier, Ordering::Relaxed) != earlier {
            let what = match (earlier, fleet.reach) {
                (true, Reach::Everybody) => {
                    "the cluster has no sharded channels (Redis 7.0 has them): every node hears every message"
                }
                (true, _) => "a node of an earlier version is there: every node hears every message, until it is gone",
                (false, _) => "all nodes hear only the rooms that they have members in",
            };
            tracing::info!("{what}");
        }
        self.health.wants_news.store(wants_news, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves a sign on each master, and checks that the previous one is still there.
    fn look_for_losses(&mut self, fleet: &Fleet) -> RedisResult<()> {
        let left = self.signs.leave(&self.health.node, fleet, &mut self.wires)?;
        let lately = self.health.refused.lock().is_some_and(|refused| refused.elapsed() < FULL_FOR);
        self.tell_of_memory(left.is_full || lately);
        if left.is_lost {
            tracing::error!(
                redis = %self.health.deployment,
                "Redis has lost data: it was emptied, or is back with an older state; its newest messages may be gone"
            );
            self.health.losses.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Looks for servers that take commands, and publishes the result to all callers.
    fn try_again(&mut self) {
        self.generation += 1;
        self.wires.clear();
        let formed =
            Fleet::form(&self.health.deployment, self.generation, TRY_ANSWER).and_then(|(fleet, mut wires)| {
                // Other commands may wait longer, up to `server::ANSWER`.
                wires.iter_mut().try_for_each(|wire| wire.patience(SOON))?;
                Ok((fleet, wires))
            });
        let formed = formed.and_then(|(fleet, wires)| {
            self.wires = wires;
            self.try_rights(&fleet)?;
            self.agree_on_version(&fleet)?;
            self.count_listeners(&fleet)?;
            self.look_for_losses(&fleet).map(|()| fleet)
        });
        if formed.is_ok() {
            self.look_at_memory();
        }
        let fleet = match formed {
            Ok(fleet) => Ok(Arc::new(fleet)),
            Err(error) => Err(Arc::<str>::from(sentence(&error))),
        };
        self.tell(&fleet);
        let mut state = self.health.state.lock();
        // The suspicion was about the fleet before.
        state.suspected = false;
        let before = mem::replace(&mut state.fleet, fleet);
        self.health.changed.notify_all();
        drop(state);
        // This closes its connections, which does not need the lock.
        drop(before);
    }

    /// Logs one line when Redis goes, and one when it comes back.
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

    /// Logs one line when the memory of a server is full, and one when it has space again.
    fn tell_of_memory(&self, is_full: bool) {
        let redis = &self.health.deployment;
        match (self.health.is_full.swap(is_full, Ordering::AcqRel), is_full) {
            (false, true) => tracing::error!(
                %redis,
                "the memory of Redis is full; messages and tokens are refused until there is space: raise its maxmemory, \
                 or lower HISTORY_MAX"
            ),
            (true, false) => tracing::info!(%redis, "Redis has space again"),
            _ => {}
        }
    }

    /// Finds out whether memory is short. A Redis that evicts keys when its memory is full forgets which tokens are
    /// spent: one line warns of that.
    fn look_at_memory(&mut self) {
        let memories: Vec<Memory> = self.wires.iter_mut().filter_map(Memory::read).collect();
        let used = memories.iter().map(Memory::share).fold(0.0, f64::max);
        let is_short = used >= if self.health.is_short() { AMPLE } else { SHORT };
        self.health.is_short.store(is_short, Ordering::Relaxed);
        let policy = memories.into_iter().map(|memory| memory.policy).find(|policy| policy != "noeviction");
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
