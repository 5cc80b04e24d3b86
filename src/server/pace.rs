//! How long a transfer may take: a grace, and then a minimum rate, which grows with the size.

use std::time::{Duration, Instant};

/// Bytes per second. A client that is slower probably only wants to hold a connection.
const MIN_RATE: u64 = 8 * 1024;

/// A transfer of known size may take at most this and its grace, whatever the size.
const LONGEST: Duration = Duration::from_secs(30);

/// The time that one transfer may take.
///
/// A deadline alone would cut off large transfers. A time-out for each read or write alone would let a client hold a
/// connection for hours, with one byte at a time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    started: Instant,
    grace: Duration,
    /// Bytes per second.
    rate: u64,
}

impl Pace {
    /// Starts now, at the minimum rate.
    pub fn start(grace: Duration) -> Pace {
        Pace { started: Instant::now(), grace, rate: MIN_RATE }
    }

    /// Starts now, for a transfer of `size` bytes: no client holds a large answer for long.
    pub fn of(size: usize, grace: Duration) -> Pace {
        Pace { rate: MIN_RATE.max(size as u64 / LONGEST.as_secs()), ..Pace::start(grace) }
    }

    /// How much time is left after `moved` bytes; `None` if the transfer is too slow.
    pub fn left(&self, moved: usize) -> Option<Duration> {
        let earned = Duration::from_millis(moved as u64 * 1000 / self.rate);
        (self.grace + earned).checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_moved_extends_the_time_left() {
        let grace = Duration::from_secs(10);
        let late = Pace { started: Instant::now() - Duration::from_secs(11), ..Pace::start(grace) };
        assert_eq!(late.left(0), None);
        assert!(late.left(2 * MIN_RATE as usize).is_some());
    }

    #[test]
    fn a_large_answer_takes_no_longer_than_a_small_one() {
        let grace = Duration::from_secs(15);
        let size = 6_700_000;
        let after = |seconds| Pace { started: Instant::now() - Duration::from_secs(seconds), ..Pace::of(size, grace) };
        assert!(after(44).left(size - 1).is_some());
        assert_eq!(after(46).left(size - 1), None);
        assert_eq!(after(20).left(2 * MIN_RATE as usize), None);
    }
}
