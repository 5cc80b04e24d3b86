//! Read marks: how far accounts have read.

use super::{accounts::UserId, error::StoreError};
use crate::message::{MessageId, RoomName};

/// An account has read a room up to this message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub account: UserId,
    pub room: RoomName,
    pub id: MessageId,
}

/// The read marks: at most one for each account and room.
pub trait Reads: Send + Sync {
    /// Moves marks forward, and none back. Returns which of these have moved. `marks` has at most one mark for each
    /// account and room. An account keeps up to `most` marks; those at the oldest messages are removed.
    fn advance(&self, marks: &[Mark], most: usize) -> Result<Vec<bool>, StoreError>;

    /// All marks of an account, by room.
    fn of_account(&self, account: UserId) -> Result<Vec<(RoomName, MessageId)>, StoreError>;
}
