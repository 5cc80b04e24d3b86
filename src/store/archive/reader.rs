//! Reads a room in one order, the newest part from Redis and the rest from the archive.
//!
//! Redis is read first, and the same answer says where its part begins. Redis removes only what is archived, so
//! everything before that is in the archive by then, and no entry is missed. Only entries older than those from Redis
//! are taken from the archive, so none comes twice.

use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{Message, MessageId, RoomName},
    store::{
        archived::{BEHIND_ALL, Became, ChangeRow, Row, States},
        error::StoreError,
        log::{HasText, end_of_page, is_full_page},
        postgres::archive::PostgresArchive,
        redis::{
            bounds::{Bounds, place_before},
            log::RedisLog,
            read::Since,
        },
        search::Query,
    },
};
use std::{collections::HashMap, sync::Arc};

/// Entries read at a time.
const SHARE: usize = 128;

/// How often the archive is read again if it received states of messages meanwhile.
const TRIES: usize = 20;

pub(super) struct Reader {
    pub redis: Arc<RedisLog>,
    pub archive: Arc<PostgresArchive>,
}

#[derive(Debug, thiserror::Error)]
#[error("the room changes faster than it can be read")]
struct Restless;

impl Reader {
    /// As [`MessageLog::history`](crate::store::log::MessageLog::history), newest first.
    pub fn newest(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let (mut page, bounds) = self.redis.newest_bounded(room, before, limit)?;
        if bounds.is_whole || page.len() >= limit || is_full_page(&page) {
            return Ok(page);
        }
        let mut before = page.last().map(|message| message.id).or(before).unwrap_or(BEHIND_ALL);
        while page.len() < limit && !is_full_page(&page) {
            let share = SHARE.min(limit - page.len());
            let (messages, next) = self.older(room, before, share, &bounds, None)?;
            page.extend(messages);
            match next {
                Some(next) => before = next,
                None => break,
            }
        }
        page.truncate(end_of_page(&page).unwrap_or(limit));
        Ok(page)
    }

    /// Up to `limit` archived messages before this one, newest first, and where to go on if there may be more. `bounds`:
    /// what Redis returned when it was read before.
    pub fn older(
        &self,
        room: &RoomName,
        before: MessageId,
        limit: usize,
        bounds: &Bounds,
        query: Option<&Query>,
    ) -> Result<(Vec<Message>, Option<MessageId>), StoreError> {
        let read = || {
            let (rows, next) = match query {
                Some(query) if query.is_open() => self.archive.look_through(room, before, limit, query)?,
                query => {
                    let rows = self.archive.newest(room, before, limit, query)?;
                    let next = rows.last().map(|row| row.id).filter(|_| rows.len() == limit);
                    (rows, next)
                }
            };
            let ids = rows.iter().map(|row| row.id).collect();
            Ok(((rows, next), ids))
        };
        let ((rows, next), states) = self.laid_over(room, bounds, read)?;
        let became = states.of.iter().map(|(_, became)| became);
        let messages = rows.iter().zip(became).filter(|(row, _)| row.id > states.forgotten);
        Ok((messages.filter_map(|(row, became)| row.message(room, became)).collect(), next))
    }

    /// As [`MessageLog::newer`](crate::store::log::MessageLog::newer).
    pub fn newer(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Message>, StoreError> {
        let (mut page, mut place) = (Vec::new(), after);
        while page.len() < limit && !is_full_page(&page) {
            let share = SHARE.min(limit - page.len());
            let (messages, next, bounds) = self.redis.share_newer(room, place, share)?;
            if bounds.has_all_after(place) {
                page.extend(messages);
                let Some(next) = next else { break };
                place = next;
                continue;
            }
            let end = bounds.from.unwrap_or(BEHIND_ALL);
            let read = || {
                let rows = self.archive.newer(room, place, end, share)?;
                let ids = rows.iter().map(|row| row.id).collect();
                Ok((rows, ids))
            };
            let (rows, states) = self.laid_over(room, &bounds, read)?;
            let became = states.of.iter().map(|(_, became)| became);
            let kept = rows.iter().zip(became).filter(|(row, _)| row.id > states.forgotten);
            page.extend(kept.filter_map(|(row, became)| row.message(room, became)));
            match (rows.last().filter(|_| rows.len() == share), bounds.from) {
                (Some(last), _) => place = last.id,
                // Everything that is only in the archive was read.
                (None, Some(from)) => place = place_before(from),
                (None, None) => break,
            }
        }
        page.truncate(end_of_page(&page).unwrap_or(limit));
        Ok(page)
    }

    /// As [`MessageLog::since`](crate::store::log::MessageLog::since).
    pub fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        match self.redis.since_bounded(room, after, limit)? {
            Since::Followed { page: None, .. } => Ok(None),
            Since::Followed { page: Some(page), bounds } => {
                let is_all = page.len() < SHARE.min(limit);
                let page = self.with_texts(room, page, bounds.trims)?;
                if is_all { Ok(Some(page)) } else { self.follow(room, after, limit, page).map(Some) }
            }
            Since::Archived { is_known, bounds } => {
                let (position, is_archived) = self.archive.standing(room, after)?;
                let is_kept = after >= position.gap.max(position.gone).max(bounds.lost) && after > bounds.forgotten;
                if !is_kept || !(is_known || is_archived) {
                    return Ok(None);
                }
                self.follow(room, after, limit, Vec::new()).map(Some)
            }
        }
    }

    /// As [`MessageLog::entries`](crate::store::log::MessageLog::entries); `page` holds what was read already.
    pub fn follow(
        &self,
        room: &RoomName,
        after: MessageId,
        limit: usize,
        mut page: Vec<Entry>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut place = page.last().map_or(after, Entry::id);
        while page.len() < limit && !is_full_page(&page) {
            let share = SHARE.min(limit - page.len());
            let (entries, bounds) = self.redis.share_after(room, place, share)?;
            if bounds.has_all_after(place) {
                let Some(last) = entries.last() else { break };
                place = last.id();
                page.extend(self.with_texts(room, entries, bounds.trims)?);
                continue;
            }
            let end = bounds.from.unwrap_or(BEHIND_ALL);
            let (entries, reached) = self.between(room, place, end, share, &bounds)?;
            page.extend(entries);
            match (reached, bounds.from) {
                (Some(reached), _) => place = reached,
                // Everything that is only in the archive was read.
                (None, Some(from)) => place = place_before(from),
                (None, None) => break,
            }
        }
        page.truncate(end_of_page(&page).unwrap_or(limit));
        Ok(page)
    }

    /// Adds the texts to edits whose messages are only in the archive. `trims`: the count that Redis returned when it was
    /// read before.
    fn with_texts(&self, room: &RoomName, mut entries: Vec<Entry>, trims: u64) -> Result<Vec<Entry>, StoreError> {
        let is_without = |entry: &Entry| matches!(entry, Entry::Change(Change { kind: ChangeKind::Edited(None), .. }));
        if !entries.iter().any(is_without) {
            return Ok(entries);
        }
        let of = |entry: &Entry| match entry {
            Entry::Change(change) if is_without(entry) => Some(change.of),
            _ => None,
        };
        let wanted: Vec<MessageId> = entries.iter().filter_map(of).collect();
        let read = || {
            let rows = self.archive.these(room, &wanted)?;
            let ids = rows.iter().map(|row| row.id).collect();
            Ok((rows, ids))
        };
        // These may be newer than the part of the room that goes on in the archive.
        let (rows, states) = self.laid_over_now(room, trims, read)?;
        let texts: HashMap<MessageId, Box<str>> = rows
            .iter()
            .zip(&states.of)
            .filter_map(|(row, (_, became))| Some((row.id, row.message(room, became)?.text)))
            .collect();
        for entry in &mut entries {
            if let Entry::Change(Change { of, kind: ChangeKind::Edited(text @ None), .. }) = entry {
                *text = texts.get(of).cloned();
            }
        }
        Ok(entries)
    }

    /// Archived entries between two ids, and how far that got if there may be more.
    fn between(
        &self,
        room: &RoomName,
        after: MessageId,
        end: MessageId,
        limit: usize,
        bounds: &Bounds,
    ) -> Result<(Vec<Entry>, Option<MessageId>), StoreError> {
        let read = || {
            let (rows, changes) = self.archive.between(room, after, end, limit)?;
            let ids = rows.iter().map(|row| row.id).chain(changes.iter().map(|change| change.of)).collect();
            Ok(((rows, changes), ids))
        };
        let ((rows, changes), States { forgotten, of, .. }) = self.laid_over(room, bounds, read)?;
        let is_all = rows.len() < limit && changes.len() < limit;
        let (of_messages, of_changes) = of.split_at(rows.len().min(of.len()));
        let message = |(row, became): (&Row, &Became)| (row.id, row.message(room, became).map(Entry::Message));
        let change = |(row, became): (&ChangeRow, &Became)| (row.id, row.change(became).map(Entry::Change));
        let mut all: Vec<(MessageId, Option<Entry>)> = rows
            .iter()
            .zip(of_messages.iter().map(|(_, became)| became))
            .map(message)
            .chain(changes.iter().zip(of_changes.iter().map(|(_, became)| became)).map(change))
            .collect();
        all.sort_by_key(|(id, _)| *id);
        let read = all.len();
        let mut texts = 0;
        let full = all.iter().position(|(_, entry)| {
            texts += entry.as_ref().map_or(0, HasText::text_len);
            texts >= crate::store::log::PAGE_BYTES
        });
        all.truncate(full.map_or(limit, |last| last + 1).min(limit));
        let reached = all.last().map(|(id, _)| *id).filter(|_| !is_all || all.len() < read);
        let entries = all.into_iter().filter(|(id, _)| *id > forgotten).filter_map(|(_, entry)| entry);
        Ok((entries.collect(), reached))
    }

    /// As [`MessageLog::message`](crate::store::log::MessageLog::message).
    pub fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError> {
        let (message, bounds) = self.redis.one_bounded(room, id)?;
        if message.is_some() || bounds.is_whole {
            return Ok(message);
        }
        let read = || {
            let row = self.archive.one(room, id)?;
            let ids = row.iter().map(|row| row.id).collect();
            Ok((row, ids))
        };
        let (row, states) = self.laid_over(room, &bounds, read)?;
        let became = states.of.first().map(|(_, became)| became);
        let found = row.zip(became).filter(|(row, _)| row.id > states.forgotten);
        Ok(found.and_then(|(row, became)| row.message(room, became)))
    }

    /// Makes sure that Redis finds this message when a client changes or answers it.
    pub fn put_at_hand(&self, room: &RoomName, id: MessageId) -> Result<(), StoreError> {
        let Some(mut trims) = self.redis.put_at_hand(room, id, None)? else { return Ok(()) };
        for _ in 0..TRIES {
            let Some(row) = self.archive.one(room, id)? else { return Ok(()) };
            match self.redis.put_at_hand(room, id, Some((trims, &row)))? {
                None => return Ok(()),
                Some(later) => trims = later,
            }
        }
        Err(restless())
    }

    /// What `read` finds in the archive, and the messages' states in Redis, both as of one time. `bounds`: what Redis
    /// returned when it was read before; mostly it had the states too.
    pub(super) fn laid_over<T>(
        &self,
        room: &RoomName,
        bounds: &Bounds,
        read: impl Fn() -> Result<(T, Vec<MessageId>), StoreError>,
    ) -> Result<(T, States), StoreError> {
        let Some(changed) = &bounds.changed else { return self.laid_over_now(room, bounds.trims, read) };
        let (found, ids) = read()?;
        Ok((found, changed.states(&ids)))
    }

    /// The same with states that are read after the archive: it is read again if it received states meanwhile and Redis
    /// removed them.
    fn laid_over_now<T>(
        &self,
        room: &RoomName,
        mut trims: u64,
        read: impl Fn() -> Result<(T, Vec<MessageId>), StoreError>,
    ) -> Result<(T, States), StoreError> {
        for _ in 0..TRIES {
            let (found, ids) = read()?;
            if ids.is_empty() {
                return Ok((found, States { trims, forgotten: MessageId::BEFORE_ALL, of: Vec::new() }));
            }
            let states = self.redis.states(room, &ids)?;
            if states.trims == trims {
                return Ok((found, states));
            }
            trims = states.trims;
        }
        Err(restless())
    }
}

fn restless() -> StoreError {
    StoreError { store: "message archive", what: "read messages", source: Restless.into() }
}
