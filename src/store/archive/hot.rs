//! How many entries of a room stay in Redis: `HISTORY_HOT`, or fewer while its memory is short.

use crate::store::redis::memory::{AMPLE, SHORT};
use std::sync::atomic::{AtomicU64, Ordering};

/// The fewest that stay, if `HISTORY_HOT` is not less.
const FEWEST: u64 = 20;

pub(super) struct Hot {
    most: u64,
    now: AtomicU64,
}

impl Hot {
    pub fn new(most: u64) -> Hot {
        Hot { most, now: AtomicU64::new(most) }
    }

    /// How many stay at present.
    pub fn entries(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Adapts to the share of memory that is used. Returns whether fewer stay from now on.
    pub fn adapt(&self, used: f64) -> bool {
        let now = self.entries();
        let next = if used >= SHORT {
            (now / 2).max(FEWEST.min(self.most))
        } else if used < AMPLE {
            (now * 2).min(self.most)
        } else {
            now
        };
        self.now.store(next, Ordering::Relaxed);
        let most = self.most;
        if now == most && next < now {
            tracing::warn!(
                most,
                "the memory of Redis is short; fewer archived messages of each room stay there than HISTORY_HOT says: raise \
                 its maxmemory, or lower HISTORY_HOT"
            );
        } else if next == most && next > now {
            tracing::info!(most, "Redis has memory again for as many messages of each room as HISTORY_HOT says");
        }
        next < now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_stay_while_memory_is_short_and_as_many_as_before_once_there_is_some() {
        let hot = Hot::new(100);
        let adapted = |used| (hot.adapt(used), hot.entries());
        assert_eq!([0.4, 0.6, 0.7, 0.9].map(adapted), [(false, 100), (false, 100), (true, 50), (true, 25)]);
        assert_eq!([0.9, 0.9].map(adapted), [(true, FEWEST), (false, FEWEST)], "some stay");
        assert_eq!([0.6, 0.4, 0.4, 0.4].map(adapted), [(false, 20), (false, 40), (false, 80), (false, 100)]);
        let few = Hot::new(3);
        assert!(!few.adapt(0.9));
        assert_eq!(few.entries(), 3);
    }
}
