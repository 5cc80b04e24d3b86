//! How much of the disk a store takes, of what it may.

/// What the messages of a store take, and what was deleted so that they take no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub bytes: u64,
    /// What they may take; 0: the store has no such bound.
    pub max: u64,
    /// Messages that had to go since the start.
    pub trimmed: u64,
    pub fill: Fill,
}

/// Who may still store something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    /// Everybody.
    #[default]
    Plenty,
    /// Who has an account.
    Scarce,
    /// Nobody.
    Full,
}
