//! What is on its way between the log of many nodes and its archive: bytes as Redis keeps them, which need no reading.

use crate::message::MessageId;

/// A message, and what it has become.
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
    /// The edit that its message has now; only when it is read.
    pub edit: Option<Vec<u8>>,
}

/// What has become of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Became {
    pub edit: Option<Vec<u8>>,
    pub reactions: Option<Vec<u8>>,
    pub is_deleted: bool,
}

/// The ids that a message may have which stands at a place: from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub from: MessageId,
    pub to: MessageId,
}

/// How far a room is archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub upto: MessageId,
    /// Counts what was erased.
    pub generation: i64,
    /// Everything up to here is erased.
    pub gone: MessageId,
    /// Before this something may be missing.
    pub gap: MessageId,
    /// Messages that there are.
    pub kept: u64,
}

/// What comes to the archive of a room.
#[derive(Clone)]
pub struct Portion {
    /// What its position must be, so that this comes to it: nobody else has written or erased meanwhile.
    pub from: Position,
    pub upto: MessageId,
    pub gap: MessageId,
    pub messages: Vec<Row>,
    pub changes: Vec<ChangeRow>,
    /// How messages are now that were changed.
    pub became: Vec<(Place, Became)>,
}

impl Default for Position {
    /// That of a room of which nothing is archived.
    fn default() -> Position {
        let none = MessageId::BEFORE_ALL;
        Position { upto: none, generation: 0, gone: none, gap: none, kept: 0 }
    }
}

/// More than every message's id.
pub const BEHIND_ALL: MessageId = MessageId(uuid::Uuid::max());
