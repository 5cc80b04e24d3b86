//! Collects entries until they fill a page.

use crate::store::log::{HasText, PAGE_BYTES};

pub(in crate::store::sqlite) struct Page<T> {
    pub entries: Vec<T>,
    bytes: usize,
    limit: usize,
}

impl<T: HasText> Page<T> {
    /// A page of up to `limit` entries, or a page's worth of text.
    pub fn new(limit: usize) -> Page<T> {
        Page { entries: Vec::new(), bytes: 0, limit }
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES || self.entries.len() >= self.limit
    }

    /// Adds these as long as they fit.
    pub fn add(&mut self, mut entries: impl Iterator<Item = T>) {
        while !self.is_full()
            && let Some(entry) = entries.next()
        {
            self.push(entry);
        }
    }

    /// Adds rows as long as they fit; skips `None`.
    pub fn fill(&mut self, mut rows: impl Iterator<Item = rusqlite::Result<Option<T>>>) -> rusqlite::Result<()> {
        while !self.is_full()
            && let Some(row) = rows.next()
        {
            row?.into_iter().for_each(|entry| self.push(entry));
        }
        Ok(())
    }

    fn push(&mut self, entry: T) {
        self.bytes += entry.text_len();
        self.entries.push(entry);
    }
}
