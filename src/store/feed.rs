//! The feed, through which nodes hear of each other: everything that any of them stores, as it is stored.

use super::{error::StoreError, presence::Presence};
use crate::{
    entry::Entry,
    event::Event,
    message::{MessageId, RoomName},
};
use std::sync::Arc;

/// The feed of a log that several processes write to. Each process hears everything that was stored, its own messages
/// included.
pub trait Feed: Send + Sync {
    /// Starts listening; at most once per process.
    fn listen(&self) -> Box<dyn FeedListener>;

    /// The newest id of each of these rooms; [`MessageId::BEFORE_ALL`] for a room without messages.
    fn newest(&self, rooms: &[RoomName]) -> Result<Vec<MessageId>, StoreError>;

    /// Up to `limit` kept entries after `after`, oldest first, whether or not `after` itself is still kept.
    fn missed(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Lets all later ids of a room be above this one, which was shown and which the log may have lost.
    fn raise(&self, room: &RoomName, shown: MessageId) -> Result<(), StoreError>;

    /// Reports an event in a room to all other nodes. Never blocks. An event that can't be sent now is never sent.
    fn announce(&self, room: &RoomName, event: &Event);

    /// The presence of users, over all nodes.
    fn presence(&self) -> Arc<dyn Presence>;
}

/// Listens to the feed, and reconnects by itself.
pub trait FeedListener: Send {
    /// Waits for the next thing that happens, at most some seconds. Ignores entries and events of rooms that are not
    /// `wanted`.
    fn next(&mut self, wanted: &dyn Fn(&RoomName) -> bool) -> FeedItem;
}

/// What an [`FeedListener`] hears.
pub enum FeedItem {
    Stored(Stored),
    Event {
        room: RoomName,
        event: Event,
    },
    /// It listens from now on. Anything before may have been missed.
    Subscribed,
    /// Nothing for this node: time for other work.
    Nothing,
}

/// Entries that were stored in a room together.
pub struct Stored {
    pub room: RoomName,
    /// The previous id of the room; [`MessageId::BEFORE_ALL`] if these are its first.
    pub before: MessageId,
    pub entries: Vec<Entry>,
}
