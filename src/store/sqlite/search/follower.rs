//! The thread that keeps the index up to date.

use super::{
    index::{Extent, FOLLOW, Index, STORE},
    waiting::Work,
};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        log::is_full_page,
        outage::Outages,
        sqlite::{
            error::failed,
            log::{SqliteLog, ids},
        },
    },
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How often it checks for new entries.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it checks for messages that the log no longer keeps.
const SWEEP: Duration = Duration::from_secs(300);

/// Entries of one transaction.
const BATCH: usize = 500;

/// How long the thread rests after a transaction, in multiples of the transaction's time.
const REST: u32 = 15;

/// The same while a caller waits for it.
const REST_WHILE_AWAITED: u32 = 2;

/// The longest rest, since a caller may begin to wait meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The index has everything.
    AllIn,
    /// There is no space for more. If a caller waits, everything that must be removed has been.
    Full,
    Stopped,
}

pub(super) struct Follower {
    pub log: Arc<SqliteLog>,
    pub index: Index,
    pub stopped: Receiver<()>,
    pub asked: Receiver<Sender<Result<(), StoreError>>>,
    pub work: Arc<Work>,
}

impl Follower {
    pub fn run(mut self) {
        let outages = Outages::new(STORE);
        let (mut seen, mut swept) = (None, None::<Instant>);
        loop {
            let asked = select! {
                recv(self.stopped) -> _ => return,
                recv(self.asked) -> asked => asked.ok(),
                default(PAUSE) => None,
            };
            vital::may_panic("search");
            let last = self.log.last_id();
            if let Some(asked) = asked {
                self.index.wipe_next_time();
                // The caller may have gone.
                let _ = asked.send(self.catch_up(last, true).and_then(|ended| match ended {
                    Ended::AllIn | Ended::Full => Ok(()),
                    // The next start goes on.
                    Ended::Stopped => Err(failed(STORE, FOLLOW)("the server stops")),
                }));
                continue;
            }
            // Read before the sweep: what is trimmed during it has to be swept again.
            let unswept = self.log.unswept();
            let is_sweep_due = unswept.is_some() || swept.is_none_or(|swept| swept.elapsed() >= SWEEP);
            if seen == Some(last) && !is_sweep_due {
                continue;
            }
            match self.catch_up(last, is_sweep_due) {
                Ok(ended) => {
                    seen = (ended == Ended::AllIn).then_some(last);
                    if is_sweep_due {
                        swept = Some(Instant::now());
                        unswept.into_iter().for_each(|rounds| self.log.swept(rounds));
                    }
                    outages.worked(FOLLOW);
                }
                Err(error) => outages.failed(FOLLOW, &error.source),
            }
        }
    }

    /// Rests after a transaction that began then. Returns whether to go on.
    fn rest(&self, begun: Instant) -> bool {
        self.work.done.fetch_add(1, Ordering::SeqCst);
        let rest = if self.is_awaited() { REST_WHILE_AWAITED } else { REST };
        let rest = (begun.elapsed() * rest).min(LONGEST_REST);
        self.stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout)
    }

    fn is_awaited(&self) -> bool {
        self.work.awaited.load(Ordering::SeqCst) > 0
    }

    /// Indexes everything up to `last`, which was the last id of the log before, or as much as there is space for.
    /// Messages that were deleted by then are no longer in the file.
    fn catch_up(&mut self, last: MessageId, sweep: bool) -> Result<Ended, StoreError> {
        if sweep && !self.sweep()? {
            return Ok(Ended::Stopped);
        }
        let mut rooms = VecDeque::new();
        self.log.rooms_after(self.index.floor()?, |room, _| {
            rooms.push_back(room);
            true
        })?;
        while !rooms.is_empty() {
            self.log.index_takes(self.index.used()?);
            if self.log.is_index_full() {
                // The log removes something first, and then this does. A waiting caller wants deleted messages gone.
                let goes_on = (!self.is_awaited() || self.take_losses(rooms, last)?) && self.leave_nothing()?;
                return Ok(if goes_on { Ended::Full } else { Ended::Stopped });
            }
            let begun = Instant::now();
            let (mut batch, mut left) = (Vec::new(), BATCH);
            let mut again = Vec::new();
            while left > 0
                && let Some(room) = rooms.pop_front()
            {
                let position = self.index.position(&room)?;
                let entries = self.log.after(&room, position, left)?;
                let Some(newest) = entries.last().map(Entry::id) else { continue };
                // Entries since `last` are left for the next time: this round must end.
                if newest < last && (entries.len() == left || is_full_page(&entries)) {
                    again.push(room.clone());
                }
                left -= entries.len();
                batch.push((room, entries));
            }
            self.index.take_in(&batch, Extent::All)?;
            rooms.extend(again);
            if !self.rest(begun) {
                return Ok(Ended::Stopped);
            }
        }
        self.index.set_floor(last)?;
        if !self.leave_nothing()? {
            return Ok(Ended::Stopped);
        }
        self.log.index_takes(self.index.used()?);
        Ok(Ended::AllIn)
    }

    /// Removes what was deleted in these rooms, and adds nothing. Returns whether to go on.
    fn take_losses(&mut self, rooms: VecDeque<RoomName>, last: MessageId) -> Result<bool, StoreError> {
        for room in rooms {
            let mut position = self.index.position(&room)?;
            loop {
                let begun = Instant::now();
                let entries = self.log.after(&room, position, BATCH)?;
                let Some(newest) = entries.last().map(Entry::id) else { break };
                position = newest;
                self.index.take_in(&[(room.clone(), entries)], Extent::Losses)?;
                if !self.rest(begun) {
                    return Ok(false);
                }
                if newest >= last {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Makes sure that nothing in the file shows what was removed. Returns whether to go on.
    fn leave_nothing(&mut self) -> Result<bool, StoreError> {
        loop {
            let begun = Instant::now();
            if self.index.settle()? && self.index.wipe()? {
                return Ok(true);
            }
            if !self.rest(begun) {
                return Ok(false);
            }
        }
    }

    /// Removes what the log no longer keeps. Returns whether to go on.
    fn sweep(&mut self) -> Result<bool, StoreError> {
        for (number, name) in self.index.rooms()? {
            let name = RoomName::from_store(&name);
            let oldest = self.log.after(&name, MessageId::BEFORE_ALL, 1)?.first().map(Entry::id);
            let before = oldest.map_or(i64::MAX, ids::key);
            loop {
                let begun = Instant::now();
                let gone = self.index.take_out(number, before, BATCH)?;
                if !self.rest(begun) {
                    return Ok(false);
                }
                if gone < BATCH {
                    break;
                }
            }
        }
        Ok(true)
    }
}
