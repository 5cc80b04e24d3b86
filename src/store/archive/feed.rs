//! The feed of many nodes. Entries that were missed may be in the archive by now.

use super::reader::Reader;
use crate::{
    entry::Entry,
    event::Event,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        feed::{Feed, FeedListener},
        presence::Presence,
    },
};
use std::sync::Arc;

/// The feed of Redis, with an archive behind it.
pub(super) struct ArchivedFeed {
    pub feed: Arc<dyn Feed>,
    pub reader: Arc<Reader>,
}

impl Feed for ArchivedFeed {
    fn listen(&self) -> Box<dyn FeedListener> {
        self.feed.listen()
    }

    fn want(&self, room: &RoomName) {
        self.feed.want(room);
    }

    fn unwant(&self, room: &RoomName) {
        self.feed.unwant(room);
    }

    fn wait_for(&self, room: &RoomName) -> Result<(), StoreError> {
        self.feed.wait_for(room)
    }

    fn rooms(&self) -> usize {
        self.feed.rooms()
    }

    fn newest(&self, rooms: &[RoomName]) -> Result<Vec<MessageId>, StoreError> {
        self.feed.newest(rooms)
    }

    fn missed(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.reader.follow(room, after, limit, Vec::new())
    }

    fn raise(&self, room: &RoomName, shown: MessageId) -> Result<(), StoreError> {
        self.feed.raise(room, shown)
    }

    fn announce(&self, room: Option<&RoomName>, event: &Event) {
        self.feed.announce(room, event);
    }

    fn presence(&self) -> Arc<dyn Presence> {
        self.feed.presence()
    }
}
