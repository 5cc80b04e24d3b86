//! How nodes hear of each other: what all of them store, as it is stored.

use super::{error::StoreError, presence::Presence};
use crate::{
    entry::Entry,
    event::Event,
    message::{MessageId, RoomName},
};
use std::sync::Arc;

/// A log that more than one process writes to tells each of them what was stored, its own messages among it.
pub trait Feed: Send + Sync {
    /// Begins to listen; once a process.
    fn listen(&self) -> Box<dyn Ear>;

    /// The last id given out in each of these rooms; [`MessageId::BEFORE_ALL`] in one where nothing was said.
    fn newest(&self, rooms: &[RoomName]) -> Result<Vec<MessageId>, StoreError>;

    /// Up to `limit` kept entries after `after`, oldest first, whether or not `after` itself is still kept.
    fn missed(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Tells all other nodes what happens in a room. Never blocks; what can't be told now is never told.
    fn announce(&self, room: &RoomName, event: &Event);

    /// Who is in a room, over all nodes.
    fn presence(&self) -> Arc<dyn Presence>;
}

/// Listens to the feed, and connects again by itself whenever it has to.
pub trait Ear: Send {
    /// Waits for what happens next, some seconds at most. Entries and events of rooms that are not `wanted` are
    /// passed over.
    fn next(&mut self, wanted: &dyn Fn(&RoomName) -> bool) -> Heard;
}

/// What an [`Ear`] hears.
pub enum Heard {
    Stored(Stored),
    Event {
        room: RoomName,
        event: Event,
    },
    /// It listens from now on; anything may have been missed before.
    Subscribed,
    /// Nothing for this node; a good time for other things.
    Nothing,
}

/// Entries that were stored in a room in one go.
pub struct Stored {
    pub room: RoomName,
    /// The id that the room gave out before these; [`MessageId::BEFORE_ALL`] if they are its first.
    pub before: MessageId,
    pub entries: Vec<Entry>,
}
