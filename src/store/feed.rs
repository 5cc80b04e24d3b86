//! The feed, through which nodes hear of each other: what any of them stores in rooms that they want to hear, as it is
//! stored.

use super::{error::StoreError, presence::Presence};
use crate::{
    entry::Entry,
    event::Event,
    message::{MessageId, RoomName},
};
use std::sync::Arc;

/// The feed of a log that several processes write to. Each process hears everything that is stored in the rooms that it
/// wants to hear, its own messages included.
pub trait Feed: Send + Sync {
    /// Starts listening; at most once per process.
    fn listen(&self) -> Box<dyn FeedListener>;

    /// Has the listener hear this room, soon; until [`unwant`](Self::unwant) was called as often. Never blocks.
    fn want(&self, room: &RoomName);

    /// Takes one call of [`want`](Self::want) back. Never blocks.
    fn unwant(&self, room: &RoomName);

    /// Waits until a wanted room is heard: everything that is stored in it from now on.
    fn wait_for(&self, room: &RoomName) -> Result<(), StoreError>;

    /// How many rooms it hears, or is about to.
    fn rooms(&self) -> usize;

    /// The newest id of each of these rooms; [`MessageId::BEFORE_ALL`] for a room without messages.
    fn newest(&self, rooms: &[RoomName]) -> Result<Vec<MessageId>, StoreError>;

    /// Up to `limit` kept entries after `after`, oldest first, whether or not `after` itself is still kept.
    fn missed(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Lets all later ids of a room be above this one, which was shown and which the log may have lost.
    fn raise(&self, room: &RoomName, shown: MessageId) -> Result<(), StoreError>;

    /// Reports an event to all other nodes: in a room, or with `None` one that concerns no room or all of them. Never
    /// blocks. An event that can't be sent now is never sent.
    fn announce(&self, room: Option<&RoomName>, event: &Event);

    /// The presence of users, over all nodes.
    fn presence(&self) -> Arc<dyn Presence>;
}

/// Listens to the feed, and reconnects by itself.
pub trait FeedListener: Send {
    /// Waits for the next thing that happens, at most some seconds. Ignores entries and events of rooms that are not
    /// `wanted`. `all`: reports comings, goings, and that something was stored, in any room.
    fn next(&mut self, wanted: &dyn Fn(&RoomName) -> bool, all: bool) -> FeedItem;
}

/// What an [`FeedListener`] hears.
pub enum FeedItem {
    Stored(Stored),
    Event {
        /// As in [`Feed::announce`].
        room: Option<RoomName>,
        event: Event,
    },
    /// Something that is kept was stored in a room, up to this id, or was changed; whether or not the room is heard.
    Noted {
        room: RoomName,
        last: MessageId,
        /// Who said something or changed it.
        by: Vec<Arc<str>>,
    },
    /// It listens from now on. Anything before may have been missed.
    Subscribed,
    /// It listens to this room again. Something may have been missed there.
    Back(RoomName),
    /// It does not listen to this room any more, since nobody has wanted it for a while.
    Ended(RoomName),
    /// It is told what is stored in any room from now on, as was asked. Anything before may have been missed.
    OfAll,
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
