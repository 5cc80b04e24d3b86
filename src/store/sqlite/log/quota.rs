//! How much space the log and its search index may take together, and how much they take.

use crate::store::usage::{Fill, Usage};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Log and index may take half each: neither file ever shrinks, so one can't lend unused space to the other. These are
/// sixteenths of a half.
const TRIM_TO: u64 = 13;
const TRIM_FROM: u64 = 14;
const SCARCE_FROM: u64 = 15;
const FULL_FROM: u64 = 16;

/// From here on the sizes of rooms are measured, so that they are known in time.
const WEIGH_FROM: u64 = 8;

pub struct Quota {
    /// Bytes; `None`: there is no bound.
    max: Option<u64>,
    log: AtomicU64,
    index: AtomicU64,
    trimmed: AtomicU64,
    /// How often the log was trimmed, and how often it had been when the index was last swept.
    rounds: AtomicU64,
    swept: AtomicU64,
}

impl Quota {
    pub fn new(max: Option<u64>) -> Quota {
        let max = max.filter(|max| *max > 0);
        let [log, index, trimmed, rounds, swept] = Default::default();
        Quota { max, log, index, trimmed, rounds, swept }
    }

    /// How large the WAL may get before the writer is paused for it, in pages: a part of the bound.
    pub fn wal_pages(&self) -> i64 {
        self.max.map_or(i64::MAX, |max| i64::try_from(max / 16 / 4096).unwrap_or(i64::MAX).max(256))
    }

    /// How much the journal may hold: a small part of the bound, so that it hardly counts.
    pub fn of_journal(&self, most: u64) -> u64 {
        self.max.map_or(most, |max| most.min((max / 16).max(1 << 20)))
    }

    pub fn is_set(&self) -> bool {
        self.max.is_some()
    }

    pub fn usage(&self) -> Usage {
        let bytes = self.log.load(Relaxed) + self.index.load(Relaxed);
        Usage { bytes, max: self.max.unwrap_or(0), trimmed: self.trimmed.load(Relaxed), fill: self.fill() }
    }

    pub fn fill(&self) -> Fill {
        match self.sixteenths(self.log.load(Relaxed).max(self.index.load(Relaxed))) {
            FULL_FROM.. => Fill::Full,
            SCARCE_FROM.. => Fill::Scarce,
            _ => Fill::Plenty,
        }
    }

    /// Whether the sizes of rooms should be known by now.
    pub fn is_worth_weighing(&self) -> bool {
        self.sixteenths(self.most()) >= WEIGH_FROM
    }

    /// Bytes of messages to delete now, if any.
    pub fn to_free(&self) -> Option<u64> {
        let (log, most, max) = (self.log.load(Relaxed), self.most(), self.max?);
        if self.sixteenths(most) < TRIM_FROM {
            return None;
        }
        // The log gives up the same share as the larger of the two, log or index, must lose.
        let excess = u128::from(most - (u128::from(max) * u128::from(TRIM_TO) / 32) as u64);
        Some((u128::from(log) * excess / u128::from(most)) as u64)
    }

    pub fn log_takes(&self, bytes: u64) {
        self.log.store(bytes, Relaxed);
    }

    pub fn trimmed(&self, messages: u64) {
        self.trimmed.fetch_add(messages, Relaxed);
    }

    /// Notes that the log has been trimmed.
    pub fn round(&self) {
        self.rounds.fetch_add(1, Relaxed);
    }

    /// How often the log was trimmed, if the index has not been swept since.
    pub fn unswept(&self) -> Option<u64> {
        let rounds = self.rounds.load(Relaxed);
        (self.swept.load(Relaxed) != rounds).then_some(rounds)
    }

    /// Notes that the index was swept after this many rounds.
    pub fn swept(&self, rounds: u64) {
        self.swept.store(rounds, Relaxed);
    }

    pub fn index_takes(&self, bytes: u64) {
        self.index.store(bytes, Relaxed);
    }

    pub fn is_index_full(&self) -> bool {
        self.sixteenths(self.index.load(Relaxed)) >= FULL_FROM
    }

    /// The larger of the two. An index that has yet to remove trimmed messages does not count.
    fn most(&self) -> u64 {
        let index = if self.unswept().is_some() { 0 } else { self.index.load(Relaxed) };
        self.log.load(Relaxed).max(index)
    }

    fn sixteenths(&self, bytes: u64) -> u64 {
        self.max.map_or(0, |max| (u128::from(bytes) * 32 / u128::from(max)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 3200;

    #[test]
    fn the_fuller_it_is_the_fewer_may_store_something() {
        let quota = Quota::new(Some(MAX));
        let mut seen = Vec::new();
        for bytes in (0..1700).step_by(50) {
            quota.log_takes(bytes);
            seen.push((quota.fill(), quota.to_free().is_some()));
        }
        seen.dedup();
        let all = [(Fill::Plenty, false), (Fill::Plenty, true), (Fill::Scarce, true), (Fill::Full, true)];
        assert_eq!(seen, all);
    }

    #[test]
    fn after_a_round_the_index_counts_again_once_it_was_swept() {
        let quota = Quota::new(Some(MAX));
        quota.log_takes(800);
        quota.index_takes(1500);
        let goal = quota.to_free().unwrap();
        // 1500 must become 1300, so 800 lose the same share.
        assert_eq!(goal, 106);
        quota.round();
        assert_eq!(quota.to_free(), None);
        let rounds = quota.unswept().unwrap();
        quota.swept(rounds);
        assert_eq!(quota.to_free(), Some(106));
    }

    #[test]
    fn without_a_bound_nothing_is_ever_too_much() {
        for quota in [Quota::new(None), Quota::new(Some(0))] {
            quota.log_takes(u64::MAX / 4);
            assert!(quota.to_free().is_none() && quota.fill() == Fill::Plenty && !quota.is_worth_weighing());
        }
    }
}
