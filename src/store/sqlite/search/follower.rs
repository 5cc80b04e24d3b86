//! The thread that keeps the index up to date.

use super::{
    index::{FOLLOW, Index, STORE},
    waiting::{Asked, Extent, Work},
};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        log::{HasText, MessageLog, is_full_page},
        outage::Outages,
        sqlite::{
            error::failed,
            log::{SqliteLog, ids},
        },
    },
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, select};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How often it checks for new entries.
const PAUSE: Duration = Duration::from_secs(1);

/// The same after a round of at least [`MUCH`] entries. A round costs something for each room, so an entry costs less if
/// more of its room come with it.
const PAUSE_AFTER_MUCH: Duration = Duration::from_secs(5);
const MUCH: u64 = 250;

/// How often it looks for messages that the log no longer keeps: many together leave the index with less work.
const SWEEP: Duration = Duration::from_secs(300);

/// The most entries that one transaction adds, and bytes of text from which on it takes no further room. The messages of
/// the same time share pages, whatever their rooms, so the more there are, the fewer pages each costs.
const ADDED: usize = 1000;
const ADDED_BYTES: usize = 512 << 10;

/// The most that one transaction removes.
const BATCH: usize = 500;

/// How many rooms that have lost messages are listed at a time, and followed in one transaction.
const SHRUNK: usize = 500;
const SWEPT: usize = 50;

/// How long the thread rests after a transaction, in multiples of the transaction's time.
const REST: u32 = 15;

/// The same while a caller waits for it.
const REST_WHILE_AWAITED: u32 = 2;

/// The longest rest, since a caller may begin to wait meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How long it overwrites what was removed while there is something new, which is added then; and for how long in all it
/// gives way like this.
pub(super) const TURN: Duration = Duration::from_secs(2);
const LONGEST_WAY: Duration = Duration::from_secs(120);

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The index has everything.
    AllIn,
    /// There is no space for more.
    Full,
    /// A caller wants something gone first, or there is something new.
    GaveWay,
    Stopped,
}

pub(super) struct Follower {
    pub log: Arc<SqliteLog>,
    pub index: Index,
    pub stopped: Receiver<()>,
    pub asked: Receiver<Asked>,
    pub work: Arc<Work>,
    /// As [`TURN`].
    pub turn: Duration,
    /// Since when it has been giving way to what is new.
    pub giving_way: Option<Instant>,
}

impl Follower {
    pub fn run(mut self) {
        let outages = Outages::new(STORE);
        let (mut seen, mut swept) = (None, None::<Instant>);
        let mut pause = PAUSE;
        loop {
            let asked = select! {
                recv(self.stopped) -> _ => return,
                recv(self.asked) -> asked => asked.ok(),
                default(pause) => None,
            };
            vital::may_panic("search");
            let last = self.log.last_id();
            if let Some((extent, answer)) = asked {
                self.index.wipe_next_time();
                let ended = match extent {
                    Extent::Losses => self.leave_nothing_lost(last),
                    #[cfg(test)]
                    Extent::All => self.catch_up(last, true, false),
                };
                // The caller may have gone.
                let _ = answer.send(ended.and_then(|ended| match ended {
                    Ended::AllIn | Ended::Full | Ended::GaveWay => Ok(()),
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
            let indexed = self.work.indexed.load(Ordering::SeqCst);
            match self.catch_up(last, is_sweep_due, true) {
                Ok(ended) => {
                    let is_much = self.work.indexed.load(Ordering::SeqCst) - indexed >= MUCH;
                    pause = if is_much { PAUSE_AFTER_MUCH } else { PAUSE };
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
    /// Messages that were deleted by then are no longer in the file. If it `gives_way`, it ends for callers who wait, and
    /// for what is new when everything is added.
    fn catch_up(&mut self, last: MessageId, sweep: bool, gives_way: bool) -> Result<Ended, StoreError> {
        if !self.take_losses(last)? || (sweep && !self.sweep()?) {
            return Ok(Ended::Stopped);
        }
        let mut rooms = VecDeque::new();
        self.log.rooms_after(self.index.floor()?, |room, _| {
            rooms.push_back(room);
            true
        })?;
        while !rooms.is_empty() {
            if gives_way && self.is_awaited() {
                return Ok(Ended::GaveWay);
            }
            self.log.index_takes(self.index.used()?);
            if self.log.is_index_full() {
                // The log removes something first, and then this does.
                return Ok(if self.leave_nothing(None)? == Ended::AllIn { Ended::Full } else { Ended::Stopped });
            }
            let begun = Instant::now();
            let (mut batch, mut left, mut bytes) = (Vec::new(), ADDED, 0);
            let mut again = Vec::new();
            while left > 0
                && bytes < ADDED_BYTES
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
                bytes += entries.iter().map(HasText::text_len).sum::<usize>();
                batch.push((room, entries));
            }
            self.index.take_in(&batch)?;
            self.work.indexed.fetch_add(batch.iter().map(|(_, entries)| entries.len() as u64).sum(), Ordering::SeqCst);
            rooms.extend(again);
            if !self.rest(begun) {
                return Ok(Ended::Stopped);
            }
        }
        self.index.set_floor(last)?;
        let ended = self.leave_nothing(gives_way.then_some(last))?;
        self.log.index_takes(self.index.used()?);
        Ok(ended)
    }

    /// Removes everything that was deleted, edited or trimmed up to `last`, and adds nothing.
    fn leave_nothing_lost(&mut self, last: MessageId) -> Result<Ended, StoreError> {
        if self.take_losses(last)? && self.sweep()? { self.leave_nothing(None) } else { Ok(Ended::Stopped) }
    }

    /// Removes what was deleted up to `last`, and what was edited without its edit having been followed: that adds the
    /// message again. Returns whether to go on.
    fn take_losses(&mut self, last: MessageId) -> Result<bool, StoreError> {
        let last = ids::key(last);
        let mut after = self.index.changes();
        if after < last && self.index.is_empty()? {
            after = last;
        }
        while after < last {
            let begun = Instant::now();
            let lost = self.log.lost_after(after, BATCH)?;
            let is_all = lost.len() < BATCH;
            after = if is_all { last } else { lost.last().map_or(last, |loss| loss.key) };
            let mut gone = Vec::with_capacity(lost.len());
            for loss in lost {
                if loss.is_deleted || ids::key(self.index.position(&loss.room)?) < loss.key {
                    gone.push(loss.of);
                }
            }
            if !gone.is_empty() {
                self.index.remove(&gone, after)?;
                if !self.rest(begun) {
                    return Ok(false);
                }
            }
        }
        // Written with what is indexed next.
        self.index.set_changes(after);
        Ok(true)
    }

    /// Makes sure that nothing in the file shows what was removed. If it `gives_way_after` an id, it ends after a turn when
    /// there is something newer, and the next call goes on: a large index takes long, and nobody finds what is new.
    fn leave_nothing(&mut self, gives_way_after: Option<MessageId>) -> Result<Ended, StoreError> {
        let turn = Instant::now() + self.turn;
        loop {
            let begun = Instant::now();
            // A merge that is interrupted by others' deletions begins anew, so it does not give way.
            let is_settled = self.index.settle()?;
            if is_settled && self.index.wipe()? {
                self.giving_way = None;
                return Ok(Ended::AllIn);
            }
            if !self.rest(begun) {
                return Ok(Ended::Stopped);
            }
            if is_settled
                && begun >= turn
                && gives_way_after.is_some_and(|last| self.log.last_id() > last)
                && self.giving_way.get_or_insert(begun).elapsed() < LONGEST_WAY
            {
                return Ok(Ended::GaveWay);
            }
        }
    }

    /// Removes what the log no longer keeps, of the rooms that have lost something. Returns whether to go on.
    fn sweep(&mut self) -> Result<bool, StoreError> {
        if !self.sweep_rooms(self.log.rooms_to_end().into())? {
            return Ok(false);
        }
        let mut after = None;
        loop {
            let shrunk = self.log.shrunk(after.as_ref(), SHRUNK)?;
            if !self.sweep_rooms(shrunk.iter().map(|(room, _)| room.clone()).collect())? {
                return Ok(false);
            }
            self.log.forget_shrunk(&shrunk)?;
            after = shrunk.last().map(|(room, _)| room.clone());
            if shrunk.len() < SHRUNK {
                return Ok(true);
            }
        }
    }

    fn sweep_rooms(&mut self, mut rooms: VecDeque<RoomName>) -> Result<bool, StoreError> {
        while !rooms.is_empty() {
            let begun = Instant::now();
            let (mut names, mut ends) = (Vec::new(), Vec::new());
            while ends.len() < SWEPT
                && let Some(room) = rooms.pop_front()
            {
                #[cfg(test)]
                self.work.swept.fetch_add(1, Ordering::SeqCst);
                let Some(number) = self.index.number(&room)? else { continue };
                // Not a change: those of trimmed messages go after them, and are older than some of them.
                let oldest = self.log.newer(&room, MessageId::BEFORE_ALL, 1)?.first().map(|message| message.id);
                ends.push((number, oldest.map_or(i64::MAX, ids::key)));
                names.push(room);
            }
            if ends.is_empty() {
                continue;
            }
            let done = self.index.take_out(&ends, BATCH)?;
            names.drain(done..).rev().for_each(|room| rooms.push_front(room));
            if !self.rest(begun) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::UnwipedIndex, *};
    use crate::store::suite::{fresh_room, say};
    use crossbeam_channel::{bounded, never};

    // Seen to fail where nothing is added before all is overwritten: the first call ends with everything done.
    #[test]
    fn overwriting_gives_way_to_what_is_new_but_not_for_long() {
        let UnwipedIndex { dir, log, index } = UnwipedIndex::new();
        let due = || UnwipedIndex::is_due(dir.path());
        let (_stop, stopped) = bounded(0);
        let (work, turn) = (Arc::default(), Duration::ZERO);
        let mut follower = Follower { log, index, stopped, asked: never(), work, turn, giving_way: None };
        let room = fresh_room();
        let overtaken = |follower: &mut Follower| {
            let last = follower.log.last_id();
            say(&*follower.log, &room, &["quicksilver"]);
            follower.catch_up(last, false, true).unwrap()
        };
        for _ in 0..3 {
            assert_eq!((overtaken(&mut follower), due()), (Ended::GaveWay, true));
            assert_eq!(follower.index.position(&room).unwrap(), follower.log.history(&room, None, 1).unwrap()[0].id);
        }
        follower.giving_way = Instant::now().checked_sub(LONGEST_WAY);
        assert_eq!((overtaken(&mut follower), due()), (Ended::AllIn, false));
        assert!(follower.giving_way.is_none());
    }
}
