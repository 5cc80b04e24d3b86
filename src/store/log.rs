//! The log of every room: its messages and their changes.

use super::{error::StoreError, feed::Feed, usage::Usage};
use crate::{
    entry::{Change, ChangeKind, Entry, NewEntry, Unchangeable},
    message::{Message, MessageId, RoomName},
};
use std::{sync::Arc, time::Duration};

/// A page ends after this many bytes of text, however many entries were asked for: a client that waits for its socket
/// holds one page.
pub const PAGE_BYTES: usize = 256 << 10;

/// Whether a page ended because its texts are long: then there may be more.
pub fn is_full_page<T: HasText>(page: &[T]) -> bool {
    page.iter().map(HasText::text_len).sum::<usize>() >= PAGE_BYTES
}

/// An element of a page.
pub trait HasText {
    fn text_len(&self) -> usize;
}

impl HasText for Message {
    fn text_len(&self) -> usize {
        self.text.len()
    }
}

impl HasText for Change {
    fn text_len(&self) -> usize {
        match &self.kind {
            ChangeKind::Edited(text) => text.as_ref().map_or(0, |text| text.len()),
            ChangeKind::Deleted | ChangeKind::Reacted { .. } => 0,
        }
    }
}

impl HasText for Entry {
    fn text_len(&self) -> usize {
        match self {
            Entry::Message(message) => message.text_len(),
            Entry::Change(change) => change.text_len(),
        }
    }
}

/// How many of these make a page's worth of text; `None` if that is all of them.
pub(crate) fn end_of_page<T: HasText>(page: &[T]) -> Option<usize> {
    let mut bytes = 0;
    let last = page.iter().position(|one| {
        bytes += one.text_len();
        bytes >= PAGE_BYTES
    });
    last.map(|last| last + 1)
}

/// Merges two lists: its first `limit` entries, or a page's worth of text. If one list ended early because its texts
/// are a page's worth, the result ends there too, before what the other list has after that.
pub(super) fn in_order(messages: Vec<Message>, changes: Vec<Change>, limit: usize) -> Vec<Entry> {
    let mut all: Vec<Entry> =
        messages.into_iter().map(Entry::Message).chain(changes.into_iter().map(Entry::Change)).collect();
    // Two sorted runs: the sort merges them.
    all.sort_by_key(Entry::id);
    all.truncate(end_of_page(&all).unwrap_or(limit).min(limit));
    all
}

/// The ordered, durable log of every room: its messages and their changes.
pub trait MessageLog: Send + Sync {
    /// Stores entries in this order, of each room all or none, and gives each its id, in the order of the room. Fails
    /// if none is stored.
    ///
    /// A draft whose `reference` the same sender has used in the room before is not stored again: its outcome says so,
    /// with the id of the first message. A draft that is not to be kept gets an id like the others, but is not stored.
    /// A change that is not allowed is refused, and does not affect other entries.
    ///
    /// If the answer of a remote store is lost, the entries are [open](Appended::Open) until their outcome is [found
    /// out](Self::find_out).
    ///
    /// Called by one thread at a time.
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError>;

    /// The outcome of an open batch. Called by another thread than the one that appends, until the outcome is known or
    /// does not matter any more ([`leave_open`](Self::leave_open)).
    fn find_out(&self, _batch: u64) -> Result<FoundOut, StoreError> {
        Ok(FoundOut::Nothing)
    }

    /// Stops asking for the outcome of this batch. Returns [`FoundOut::Nothing`] if nothing of it is stored, else
    /// [`FoundOut::Lost`].
    fn leave_open(&self, _batch: u64) -> FoundOut {
        FoundOut::Lost
    }

    /// Makes sure that a change of this message, or an answer to it, finds the message. Called shortly before that is
    /// appended, not by the thread that appends.
    fn prepare(&self, _room: &RoomName, _of: MessageId) -> Result<(), StoreError> {
        Ok(())
    }

    /// Up to `limit` messages in their present state, without deleted ones, oldest first: the newest, or those directly
    /// before `before`. Fewer if they are long: see [`is_full_page`].
    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError>;

    /// Up to `limit` messages directly after `after`, oldest first, whether or not that is kept, or ever was an entry.
    /// Fewer if they are long. Changes between them cost nothing.
    fn newer(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Message>, StoreError>;

    /// Up to `limit` entries after `after`, oldest first: messages in their present state, without deleted ones, and
    /// changes. Fewer if they are long.
    ///
    /// `None` if not everything after `after` is kept any more, or if `after` is not a known entry of the room: the
    /// client must reload.
    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError>;

    /// A message of a room in its present state.
    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// Up to `limit` rooms with messages, in the order of their names, after `after`. If other processes write to this
    /// log too, also rooms that have members on any of them; some may have neither any more.
    fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError>;

    /// Up to `limit` rooms after `after`, in the order of their names, among them all where this sender has said something
    /// as an account. Others may be among them: a store that doesn't know returns all rooms.
    fn rooms_of(&self, _sender: &str, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        self.rooms(after, limit)
    }

    /// Deletes a room's messages, and everything known about the room. A later draft begins it again.
    fn forget(&self, room: &RoomName) -> Result<(), StoreError>;

    /// Makes a room's messages those of the room `to`, which has none, with their ids and in their present state. A
    /// later draft begins the room again.
    fn set_aside(&self, room: &RoomName, to: &RoomName) -> Result<(), StoreError>;

    /// Like [`since`](Self::since), even if `after` is not an entry, and even if not everything after it is kept.
    fn entries(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Waits until nothing that was deleted in these rooms is left on any disk.
    fn scrub(&self, rooms: &[RoomName]) -> Result<(), StoreError>;

    /// Deletes messages and changes of a room from before this Unix time (in milliseconds), in slices, so that nobody
    /// waits long.
    fn forget_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError>;

    /// The feed of stored entries, if other processes write to this log too. `None` if the process that appends is the
    /// only one, and delivers by itself.
    fn feed(&self) -> Option<Arc<dyn Feed>> {
        None
    }

    /// What is stored but not yet in its final place.
    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    /// How much disk space it takes, if that is bounded.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Fails if messages could not be stored now.
    fn probe(&self) -> Result<(), StoreError>;
}

/// What is in a journal but not yet in the store behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many bytes it takes in memory.
    pub bytes: u64,
    /// The most bytes that it may take; then senders wait. 0: there is no journal.
    pub max: u64,
    /// How long its oldest entry has waited.
    pub lag: Duration,
}

/// The outcome of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Stored(MessageId),
    /// Stored without `reply_to`: the message that it replied to is not in the room (any more).
    StoredAlone(MessageId),
    /// The change is not allowed.
    Refused(Unchangeable),
    /// The same sender has made this message with the same `reference` before.
    Repeated(MessageId),
    /// It is not stored, and nobody will ever see it.
    NotStored,
    /// The answer was lost, or is still to come: [`MessageLog::find_out`] returns the outcome.
    Open(Open),
    /// The outcome could not be found out.
    Unknown,
}

/// How many entries may wait in this way.
pub const MAX_HELD: usize = 1024;

/// An entry whose answer was lost, or is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The number of its batch in the log.
    pub batch: u64,
    /// Its index in the batch.
    pub place: usize,
    /// Nothing was lost: it waits until the store can take it.
    pub waits: bool,
}

/// The outcome of a batch whose answer was lost.
#[derive(Debug, PartialEq, Eq)]
pub enum FoundOut {
    /// It was carried out, with these outcomes of its entries.
    Done(Vec<Appended>),
    /// Nothing of it is stored, or ever will be.
    Nothing,
    /// It may still be carried out: ask again.
    Undecided,
    /// The store has lost the data that would tell.
    Lost,
}
