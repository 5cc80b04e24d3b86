//! How long a transfer may take: a grace, and then no slower than a minimum rate.

use std::time::{Duration, Instant};

/// Bytes a second below which a client is taken for one that only wants to hold a connection.
const MIN_RATE: u64 = 8 * 1024;

/// The allowance of one transfer.
///
/// A deadline alone would cut off large transfers, and a time-out for each read or write alone would let a client
/// hold a connection for hours, a byte at a time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    started: Instant,
    grace: Duration,
}

impl Pace {
    /// Starts now.
    pub fn start(grace: Duration) -> Pace {
        Pace { started: Instant::now(), grace }
    }

    /// The time left after `moved` bytes, or `None` if the transfer is too slow.
    pub fn left(&self, moved: usize) -> Option<Duration> {
        let earned = Duration::from_millis(moved as u64 * 1000 / MIN_RATE);
        (self.grace + earned).checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_moved_extends_the_time_left() {
        let late = Pace { started: Instant::now() - Duration::from_secs(11), grace: Duration::from_secs(10) };
        assert_eq!(late.left(0), None);
        assert!(late.left(2 * MIN_RATE as usize).is_some());
    }
}
