//! Which rooms have something for the endpoint, whose turn it is, and when it is tried again.
//!
//! - A room is in one hand at a time: so its events go out in order.
//! - A room whose event was refused waits longer each time; other rooms go on.
//! - If room after room fails, it is the endpoint: then one event at a time is tried, ever more seldom, until one is taken.
//! - What is not in memory is in the log, and found by the next look at it.

#[cfg(test)]
mod tests;

use super::event::Coming;
use crate::{
    message::{MessageId, RoomName},
    room::witness::Witness,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Rooms that are remembered to have something; others are found in the log later.
pub const MAX_ROOMS: usize = 10_000;

/// Comings and goings that wait, over all rooms; more are dropped.
const MAX_COMINGS: usize = 10_000;

/// How far back a coming is looked for when somebody goes again.
const LOOK_BACK: usize = 64;

/// The first delay, and the longest; each is twice the one before.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// Rooms that fail one after the other before the endpoint is taken to be down.
const MANY_FAILURES: u32 = 8;

/// Who sends, and for which room.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    /// Wakes those who wait for a turn, one for each that there is.
    turns: Condvar,
    /// Wakes who looks after the rest.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomName, Waiting>,
    /// When which room may be tried; the number keeps those of one moment apart.
    due: BTreeMap<(Instant, u64), RoomName>,
    numbers: u64,
    comings: usize,
    dropped: u64,
    /// Until when this process sends.
    leads_until: Option<Instant>,
    /// There may be more rooms with news than are here.
    more: bool,
    gate: Gate,
    /// The newest that this was told of, and the newest that the endpoint was.
    heard: Option<MessageId>,
    told: Option<MessageId>,
    stopping: bool,
}

/// A room that has something.
#[derive(Default)]
struct Waiting {
    /// Its place in the order; none while somebody sends for it.
    place: Option<(Instant, u64)>,
    /// Something came in meanwhile.
    again: bool,
    failures: u32,
    failing_since: Option<Instant>,
    /// Unix milliseconds of the oldest that is not told.
    since: u64,
    comings: VecDeque<Coming>,
}

/// Whether the endpoint is tried at all.
#[derive(Default)]
struct Gate {
    failures: u32,
    /// It is down, and not tried before this.
    opens: Option<Instant>,
    /// Somebody tries it.
    tried: bool,
    gone: bool,
}

/// A room's turn.
pub struct Turn {
    pub room: RoomName,
    /// Who has come and gone, oldest first. What is left goes back.
    pub comings: VecDeque<Coming>,
}

/// How a room's turn ended.
pub enum Outcome {
    /// All that was there was told; whether there is more to read.
    Told { more: bool },
    /// The endpoint took something, then not this.
    Failed { since: u64, pause: Option<Duration> },
    /// The endpoint has said that it is gone.
    Gone,
    /// A store could not be asked.
    Later,
}

impl Queue {
    /// Waits for a turn; `None` once it is over.
    pub fn turn(&self) -> Option<Turn> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            let now = Instant::now();
            let until = match state.next(now) {
                Ok(turn) => return Some(turn),
                Err(until) => until,
            };
            match until {
                Some(until) => drop(self.turns.wait_until(&mut state, until)),
                None => self.turns.wait(&mut state),
            }
        }
    }

    /// Ends a turn.
    pub fn done(&self, turn: Turn, outcome: &Outcome) {
        let mut state = self.state.lock();
        state.end(turn, outcome, Instant::now());
        self.turns.notify_one();
    }

    /// Something was told: the endpoint works.
    pub fn worked(&self, id: Option<MessageId>) {
        let mut state = self.state.lock();
        state.told = state.told.max(id);
        if state.gate.opens.take().is_some() {
            state.hurry(Instant::now());
            self.turns.notify_all();
        }
        state.gate.failures = 0;
    }

    /// Whether a room's event of this time (Unix milliseconds) has been tried for so long, and failed, that it is given up.
    pub fn is_given_up(&self, room: &RoomName, time: u64, patience: Duration) -> bool {
        let state = self.state.lock();
        let failing = state.rooms.get(room).and_then(|waiting| waiting.failing_since);
        let age = Duration::from_millis(unix_millis().saturating_sub(time));
        failing.is_some_and(|since| since.elapsed() >= patience) && age >= patience
    }

    /// Sends until then; if it had not before, the log has to be looked through.
    pub fn lead(&self, until: Instant) {
        let mut state = self.state.lock();
        state.more |= !state.leads(Instant::now());
        state.leads_until = Some(until);
        self.turns.notify_all();
    }

    /// Another process sends: what is here is that one's.
    pub fn follow(&self) {
        let mut state = self.state.lock();
        if state.leads_until.take().is_some() {
            state.rooms.retain(|_, waiting| waiting.place.is_none());
            state.due.clear();
            state.comings = 0;
        }
    }

    /// Whether there may be more than is here, and room for it.
    pub fn wants_look(&self) -> bool {
        let mut state = self.state.lock();
        let wants = state.more && state.leads(Instant::now()) && state.rooms.len() < MAX_ROOMS / 2;
        if wants {
            state.more = false;
        }
        wants
    }

    /// What was found in the log, or that it could not be read to its end.
    pub fn found(&self, rooms: Vec<RoomName>, more: bool) {
        let mut state = self.state.lock();
        state.more |= more;
        for room in rooms {
            state.news(&room);
        }
        self.turns.notify_all();
    }

    /// Up to where everything was told in all rooms, if that can be said.
    pub fn all_told(&self) -> Option<MessageId> {
        let state = self.state.lock();
        // Ids are heard of in their order: all up to that one were, and no room has anything left.
        let idle = state.rooms.is_empty() && !state.more && state.leads(Instant::now());
        if idle { state.heard.min(state.told) } else { None }
    }

    /// Tries the endpoint again, gone or not, and whatever waits at once.
    pub fn resume(&self) -> bool {
        let mut state = self.state.lock();
        let was_gone = mem::take(&mut state.gate).gone;
        state.hurry(Instant::now());
        self.turns.notify_all();
        was_gone
    }

    /// No more turns.
    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.turns.notify_all();
        self.changed.notify_all();
    }

    /// Waits until there is something to look for, it is over (`false`), or the time is.
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

/// What the queue is like at a moment.
pub struct QueueMetrics {
    pub rooms: usize,
    pub lag: Duration,
    pub gone: bool,
    /// Since the last time.
    pub dropped: u64,
}

impl Witness for Queue {
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
        // Who only listens at the rooms door has no name.
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

    /// The next turn, or when to look again.
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
        Ok(Turn { room, comings })
    }

    /// Something is new in a room; whether anybody has to be woken.
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
        self.schedule(room, Instant::now());
        true
    }

    fn came(&mut self, room: &RoomName, user: &Arc<str>, is_here: bool) -> bool {
        if let Some(waiting) = self.rooms.get_mut(room) {
            let before =
                waiting.comings.iter().enumerate().rev().take(LOOK_BACK).find(|(_, coming)| coming.user == *user);
            if let Some((place, coming)) = before
                && coming.is_here != is_here
            {
                // Nobody was told of the other: together they are nothing.
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

    /// Everything may be tried at once.
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

/// How long to wait after so many failures in a row: with some chance, so that not all come back at one moment.
fn delay(failures: u32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << (failures - 1).min(16));
    doubled.min(LONGEST_DELAY).mul_f64(rand::random_range(0.8..1.2))
}

pub fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
