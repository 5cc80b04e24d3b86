//! How much space each room's messages take, roughly, to choose which to delete.

use crate::store::journal::Said;
use std::{cmp::Reverse, collections::HashMap};

/// Bytes that a row takes beside its texts, roughly; the macro below has it too.
const ROW: usize = 64;

/// Bytes that an entry of the index by reference takes beside its texts, roughly.
const REFERENCE: usize = 16;

/// Bytes that a change takes, roughly.
pub(super) const CHANGE: i64 = 96;

/// Bytes that a row of `messages` and its entry of an index take, in SQL, as [`of`] says. The lengths are at the row's
/// beginning, so long texts are not read for it.
macro_rules! size {
    () => {
        "(64 + octet_length(sender) + octet_length(text) + coalesce(octet_length(extra), 0)
          + coalesce(octet_length(name), 0) + coalesce(octet_length(reply_to), 0)
          + coalesce(16 + octet_length(sender) + 2 * octet_length(ref), 0))"
    };
}
pub(super) use size;

/// Bytes that a message takes. All that its author chooses counts: otherwise small messages with much beside their text would
/// push out others.
pub(super) fn of(said: &Said) -> u64 {
    let optional = |text: Option<&str>| text.map_or(0, str::len);
    let by_reference = |reference: &str| REFERENCE + said.sender.len() + 2 * reference.len();
    let size = ROW
        + said.sender.len()
        + said.text.len()
        + optional(said.extra.as_deref())
        + optional(said.name.as_deref())
        + said.reply_to.map_or(0, |id| id.0.as_bytes().len())
        + said.reference.as_deref().map_or(0, by_reference);
    size as u64
}

/// Sizes by the row of the room. What an edit or a deletion takes away is no longer part of them.
#[derive(Default)]
pub(super) struct Sizes(HashMap<i64, u64>);

impl Sizes {
    /// `bytes`: negative where the room has become smaller.
    pub fn add(&mut self, room: i64, bytes: i64) {
        let size = self.0.entry(room).or_default();
        *size = size.saturating_add_signed(bytes);
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

    #[cfg(test)]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Which rooms to cut by how much, the largest first, to free `goal` bytes: each down to the same level. So only
    /// rooms that take too much lose messages. All rooms of one author in `alone` count as one there, and are cut to a
    /// level of their own: nobody gets a larger share by filling many rooms.
    pub fn cut(&self, goal: u64, alone: &HashMap<i64, i64>) -> Vec<(i64, u64)> {
        let mut shares: HashMap<Share, Vec<(i64, u64)>> = HashMap::new();
        for (room, size) in &self.0 {
            let share = alone.get(room).map_or(Share::Room(*room), |author| Share::Author(*author));
            shares.entry(share).or_default().push((*room, *size));
        }
        let sums = shares.iter().map(|(share, rooms)| (*share, rooms.iter().map(|(_, size)| size).sum())).collect();
        let of_share = |(share, much)| level(shares.remove(&share).unwrap_or_default(), much);
        let mut cuts: Vec<(i64, u64)> = level(sums, goal).into_iter().flat_map(of_share).collect();
        cuts.sort_unstable_by_key(|(room, _)| (Reverse(self.0.get(room)), *room));
        cuts
    }
}

/// Who has a share of the store: a room, or an author for all rooms in which nobody else has spoken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Share {
    Room(i64),
    Author(i64),
}

/// How much each of the largest gives up for a `goal`, if they end at the same level.
fn level<K: Copy + Ord>(mut sizes: Vec<(K, u64)>, goal: u64) -> Vec<(K, u64)> {
    sizes.sort_unstable_by_key(|(key, size)| (Reverse(*size), *key));
    let mut above = 0;
    let mut cut = 0;
    // Cutting to the size of the next one would free this much of those before it.
    while cut < sizes.len() && above - cut as u64 * sizes[cut].1 < goal {
        above += sizes[cut].1;
        cut += 1;
    }
    sizes.truncate(cut);
    let level = above.saturating_sub(goal) / (cut as u64).max(1);
    sizes.into_iter().map(|(key, size)| (key, size.saturating_sub(level))).filter(|(_, much)| *much > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageId;
    use proptest::prelude::*;
    use rusqlite::Connection;
    use uuid::Uuid;

    proptest! {
        #[test]
        fn the_walk_over_the_table_weighs_a_message_as_the_writer_does(
            sender in ".{0,20}", text in ".{0,50}", extra in prop::option::of(".{0,9}"), name in prop::option::of(".{0,9}"),
            reference in prop::option::of(".{0,128}"), is_reply: bool,
        ) {
            let connection = Connection::open_in_memory().unwrap();
            let columns = "sender TEXT, text TEXT, extra TEXT, name TEXT, ref TEXT, reply_to BLOB";
            connection.execute_batch(&format!("CREATE TABLE messages ({columns})")).unwrap();
            let reply_to = is_reply.then(|| Uuid::from_u128(7));
            let id = reply_to.map(|id| id.into_bytes());
            let row = (&sender, &text, &extra, &name, &reference, id);
            connection.execute("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).unwrap();
            let sql = concat!("SELECT ", size!(), " FROM messages");
            let walked: i64 = connection.query_row(sql, (), |row| row.get(0)).unwrap();
            let said = Said {
                sender: sender.into(),
                name: name.map(Into::into),
                text: text.into(),
                extra: extra.map(Into::into),
                reference: reference.map(Into::into),
                reply_to: reply_to.map(MessageId),
            };
            prop_assert_eq!(walked.unsigned_abs(), of(&said));
        }

        #[test]
        fn the_largest_are_cut_to_one_level_and_no_further(sizes in prop::collection::vec(1i64..10_000, 1..40), part in 0u64..=100) {
            let mut all = Sizes::default();
            sizes.iter().zip(0..).for_each(|(size, room)| all.add(room, *size));
            let goal = all.total() * part / 100;
            let cut = all.cut(goal, &HashMap::new());
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
    fn all_that_an_author_chooses_is_weighed() {
        let said = |name: usize, text: usize, reference: usize| {
            let text_of = |length: usize| "x".repeat(length);
            of(&Said {
                sender: "a".into(),
                name: Some(text_of(name).into()),
                text: text_of(text).into(),
                extra: None,
                reference: Some(text_of(reference).into()),
                reply_to: None,
            })
        };
        let least = said(0, 0, 0);
        assert_eq!([said(9, 0, 0), said(0, 9, 0), said(0, 0, 9)].map(|size| size - least), [9, 9, 18]);
    }

    #[test]
    fn a_small_room_beside_a_large_one_keeps_all() {
        let mut all = Sizes::default();
        all.add(1, 1_000);
        all.add(2, 30);
        assert_eq!(all.cut(900, &HashMap::new()), [(1, 900)]);
        assert_eq!(all.cut(0, &HashMap::new()), []);
    }

    #[test]
    fn many_rooms_of_one_author_count_as_one() {
        let mut all = Sizes::default();
        (0..10).for_each(|room| all.add(room, 100 + room));
        all.add(100, 500);
        let alone: HashMap<i64, i64> = (0..10).map(|room| (room, 7)).collect();
        // 1,045 of the author and 500 of the room: 545 are gone before the room loses anything.
        let cut = all.cut(500, &alone);
        assert_eq!(cut.iter().map(|(room, _)| *room).collect::<Vec<_>>(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert!((500..=510).contains(&cut.iter().map(|(_, much)| much).sum::<u64>()));
        let cut: HashMap<i64, u64> = all.cut(645, &alone).into_iter().collect();
        assert_eq!(cut[&100], 50);
        assert!((595..=605).contains(&cut.iter().filter(|(room, _)| **room != 100).map(|(_, much)| much).sum::<u64>()));
    }
}
