//! Fills the archive with what an embedded installation has stored. Redis gets the newest entries of each room, and is told
//! that they are archived.
//!
//! A room's position says how far it has got, so an interrupted move goes on there.

use super::log::ArchivedLog;
use crate::{
    message::{MessageId, RoomName},
    store::{
        archived::Position,
        error::StoreError,
        moving::{Moved, Trimmed},
        redis::import,
    },
};
use std::slice;

impl ArchivedLog {
    /// How far these rooms are archived.
    pub fn archived(&self, rooms: &[RoomName]) -> Result<Vec<Position>, StoreError> {
        self.copier.archive.positions(rooms)
    }

    /// Adds entries that follow what is archived of a room. Returns `false` if the room is not as `from` says.
    pub fn take(&self, room: &RoomName, from: Position, page: &[Moved], trimmed: Trimmed) -> Result<bool, StoreError> {
        self.copier.redis.import_references(room, page)?;
        let portion = import::portion(from, page, trimmed);
        Ok(self.copier.archive.take_in(vec![(room.clone(), portion)])? == [true])
    }

    /// Prepares a room in Redis for the entries after `last`: everything up to there is only archived. Returns `false` if
    /// others have written there.
    pub fn begin_after(&self, room: &RoomName, last: MessageId, trimmed: Trimmed) -> Result<bool, StoreError> {
        if !self.copier.redis.import_after(room, last, trimmed)? {
            return Ok(false);
        }
        self.copier.redis.resume(&[(room.clone(), last)]).map(|_| true)
    }

    /// Goes on with a room that Redis has up to `last`, in case an earlier run ended before it said what is only archived.
    pub fn go_on_after(&self, room: &RoomName, last: MessageId) -> Result<(), StoreError> {
        let heads = self.copier.redis.heads(slice::from_ref(room))?;
        if heads.iter().all(|head| head.archived == MessageId::BEFORE_ALL) {
            self.copier.redis.resume(&[(room.clone(), last)])?;
        }
        Ok(())
    }

    /// Lets rooms that were moved go on after what is archived, if nothing was said there since.
    pub fn finish(&self, rooms: &[RoomName]) -> Result<(), StoreError> {
        const SOME: usize = 500;
        for rooms in rooms.chunks(SOME) {
            let heads = self.copier.redis.heads(rooms)?;
            for (head, position) in heads.into_iter().zip(self.archived(rooms)?) {
                let is_moved = position.upto > MessageId::BEFORE_ALL && !head.is_after(position.upto);
                if is_moved && head.archived < position.upto {
                    self.copier.redis.archived(&head.room, position.upto, self.copier.hot.entries())?;
                }
                if self.copier.most > 0 && position.kept > self.copier.most + self.copier.most / 10 {
                    self.copier.archive.forget_beyond(&head.room, self.copier.most)?;
                }
            }
        }
        Ok(())
    }

    /// Entries of a room that stay in Redis.
    pub fn hot(&self) -> usize {
        self.copier.hot.entries() as usize
    }
}
