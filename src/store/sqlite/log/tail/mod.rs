//! Records that are in the journal and not in the tables yet, in memory: history reads them, and the applier moves them
//! into the tables.
//!
//! It grows only at its end and shrinks only at its start, after the tables' commit. So a reader that looks here first,
//! and into the tables afterwards, misses nothing: everything before the tail's first key is in the tables. If a change
//! is here, the present state of its message is here too.

mod room;

pub(in crate::store::sqlite) use room::{Found, Now, Overlay, RoomThere, Seen, Shown};

use crate::{
    likeness::same_email,
    message::{MessageId, RoomName},
    store::{
        journal::{Outcome, Record, What},
        log::Backlog,
        moving::{Kept, OwnMark},
    },
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use room::{Room, cost};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

/// From this many records on they are moved at once: enough that each page of the tables is written for many of them.
const MANY: usize = 16 * 1024;

/// The most records that are moved in one transaction.
const BATCH: usize = 2 * MANY;

/// How long a record waits for others before it is moved. With a thousand rooms, a transaction of eight thousand
/// messages costs less than half as much per message as one of two thousand.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a deletion waits for others before the text leaves the journal.
const HASTE: Duration = Duration::from_secs(1);

/// Records removed under one lock.
const SLICE: usize = 1024;

pub(in crate::store::sqlite) struct Tail {
    state: Mutex<State>,
    /// The applier has something to do.
    due: Condvar,
    /// Records were moved, or could not be.
    moved: Condvar,
    /// The most that may be here, by [`cost`].
    max: u64,
}

struct State {
    /// Everything, in the order of the journal.
    records: VecDeque<Arc<Record>>,
    rooms: HashMap<RoomName, Room>,
    cost: u64,
    /// How many rooms are set aside here.
    set_aside: usize,
    /// Since when the oldest record, or one before it, has been waiting.
    since: Instant,
    /// When the oldest records were last read to be moved.
    looked: Instant,
    /// The tables have everything up to this key.
    applied: i64,
    /// From `urgent_at` on, no segment may have anything up to this key.
    urgent: i64,
    urgent_at: Instant,
    /// Everything up to this key is in the tables, and in no segment.
    settled: i64,
    /// The last attempt to move records failed.
    failing: bool,
    stopping: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the journal is full: the tables behind it could not take over what is in it")]
pub(in crate::store::sqlite) struct Full;

impl Tail {
    /// `applied`: the key up to which the tables have everything.
    pub fn new(max: u64, applied: i64) -> Tail {
        let now = Instant::now();
        Tail {
            state: Mutex::new(State {
                records: VecDeque::new(),
                rooms: HashMap::new(),
                cost: 0,
                set_aside: 0,
                since: now,
                looked: now,
                applied,
                // Records that an earlier process left in segments are removed at once.
                urgent: applied,
                urgent_at: now,
                settled: i64::MIN,
                failing: false,
                stopping: false,
            }),
            due: Condvar::new(),
            moved: Condvar::new(),
            max,
        }
    }

    /// Adds journal records, and the state of the messages that they change, by room and key.
    pub fn push(&self, records: Vec<Arc<Record>>, changed: HashMap<(RoomName, i64), Now>) {
        let mut state = self.state.lock();
        let (before, was_much) = (state.records.len(), state.is_much(self.max));
        for record in records {
            state.push(record);
        }
        for ((room, _), now) in changed {
            state.set(room, now);
        }
        if before == 0 {
            state.since = Instant::now();
        }
        // It was notified of the earlier ones before.
        if before == 0 || !was_much && state.is_much(self.max) {
            self.due.notify_one();
        }
    }

    /// Waits while there is no space for more.
    pub fn wait_for_room(&self, patience: Duration) -> Result<(), Full> {
        let mut state = self.state.lock();
        if state.cost < self.max {
            return Ok(());
        }
        self.hasten(&mut state, Duration::ZERO);
        let deadline = Instant::now() + patience;
        while state.cost >= self.max {
            if state.failing || self.moved.wait_until(&mut state, deadline).timed_out() {
                return Err(Full);
            }
        }
        Ok(())
    }

    /// Whether the tables fail, and there is no space for more.
    pub fn is_stuck(&self) -> bool {
        let state = self.state.lock();
        state.failing && state.cost >= self.max
    }

    /// A message as it is now.
    pub fn find(&self, room: &RoomName, id: MessageId) -> Found<Shown> {
        self.state.lock().rooms.get(room).map_or(Found::Unknown, |room| room.find(id))
    }

    /// The message for which this sender used this reference.
    pub fn first_use(&self, room: &RoomName, sender: &str, reference: &str) -> Found<MessageId> {
        self.state.lock().rooms.get(room).map_or(Found::Unknown, |room| room.first_use(sender, reference))
    }

    /// Up to `limit` of the room's newest messages before the key `before`, newest first.
    pub fn newest(&self, room: &RoomName, before: i64, limit: usize) -> Seen {
        let state = self.state.lock();
        let first = state.first();
        state.rooms.get(room).map_or_else(|| Seen::nothing(first), |room| room.newest(before, limit, first))
    }

    /// Up to `limit` of the room's messages and as many changes after this entry, oldest first, and whether the entry
    /// itself is here.
    pub fn after(&self, room: &RoomName, after: MessageId, limit: usize) -> (Seen, bool) {
        let state = self.state.lock();
        let first = state.first();
        let nothing = || (Seen::nothing(first), false);
        state.rooms.get(room).map_or_else(nothing, |room| room.after(after, limit, first))
    }

    /// The rooms that have anything here.
    pub fn rooms(&self) -> Vec<RoomThere> {
        let state = self.state.lock();
        state.rooms.iter().map(|(name, room)| room.there(name.clone())).collect()
    }

    /// Whether a room is set aside here: what it had is under neither of its names until the tables know.
    pub fn sets_aside(&self) -> bool {
        self.state.lock().set_aside > 0
    }

    /// The rooms in which this sender has said something that is here.
    pub fn rooms_of(&self, sender: &str) -> BTreeSet<RoomName> {
        // Nobody waits while the addresses are compared.
        let records: Vec<_> = self.state.lock().records.iter().cloned().collect();
        let is_theirs = |record: &&Arc<Record>| match &record.what {
            What::Message(said) => same_email(&said.sender, sender),
            What::Change(_) | What::Forget | What::SetAside(_) => false,
        };
        records.iter().filter(is_theirs).map(|record| record.room.clone()).collect()
    }

    /// Up to `limit` deletions and edits after this key.
    pub fn changes_after(&self, after: i64, limit: usize) -> Vec<Arc<Record>> {
        let state = self.state.lock();
        let first = state.records.partition_point(|record| record.key <= after);
        let is_loss = |record: &&Arc<Record>| match &record.what {
            What::Change(changed) => !matches!(changed.outcome, Outcome::Reacted { .. }),
            What::Message(_) | What::Forget | What::SetAside(_) => false,
        };
        state.records.range(first..).filter(is_loss).take(limit).cloned().collect()
    }

    /// The key of the newest entry, here or in the tables.
    pub fn last(&self) -> i64 {
        let state = self.state.lock();
        state.records.back().map_or(state.applied, |last| last.key)
    }

    /// Up to `limit` of the room's messages after this key, oldest first, with their references.
    pub fn kept(&self, room: &RoomName, after: i64, limit: usize) -> Vec<Kept> {
        self.state.lock().rooms.get(room).map(|room| room.kept(after, limit)).unwrap_or_default()
    }

    /// The sender and reference of a message that is here, deleted or not.
    pub fn mark(&self, room: &RoomName, id: MessageId) -> Found<Option<OwnMark>> {
        self.state.lock().rooms.get(room).map_or(Found::Unknown, |room| room.mark(id))
    }

    /// How many entries are here.
    pub fn count(&self) -> usize {
        self.state.lock().records.len()
    }

    /// Whether an entry is here, deleted or not.
    pub fn holds(&self, room: &RoomName, id: MessageId) -> Found<()> {
        self.state.lock().rooms.get(room).map_or(Found::Unknown, |room| room.holds(id))
    }

    /// Waits until records are to be moved; breaks if there will be none.
    pub fn wait_until_due(&self) -> ControlFlow<()> {
        let mut state = self.state.lock();
        loop {
            match state.due(self.max) {
                Some(due) if Instant::now() >= due => return ControlFlow::Continue(()),
                Some(due) => drop(self.due.wait_until(&mut state, due)),
                None if state.stopping => return ControlFlow::Break(()),
                None => self.due.wait(&mut state),
            }
        }
    }

    /// Whether segments should be removed soon, and the tables do not fail.
    pub fn is_urgent(&self) -> bool {
        let state = self.state.lock();
        state.settled < state.urgent && !state.failing
    }

    /// Whether somebody waits for the tables, or more is here than one transaction moves.
    pub fn is_behind(&self) -> bool {
        let state = self.state.lock();
        state.settled < state.urgent || state.records.len() >= BATCH
    }

    /// The oldest records, as many as are moved at once.
    pub fn oldest(&self) -> Vec<Arc<Record>> {
        let mut state = self.state.lock();
        state.looked = Instant::now();
        state.records.iter().take(BATCH).cloned().collect()
    }

    /// Notes that these, the oldest, are in the tables.
    pub fn applied(&self, records: &[Arc<Record>]) {
        for slice in records.chunks(SLICE) {
            let mut state = self.state.lock();
            slice.iter().for_each(|record| state.remove_oldest(record));
            state.since = state.looked;
            state.applied = slice.last().map_or(state.applied, |last| last.key);
            state.failing = false;
            self.moved.notify_all();
        }
    }

    /// The key of the oldest entry that is here and not in the tables; the greatest number if there is none.
    pub fn first(&self) -> i64 {
        self.state.lock().first()
    }

    /// The key up to which the tables have everything.
    pub fn applied_to(&self) -> i64 {
        self.state.lock().applied
    }

    /// Notes that everything up to this key is in the tables, and in no segment any more.
    pub fn settled(&self, key: i64) {
        let mut state = self.state.lock();
        state.failing = false;
        state.settled = state.settled.max(key);
        self.moved.notify_all();
    }

    /// Notes that records could not be moved. Waits before the next attempt; breaks if there will be none.
    pub fn failed(&self, rest: Duration) -> ControlFlow<()> {
        self.state.lock().failing = true;
        self.moved.notify_all();
        self.rest(rest)
    }

    /// Waits; breaks if the tail is stopping.
    pub fn rest(&self, rest: Duration) -> ControlFlow<()> {
        let mut state = self.state.lock();
        let deadline = Instant::now() + rest;
        while !state.stopping {
            if self.due.wait_until(&mut state, deadline).timed_out() {
                return ControlFlow::Continue(());
            }
        }
        ControlFlow::Break(())
    }

    /// Has everything up to here moved soon, and its segments removed.
    pub fn settle_soon(&self) {
        self.hasten(&mut self.state.lock(), HASTE);
    }

    /// Waits until everything that is here now is in the tables, and in no segment; `false` if that fails, or takes
    /// longer.
    pub fn settle(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        self.hasten(&mut state, Duration::ZERO);
        let last = state.records.back().map_or(state.applied, |last| last.key);
        let deadline = Instant::now() + patience;
        while state.settled < last {
            if state.failing || self.moved.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.due.notify_all();
    }

    pub fn backlog(&self) -> Backlog {
        let state = self.state.lock();
        let lag = if state.records.is_empty() { Duration::ZERO } else { state.since.elapsed() };
        Backlog { bytes: state.cost, max: self.max, lag }
    }

    /// The memory that the records after this key take.
    pub fn bytes_after(&self, key: i64) -> u64 {
        let state = self.state.lock();
        match state.records.partition_point(|record| record.key <= key) {
            0 => state.cost,
            first => state.records.range(first..).map(|record| cost(record)).sum(),
        }
    }

    fn hasten(&self, state: &mut MutexGuard<'_, State>, within: Duration) {
        let Some(last) = state.records.back().map(|last| last.key) else { return };
        let at = Instant::now() + within;
        state.urgent_at = if state.settled < state.urgent { state.urgent_at.min(at) } else { at };
        state.urgent = last;
        self.due.notify_one();
    }
}

impl State {
    /// Everything before this key is in the tables.
    fn first(&self) -> i64 {
        self.records.front().map_or(i64::MAX, |first| first.key)
    }

    /// From when on there is something to do; `None`: nothing.
    fn due(&self, max: u64) -> Option<Instant> {
        let urgent = (self.settled < self.urgent).then_some(self.urgent_at);
        if self.records.is_empty() {
            return urgent.filter(|_| !self.stopping);
        }
        let now = self.stopping || self.is_much(max);
        let usual = if now { self.since } else { self.since + PATIENCE };
        Some(urgent.map_or(usual, |urgent| urgent.min(usual)))
    }

    /// Whether enough is here to be moved at once.
    fn is_much(&self, max: u64) -> bool {
        self.records.len() >= MANY || self.cost >= max / 2
    }

    fn push(&mut self, record: Arc<Record>) {
        self.cost += cost(&record);
        self.set_aside += usize::from(matches!(record.what, What::SetAside(_)));
        let room = match self.rooms.get_mut(&record.room) {
            Some(room) => room,
            None => self.rooms.entry(record.room.clone()).or_default(),
        };
        self.cost -= room.push(&record);
        self.records.push_back(record);
    }

    fn set(&mut self, room: RoomName, now: Now) {
        let (more, less) = self.rooms.entry(room).or_default().set(now);
        self.cost = self.cost + more - less;
    }

    fn remove_oldest(&mut self, record: &Arc<Record>) {
        self.cost -= cost(record);
        self.set_aside -= usize::from(matches!(record.what, What::SetAside(_)));
        self.records.pop_front();
        let Some(room) = self.rooms.get_mut(&record.room) else { return };
        self.cost -= room.remove(record);
        if room.is_empty() {
            self.rooms.remove(&record.room);
        }
    }
}
