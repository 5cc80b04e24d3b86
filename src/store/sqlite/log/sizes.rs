//! How much space each room's messages take, roughly, to choose which to delete.

use std::collections::HashMap;

/// Bytes that a row takes beside its texts, roughly.
pub(super) const ROW: u64 = 64;

/// Bytes that a change takes, roughly.
pub(super) const CHANGE: u64 = 96;

/// Bytes that a row of `messages` takes, in SQL. The lengths are at its beginning, so long texts are not read for it.
macro_rules! size {
    () => {
        "(64 + octet_length(sender) + octet_length(text) + coalesce(octet_length(extra), 0))"
    };
}
pub(super) use size;

/// Sizes by the row of the room. An edit adds its text to that of the original, until the message is deleted.
#[derive(Default)]
pub(super) struct Sizes(HashMap<i64, u64>);

impl Sizes {
    pub fn add(&mut self, room: i64, bytes: u64) {
        *self.0.entry(room).or_default() += bytes;
    }

    pub fn take(&mut self, room: i64, bytes: u64) {
        if let Some(size) = self.0.get_mut(&room) {
            *size = size.saturating_sub(bytes);
        }
    }

    /// Nothing is left of this room.
    pub fn forget(&mut self, room: i64) {
        self.0.remove(&room);
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Which rooms to cut by how much, the largest first, to free `goal` bytes: each down to the same level. So only
    /// rooms that take too much lose messages.
    pub fn cut(&self, goal: u64) -> Vec<(i64, u64)> {
        let mut sizes: Vec<(i64, u64)> = self.0.iter().map(|(room, size)| (*room, *size)).collect();
        sizes.sort_unstable_by_key(|(room, size)| (std::cmp::Reverse(*size), *room));
        let mut above = 0;
        let mut cut = 0;
        // Cutting to the size of the next room would free this much of the rooms before it.
        while cut < sizes.len() && above - cut as u64 * sizes[cut].1 < goal {
            above += sizes[cut].1;
            cut += 1;
        }
        sizes.truncate(cut);
        let level = above.saturating_sub(goal) / (cut as u64).max(1);
        sizes.into_iter().map(|(room, size)| (room, size.saturating_sub(level))).filter(|(_, much)| *much > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_largest_are_cut_to_one_level_and_no_further(sizes in prop::collection::vec(1u64..10_000, 1..40), part in 0u64..=100) {
            let mut all = Sizes::default();
            sizes.iter().zip(0..).for_each(|(size, room)| all.add(room, *size));
            let goal = all.total() * part / 100;
            let cut = all.cut(goal);
            let gone: u64 = cut.iter().map(|(_, much)| much).sum();
            // Rounded up to whole bytes for each.
            prop_assert!(gone >= goal && gone <= goal + cut.len() as u64);
            let before = all.0.clone();
            cut.iter().for_each(|(room, much)| all.take(*room, *much));
            let highest = all.0.values().max().copied().unwrap_or(0);
            for (room, _) in &cut {
                prop_assert!(all.0[room] + 1 >= highest, "one of those cut has less than another was left");
            }
            for (room, size) in &before {
                prop_assert!(all.0[room] == *size || cut.iter().any(|(other, _)| other == room));
            }
        }
    }

    #[test]
    fn a_small_room_beside_a_large_one_keeps_all() {
        let mut all = Sizes::default();
        all.add(1, 1_000);
        all.add(2, 30);
        assert_eq!(all.cut(900), [(1, 900)]);
        assert_eq!(all.cut(0), []);
    }
}
