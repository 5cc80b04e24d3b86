//! A bounded table of times by key. When it is full, the entries that end soonest are forgotten.

use governor::{nanos::Nanos, state::StateStore};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// How many keys have entries; a full table takes 1.1 MiB.
pub(super) const MAX_KEYS: usize = 56 * 1024;

/// Until when each key is remembered, in nanoseconds of the caller's clock.
///
/// A key is a hash that no client can predict. A client that floods the table with new keys pushes out the entries that
/// end soonest, and these are its own: the entry of a key that was used often or recently ends later than that of a key
/// that was used once.
#[derive(Clone, Default)]
pub(super) struct Table(Arc<Mutex<HashMap<u64, u64>>>);

/// How a key is used.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Use {
    /// It is counted.
    Counted(u64),
    /// It is only checked.
    Looked(u64),
}

impl Table {
    pub(super) fn get(&self, key: u64) -> Option<u64> {
        self.0.lock().get(&key).copied()
    }

    pub(super) fn set(&self, key: u64, until: u64) {
        let mut entries = self.0.lock();
        make_room(&mut entries, key);
        entries.insert(key, until);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// Forgets the quarter of a full table that ends soonest, so the cost for each new key is small.
fn make_room(entries: &mut HashMap<u64, u64>, key: u64) {
    if entries.len() < MAX_KEYS || entries.contains_key(&key) {
        return;
    }
    let mut ends: Vec<u64> = entries.values().copied().collect();
    let (_, &mut end, _) = ends.select_nth_unstable(MAX_KEYS / 4);
    let mut left = MAX_KEYS / 4;
    entries.retain(|_, until| {
        let forgotten = *until <= end && left > 0;
        left -= usize::from(forgotten);
        !forgotten
    });
}

impl StateStore for Table {
    type Key = Use;

    fn measure_and_replace<T, F, E>(&self, key: &Use, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut entries = self.0.lock();
        let (Use::Counted(hash) | Use::Looked(hash)) = *key;
        let (decided, until) = decide(entries.get(&hash).map(|until| Nanos::new(*until)))?;
        if matches!(key, Use::Counted(_)) {
            make_room(&mut entries, hash);
            entries.insert(hash, until.as_u64());
        }
        Ok(decided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_stays_within_its_memory_and_pushes_out_its_own() {
        let table = Table::default();
        table.set(u64::MAX, u64::MAX);
        for key in 0..3 * MAX_KEYS as u64 {
            table.set(key, 7);
        }
        assert!(table.len() <= MAX_KEYS);
        assert_eq!(table.get(u64::MAX), Some(u64::MAX));
    }
}
