//! Lower bounds for the ids of a room's next messages.
//!
//! Redis makes ids from its clock and the room's last id. After a failover the new master may lack the last messages,
//! and its clock may be behind. Then it would give out ids that users have already seen, and later messages would come
//! before earlier ones. So each node remembers the ids that it has seen, and sends them with each append.

use super::id::EntryId;
use crate::message::RoomName;
use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// The number of floors that all rooms share: a room's floor may be too high, never too low.
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
    /// Notes that the room has, or had, an entry with this id.
    pub fn raise(&self, room: &RoomName, seen: EntryId) {
        let seen = seen.to_bits();
        let floor = self.floor(room);
        // It is rarely higher, and reading costs less than writing to memory that other threads read.
        if floor.load(Ordering::Relaxed) < seen {
            floor.fetch_max(seen, Ordering::Relaxed);
        }
    }

    /// The highest id that this room may have shown.
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
