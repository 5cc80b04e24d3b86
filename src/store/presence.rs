//! Who is in a room, when its members are spread over several nodes.

use super::error::StoreError;
use crate::{event::Person, message::RoomName};
use std::sync::Arc;

/// Each node claims that its own users are in rooms. Claims stand as long as their node has a lease, and are tagged with
/// the epoch of that.
pub trait Presence: Send + Sync {
    /// How this node's own claims stand.
    fn standing(&self) -> Standing;

    /// Claims some things, in one round trip. Whoever came first or left last over all nodes is announced to all of them.
    /// Answers for each whether the room is to be looked at, since there are claims that don't stand any more.
    fn tell(&self, telling: &[AnnouncePolicy]) -> Vec<Result<bool, StoreError>>;

    /// Reads all claims of some rooms, in one round trip.
    fn look(&self, rooms: &[RoomName]) -> Result<Vec<Seen>, StoreError>;

    /// Everybody in a room, in alphabetical order.
    fn everybody(&self, room: &RoomName) -> Result<Vec<Present>, StoreError>;

    /// How many sockets are in a room.
    fn sockets(&self, room: &RoomName) -> Result<usize, StoreError>;

    /// Gives the lease back, when all claims were taken back.
    fn leave(&self) -> Result<(), StoreError>;
}

/// A user's sockets in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub person: Person,
    pub sockets: usize,
}

/// What a node says of a room.
#[derive(Clone, Debug)]
pub struct AnnouncePolicy {
    pub room: RoomName,
    /// How many sockets some of this node's users have there now.
    pub changes: Vec<Present>,
    /// Whose claims are void; see [`Seen::over`].
    pub over: Vec<Arc<str>>,
    /// Whether it was told before, and only lost: nobody is to hear of it again.
    pub again: bool,
}

impl AnnouncePolicy {
    /// That this node has claims in a room still, and nothing else.
    pub fn of(room: &RoomName) -> AnnouncePolicy {
        AnnouncePolicy { room: room.clone(), changes: Vec::new(), over: Vec::new(), again: false }
    }
}

/// What is claimed of a room.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Which of its epochs this node claims under: [`Standing::epoch`].
    pub epoch: u64,
    /// Everybody, in alphabetical order.
    pub users: Vec<Present>,
    /// What this node claims, in alphabetical order.
    pub own: Vec<Present>,
    /// Epochs of other nodes, or earlier ones of this one, that are over, and have claims here still.
    pub over: Vec<Arc<str>>,
    /// Whether that this node has claims here is to be written again, though none has changed.
    pub fades: bool,
}

/// How the claims of a node stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Counts the leases of this node that were lost: what was claimed under an earlier one is void.
    pub epoch: u64,
    /// Changes whenever claims may have been lost, or another node is gone: all rooms are to be looked at.
    pub doubts: u64,
    /// Nodes that live, with this one.
    pub nodes: usize,
}
