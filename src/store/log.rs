//! The record of every room's messages, and of what became of them.

use super::{error::StoreError, feed::Feed, usage::Usage};
use crate::{
    entry::{Change, ChangeKind, Entry, NewEntry, Unchangeable},
    message::{Message, MessageId, RoomName},
};
use std::{sync::Arc, time::Duration};

/// Bytes of text after which no more entries are read at a time, however many were asked for: who waits for a socket
/// holds one page.
pub const PAGE_BYTES: usize = 256 << 10;

/// Whether a page ended because its texts are long: there may be more of what was asked for.
pub fn is_full_page<T: HasText>(page: &[T]) -> bool {
    page.iter().map(HasText::text_len).sum::<usize>() >= PAGE_BYTES
}

/// What a page is made of.
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

/// How many of these are a page's worth of text, if that is fewer than all.
pub(super) fn end_of_page<T: HasText>(page: &[T]) -> Option<usize> {
    let mut bytes = 0;
    let last = page.iter().position(|one| {
        bytes += one.text_len();
        bytes >= PAGE_BYTES
    });
    last.map(|last| last + 1)
}

/// Two lists as one: its first `limit` entries, or a page's worth of text. If one of them ends early, because its own
/// texts are a page's worth, so does the whole, before what the other has behind it.
pub(super) fn in_order(messages: Vec<Message>, changes: Vec<Change>, limit: usize) -> Vec<Entry> {
    let mut all: Vec<Entry> =
        messages.into_iter().map(Entry::Message).chain(changes.into_iter().map(Entry::Change)).collect();
    // Two sorted runs: the sort merges them.
    all.sort_by_key(Entry::id);
    all.truncate(end_of_page(&all).unwrap_or(limit).min(limit));
    all
}

/// The ordered, durable record of every room's messages, and of what became of them.
pub trait MessageLog: Send + Sync {
    /// Stores entries in this order, all of a room or none, and gives each its id, in room order. Fails if none is
    /// stored.
    ///
    /// A draft whose `reference` the same sender used before in the room is not stored again: its
    /// place in the answer says so with the first message's id. A draft that isn't to be kept gets
    /// an id like the others and leaves no trace. A change that may not be made is refused in its place, and costs
    /// nobody else anything.
    ///
    /// If the answer of one that is elsewhere is lost, its entries are [open](Appended::Open) until it is
    /// [found out](Self::find_out) what became of them.
    ///
    /// Called from one thread only.
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError>;

    /// What became of an open batch. Called by another thread than that which appends, again and again until it is known, or
    /// nobody wants to know any more ([`leave_open`](Self::leave_open)).
    fn find_out(&self, _batch: u64) -> Result<FoundOut, StoreError> {
        Ok(FoundOut::Nothing)
    }

    /// Nobody will ask again what became of this batch.
    fn leave_open(&self, _batch: u64) {}

    /// Up to `limit` messages as they are now, without the deleted, oldest first: the newest ones, or those just before
    /// `before`. Fewer if they are long: see [`is_full_page`].
    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError>;

    /// Up to `limit` entries after `after`, oldest first: messages as they are now, without the deleted, and changes. Fewer if
    /// they are long.
    ///
    /// `None` if what follows `after` is no longer wholly kept, or `after` is no entry of the
    /// room that we know of: the client must reload.
    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError>;

    /// A message of a room as it is now.
    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// Up to `limit` rooms with messages in the order of their names, behind `after`. Where other processes write to this
    /// log too, rooms also in which somebody is, on any of them; some may have neither any more.
    fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError>;

    /// Deletes a room's messages, and what is known of the room. A later draft starts it anew.
    fn forget(&self, room: &RoomName) -> Result<(), StoreError>;

    /// Makes a room's messages those of the room `to`, which has none: with their ids, as they are now. A later draft starts
    /// the room anew.
    fn set_aside(&self, room: &RoomName, to: &RoomName) -> Result<(), StoreError>;

    /// As [`since`](Self::since), whether or not `after` is an entry, and all that followed it is kept.
    fn entries(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Waits until no byte is left anywhere of what has been deleted in these rooms.
    fn scrub(&self, rooms: &[RoomName]) -> Result<(), StoreError>;

    /// Deletes what was said in a room, or changed, before this Unix millisecond; in slices, for which nobody waits long.
    fn forget_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError>;

    /// Where stored messages are heard, if other processes write to this log too. `None`: whoever appends is the only
    /// one, and delivers.
    fn feed(&self) -> Option<Arc<dyn Feed>> {
        None
    }

    /// What is stored, and not yet where it will stay.
    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    /// What it takes, where that is bounded.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Fails if messages could not be stored now.
    fn probe(&self) -> Result<(), StoreError>;
}

/// What is in a journal, and not yet in the store behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// What it takes in memory.
    pub bytes: u64,
    /// The most that it may be; then senders wait. 0: there is no journal.
    pub max: u64,
    /// How long the oldest of it has waited.
    pub lag: Duration,
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Stored(MessageId),
    /// Without `reply_to`: what it was to answer is not in the room (any more).
    StoredAlone(MessageId),
    /// A change that may not be.
    Refused(Unchangeable),
    /// The same sender's `reference` had made this message before.
    Repeated(MessageId),
    /// No store holds it, and nobody will ever see it.
    NotStored,
    /// The answer was lost: [`MessageLog::find_out`] tells what became of it.
    Open(Open),
    /// It could not be found out.
    Unknown,
}

/// An entry whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// As the log knows it.
    pub batch: u64,
    /// Which of the batch's entries it is.
    pub place: usize,
}

/// What became of a batch whose answer was lost.
#[derive(Debug, PartialEq, Eq)]
pub enum FoundOut {
    /// It was carried out: what became of each of its entries.
    Done(Vec<Appended>),
    /// Nothing of it is stored, and nothing will be.
    Nothing,
    /// It may still be carried out: to be asked again.
    Undecided,
    /// The store has lost what it was to tell by.
    Lost,
}
