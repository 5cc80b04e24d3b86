//! A table of weak references: it keeps nothing alive.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Weak},
};

/// Values that others hold, by key. Entries of dropped values are swept out as the table grows, so it has at most about
/// twice as many entries as there are values.
pub(super) struct WeakTable<K, V> {
    entries: HashMap<K, Weak<V>>,
    /// The number of entries after the last sweep.
    swept: usize,
}

impl<K, V> Default for WeakTable<K, V> {
    fn default() -> Self {
        WeakTable { entries: HashMap::new(), swept: 0 }
    }
}

impl<K: Eq + Hash, V> WeakTable<K, V> {
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(key)?.upgrade()
    }

    pub fn insert(&mut self, key: K, value: &Arc<V>) {
        if self.entries.len() > 2 * self.swept + 64 {
            self.entries.retain(|_, value| value.strong_count() > 0);
            self.swept = self.entries.len();
        }
        self.entries.insert(key, Arc::downgrade(value));
    }

    pub fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        self.entries.remove(key)?.upgrade()
    }

    pub fn values(&self) -> impl Iterator<Item = Arc<V>> {
        self.entries.values().filter_map(Weak::upgrade)
    }

    /// How many entries there are, including those of dropped values.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
