//! Above which ids those of a room's next messages have to be.
//!
//! Redis makes ids by its clock and by the room's last one. After a failover it may lack the last messages, and the clock of
//! the new master may be behind: then it would give ids out again that people have seen, and later messages would stand
//! before earlier ones. So each node remembers what it heard of, and says so whenever it appends.

use super::id::EntryId;
use crate::message::RoomName;
use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// Rooms share so many floors: a room may have one that is too high, never one that is too low.
const FLOORS: usize = 8192;

pub(super) struct Floors {
    hasher: RandomState,
    floors: Box<[AtomicU64]>,
}

impl Default for Floors {
    fn default() -> Floors {
        Floors { hasher: RandomState::new(), floors: (0..FLOORS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Floors {
    /// An entry with this id is in the room, or was.
    pub fn raise(&self, room: &RoomName, seen: EntryId) {
        let seen = seen.to_bits();
        let floor = self.floor(room);
        // Mostly it is not higher, and looking costs less than writing what others read.
        if floor.load(Ordering::Relaxed) < seen {
            floor.fetch_max(seen, Ordering::Relaxed);
        }
    }

    /// The highest id that may have been seen there.
    pub fn of(&self, room: &RoomName) -> EntryId {
        EntryId::from_bits(self.floor(room).load(Ordering::Relaxed))
    }

    fn floor(&self, room: &RoomName) -> &AtomicU64 {
        &self.floors[self.hasher.hash_one(room) as usize % FLOORS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_only_rises() {
        let (floors, room) = (Floors::default(), RoomName::channel("r"));
        assert_eq!(floors.of(&room), EntryId::ZERO);
        let [low, high] = [4094, 4095].map(|sequence| EntryId { millis: 1_700_000_000_000, sequence });
        floors.raise(&room, high);
        floors.raise(&room, low);
        assert_eq!(floors.of(&room), high);
    }
}
