//! The log of many nodes, with an archive behind it.

use super::{copier::Copier, feed::ArchivedFeed, hot::Hot, reader::Reader};
use crate::{
    entry::{Entry, NewEntry},
    message::{Message, MessageId, RoomName},
    store::{
        error::StoreError,
        feed::Feed,
        log::{Appended, Backlog, FoundOut, MessageLog},
        postgres::archive::PostgresArchive,
        redis::log::RedisLog,
        usage::Usage,
    },
};
use std::{collections::BTreeSet, sync::Arc};

pub struct ArchivedLog {
    pub(super) reader: Arc<Reader>,
    pub(super) copier: Arc<Copier>,
}

impl ArchivedLog {
    /// `hot`: entries of a room that stay in Redis. `most`: messages of a room that are kept; `None`: all.
    pub fn new(redis: Arc<RedisLog>, archive: Arc<PostgresArchive>, hot: u64, most: Option<u64>) -> ArchivedLog {
        // Redis need not keep more than the archive does.
        let (most, hot) = (most.unwrap_or(0), most.map_or(hot, |most| hot.min(most)));
        redis.archived_up_to(MessageId::BEFORE_ALL);
        let hot = Hot::new(hot);
        let copier = Copier { redis: redis.clone(), archive: archive.clone(), hot, most, figures: Arc::default() };
        ArchivedLog { reader: Arc::new(Reader { redis, archive }), copier: Arc::new(copier) }
    }

    /// The stores to read, for [`ArchiveSearch`](super::ArchiveSearch).
    pub(super) fn reader(&self) -> Arc<Reader> {
        self.reader.clone()
    }
}

impl MessageLog for ArchivedLog {
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        self.reader.redis.append(entries)
    }

    fn find_out(&self, batch: u64) -> Result<FoundOut, StoreError> {
        self.reader.redis.find_out(batch)
    }

    fn leave_open(&self, batch: u64) -> FoundOut {
        self.reader.redis.leave_open(batch)
    }

    fn prepare(&self, room: &RoomName, of: MessageId) -> Result<(), StoreError> {
        self.reader.put_at_hand(room, of)
    }

    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let mut messages = self.reader.newest(room, before, limit)?;
        messages.reverse();
        Ok(messages)
    }

    fn newer(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.reader.newer(room, after, limit)
    }

    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        self.reader.since(room, after, limit)
    }

    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.reader.message(room, id)
    }

    fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        let mut rooms: BTreeSet<RoomName> = self.reader.redis.rooms(after, limit)?.into_iter().collect();
        rooms.extend(self.reader.archive.rooms(after, limit)?);
        Ok(rooms.into_iter().take(limit).collect())
    }

    /// Redis first: what it no longer has is not copied, and what it notes as gone is not shown.
    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        let last = self.reader.redis.let_go(room)?;
        self.reader.archive.forget(room, last)
    }

    fn set_aside(&self, room: &RoomName, to: &RoomName) -> Result<(), StoreError> {
        self.copier.copy_all(room)?;
        self.reader.archive.move_to(room, to)?;
        self.forget(room)
    }

    fn entries(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.reader.follow(room, after, limit, Vec::new())
    }

    /// What is deleted in Redis is deleted in the archive as soon as that is copied.
    fn scrub(&self, rooms: &[RoomName]) -> Result<(), StoreError> {
        for room in rooms {
            self.copier.copy_all(room)?;
            self.reader.archive.sweep(room)?;
        }
        self.reader.redis.scrub(rooms)
    }

    fn forget_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError> {
        let any = self.reader.redis.let_go_before(room, before)?;
        self.reader.archive.forget_before(room, before, any)
    }

    fn feed(&self) -> Option<Arc<dyn Feed>> {
        let feed = self.reader.redis.feed()?;
        Some(Arc::new(ArchivedFeed { feed, reader: self.reader.clone() }))
    }

    fn backlog(&self) -> Backlog {
        self.reader.redis.backlog()
    }

    fn usage(&self) -> Usage {
        self.reader.redis.usage()
    }

    fn probe(&self) -> Result<(), StoreError> {
        // Messages are stored even without the archive.
        self.reader.redis.probe()
    }
}
