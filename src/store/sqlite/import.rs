//! Imports old messages into the log from a program that kept them elsewhere.
//!
//! The caller holds the data directory's lock, so no other process writes, and no server caches ids or rooms.

use super::{
    database::{self, DiskSync, Tuning},
    error::{StoreOpenError, failed},
    log::{self, ids},
    search,
};
use crate::{
    message::RoomName,
    store::{error::StoreError, moving::Kept},
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::{
    error::Error,
    path::{Path, PathBuf},
};

/// A `log.db` to which messages are added at their places among the existing ones.
pub struct OldMessages {
    tables: Connection,
    /// The search index, as long as it may be there.
    index: Option<PathBuf>,
}

impl OldMessages {
    /// Opens the file. Makes it, or brings it up to date, if necessary.
    pub fn open(path: &Path) -> Result<OldMessages, StoreOpenError> {
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        log::prepare(path)?;
        let tuning = Tuning {
            sync: DiskSync::Checkpoint,
            autocheckpoint: 1000,
            cache_kib: 8 * 1024,
            query_only: false,
            busy: database::BUSY,
        };
        // A killed server leaves entries there, which come before those that are added below.
        log::copy::take_over(path)?;
        let connection = database::connect(path, &tuning).map_err(unusable)?;
        Ok(OldMessages { tables: connection, index: Some(path.with_file_name("search.db")) })
    }

    /// Adds messages to a room, all or none. Returns how many are new.
    pub fn take(&mut self, room: &RoomName, page: &[Kept]) -> Result<usize, StoreError> {
        let mut take = || -> Result<usize, Box<dyn Error + Send + Sync>> {
            let tx = self.tables.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (name, room) = (room, room_id(&tx, room)?);
            let mut taken = 0;
            for Kept { message, .. } in page {
                let tail = ids::tail(message.id);
                let Some(key) = free_key(&tx, room, ids::key(message.id), tail)? else { continue };
                tx.prepare_cached(
                    "INSERT INTO messages (key, room, tail, sender, text, extra) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((
                    key,
                    room,
                    tail,
                    &*message.sender,
                    &*message.text,
                    message.extra.as_deref(),
                ))?;
                tx.prepare_cached("INSERT OR IGNORE INTO by_room (room, key) VALUES (?1, ?2)")?.execute((room, key))?;
                log::authors::note(&tx, (room, name), &message.sender)?;
                tx.prepare_cached("UPDATE applied SET key = max(key, ?1)")?.execute([key])?;
                taken += 1;
            }
            // The index never looks at what is older than what it has, so it must be made anew. It goes before the commit:
            // a process that ends in between would leave nothing for the next one to take, and so no reason to do this.
            if taken > 0
                && let Some(index) = self.index.take()
            {
                search::remove(&index)?;
            }
            tx.commit()?;
            Ok(taken)
        };
        take().map_err(failed(log::STORE, "take over messages"))
    }
}

pub(super) fn room_id(tx: &Transaction<'_>, room: &RoomName) -> rusqlite::Result<i64> {
    let found = tx.query_row("SELECT id FROM rooms WHERE name = ?1", [room.as_str()], |row| row.get(0)).optional()?;
    found.map_or_else(
        || {
            tx.execute("INSERT INTO rooms (name) VALUES (?1)", [room.as_str()])?;
            Ok(tx.last_insert_rowid())
        },
        Ok,
    )
}

/// The first key from `key` on that no other message has; `None` if this message is there already. All rooms share one
/// sequence of keys, so another room's message may have an old message's key.
fn free_key(tx: &Transaction<'_>, room: i64, key: i64, tail: i64) -> rusqlite::Result<Option<i64>> {
    let mut look_up = tx.prepare_cached("SELECT room = ?2 AND tail = ?3 FROM messages WHERE key = ?1")?;
    let mut key = key;
    loop {
        match look_up.query_row((key, room, tail), |row| row.get::<_, bool>(0)).optional()? {
            None => return Ok(Some(key)),
            Some(true) => return Ok(None),
            Some(false) => key += 1,
        }
    }
}
