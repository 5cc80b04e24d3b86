//! The thread that moves journal records into the tables, in large transactions, and removes the segments.

use super::{
    chores::Chores,
    front::Front,
    tail::Tail,
    writer::{Writer, lock_writer},
};
use crate::{
    store::{journal, outage::Outages},
    vital,
};
use parking_lot::Mutex;
use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

/// What the tables can't do during an outage.
const APPLY: &str = "take over what is in its journal";

/// What the journal can't do during an outage.
const REMOVE: &str = "remove a segment of its journal";

/// For how long a transaction lets other threads go first. On a busy machine it would get to its end much later than more
/// arrives.
const GIVING_WAY: Duration = Duration::from_millis(50);

/// Pause between attempts.
const REST: Duration = Duration::from_secs(1);

pub(super) struct Applier {
    pub front: Arc<Mutex<Front>>,
    pub tail: Arc<Tail>,
    pub writer: Arc<std::sync::Mutex<Writer>>,
    pub chores: Arc<Chores>,
    pub outages: Outages,
    pub on_apply: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Applier {
    /// Runs until it is stopped and nothing is left, or the rest can't be moved.
    pub fn run(self) {
        while self.tail.wait_until_due().is_continue() {
            vital::may_panic("log-applier");
            if self.take_over().is_break() {
                return;
            }
        }
    }

    fn take_over(&self) -> ControlFlow<()> {
        {
            let is_urgent = self.tail.is_urgent();
            let journal = &mut self.front.lock().journal;
            // A segment sealed before the tail is read has all its records in the tail.
            if is_urgent || !journal.has_sealed() {
                journal.seal();
            }
        }
        let records = self.tail.oldest();
        if let Some(last) = records.last().map(|last| last.key) {
            let begun = Instant::now();
            let giving_way = (!self.tail.is_behind()).then(|| begun + GIVING_WAY);
            if let Err(error) = lock_writer(&self.writer).apply(&records, giving_way) {
                self.outages.failed(APPLY, &error);
                self.chores.measure();
                return self.tail.failed(REST);
            }
            (self.on_apply)(begun.elapsed());
            self.outages.worked(APPLY);
            self.tail.applied(&records);
            self.chores.measure();
            return self.remove_segments(last);
        }
        self.remove_segments(self.tail.applied_to())
    }

    /// Removes the segments that hold nothing after the key `applied`.
    fn remove_segments(&self, applied: i64) -> ControlFlow<()> {
        let segments = self.front.lock().journal.take_applied(applied);
        let left = journal::remove(segments);
        let is_removed = left.is_empty();
        let mut front = self.front.lock();
        for (path, error) in left {
            // At the next start its records are known to be in the tables.
            self.outages.failed(REMOVE, &format!("{}: {error}", path.display()));
            front.journal.put_back(path);
        }
        let oldest = front.journal.oldest();
        drop(front);
        self.tail.settled(oldest.map_or(applied, |oldest| applied.min(oldest.saturating_sub(1))));
        if is_removed {
            self.outages.worked(REMOVE);
            return ControlFlow::Continue(());
        }
        self.tail.rest(REST)
    }
}
