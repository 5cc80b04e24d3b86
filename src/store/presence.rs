//! Who is in a room, when its members are spread over several nodes.

use super::error::StoreError;
use crate::{event::Person, message::RoomName};

/// Each node tells about its own users; what it told expires unless it goes on telling.
pub trait Presence: Send + Sync {
    /// Tells how many sockets some of this node's users have in a room now. Without changes it renews what was told.
    ///
    /// Whoever came first or left last over all nodes is announced to all of them.
    fn tell(&self, room: &RoomName, changes: &[Present]) -> Result<Known, StoreError>;

    /// Everybody in a room, in alphabetical order.
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

/// Whether what this node told of a room before was still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Before,
    /// It was not: everybody has to be told anew.
    Anew,
}
