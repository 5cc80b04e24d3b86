//! Finds messages by their words: scans the newest in Redis, and uses an index in the archive for the others, except for
//! words that only begin as asked: there the index has those of all rooms, and the room's own messages are looked through.

use super::{log::ArchivedLog, reader::Reader};
use crate::{
    message::{MessageId, RoomName},
    store::{
        archived::BEHIND_ALL,
        error::StoreError,
        search::{Found, Query, Search},
    },
};
use std::{sync::Arc, time::Instant};

/// Messages of Redis that one search scans, and how many are read at a time.
const LOOKED_AT: usize = 10_000;
const PAGE: usize = 500;

pub struct ArchiveSearch {
    reader: Arc<Reader>,
}

impl ArchiveSearch {
    pub fn of(log: &ArchivedLog) -> ArchiveSearch {
        ArchiveSearch { reader: log.reader() }
    }
}

impl Search for ArchiveSearch {
    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        mut before: Option<MessageId>,
        limit: usize,
        until: Instant,
    ) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let mut left = LOOKED_AT;
        let bounds = loop {
            let (page, bounds) = self.reader.redis.newest_bounded(room, before, PAGE)?;
            left = left.saturating_sub(page.len());
            before = page.last().map(|message| message.id).or(before);
            // Where Redis has no more, it says what the archive must be read with.
            let is_last = page.is_empty() || bounds.changed.is_some();
            if !found.push_matching(page, query, limit) {
                return Ok(found);
            }
            if is_last {
                if bounds.is_whole {
                    return Ok(found);
                }
                break bounds;
            }
            if let Some(before) = before.filter(|_| left == 0 || Instant::now() >= until) {
                return Ok(found.cut_short(before));
            }
        };
        let mut before = before.unwrap_or(BEHIND_ALL);
        loop {
            let share = (limit - found.messages.len()).clamp(1, PAGE);
            let (page, next) = self.reader.older(room, before, share, &bounds, Some(query))?;
            // It may have been edited since it was archived.
            if !found.push_matching(page, query, limit) {
                return Ok(found);
            }
            match next {
                Some(next) if Instant::now() < until => before = next,
                Some(next) => return Ok(found.cut_short(next)),
                None => return Ok(found),
            }
        }
    }

    /// The index is part of the archive's rows.
    fn catch_up(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
