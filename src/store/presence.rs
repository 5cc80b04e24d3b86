//! Who is in a room, when its members are spread over several nodes.

use super::error::StoreError;
use crate::{event::Person, message::RoomName};
use std::sync::Arc;

/// The users in rooms, over all nodes. Each node claims that its own users are in rooms. Claims carry the epoch of
/// their node's lease, and stand as long as it.
pub trait Presence: Send + Sync {
    /// The state of this node's own claims.
    fn standing(&self) -> Standing;

    /// Makes claims, in one round trip. A user's first join and last leave over all nodes are announced to all nodes.
    /// Returns for each room whether it is to be compared, since it has claims that no longer stand.
    fn tell(&self, reports: &[PresenceReport]) -> Vec<Result<bool, StoreError>>;

    /// Reads all claims of these rooms, in one round trip.
    fn look(&self, rooms: &[RoomName]) -> Result<Vec<Seen>, StoreError>;

    /// All users in a room, in alphabetical order.
    fn everybody(&self, room: &RoomName) -> Result<Vec<Present>, StoreError>;

    /// How many sockets are in a room.
    fn sockets(&self, room: &RoomName) -> Result<usize, StoreError>;

    /// Gives the lease back, after all claims were withdrawn.
    fn leave(&self) -> Result<(), StoreError>;
}

/// A user's sockets in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub person: Person,
    pub sockets: usize,
}

/// What a node reports about its users in a room.
#[derive(Clone, Debug)]
pub struct PresenceReport {
    pub room: RoomName,
    /// How many sockets some of this node's users have there now.
    pub changes: Vec<Present>,
    /// Epochs whose claims are void; see [`Seen::over`].
    pub over: Vec<Arc<str>>,
    /// Whether this was announced before and only lost: members are not told again.
    pub again: bool,
}

impl PresenceReport {
    /// Reports that this node still has claims in a room, and nothing else.
    pub fn of(room: &RoomName) -> PresenceReport {
        PresenceReport { room: room.clone(), changes: Vec::new(), over: Vec::new(), again: false }
    }
}

/// The claims in a room.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The epoch under which this node claims: [`Standing::epoch`].
    pub epoch: u64,
    /// All users, in alphabetical order.
    pub users: Vec<Present>,
    /// What this node claims, in alphabetical order.
    pub own: Vec<Present>,
    /// Epochs that are over and still have claims here: of other nodes, or earlier ones of this node.
    pub over: Vec<Arc<str>>,
    /// Whether this node must write again that it has claims here, even if none has changed.
    pub fades: bool,
}

/// The state of a node's claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Counts the leases that this node has lost. Claims under an earlier lease are void.
    pub epoch: u64,
    /// Changes whenever claims may have been lost, or another node is gone: then all rooms are to be compared.
    pub doubts: u64,
    /// How many nodes are alive, including this one.
    pub nodes: usize,
}
