//! How far the keeper has got with keeping the log within its bound (see `store_max`).

use std::time::Instant;

/// What is left to do.
#[derive(Default)]
pub(super) struct Work {
    /// The walk: the key of the row weighed last, and that of the last row to weigh.
    pub walk: Option<(i64, i64)>,
    pub is_weighed: bool,
    /// Rooms to cut and by how much, the largest last.
    pub cuts: Vec<(i64, u64)>,
    /// Whether something was cut since the index was last told to follow.
    pub is_cutting: bool,
    /// When it was last logged.
    pub told: Option<Instant>,
}
