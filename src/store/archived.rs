//! What passes between the log of many nodes and its archive: bytes as Redis keeps them, which need no parsing.

use crate::message::MessageId;

/// A message and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: MessageId,
    pub body: Vec<u8>,
    pub edit: Option<Vec<u8>>,
    pub reactions: Option<Vec<u8>>,
}

/// A change, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRow {
    pub id: MessageId,
    pub of: MessageId,
    pub change: Vec<u8>,
    /// The present edit of its message; set only when it is read.
    pub edit: Option<Vec<u8>>,
}

/// The state of a changed message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Became {
    pub edit: Option<Vec<u8>>,
    pub reactions: Option<Vec<u8>>,
    pub is_deleted: bool,
}

/// What some messages have become, as far as Redis knows.
pub struct States {
    /// How often states were removed from Redis.
    pub trims: u64,
    /// The room was deleted up to here.
    pub forgotten: MessageId,
    pub of: Vec<(Place, Became)>,
}

/// The first and the last id that a message at one place may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub from: MessageId,
    pub to: MessageId,
}

/// How far a room is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub upto: MessageId,
    /// Counts erasures.
    pub generation: i64,
    /// Everything up to here is erased.
    pub gone: MessageId,
    /// Before this something may be missing.
    pub gap: MessageId,
    /// The number of messages.
    pub kept: u64,
}

/// What is added to the archive of a room.
#[derive(Clone)]
pub struct Portion {
    /// The position that the room must have. If it differs, another node has written or erased in the meantime.
    pub from: Position,
    pub upto: MessageId,
    pub gap: MessageId,
    pub messages: Vec<Row>,
    pub changes: Vec<ChangeRow>,
    /// The states of changed messages.
    pub became: Vec<(Place, Became)>,
}

impl Default for Position {
    /// The position of a room that is not archived.
    fn default() -> Position {
        let none = MessageId::BEFORE_ALL;
        Position { upto: none, generation: 0, gone: none, gap: none, kept: 0 }
    }
}

/// An id greater than that of every message.
pub const BEHIND_ALL: MessageId = MessageId(uuid::Uuid::max());
