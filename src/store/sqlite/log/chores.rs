//! Chores that the writer leaves to the keeper thread.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A list without duplicates, so it is bounded by the number of rooms. Adding to it never waits for the keeper's work.
#[derive(Default)]
pub(super) struct Chores {
    list: Mutex<List>,
    changed: Condvar,
}

#[derive(Default)]
struct List {
    checkpoint: bool,
    forgotten: bool,
    wipe: bool,
    /// A wipe rests until then. The keeper does its other chores meanwhile.
    wipe_from: Option<Instant>,
    just_wiped: bool,
    measure: bool,
    authors: bool,
    /// The number of wipes requested so far, of those covered by the last wipe that began, and by the last that is
    /// done.
    asked: u64,
    begun: u64,
    wiped: u64,
    /// How many callers wait for a wipe, and how often the keeper has told them that it goes on.
    awaited: usize,
    goes_on: u64,
    rooms: BTreeSet<i64>,
    stop: bool,
    busy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    Checkpoint,
    /// Remove what was deleted from the WAL and from slack, a slice of it.
    Wipe,
    /// Delete the messages of forgotten rooms.
    SweepForgotten,
    /// Check whether this room has more messages than are kept.
    Trim(i64),
    /// Measure what all rooms take, and delete a little if that is too much.
    Measure,
    /// Note the authors of some messages that are older than the table of authors.
    NoteAuthors,
    Stop,
}

impl List {
    /// A slice of a wipe takes turns with what comes after it: each may be due without a pause.
    fn wipe_is_next(&self) -> bool {
        let others_turn = self.just_wiped && (self.measure || self.authors);
        self.wipe && self.wipe_rests().is_zero() && !others_turn
    }

    /// For how long a wipe that was requested rests.
    fn wipe_rests(&self) -> Duration {
        self.wipe_from.map_or(Duration::ZERO, |from| from.saturating_duration_since(Instant::now()))
    }
}

impl Chores {
    pub fn checkpoint(&self) {
        self.list().checkpoint = true;
        self.changed.notify_all();
    }

    /// Requests a wipe, and returns its number.
    pub fn wipe(&self) -> u64 {
        let mut list = self.list();
        list.wipe = true;
        list.asked += 1;
        self.changed.notify_all();
        list.asked
    }

    /// Notes that a wipe begins: it covers everything requested so far.
    pub fn wipe_begins(&self) {
        let mut list = self.list();
        list.begun = list.asked;
    }

    /// Requests the next slice of a wipe, or another attempt, for after this rest.
    pub fn wipe_after(&self, rest: Duration) {
        let mut list = self.list();
        list.wipe = true;
        list.wipe_from = Some(Instant::now() + rest);
    }

    /// Notes that the wipe that began last is done.
    pub fn wiped(&self) {
        let mut list = self.list();
        list.wiped = list.begun;
        // What was requested while it went on is left.
        list.wipe |= list.asked > list.begun;
        self.changed.notify_all();
    }

    /// Waits until this wipe, and everything requested before it, is done, as long as it goes on within `patience`.
    /// Returns whether it is done.
    pub fn wait_until_wiped(&self, asked: u64, patience: Duration) -> bool {
        let mut list = self.list();
        list.awaited += 1;
        let mut seen = list.goes_on;
        loop {
            let waits = |list: &mut List| list.wiped < asked && list.goes_on == seen && !list.stop;
            let waited = self.changed.wait_timeout_while(list, patience, waits);
            list = waited.unwrap_or_else(PoisonError::into_inner).0;
            if list.wiped >= asked || list.goes_on == seen || list.stop {
                list.awaited -= 1;
                return list.wiped >= asked;
            }
            seen = list.goes_on;
        }
    }

    /// Tells those who wait for a wipe that it goes on. Returns whether there are any.
    pub fn goes_on(&self) -> bool {
        let mut list = self.list();
        list.goes_on += 1;
        self.changed.notify_all();
        list.awaited > 0
    }

    pub fn sweep_forgotten(&self) {
        self.list().forgotten = true;
        self.changed.notify_all();
    }

    pub fn measure(&self) {
        self.list().measure = true;
        self.changed.notify_all();
    }

    pub fn note_authors(&self) {
        self.list().authors = true;
        self.changed.notify_all();
    }

    pub fn trim(&self, rooms: &[i64]) {
        if !rooms.is_empty() {
            self.list().rooms.extend(rooms);
            self.changed.notify_all();
        }
    }

    pub fn stop(&self) {
        self.list().stop = true;
        self.changed.notify_all();
    }

    /// Waits for the next chore, the most urgent first.
    pub fn next(&self) -> Chore {
        let mut list = self.list();
        list.busy = false;
        loop {
            let chore = if list.stop {
                Some(Chore::Stop)
            } else if mem::take(&mut list.checkpoint) {
                Some(Chore::Checkpoint)
            } else if let Some(room) = list.rooms.pop_first() {
                Some(Chore::Trim(room))
            } else if mem::take(&mut list.forgotten) {
                Some(Chore::SweepForgotten)
            } else if list.wipe_is_next() {
                list.wipe = false;
                Some(Chore::Wipe)
            } else if mem::take(&mut list.authors) {
                // Before what asks for itself again as long as the store is full, and needs to know the authors.
                Some(Chore::NoteAuthors)
            } else if mem::take(&mut list.measure) {
                Some(Chore::Measure)
            } else {
                None
            };
            match chore {
                Some(chore) => {
                    list.busy = true;
                    list.just_wiped = chore == Chore::Wipe;
                    return chore;
                }
                None => {
                    self.changed.notify_all();
                    let patience = if list.wipe { list.wipe_rests() } else { Duration::MAX };
                    list = self.changed.wait_timeout(list, patience).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Whether a checkpoint is due, in the middle of a longer chore.
    pub fn take_checkpoint(&self) -> bool {
        mem::take(&mut self.list().checkpoint)
    }

    /// Waits for `rest`, or until the keeper is to stop. Returns whether it is.
    pub fn rest(&self, rest: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.list(), rest, |list| !list.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }

    /// Waits until nothing is left to do.
    #[cfg(test)]
    pub fn wait_until_done(&self) {
        let busy = |list: &mut List| {
            let List { busy, checkpoint, forgotten, wipe, measure, authors, .. } = *list;
            busy || checkpoint || forgotten || wipe || measure || authors || !list.rooms.is_empty()
        };
        drop(self.changed.wait_while(self.list(), busy).unwrap());
    }

    /// A panic can't leave the list half changed, so a poisoned lock is fine.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail where each wipe is next that is due: a measure never is.
    #[test]
    fn wipes_that_are_requested_again_and_again_take_turns_with_other_chores() {
        let chores = Chores::default();
        let next = || {
            chores.wipe();
            chores.next()
        };
        assert_eq!([next(), next()], [Chore::Wipe, Chore::Wipe]);
        chores.measure();
        assert_eq!([next(), next()], [Chore::Measure, Chore::Wipe]);
        chores.note_authors();
        chores.measure();
        assert_eq!([next(), next(), next(), next()], [Chore::NoteAuthors, Chore::Wipe, Chore::Measure, Chore::Wipe]);
    }
}
