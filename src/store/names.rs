//! The names in rooms of the rooms door, when members are spread over several nodes.

use super::error::StoreError;
use std::sync::Arc;

/// Each node claims names for its own members. Claims expire unless the node renews them.
pub trait SharedNames: Send + Sync {
    /// Claims a name for a member of this node, unless another node has it. A node may claim again what it has claimed
    /// itself.
    fn take(&self, room: i64, claim: &Claim) -> Result<bool, StoreError>;

    /// Returns a claim, if it is still valid.
    fn give_back(&self, room: i64, claim: &Claim) -> Result<(), StoreError>;

    /// Renews all claims of this node in a room, and notes the `changed` ones. Returns which of those another node has
    /// now.
    ///
    /// `None` if none of its claims were known any more: then all must be sent again.
    fn renew(&self, room: i64, changed: &[Claim]) -> Result<Option<Vec<Claim>>, StoreError>;

    /// All users in each of these rooms, by name.
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

/// A user with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: Arc<str>,
    pub color: Arc<str>,
    /// In Unix milliseconds.
    pub last_activity: i64,
}

/// How long claims last that a node does not renew.
pub const LIFE: std::time::Duration = std::time::Duration::from_secs(30);
