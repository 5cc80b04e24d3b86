//! The names in the rooms of the rooms door, when their members are spread over several nodes.

use super::{error::StoreError, presence::Standing};
use std::sync::Arc;

/// The names of all nodes' members. Each node claims names for its own members. Its claims stand as long as its lease,
/// like those of [`Presence`](super::presence::Presence).
pub trait SharedNames: Send + Sync {
    /// The state of this node's claims.
    fn standing(&self) -> Standing;

    /// The [`Standing::epoch`] whose claims will stand for some more seconds in any case; `None` if there is none.
    fn sure(&self) -> Option<u64>;

    /// Takes names for members of this node, unless another node has them. This node may repeat its own claims. Returns
    /// for each room which of its claims no other node has.
    fn take(&self, claims: &[(i64, Vec<Claim>)]) -> Result<Vec<Vec<bool>>, StoreError>;

    /// Gives a claim back, if it still stands.
    fn give_back(&self, room: i64, claim: &Claim) -> Result<(), StoreError>;

    /// The numbers of this node's claims that stand in each of these rooms.
    fn own(&self, rooms: &[i64]) -> Result<Vec<Vec<u64>>, StoreError>;

    /// The users in each of these rooms, by name.
    fn users(&self, rooms: &[i64]) -> Result<Vec<Vec<Named>>, StoreError>;
}

/// A name that a node claims for one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The key by which names are compared.
    pub key: Arc<str>,
    /// Distinguishes this claim from an earlier one of the same node.
    pub number: u64,
    pub named: Named,
}

/// A user that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: Arc<str>,
    pub color: Arc<str>,
    /// Unix milliseconds.
    pub last_activity: i64,
}
