//! Decides which rooms' newest ids are checked next, though nothing seems to be missing: all in turn, at a bounded rate.

use crate::message::RoomName;
use std::time::{Duration, Instant};

/// Rooms checked a second, so that many silent rooms cost Redis no more than some. 1,000 rooms take ten seconds, and
/// 10,000 take a hundred.
const RATE: f64 = 100.0;

/// The shortest time between the beginnings of two rounds.
const AGAIN: Duration = Duration::from_secs(10);

/// The shortest time between two checks. Rooms that are checked together share a round trip.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Turns {
    /// The rooms of this round that were not checked yet.
    left: Vec<RoomName>,
    began: Instant,
    taken: Instant,
}

impl Turns {
    /// The first round begins after a pause.
    pub fn new() -> Turns {
        let now = Instant::now();
        Turns { left: Vec::new(), began: now, taken: now }
    }

    /// Takes the rooms whose turn it is. `all`: the rooms that there are.
    pub fn next(&mut self, all: impl FnOnce() -> Vec<RoomName>) -> Vec<RoomName> {
        let now = Instant::now();
        let since = now - self.taken;
        if since < PAUSE || (self.left.is_empty() && now - self.began < AGAIN) {
            return Vec::new();
        }
        self.taken = now;
        if self.left.is_empty() {
            self.began = now;
            self.left = all();
        }
        // At most as many as in a second, however long nothing was checked.
        let count = (RATE * since.as_secs_f64().min(1.0)) as usize;
        self.left.split_off(self.left.len().saturating_sub(count))
    }

    #[cfg(test)]
    pub fn age(&mut self, by: Duration) {
        self.began -= by;
        self.taken -= by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn rooms(count: usize) -> Vec<RoomName> {
        (0..count).map(|n| RoomName::channel(&n.to_string())).collect()
    }

    #[test]
    fn a_round_has_every_room_once_and_so_many_a_second() {
        let (mut turns, mut seen) = (Turns::new(), HashSet::new());
        assert!(turns.next(|| rooms(1000)).is_empty());
        turns.age(AGAIN);
        for second in 0..10 {
            let taken = turns.next(|| if second == 0 { rooms(1000) } else { panic!("the round is not over") });
            assert!((90..=100).contains(&taken.len()), "{}", taken.len());
            seen.extend(taken);
            turns.age(Duration::from_secs(1));
        }
        seen.extend(turns.next(|| rooms(0)));
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn few_rooms_wait_for_the_next_round() {
        let mut turns = Turns::new();
        turns.age(AGAIN);
        assert_eq!(turns.next(|| rooms(3)).len(), 3);
        turns.age(AGAIN / 2);
        assert!(turns.next(|| panic!("it is too early")).is_empty());
        turns.age(AGAIN / 2);
        assert_eq!(turns.next(|| rooms(3)).len(), 3);
    }
}
