//! How much disk space a store takes, and how much it may take.

/// The disk space of messages, and what was deleted to bound it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub bytes: u64,
    /// How many bytes they may take; 0: there is no bound.
    pub max: u64,
    /// How many messages were deleted for lack of space since the start.
    pub trimmed: u64,
    pub fill: Fill,
}

/// Who may still store messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    /// Everybody.
    #[default]
    Plenty,
    /// Only accounts.
    Scarce,
    /// Nobody.
    Full,
}
