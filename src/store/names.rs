//! Who is called what in the rooms of the rooms door, when their members are spread over several nodes.

use super::{error::StoreError, presence::Standing};
use std::sync::Arc;

/// Each node claims names for its own members; its claims stand as long as it has a lease, as those of
/// [`Presence`](super::presence::Presence).
pub trait SharedNames: Send + Sync {
    /// How this node's claims stand.
    fn standing(&self) -> Standing;

    /// The [`Standing::epoch`] whose claims stand for some seconds yet, whatever happens.
    fn sure(&self) -> Option<u64>;

    /// Takes names for members of this node, each unless another node's has it. What this node itself had claimed
    /// it may claim again. Answers for each room which of its claims are not another's.
    fn take(&self, claims: &[(i64, Vec<Claim>)]) -> Result<Vec<Vec<bool>>, StoreError>;

    /// Gives a claim back, if it still stands.
    fn give_back(&self, room: i64, claim: &Claim) -> Result<(), StoreError>;

    /// The numbers of this node's claims that stand in each of these rooms.
    fn own(&self, rooms: &[i64]) -> Result<Vec<Vec<u64>>, StoreError>;

    /// Everybody in each of these rooms, by name.
    fn users(&self, rooms: &[i64]) -> Result<Vec<Vec<Named>>, StoreError>;
}

/// A name that a node claims for one of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What names are compared by.
    pub key: Arc<str>,
    /// Tells this claim from an earlier one of the same node.
    pub number: u64,
    pub named: Named,
}

/// One who has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: Arc<str>,
    pub color: Arc<str>,
    /// Unix milliseconds.
    pub last_activity: i64,
}
