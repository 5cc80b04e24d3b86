//! The queue of webhooks: which rooms have events to send, whose turn it is, and when to try again.
//!
//! - Only one sender has a room at a time, so its events go out in order.
//! - Those who fill rooms take turns (`lines`), and then their rooms do. A turn ends after a moment if others wait.
//! - Events gather for a moment, over all rooms. Then one sender sends them, and another joins it for each such moment
//!   that it takes. So a message wakes no sender, and shares its own way with none.
//! - A room whose event failed waits longer each time, while other rooms go on.
//! - If room after room fails, the endpoint is down: then one event at a time is tried, less and less often, until one
//!   is accepted.
//! - What is not in memory is in the log, and the next search of the log finds it.

mod lines;
mod state;
#[cfg(test)]
mod tests;

pub use state::{MAX_ROOMS, Outcome, Turn, unix_millis};

use crate::{
    message::{MessageId, RoomName},
    room::observer::Observer,
};
use lines::Filler;
use parking_lot::{Condvar, Mutex};
use state::State;
use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// Decides whether this process sends, and for which room next.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    /// Wakes a sender that waits for a turn.
    turns: Condvar,
    /// Wakes the keeper.
    changed: Condvar,
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

    /// Whether another room could have the turn of a sender.
    pub fn others_wait(&self) -> bool {
        self.state.lock().others_wait(Instant::now())
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
            state.forget_waiting();
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
        // Who said something there is only known when the room is read.
        let unknown = Filler::default();
        for room in rooms {
            state.news(&room, &unknown);
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
    fn stored(&self, room: &RoomName, id: MessageId, by: &Arc<str>) {
        let mut state = self.state.lock();
        state.heard = state.heard.max(Some(id));
        if state.leads_until.is_some() && state.news(room, by) {
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
