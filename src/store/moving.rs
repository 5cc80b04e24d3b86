//! What `migrate` moves from one store to another.

use super::{
    ledger::SignedPart,
    log::{HasText, end_of_page},
    sessions::Session,
};
use crate::{
    entry::Change,
    message::{Message, MessageId, RoomName},
};
use std::{sync::Arc, time::SystemTime};

/// A message of a log as it is now, with everything that another log needs to keep it as the same message.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    pub message: Message,
    /// The sender's own reference; see [`Draft::reference`](crate::message::Draft::reference).
    pub reference: Option<Box<str>>,
}

/// A sender, and the reference of one of its messages.
pub type OwnMark = (Arc<str>, Box<str>);

/// A change of a message. The text of an edit is part of its message.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptChange {
    pub change: Change,
    /// The sender and reference of the message that this change deleted.
    pub mark: Option<OwnMark>,
}

/// An entry of a room's log.
#[derive(Clone, PartialEq, Eq)]
pub enum Moved {
    Message(Kept),
    Change(KeptChange),
}

impl Moved {
    pub fn id(&self) -> MessageId {
        match self {
            Moved::Message(kept) => kept.message.id,
            Moved::Change(kept) => kept.change.id,
        }
    }

    /// Merges two lists in the order of their ids: the first `limit` entries, or a page's worth of text. Each list must
    /// have as many entries as were asked for, or a page's worth.
    pub(super) fn in_order(messages: Vec<Kept>, changes: Vec<KeptChange>, limit: usize) -> Vec<Moved> {
        let mut all: Vec<Moved> =
            messages.into_iter().map(Moved::Message).chain(changes.into_iter().map(Moved::Change)).collect();
        all.sort_by_key(Moved::id);
        all.truncate(end_of_page(&all).unwrap_or(limit).min(limit));
        all
    }
}

impl HasText for Kept {
    fn text_len(&self) -> usize {
        self.message.text.len()
    }
}

impl HasText for KeptChange {
    fn text_len(&self) -> usize {
        self.change.text_len()
    }
}

impl HasText for Moved {
    fn text_len(&self) -> usize {
        match self {
            Moved::Message(kept) => kept.text_len(),
            Moved::Change(kept) => kept.text_len(),
        }
    }
}

/// The newest message and the newest change that a room's log no longer keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    pub message: Option<MessageId>,
    pub change: Option<MessageId>,
}

/// The mark of a spent token.
#[derive(Clone, Copy)]
pub struct Mark {
    pub token: SignedPart,
    /// When the token expires.
    pub until: SystemTime,
}

/// A channel or a stream that somebody has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    pub room: RoomName,
    pub at: SystemTime,
}

/// What is kept for an account beside its row. It moves to the account of the same address.
#[derive(Clone)]
pub struct Belongings {
    pub email: String,
    /// How often its access was revoked.
    pub revocations: i64,
    pub sessions: Vec<Session>,
    pub reads: Vec<(RoomName, MessageId)>,
    /// Rooms, and the Unix millisecond until which the account is muted there.
    pub mutes: Vec<(RoomName, u64)>,
    /// The hashes of the monitors whose rooms it moderates.
    pub moderates: Vec<String>,
    pub channels: Vec<Begun>,
}
