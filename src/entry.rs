//! The entries of a room's log: messages, and changes of messages.
//!
//! Both have an id in the one order of the room. The present state of a message is kept beside the log. A change
//! reports to members, and to those who come back, how the message changed.

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

    /// Who said it, or made the change, as the room shows it.
    pub fn by(&self) -> &Arc<str> {
        match self {
            Entry::Message(message) => &message.sender,
            Entry::Change(change) => &change.by,
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

/// A stored change of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The change's own id.
    pub id: MessageId,
    /// The id of the message that it changes.
    pub of: MessageId,
    /// Who changed it, as the room shows it.
    pub by: Arc<str>,
    pub kind: ChangeKind,
}

#[derive(Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// The present text. `None`: the message has been deleted since, so there is nothing to report; or, between the log
    /// and its archive, only the archive has the text.
    Edited(Option<Box<str>>),
    Deleted,
    Reacted {
        emoji: Box<str>,
        on: bool,
    },
}

/// What to append to a room's log.
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

    /// Who says it, or makes the change, as the room shows it.
    pub fn by(&self) -> &Arc<str> {
        match self {
            NewEntry::Message(draft) => &draft.sender,
            NewEntry::Change(change) => &change.by,
        }
    }

    /// The text that it brings.
    pub fn text(&self) -> Option<&str> {
        match self {
            NewEntry::Message(draft) => Some(&draft.text),
            NewEntry::Change(NewChange { kind: NewChangeKind::Edit { text, .. }, .. }) => Some(text),
            NewEntry::Change(_) => None,
        }
    }

    /// The client's own mark, which is in the answer.
    pub fn reference(&self) -> Option<&str> {
        match self {
            NewEntry::Message(draft) => draft.reference.as_deref(),
            NewEntry::Change(change) => change.reference.as_deref(),
        }
    }

    /// Whether anything of it is stored.
    pub fn is_kept(&self) -> bool {
        match self {
            NewEntry::Message(draft) => draft.kept,
            NewEntry::Change(_) => true,
        }
    }

    /// The entry as it is once it is stored with this id. `alone`: the message that it replied to is gone.
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

/// A requested change. The log checks whether it is allowed in the same step in which it makes it.
#[derive(Clone)]
pub struct NewChange {
    pub room: RoomName,
    pub of: MessageId,
    pub by: Arc<str>,
    pub kind: NewChangeKind,
    pub reach: Reach,
    /// Repeated in the answer. A change takes effect only once even without a mark.
    pub reference: Option<Box<str>>,
}

#[derive(Clone)]
pub enum NewChangeKind {
    /// `since` is in Unix milliseconds: older messages can't be edited any more.
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

/// Whose messages a member may edit or delete. Everybody in a room may react to any message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only messages of the same sender.
    Own,
    Any,
}

/// Why a change was refused. Nothing was changed. The log decides, in the step that would make the change: `judge` in
/// SQLite, `append.lua` in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchangeable {
    /// The room has no message with this id (any more).
    NoSuchMessage,
    /// It is another sender's message.
    NotYours,
    /// It is too old to be edited.
    TooLate,
    /// The message is so already.
    Unchanged,
    /// It has [`MAX_EMOJI`] different emoji already, or [`MAX_REACTING`] accounts reacted with this one.
    TooManyEmoji,
}

/// How many different emoji one message may have.
pub const MAX_EMOJI: usize = 20;

/// How many accounts may react to one message with one emoji.
pub const MAX_REACTING: usize = 1_000;
