//! Who is called what in the rooms of the rooms door, when their members are spread over several nodes.

use super::error::StoreError;
use std::sync::Arc;

/// Each node claims names for its own members; its claims expire unless it goes on telling of them.
pub trait SharedNames: Send + Sync {
    /// Takes a name for one of this node's members, unless another node's has it. What this node itself had claimed
    /// it may claim again.
    fn take(&self, room: i64, claim: &Claim) -> Result<bool, StoreError>;

    /// Gives a claim back, if it still stands.
    fn give_back(&self, room: i64, claim: &Claim) -> Result<(), StoreError>;

    /// Renews all claims of this node in a room, and notes what has `changed` since. Answers which of those are
    /// another node's by now.
    ///
    /// `None`: none of its claims was known any longer; all have to be told anew.
    fn renew(&self, room: i64, changed: &[Claim]) -> Result<Option<Vec<Claim>>, StoreError>;

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

/// How long claims hold that a node does not renew.
pub const LIFE: std::time::Duration = std::time::Duration::from_secs(30);
