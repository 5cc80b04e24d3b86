//! The record of every room's messages.

use super::{error::StoreError, feed::Feed};
use crate::message::{Draft, Message, MessageId, RoomName};
use std::sync::Arc;

/// Bytes of text after which no more messages are read at a time, however many were asked for: who waits for a socket
/// holds one page.
pub const PAGE_BYTES: usize = 256 << 10;

/// Whether a page ended because its messages are long: there may be more of what was asked for.
pub fn is_full_page(page: &[Message]) -> bool {
    page.iter().map(|message| message.text.len()).sum::<usize>() >= PAGE_BYTES
}

/// The ordered, durable record of every room's messages.
pub trait MessageLog: Send + Sync {
    /// Stores `drafts` in this order, all of a room or none, and gives each its id, in room order. Fails if none is
    /// stored.
    ///
    /// A draft whose `reference` the same sender used before in the room is not stored again: its
    /// place in the answer says so with the first message's id. A draft that isn't to be kept gets
    /// an id like the others and leaves no trace.
    ///
    /// Called from one thread only.
    fn append(&self, drafts: &[Draft]) -> Result<Vec<Appended>, StoreError>;

    /// Up to `limit` messages, oldest first: the newest ones, or those just before `before`. Fewer if they are long: see
    /// [`is_full_page`].
    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError>;

    /// Up to `limit` messages after `after`, oldest first; fewer if they are long, see [`is_full_page`].
    ///
    /// `None` if what follows `after` is no longer wholly kept, or `after` is no message of the
    /// room that we know of: the client must reload.
    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Message>>, StoreError>;

    /// Deletes a room's messages, and what is known of the room. A later draft starts it anew.
    fn forget(&self, room: &RoomName) -> Result<(), StoreError>;

    /// Where stored messages are heard, if other processes write to this log too. `None`: whoever appends is the only
    /// one, and delivers.
    fn feed(&self) -> Option<Arc<dyn Feed>> {
        None
    }

    /// Fails if the store can't be reached.
    fn probe(&self) -> Result<(), StoreError>;
}

/// What became of one draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Stored(MessageId),
    /// The same sender's `reference` had made this message before.
    Repeated(MessageId),
    /// Its room could not be reached, though another's could. If the connection broke it may be stored all the same;
    /// with a `reference` it can be sent again.
    NotStored,
}
