//! How far webhooks are, in a file of its own: telling that an event was sent waits for no batch of messages, and none for it.

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
use rusqlite::{Connection, OptionalExtension};
use rusqlite_migration::{M, Migrations};
use std::{path::Path, sync::Arc};
use uuid::Uuid;

const STORE: &str = "store of webhooks";

const STEPS: &[M<'static>] = &[M::up(include_str!("schema/outbox-1.sql"))];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// How far the webhooks of a single node are.
pub struct SqliteOutbox {
    log: Arc<SqliteLog>,
    file: Mutex<Connection>,
}

impl SqliteOutbox {
    /// Opens the file, made if need be: then what the log holds by now is never told.
    pub fn open(path: &Path, log: Arc<SqliteLog>) -> Result<SqliteOutbox, StoreOpenError> {
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        database::prepare(path, &MIGRATIONS, STEPS.len() as u32)?;
        // After a power failure something may be told twice.
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

    /// Up to where a room was told.
    fn position(&self, room: &RoomName) -> Result<MessageId, StoreError> {
        self.file("say how far it is", |file| {
            let told = file
                .prepare_cached("SELECT entry FROM told WHERE room = ?1")?
                .query_row([room.as_str()], |row| row.get(0))
                .optional()?;
            floor(file).map(|floor| floor.max(told.map_or(MessageId::BEFORE_ALL, read)))
        })
    }
}

impl Outbox for SqliteOutbox {
    fn lead(&self) -> Result<bool, StoreError> {
        // Who has the data directory is alone.
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
                // The rest of its id is not known here.
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
