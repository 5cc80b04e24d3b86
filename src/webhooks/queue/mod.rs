//! The queue of webhooks: which rooms have events to send, whose turn it is, and when to try again.
//!
//! - Only one sender has a room at a time, so its events go out in order.
//! - Events gather for a moment, over all rooms. Then one sender sends them, and another joins it for each such moment
//!   that it takes. So a message wakes no sender, and shares its own way with none.
//! - A room whose event failed waits longer each time, while other rooms go on.
//! - If room after room fails, the endpoint is down: then one event at a time is tried, less and less often, until one
//!   is accepted.
//! - What is not in memory is in the log, and the next search of the log finds it.

#[cfg(test)]
mod tests;

use super::event::Coming;
use crate::{
    message::{MessageId, RoomName},
    room::observer::Observer,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How many rooms with events are remembered; others are found in the log later.
pub const MAX_ROOMS: usize = 10_000;

/// How many comings and goings may wait, over all rooms; more are dropped.
const MAX_COMINGS: usize = 10_000;

/// How many waiting comings and goings of a room are searched for the counterpart of a new one.
const LOOK_BACK: usize = 64;

/// How long events gather at most before they are sent, and after how long another sender joins those that are at work.
const GATHER: Duration = Duration::from_millis(50);

/// The first delay, and the longest; each is twice the previous one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// How many rooms must fail one after the other until the endpoint counts as down.
const MANY_FAILURES: u32 = 8;

/// Decides whether this process sends, and for which room next.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    /// Wakes a sender that waits for a turn.
    turns: Condvar,
    /// Wakes the keeper.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomName, Waiting>,
    /// When each room may be tried. The number distinguishes rooms of the same moment.
    due: BTreeMap<(Instant, u64), RoomName>,
    numbers: u64,
    /// When what is reported now is due.
    gathered: Option<Instant>,
    /// How many senders have a turn, and when the next one may join them.
    working: usize,
    joins: Option<Instant>,
    /// Until when one of the waiting senders waits; the others wait until they are woken.
    watched: Option<Instant>,
    comings: usize,
    dropped: u64,
    /// Until when this process sends.
    leads_until: Option<Instant>,
    /// Whether more rooms may have events than are here.
    more: bool,
    gate: Gate,
    /// The newest id that was reported here, and the newest that was sent to the endpoint.
    heard: Option<MessageId>,
    told: Option<MessageId>,
    stopping: bool,
}

/// A room with events.
#[derive(Default)]
struct Waiting {
    /// Its place in the order; `None` while a sender has it.
    place: Option<(Instant, u64)>,
    /// Whether something came in while a sender had it.
    again: bool,
    failures: u32,
    failing_since: Option<Instant>,
    /// The time of its oldest waiting event, in Unix milliseconds.
    since: u64,
    comings: VecDeque<Coming>,
}

/// Whether the endpoint may be tried at all.
#[derive(Default)]
struct Gate {
    failures: u32,
    /// Set while the endpoint is down: it is not tried before this.
    opens: Option<Instant>,
    /// Whether a sender is trying it now.
    tried: bool,
    gone: bool,
}

/// A room's turn.
pub struct Turn {
    pub room: RoomName,
    /// Comings and goings, oldest first. Those that are left are put back.
    pub comings: VecDeque<Coming>,
}

/// How a turn ended.
pub enum Outcome {
    /// Everything that was read has been sent. `more`: whether there is more to read.
    Told { more: bool },
    /// An event failed. `since` is its time in Unix milliseconds; `pause` is how long the endpoint asks to be left
    /// alone.
    Failed { since: u64, pause: Option<Duration> },
    /// The endpoint has answered that it is gone.
    Gone,
    /// A store failed.
    Later,
}

impl Queue {
    /// Waits for a turn; `None` when it is time to stop.
    pub fn turn(&self) -> Option<Turn> {
        let mut state = self.state.lock();
        let mut joins = false;
        loop {
            if state.stopping {
                return None;
            }
            let now = Instant::now();
            let until = match state.next_of(joins, now) {
                Ok(turn) => {
                    if joins {
                        // Somebody must watch whether this sender needs help, and what is due next.
                        self.turns.notify_one();
                    }
                    return Some(turn);
                }
                Err(until) => until,
            };
            joins = true;
            match until {
                Some(until) if state.watched.is_none_or(|watched| until < watched) => {
                    state.watched = Some(until);
                    self.turns.wait_until(&mut state, until);
                    state.watched.take_if(|watched| *watched == until);
                }
                _ => self.turns.wait(&mut state),
            }
        }
    }

    /// Ends a turn.
    pub fn done(&self, turn: Turn, outcome: &Outcome) {
        self.state.lock().end(turn, outcome, Instant::now());
    }

    /// An event was accepted, so the endpoint works.
    pub fn worked(&self, id: Option<MessageId>) {
        let mut state = self.state.lock();
        state.told = state.told.max(id);
        if state.gate.opens.take().is_some() {
            state.hurry(Instant::now());
            self.turns.notify_all();
        }
        state.gate.failures = 0;
    }

    /// Whether an event of this time (Unix milliseconds) has failed for so long that it is given up.
    pub fn is_given_up(&self, room: &RoomName, time: u64, patience: Duration) -> bool {
        let state = self.state.lock();
        let failing = state.rooms.get(room).and_then(|waiting| waiting.failing_since);
        let age = Duration::from_millis(unix_millis().saturating_sub(time));
        failing.is_some_and(|since| since.elapsed() >= patience) && age >= patience
    }

    /// Sends until `until`. If it did not send before, has the log searched.
    pub fn lead(&self, until: Instant) {
        let mut state = self.state.lock();
        state.more |= !state.leads(Instant::now());
        state.leads_until = Some(until);
        self.turns.notify_all();
    }

    /// Another process sends: forgets the waiting rooms, which are now that process's.
    pub fn follow(&self) {
        let mut state = self.state.lock();
        if state.leads_until.take().is_some() {
            state.rooms.retain(|_, waiting| waiting.place.is_none());
            state.due.clear();
            state.comings = 0;
        }
    }

    /// Whether the log should be searched: more may be there, and there is room for it here.
    pub fn wants_look(&self) -> bool {
        let mut state = self.state.lock();
        let wants = state.more && state.leads(Instant::now()) && state.rooms.len() < MAX_ROOMS / 2;
        if wants {
            state.more = false;
        }
        wants
    }

    /// Adds the rooms that a search of the log found. `more`: whether it may have missed some.
    pub fn found(&self, rooms: Vec<RoomName>, more: bool) {
        let mut state = self.state.lock();
        state.more |= more;
        for room in rooms {
            state.news(&room);
        }
        self.turns.notify_all();
    }

    /// The id up to which everything was sent in all rooms; `None` if that is not known.
    pub fn all_told(&self) -> Option<MessageId> {
        let state = self.state.lock();
        // Ids are reported in their order: all up to this one were, and no room has anything left.
        let idle = state.rooms.is_empty() && !state.more && state.leads(Instant::now());
        if idle { state.heard.min(state.told) } else { None }
    }

    /// Tries the endpoint again, even if it was gone, and all waiting rooms at once. Returns whether it was gone.
    pub fn resume(&self) -> bool {
        let mut state = self.state.lock();
        let was_gone = mem::take(&mut state.gate).gone;
        state.hurry(Instant::now());
        self.turns.notify_all();
        was_gone
    }

    /// Ends all turns.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.turns.notify_all();
        self.changed.notify_all();
    }

    /// Waits until the log should be searched, or `time` has passed. `false` when it is time to stop.
    pub fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        let mut timed_out = false;
        let is_over = |state: &State| state.stopping || (state.more && state.rooms.len() < MAX_ROOMS / 2);
        while !timed_out && !is_over(&state) {
            timed_out = self.changed.wait_until(&mut state, until).timed_out();
        }
        !state.stopping
    }

    pub fn metrics(&self) -> QueueMetrics {
        let mut state = self.state.lock();
        let oldest = state.rooms.values().map(|waiting| waiting.since).min();
        QueueMetrics {
            rooms: state.rooms.len(),
            lag: Duration::from_millis(oldest.map_or(0, |oldest| unix_millis().saturating_sub(oldest))),
            gone: state.gate.gone,
            dropped: mem::take(&mut state.dropped),
        }
    }
}

/// The state of the queue at one moment.
pub struct QueueMetrics {
    pub rooms: usize,
    pub lag: Duration,
    pub gone: bool,
    /// Since the previous call.
    pub dropped: u64,
}

impl Observer for Queue {
    fn stored(&self, room: &RoomName, id: MessageId) {
        let mut state = self.state.lock();
        state.heard = state.heard.max(Some(id));
        if state.leads_until.is_some() && state.news(room) {
            drop(state);
            self.turns.notify_one();
        }
    }

    fn came(&self, room: &RoomName, user: &Arc<str>, is_here: bool) {
        let mut state = self.state.lock();
        // A user who only listens at the rooms door has no name.
        if state.leads_until.is_none() || user.is_empty() {
            return;
        }
        if state.came(room, user, is_here) {
            drop(state);
            self.turns.notify_one();
        }
    }

    fn missed(&self) {
        self.state.lock().more = true;
        self.changed.notify_all();
    }

    fn is_curious(&self) -> bool {
        self.state.lock().leads_until.is_some()
    }
}

impl State {
    fn leads(&self, now: Instant) -> bool {
        self.leads_until.is_some_and(|until| now < until)
    }

    /// The next turn for a sender that `joins` those at work, or goes on; or when to check again.
    fn next_of(&mut self, joins: bool, now: Instant) -> Result<Turn, Option<Instant>> {
        if !joins {
            return self.next(now);
        }
        if self.working > 0
            && let Some(at) = self.joins.filter(|at| now < *at)
        {
            return Err(Some(at));
        }
        let turn = self.next(now)?;
        let end = now + GATHER;
        // What is reported meanwhile is due when the next sender looks.
        (self.joins, self.gathered) = (Some(end), Some(end));
        Ok(turn)
    }

    /// The next turn, or when to check again.
    fn next(&mut self, now: Instant) -> Result<Turn, Option<Instant>> {
        let Some((&place, _)) = self.due.first_key_value() else { return Err(None) };
        if !self.leads(now) || self.gate.gone || (self.gate.opens.is_some() && self.gate.tried) {
            return Err(None);
        }
        let opens = place.0.max(self.gate.opens.unwrap_or(now));
        if opens > now {
            return Err(Some(opens));
        }
        let Some(room) = self.due.remove(&place) else { return Err(None) };
        self.gate.tried = self.gate.opens.is_some();
        let mut comings = VecDeque::new();
        if let Some(waiting) = self.rooms.get_mut(&room) {
            waiting.place = None;
            waiting.again = false;
            comings = mem::take(&mut waiting.comings);
        }
        self.comings -= comings.len();
        self.working += 1;
        Ok(Turn { room, comings })
    }

    /// Notes that a room has something new. Returns whether a sender must be woken.
    fn news(&mut self, room: &RoomName) -> bool {
        if let Some(waiting) = self.rooms.get_mut(room) {
            waiting.again = true;
            return false;
        }
        if self.rooms.len() >= MAX_ROOMS {
            self.more = true;
            return false;
        }
        self.rooms.insert(room.clone(), Waiting { since: unix_millis(), ..Waiting::default() });
        let due = self.gather(Instant::now());
        self.schedule(room, due);
        self.watched.is_none_or(|watched| due < watched)
    }

    /// When what is reported now is due: together with all that is reported until then.
    fn gather(&mut self, now: Instant) -> Instant {
        self.gathered.take_if(|end| *end <= now);
        *self.gathered.get_or_insert(now + GATHER)
    }

    fn came(&mut self, room: &RoomName, user: &Arc<str>, is_here: bool) -> bool {
        if let Some(waiting) = self.rooms.get_mut(room) {
            let before =
                waiting.comings.iter().enumerate().rev().take(LOOK_BACK).find(|(_, coming)| coming.user == *user);
            if let Some((place, coming)) = before
                && coming.is_here != is_here
            {
                // Its counterpart was never sent, so the two cancel out.
                waiting.comings.remove(place);
                self.comings -= 1;
                return false;
            }
        }
        if self.comings >= MAX_COMINGS || (self.rooms.len() >= MAX_ROOMS && !self.rooms.contains_key(room)) {
            self.dropped += 1;
            return false;
        }
        let is_new = self.news(room);
        if let Some(waiting) = self.rooms.get_mut(room) {
            waiting.comings.push_back(Coming::now(user, is_here, self.heard));
            self.comings += 1;
        }
        is_new
    }

    fn schedule(&mut self, room: &RoomName, at: Instant) {
        self.numbers += 1;
        let place = (at, self.numbers);
        if let Some(waiting) = self.rooms.get_mut(room) {
            if let Some(before) = waiting.place.replace(place) {
                self.due.remove(&before);
            }
            self.due.insert(place, room.clone());
        }
    }

    /// Lets all rooms be tried at once.
    fn hurry(&mut self, now: Instant) {
        let rooms: Vec<RoomName> = mem::take(&mut self.due).into_values().collect();
        for room in rooms {
            if let Some(waiting) = self.rooms.get_mut(&room) {
                waiting.place = None;
            }
            self.schedule(&room, now);
        }
    }

    fn end(&mut self, Turn { room, mut comings }: Turn, outcome: &Outcome, now: Instant) {
        self.gate.tried = false;
        self.working -= 1;
        let Some(waiting) = self.rooms.get_mut(&room) else { return };
        self.comings += comings.len();
        comings.append(&mut waiting.comings);
        waiting.comings = comings;
        let delay = match outcome {
            Outcome::Told { more } => {
                (waiting.failures, waiting.failing_since) = (0, None);
                if !more && !waiting.again && waiting.comings.is_empty() {
                    self.rooms.remove(&room);
                    return;
                }
                waiting.since = unix_millis();
                if !more {
                    let due = self.gather(now);
                    self.schedule(&room, due);
                    return;
                }
                Duration::ZERO
            }
            Outcome::Failed { since, pause } => {
                waiting.failures += 1;
                waiting.failing_since.get_or_insert(now);
                waiting.since = *since;
                let own = delay(waiting.failures);
                if waiting.failures == 1 || self.gate.opens.is_some() {
                    self.gate.failures += 1;
                }
                if self.gate.failures >= MANY_FAILURES {
                    self.gate.opens = Some(now + delay(self.gate.failures - MANY_FAILURES + 1));
                }
                pause.map_or(own, |pause| pause.max(own))
            }
            Outcome::Gone => {
                self.gate.gone = true;
                Duration::ZERO
            }
            Outcome::Later => FIRST_DELAY,
        };
        self.schedule(&room, now + delay);
    }
}

/// The delay after this many failures in a row, with a random part, so that not all come back at the same moment.
fn delay(failures: u32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << (failures - 1).min(16));
    doubled.min(LONGEST_DELAY).mul_f64(rand::random_range(0.8..1.2))
}

pub fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
