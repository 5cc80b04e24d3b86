//! How far people have read.

use super::{accounts::UserId, error::StoreError};
use crate::message::{MessageId, RoomName};

/// An account has read a room up to this message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub account: UserId,
    pub room: RoomName,
    pub id: MessageId,
}

/// Read marks, one for each room of an account at most.
pub trait Reads: Send + Sync {
    /// Moves marks forward, and none back; tells which of these have moved. There is one of an account and room here at
    /// most. Each account has `most` marks: those at the oldest messages give way.
    fn advance(&self, marks: &[Mark], most: usize) -> Result<Vec<bool>, StoreError>;

    /// All marks of an account, by room.
    fn of_account(&self, account: UserId) -> Result<Vec<(RoomName, MessageId)>, StoreError>;
}
