//! The rooms that somebody holds: its members, and messages on their way.

use super::member::Room;
use crate::message::RoomName;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

/// Rooms by name.
///
/// Weak, because a message may outlive its author's membership: whoever joins meanwhile must find
/// the same room, or would not hear that message.
#[derive(Default)]
pub(super) struct Directory {
    rooms: HashMap<RoomName, Weak<Room>>,
    /// Entries when rooms that are gone were last swept out.
    swept: usize,
}

impl Directory {
    /// The room of this name, made if nobody holds it.
    pub fn room(&mut self, name: &RoomName, lanes: usize) -> Arc<Room> {
        if let Some(room) = self.find(name) {
            return room;
        }
        if self.rooms.len() > 2 * self.swept + 64 {
            self.rooms.retain(|_, room| room.strong_count() > 0);
            self.swept = self.rooms.len();
        }
        let room = Arc::new(Room::new(name.clone(), lanes));
        self.rooms.insert(name.clone(), Arc::downgrade(&room));
        room
    }

    pub fn find(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.rooms.get(name)?.upgrade()
    }

    pub fn all(&self) -> Vec<Arc<Room>> {
        self.rooms.values().filter_map(Weak::upgrade).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rooms.len()
    }
}
