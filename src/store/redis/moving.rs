//! Batches for rooms whose slot a cluster is moving from one server to another. Meanwhile their keys are split between
//! the two, and both only answer `TRYAGAIN`. The batches wait in order. A caller that asks for a batch's outcome tries
//! it again, so that no other room waits.

use crate::{
    entry::NewEntry,
    message::RoomName,
    store::log::{FoundOut, MAX_HELD},
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicUsize, Ordering},
};

#[derive(Default)]
pub(super) struct Moving {
    /// How many entries wait; read before each batch.
    waiting: AtomicUsize,
    rooms: Mutex<HashMap<RoomName, VecDeque<Held>>>,
}

/// One room's share of a batch.
struct Held {
    mark: u64,
    entries: Vec<NewEntry>,
}

/// What to do with a batch.
pub(super) enum Turn {
    /// The batch does not wait here.
    Other,
    /// An earlier batch of its room comes first.
    Later,
    Now(RoomName, Vec<NewEntry>),
}

impl Moving {
    /// Whether a new message in this room has to wait behind earlier ones.
    pub fn is_waiting(&self, room: &RoomName) -> bool {
        self.waiting.load(Ordering::Acquire) > 0 && self.rooms.lock().contains_key(room)
    }

    /// Keeps a batch for later. Returns `false` if too much waits already.
    pub fn hold(&self, room: &RoomName, mark: u64, entries: &[&NewEntry]) -> bool {
        let mut rooms = self.rooms.lock();
        if self.waiting.load(Ordering::Acquire) + entries.len() > MAX_HELD {
            return false;
        }
        self.waiting.fetch_add(entries.len(), Ordering::AcqRel);
        let entries = entries.iter().map(|entry| (*entry).clone()).collect();
        rooms.entry(room.clone()).or_default().push_back(Held { mark, entries });
        true
    }

    pub fn turn(&self, mark: u64) -> Turn {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return Turn::Other;
        }
        let rooms = self.rooms.lock();
        let found = rooms.iter().find_map(|(room, held)| {
            let place = held.iter().position(|held| held.mark == mark)?;
            Some(if place == 0 { Turn::Now(room.clone(), held[0].entries.clone()) } else { Turn::Later })
        });
        found.unwrap_or(Turn::Other)
    }

    /// Stops waiting for this batch. Returns [`FoundOut::Nothing`] if it was waiting, since then nothing of it is
    /// stored.
    pub fn give_up(&self, mark: u64) -> FoundOut {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return FoundOut::Lost;
        }
        let mut rooms = self.rooms.lock();
        let mut given_up = FoundOut::Lost;
        rooms.retain(|_, held| {
            held.retain(|held| {
                let is_meant = held.mark == mark;
                if is_meant {
                    self.waiting.fetch_sub(held.entries.len(), Ordering::AcqRel);
                    given_up = FoundOut::Nothing;
                }
                !is_meant
            });
            !held.is_empty()
        });
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Draft;

    #[test]
    fn batches_of_a_room_take_turns_in_their_order_and_are_bounded() {
        let (moving, room) = (Moving::default(), RoomName::channel("r"));
        let entry = NewEntry::from(Draft::new(room.clone(), "s".into(), "text".to_owned()));
        assert!(!moving.is_waiting(&room));
        assert!(moving.hold(&room, 1, &[&entry, &entry]) && moving.hold(&room, 2, &[&entry]));
        assert!(moving.is_waiting(&room) && !moving.is_waiting(&RoomName::channel("other")));
        assert!(matches!(moving.turn(1), Turn::Now(_, entries) if entries.len() == 2));
        assert!(matches!((moving.turn(2), moving.turn(3)), (Turn::Later, Turn::Other)));
        assert!(!moving.hold(&room, 4, &vec![&entry; MAX_HELD - 2]), "it is too much");
        assert_eq!(moving.give_up(1), FoundOut::Nothing);
        assert_eq!(moving.give_up(1), FoundOut::Lost);
        assert!(matches!(moving.turn(2), Turn::Now(..)));
        assert_eq!(moving.give_up(2), FoundOut::Nothing);
        assert!(!moving.is_waiting(&room));
        assert!(moving.hold(&room, 5, &vec![&entry; MAX_HELD]));
    }
}
