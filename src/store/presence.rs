//! The users in a room, when members are spread over several nodes.

use super::error::StoreError;
use crate::{event::Person, message::RoomName};

/// Each node reports its own users. Its reports expire unless it renews them.
pub trait Presence: Send + Sync {
    /// Reports how many sockets some users of this node have in a room now. Without changes it renews earlier reports.
    ///
    /// A user who is the first to come or the last to leave over all nodes is announced to all of them.
    fn tell(&self, room: &RoomName, changes: &[Present]) -> Result<Known, StoreError>;

    /// All users in a room, in alphabetical order.
    fn everybody(&self, room: &RoomName) -> Result<Vec<Present>, StoreError>;

    /// How many sockets are in a room.
    fn sockets(&self, room: &RoomName) -> Result<usize, StoreError>;
}

/// A user's sockets in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub person: Person,
    pub sockets: usize,
}

/// Whether this node's earlier reports about a room were still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Before,
    /// They were not: all users must be reported again.
    Anew,
}
