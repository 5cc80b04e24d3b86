//! What a room's log is made of: messages, and changes to messages.
//!
//! Both have an id in the room's one order. What a message is *now* is kept beside the log: a change tells those who
//! listen, and those who come back, that it became so.

use crate::message::{Draft, Message, MessageId, RoomName};
use std::sync::Arc;

/// One entry of a room's log.
#[derive(Clone, PartialEq, Eq)]
pub enum Entry {
    Message(Message),
    Change(Change),
}

impl Entry {
    pub fn id(&self) -> MessageId {
        match self {
            Entry::Message(message) => message.id,
            Entry::Change(change) => change.id,
        }
    }

    pub fn into_message(self) -> Option<Message> {
        match self {
            Entry::Message(message) => Some(message),
            Entry::Change(_) => None,
        }
    }

    pub fn message(&self) -> Option<&Message> {
        match self {
            Entry::Message(message) => Some(message),
            Entry::Change(_) => None,
        }
    }
}

impl From<Message> for Entry {
    fn from(message: Message) -> Entry {
        Entry::Message(message)
    }
}

impl From<Change> for Entry {
    fn from(change: Change) -> Entry {
        Entry::Change(change)
    }
}

/// A change of a message, stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The change's own.
    pub id: MessageId,
    /// The message that is another one now.
    pub of: MessageId,
    /// Who changed it, as the room shows it.
    pub by: Arc<str>,
    pub kind: ChangeKind,
}

#[derive(Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// The text as it is now. `None`: the message has been deleted since, so nothing is left to say of this.
    Edited(Option<Box<str>>),
    Deleted,
    Reacted {
        emoji: Box<str>,
        on: bool,
    },
}

/// What is to be appended to a room's log.
#[derive(Clone)]
pub enum NewEntry {
    Message(Draft),
    Change(NewChange),
}

impl NewEntry {
    pub fn room(&self) -> &RoomName {
        match self {
            NewEntry::Message(draft) => &draft.room,
            NewEntry::Change(change) => &change.room,
        }
    }

    /// The client's own mark, which is in the answer.
    pub fn reference(&self) -> Option<&str> {
        match self {
            NewEntry::Message(draft) => draft.reference.as_deref(),
            NewEntry::Change(change) => change.reference.as_deref(),
        }
    }

    /// Whether anything of it stays.
    pub fn is_kept(&self) -> bool {
        match self {
            NewEntry::Message(draft) => draft.kept,
            NewEntry::Change(_) => true,
        }
    }

    /// The entry that this is once it is stored under this id. `alone`: what it was to answer is gone.
    pub fn stored(self, id: MessageId, alone: bool) -> Entry {
        match self {
            NewEntry::Message(draft) => Entry::Message(draft.stored(id, alone)),
            NewEntry::Change(NewChange { of, by, kind, .. }) => {
                Entry::Change(Change { id, of, by, kind: kind.stored() })
            }
        }
    }
}

impl From<Draft> for NewEntry {
    fn from(draft: Draft) -> NewEntry {
        NewEntry::Message(draft)
    }
}

impl From<NewChange> for NewEntry {
    fn from(change: NewChange) -> NewEntry {
        NewEntry::Change(change)
    }
}

/// A change that somebody asks for. The log looks whether it may be, in the same step in which it is made.
#[derive(Clone)]
pub struct NewChange {
    pub room: RoomName,
    pub of: MessageId,
    pub by: Arc<str>,
    pub kind: NewChangeKind,
    pub reach: Reach,
    /// Given back in the answer; a change needs none to be done once.
    pub reference: Option<Box<str>>,
}

#[derive(Clone)]
pub enum NewChangeKind {
    /// `since`: messages from before this Unix millisecond are not edited any more.
    Edit {
        text: Box<str>,
        since: u64,
    },
    Delete,
    React {
        emoji: Box<str>,
        on: bool,
    },
}

impl NewChangeKind {
    fn stored(self) -> ChangeKind {
        match self {
            NewChangeKind::Edit { text, .. } => ChangeKind::Edited(Some(text)),
            NewChangeKind::Delete => ChangeKind::Deleted,
            NewChangeKind::React { emoji, on } => ChangeKind::Reacted { emoji, on },
        }
    }
}

/// Whose messages somebody may edit or delete. Everybody who is in a room may react to any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only those that the same sender said.
    Own,
    Any,
}

/// Why a change was not made. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchangeable {
    /// The room has no message of this id (any more).
    NoSuchMessage,
    /// It is somebody else's.
    NotYours,
    /// It may not be edited any more.
    TooLate,
    /// It is so already.
    Unchanged,
    /// It has [`MAX_EMOJI`] different ones already.
    TooManyEmoji,
}

/// Different emoji on one message.
pub const MAX_EMOJI: usize = 20;

/// Accounts that react to one message with one emoji.
pub const MAX_REACTING: usize = 1_000;
