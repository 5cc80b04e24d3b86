//! Copies new entries of rooms to the archive, and lets Redis remove old ones.

use super::hot::Hot;
use crate::{
    message::{MessageId, RoomName},
    store::{
        archived::{Portion, Position},
        error::StoreError,
        postgres::archive::PostgresArchive,
        redis::{
            hot::{Head, Unarchived},
            log::RedisLog,
        },
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Rooms copied at a time, and entries of each: what is held in memory.
pub(super) const ROOMS: usize = 16;
const ENTRIES: usize = 256;

/// Bytes of text in one transaction.
const BYTES: usize = 1 << 20;

/// The archiver's figures, for `/metrics`.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages and changes that this node has archived.
    pub archived: AtomicU64,
    /// How often archiving failed.
    pub failed: AtomicU64,
    /// Rooms of which Redis had lost something.
    pub rooms_lost: AtomicU64,
    /// Messages that this node had confirmed, and that are lost.
    pub messages_lost: AtomicU64,
    /// Entries of each room that stay in Redis at present; 0 on nodes that do not archive.
    pub hot: AtomicU64,
    /// For how many milliseconds there may have been messages that are not archived; 0 on nodes that do not archive.
    pub lag: AtomicU64,
}

pub(super) struct Copier {
    pub redis: Arc<RedisLog>,
    pub archive: Arc<PostgresArchive>,
    /// Entries of a room that stay in Redis.
    pub hot: Hot,
    /// Messages of a room that the archive keeps; 0: all.
    pub most: u64,
    pub figures: Arc<Figures>,
}

impl Copier {
    /// Copies some of what these rooms have to be copied. Returns those that have more.
    pub fn copy(&self, heads: Vec<Head>) -> Result<Vec<Head>, StoreError> {
        let mut more = Vec::new();
        let mut waiting: Vec<(Head, Unarchived)> = Vec::new();
        let mut bytes = 0;
        for (head, unarchived) in self.read(heads)? {
            bytes += unarchived.texts;
            waiting.push((head, unarchived));
            if bytes >= BYTES {
                bytes = 0;
                more.extend(self.take_in(std::mem::take(&mut waiting))?);
            }
        }
        more.extend(self.take_in(waiting)?);
        Ok(more)
    }

    /// Copies everything that a room has by now.
    pub fn copy_all(&self, room: &RoomName) -> Result<(), StoreError> {
        let mut heads = self.redis.heads(std::slice::from_ref(room))?;
        while !heads.is_empty() {
            heads = self.copy(heads)?;
        }
        Ok(())
    }

    /// Reads what is to be copied from these rooms.
    fn read(&self, heads: Vec<Head>) -> Result<Vec<(Head, Unarchived)>, StoreError> {
        let rooms: Vec<RoomName> = heads.iter().map(|head| head.room.clone()).collect();
        let mut rooms: Vec<(Head, Position)> = heads.into_iter().zip(self.archive.positions(&rooms)?).collect();
        for (head, position) in &mut rooms {
            if *position == Position::default() {
                continue;
            }
            // An earlier deletion of the room did not get as far as the archive.
            if head.forgotten > position.gone {
                self.archive.forget(&head.room, Some(head.forgotten))?;
                *position = self.archive.positions(std::slice::from_ref(&head.room))?.remove(0);
            }
            // Redis is behind: it has lost something, or an earlier copy did not get as far as Redis.
            if head.archived < position.upto {
                self.resume(&[(head.room.clone(), position.upto)])?;
            }
        }
        let unarchived = self.redis.unarchived(&rooms, ENTRIES)?;
        Ok(rooms.into_iter().map(|(head, _)| head).zip(unarchived).collect())
    }

    /// Adds what was read to the archive, and lets Redis remove what it need not keep any more.
    fn take_in(&self, read: Vec<(Head, Unarchived)>) -> Result<Vec<Head>, StoreError> {
        let (mut heads, mut portions) = (Vec::new(), Vec::new());
        let mut done: Vec<(Head, MessageId, bool, u64)> = Vec::new();
        for (head, Unarchived { portion, more, .. }) in read {
            let kept = portion.from.kept + portion.messages.len() as u64;
            if is_empty(&portion) {
                done.push((head, portion.upto, more, kept));
                continue;
            }
            let entries = (portion.messages.len() + portion.changes.len()) as u64;
            heads.push((head.clone(), portion.upto, more, kept, entries));
            portions.push((head.room, portion));
        }
        let taken = self.archive_all(portions)?;
        let mut again = Vec::new();
        for ((head, upto, more, kept, entries), taken) in heads.into_iter().zip(taken) {
            if taken {
                self.figures.archived.fetch_add(entries, Ordering::Relaxed);
                done.push((head, upto, more, kept));
            } else {
                // Another node has copied or erased in the meantime.
                again.push(head);
            }
        }
        for (head, upto, more, kept) in done {
            self.redis.archived(&head.room, upto, self.hot.entries())?;
            if self.most > 0 && kept > self.most + self.most / 10 {
                self.archive.forget_beyond(&head.room, self.most)?;
            }
            if more {
                again.push(Head { archived: upto, ..head });
            }
        }
        if again.is_empty() {
            return Ok(again);
        }
        let rooms: Vec<RoomName> = again.into_iter().map(|head| head.room).collect();
        self.redis.heads(&rooms)
    }

    /// In one transaction. If that fails, in one per room, so that none suffers from another.
    fn archive_all(&self, mut portions: Vec<(RoomName, Portion)>) -> Result<Vec<bool>, StoreError> {
        match portions.len() {
            0 => Ok(Vec::new()),
            1 => self.archive.take_in(portions),
            _ => {
                let shares: Vec<_> = portions.iter().map(|(room, portion)| (room.clone(), portion.clone())).collect();
                match self.archive.take_in(shares) {
                    Ok(taken) => Ok(taken),
                    Err(_) => portions.drain(..).map(|one| Ok(self.archive.take_in(vec![one])?[0])).collect(),
                }
            }
        }
    }

    /// Resumes rooms after their archived part, if Redis has lost some of it. Returns those.
    pub fn resume(&self, rooms: &[(RoomName, MessageId)]) -> Result<Vec<RoomName>, StoreError> {
        let lost = self.redis.resume(rooms)?;
        let lost: Vec<RoomName> =
            rooms.iter().zip(lost).filter(|(_, lost)| *lost).map(|((room, _), _)| room.clone()).collect();
        self.figures.rooms_lost.fetch_add(lost.len() as u64, Ordering::Relaxed);
        Ok(lost)
    }
}

fn is_empty(portion: &Portion) -> bool {
    portion.upto == portion.from.upto
        && portion.gap == portion.from.gap
        && portion.messages.is_empty()
        && portion.changes.is_empty()
}
