//! The rooms that exist: those with members, and those with messages on their way.

use super::{member::Room, weak_table::WeakTable};
use crate::message::RoomName;
use std::sync::Arc;

/// Rooms by name.
///
/// References are weak. A message may outlive its author's membership, and a newcomer must find the same room, or it
/// would not hear that message.
#[derive(Default)]
pub(super) struct Directory(WeakTable<RoomName, Room>);

impl Directory {
    /// The room of this name; made if it does not exist.
    pub fn room(&mut self, name: &RoomName, lanes: usize) -> Arc<Room> {
        self.find(name).unwrap_or_else(|| {
            let room = Arc::new(Room::new(name.clone(), lanes));
            self.0.insert(name.clone(), &room);
            room
        })
    }

    pub fn find(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.0.get(name)
    }

    pub fn all(&self) -> Vec<Arc<Room>> {
        self.0.values().collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
