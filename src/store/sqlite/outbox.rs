//! How far webhooks have got, in a separate file: a note that an event was sent waits for no batch of messages, and
//! delays none.

use super::{
    database::{self, DiskSync, Tuning},
    error::{StoreOpenError, failed},
    log::SqliteLog,
};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{error::StoreError, outbox::Outbox},
};
use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use std::{path::Path, sync::Arc};
use uuid::Uuid;

pub(super) const STORE: &str = "store of webhooks";

const STEPS: &[M<'static>] = &[M::up(include_str!("schema/outbox-1.sql"))];
pub(super) const VERSION: u32 = STEPS.len() as u32;
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// How far the webhooks of a single node have got.
pub struct SqliteOutbox {
    log: Arc<SqliteLog>,
    file: Mutex<Connection>,
}

impl SqliteOutbox {
    /// Opens the file, or makes it: then the entries that the log has by now are never sent.
    pub fn open(path: &Path, log: Arc<SqliteLog>) -> Result<SqliteOutbox, StoreOpenError> {
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        database::prepare(path, &MIGRATIONS, VERSION)?;
        // After a power failure some entries may be sent twice.
        let tuning = Tuning {
            sync: DiskSync::Checkpoint,
            autocheckpoint: 1000,
            cache_kib: 256,
            query_only: false,
            busy: database::BUSY,
        };
        let file = database::connect(path, &tuning).map_err(unusable)?;
        file.execute("INSERT OR IGNORE INTO floor VALUES (0, ?1)", [log.last_id().0.as_bytes()]).map_err(unusable)?;
        Ok(SqliteOutbox { log, file: Mutex::new(file) })
    }

    fn file<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&mut self.file.lock()).map_err(failed(STORE, what))
    }

    /// Up to where the room's entries were sent.
    fn position(&self, room: &RoomName) -> Result<MessageId, StoreError> {
        self.file("say how far it is", |file| {
            // Blobs compare as ids do.
            file.prepare_cached(
                "SELECT max(entry, ifnull((SELECT entry FROM told WHERE room = ?1), entry)) FROM floor",
            )?
            .query_row([room.as_str()], |row| row.get(0))
            .map(read)
        })
    }
}

impl Outbox for SqliteOutbox {
    fn acquire_lease(&self) -> Result<bool, StoreError> {
        // The process that has the data directory is the only one.
        Ok(true)
    }

    fn resign(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn behind(&self, limit: usize) -> Result<(Vec<RoomName>, bool), StoreError> {
        let floor = self.file("say how far it is", |file| floor(file))?;
        let (mut rooms, mut more, mut unknown) = (Vec::new(), false, None);
        self.log.rooms_after(floor, |room, last| {
            match self.position(&room) {
                // `last` lacks the rest of its id.
                Ok(position) if position >= last => return true,
                Ok(_) => {}
                Err(error) => {
                    unknown = Some(error);
                    return false;
                }
            }
            more = rooms.len() == limit;
            if !more {
                rooms.push(room);
            }
            !more
        })?;
        unknown.map_or(Ok((rooms, more)), Err)
    }

    fn next(&self, room: &RoomName, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.log.after(room, self.position(room)?, limit)
    }

    fn told(&self, room: &RoomName, upto: MessageId) -> Result<(), StoreError> {
        self.file("note what was told", |file| {
            file.prepare_cached(
                "INSERT INTO told VALUES (?1, ?2)
                 ON CONFLICT (room) DO UPDATE SET entry = excluded.entry WHERE excluded.entry > entry",
            )?
            .execute((room.as_str(), upto.0.as_bytes()))
            .map(drop)
        })
    }

    fn all_told(&self, upto: MessageId) -> Result<(), StoreError> {
        self.file("note what was told", |file| {
            let tx = file.transaction()?;
            tx.execute("UPDATE floor SET entry = ?1 WHERE entry < ?1", [upto.0.as_bytes()])?;
            tx.execute("DELETE FROM told WHERE entry <= ?1", [upto.0.as_bytes()])?;
            tx.commit()
        })
    }
}

fn floor(file: &Connection) -> rusqlite::Result<MessageId> {
    file.prepare_cached("SELECT entry FROM floor")?.query_row((), |row| row.get(0)).map(read)
}

fn read(entry: [u8; 16]) -> MessageId {
    MessageId(Uuid::from_bytes(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::Draft,
        store::{
            log::{Appended, MessageLog},
            sqlite::log::LogOptions,
        },
    };

    fn open(folder: &Path) -> SqliteOutbox {
        let log = Arc::new(SqliteLog::open(&folder.join("log.db"), LogOptions::keeping(None)).unwrap());
        SqliteOutbox::open(&folder.join("webhooks.db"), log).unwrap()
    }

    fn say(outbox: &SqliteOutbox, room: &str) -> MessageId {
        let draft = Draft::new(RoomName::channel(room), "alice".into(), "hi");
        match outbox.log.append(&[draft.into()]).unwrap()[..] {
            [Appended::Stored(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    fn behind(outbox: &SqliteOutbox) -> Vec<String> {
        let (rooms, more) = outbox.behind(10).unwrap();
        assert!(!more);
        let mut rooms: Vec<_> = rooms.iter().map(|room| room.local().to_owned()).collect();
        rooms.sort_unstable();
        rooms
    }

    fn next(outbox: &SqliteOutbox, room: &str) -> Vec<MessageId> {
        outbox.next(&RoomName::channel(room), 10).unwrap().iter().map(Entry::id).collect()
    }

    #[test]
    fn what_was_not_told_is_found_after_a_restart_and_nothing_from_before() {
        let folder = tempfile::tempdir().unwrap();
        {
            let log = SqliteLog::open(&folder.path().join("log.db"), LogOptions::keeping(None)).unwrap();
            log.append(&[Draft::new(RoomName::channel("old"), "alice".into(), "before").into()]).unwrap();
        }
        let outbox = open(folder.path());
        assert_eq!(behind(&outbox), [""; 0]);
        let said = [say(&outbox, "a"), say(&outbox, "b"), say(&outbox, "a")];
        outbox.told(&RoomName::channel("a"), said[0]).unwrap();
        outbox.told(&RoomName::channel("b"), said[1]).unwrap();
        drop(outbox);
        let outbox = open(folder.path());
        assert_eq!(behind(&outbox), ["a"]);
        assert_eq!((next(&outbox, "a"), next(&outbox, "b"), next(&outbox, "old")), (vec![said[2]], vec![], vec![]));
    }

    #[test]
    fn a_position_only_moves_forward() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(folder.path());
        let (room, said) = (RoomName::channel("a"), [say(&outbox, "a"), say(&outbox, "a"), say(&outbox, "a")]);
        outbox.told(&room, said[1]).unwrap();
        outbox.told(&room, said[0]).unwrap();
        assert_eq!(next(&outbox, "a"), [said[2]]);
        // This covers all rooms up to that id; this room is further already.
        outbox.all_told(said[0]).unwrap();
        assert_eq!(next(&outbox, "a"), [said[2]]);
        outbox.all_told(said[2]).unwrap();
        assert_eq!(behind(&outbox), [""; 0]);
        let later = say(&outbox, "new");
        assert_eq!((behind(&outbox), next(&outbox, "new")), (vec!["new".to_owned()], vec![later]));
    }

    #[test]
    fn no_more_rooms_are_named_than_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(folder.path());
        for room in ["a", "b", "c"] {
            say(&outbox, room);
        }
        let (rooms, more) = outbox.behind(2).unwrap();
        assert_eq!((rooms.len(), more), (2, true));
        assert_eq!(outbox.behind(3).unwrap().0.len(), 3);
    }
}
