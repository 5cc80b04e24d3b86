//! What an embedded installation has stored, for who moves it elsewhere: read, never changed.
//!
//! The caller holds the data directory's lock, so nobody else writes meanwhile.

use super::{
    database,
    error::{StoreOpenError, failed},
    ledger,
    log::{
        self,
        batch::{self, Before},
        ids, row,
        tail::{Found, Tail},
    },
};
use crate::{
    likeness::same_email,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        journal,
        ledger::SignedPart,
        moving::{Kept, Mark},
    },
};
use rusqlite::{Connection, OptionalExtension};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A `log.db`, with what is in the journal beside it and not in its tables: a server that was killed leaves that.
pub struct SavedLog {
    tables: Connection,
    tail: Tail,
}

impl SavedLog {
    pub fn open(path: &Path) -> Result<SavedLog, StoreOpenError> {
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        let tables = database::look_into(path, log::VERSION)?;
        let applied = log::apply::applied(&tables).map_err(unusable)?;
        let tail = Tail::new(0, applied);
        let mut records = journal::read(&log::journal_beside(path))?.records;
        records.retain(|record| record.key > applied);
        batch::replay(records, &Before { tail: &tail, tables: &tables }).map_err(unusable)?;
        Ok(SavedLog { tables, tail })
    }

    /// Every room that has messages, by name.
    pub fn rooms(&self) -> Result<Vec<RoomName>, StoreError> {
        let read = || -> rusqlite::Result<BTreeSet<RoomName>> {
            self.tables
                .prepare(
                    "SELECT name FROM rooms WHERE name IS NOT NULL
                     AND EXISTS (SELECT 1 FROM by_room WHERE room = rooms.id)",
                )?
                .query_map((), |row| Ok(RoomName::from_store(row.get_ref(0)?.as_str()?)))?
                .collect()
        };
        let mut rooms = read().map_err(failed(log::STORE, "list its rooms"))?;
        for room in self.tail.rooms() {
            if room.has_messages {
                rooms.insert(room.name);
            } else if room.is_forgotten {
                rooms.remove(&room.name);
            }
        }
        Ok(rooms.into_iter().collect())
    }

    /// Up to `limit` messages after `after` (`None`: from the first on), oldest first.
    pub fn page(&self, room: &RoomName, after: Option<MessageId>, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let after = after.map_or(i64::MIN, ids::key);
        let (newest, seen) = self.tail.kept(room, after, limit);
        let read = || -> rusqlite::Result<Vec<Kept>> {
            let mut older = self.tables.prepare_cached(concat!(
                "SELECT ",
                row::columns!(),
                ", ref FROM by_room CROSS JOIN messages USING (key)
                 WHERE by_room.room = (SELECT id FROM rooms WHERE name = ?1) AND key > ?2 ORDER BY key",
            ))?;
            let kept = older.query_and_then((room.as_str(), after), |found| -> rusqlite::Result<_> {
                let reference = found.get_ref(9)?.as_str_or_null()?.map(Into::into);
                let message = row::shown(&self.tables, found, &seen.overlay)?;
                Ok(message.map(|message| Kept { message, reference }))
            })?;
            kept.filter_map(Result::transpose).take(limit).collect()
        };
        let mut page =
            if seen.is_all { Vec::new() } else { read().map_err(failed(log::STORE, "read a room's messages"))? };
        page.extend(newest);
        page.truncate(limit);
        Ok(page)
    }

    /// Whether a message is in a room, or was deleted not long ago.
    pub fn holds(&self, room: &RoomName, id: MessageId) -> Result<bool, StoreError> {
        match self.tail.holds(room, id) {
            Found::Here(()) => return Ok(true),
            Found::Nowhere => return Ok(false),
            Found::Unknown => {}
        }
        let read = || -> rusqlite::Result<bool> {
            let tail: Option<i64> = self
                .tables
                .prepare_cached(
                    "SELECT tail FROM messages WHERE key = ?1 AND room = (SELECT id FROM rooms WHERE name = ?2)",
                )?
                .query_row((ids::key(id), room.as_str()), |row| row.get(0))
                .optional()?;
            Ok(tail.is_some_and(|tail| ids::join(ids::key(id), tail) == id))
        };
        read().map_err(failed(log::STORE, "look for a message"))
    }
}

/// About how many messages an account has said where accounts speak: what is in the journal alone is left out.
pub fn said_by(log: &Path, email: &str) -> Result<u64, SavedError> {
    let tables = database::look_into(log, log::VERSION)?;
    let read = || -> rusqlite::Result<u64> {
        let mut senders = tables.prepare(
            "SELECT sender, rooms.name, count(*) FROM messages JOIN rooms ON rooms.id = room
             WHERE deleted IS NULL AND rooms.name IS NOT NULL GROUP BY 1, 2",
        )?;
        let mut rows = senders.query(())?;
        let mut all = 0;
        while let Some(row) = rows.next()? {
            let room = RoomName::from_store(row.get_ref(1)?.as_str()?);
            let is_theirs = same_email(row.get_ref(0)?.as_str()?, email);
            if is_theirs && (room.is_of_accounts() || room.is_removed()) {
                all += row.get::<_, i64>(2)?.unsigned_abs();
            }
        }
        Ok(all)
    };
    Ok(read().map_err(failed(log::STORE, "count what somebody has said"))?)
}

/// The marks of tokens in a `ledger.db` that may still be valid at `now`.
pub fn saved_marks(path: &Path, now: SystemTime) -> Result<Vec<Mark>, SavedError> {
    let connection = database::look_into(path, ledger::VERSION)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let read = || -> rusqlite::Result<Vec<Mark>> {
        connection
            .prepare("SELECT token, until FROM spent WHERE until >= ?1 ORDER BY until")?
            .query_map([now.cast_signed()], |row| {
                let until = Duration::from_secs(row.get::<_, i64>(1)?.unsigned_abs());
                Ok(Mark { token: SignedPart(row.get(0)?), until: UNIX_EPOCH + until })
            })?
            .collect()
    };
    Ok(read().map_err(failed(ledger::STORE, "list its marks"))?)
}

#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    #[error(transparent)]
    Open(#[from] StoreOpenError),
    #[error(transparent)]
    Read(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        ledger::Ledger,
        log::MessageLog,
        sqlite::{
            database::Durability,
            ledger::SqliteLedger,
            log::{LogOptions, SqliteLog},
        },
        suite::{draft, fresh_room, say},
    };

    fn texts(page: &[Kept]) -> Vec<&str> {
        page.iter().map(|kept| &*kept.message.text).collect()
    }

    #[test]
    fn every_room_is_read_page_by_page_with_ids_and_references() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.db");
        let (room, empty, forgotten) = (fresh_room(), fresh_room(), fresh_room());
        let ids = {
            let log = SqliteLog::open(&path, LogOptions::keeping(None)).unwrap();
            let marked = crate::message::Draft { reference: Some("r".into()), ..draft(&room, "c") };
            let mut ids = say(&log, &room, &["a", "b"]);
            log.append(&[marked.into()]).unwrap();
            ids.push(log.history(&room, None, 1).unwrap()[0].id);
            say(&log, &forgotten, &["gone"]);
            log.forget(&forgotten).unwrap();
            ids
        };
        let saved = SavedLog::open(&path).unwrap();
        assert_eq!(saved.rooms().unwrap(), std::slice::from_ref(&room));
        let first = saved.page(&room, None, 2).unwrap();
        assert_eq!((texts(&first), first[1].message.id), (vec!["a", "b"], ids[1]));
        let second = saved.page(&room, Some(ids[1]), 2).unwrap();
        assert_eq!((texts(&second), second[0].reference.as_deref()), (vec!["c"], Some("r")));
        assert!(saved.page(&empty, None, 2).unwrap().is_empty());
        assert!(saved.holds(&room, ids[0]).unwrap() && !saved.holds(&empty, ids[0]).unwrap());
    }

    #[test]
    fn what_a_killed_server_had_only_journalled_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.db");
        let (room, new, forgotten) = (fresh_room(), fresh_room(), fresh_room());
        let log = SqliteLog::open(&path, LogOptions::keeping(None)).unwrap();
        say(&log, &room, &["x"; 3000]);
        say(&log, &forgotten, &["gone"]);
        log.settle().unwrap();
        let held = Connection::open(&path).unwrap();
        held.execute_batch("BEGIN IMMEDIATE").unwrap();
        let ids = say(&log, &room, &["y", "z"]);
        say(&log, &new, &["n"]);
        log.forget(&forgotten).unwrap();
        // No server holds it any more, as far as this can see: nothing of its journal has been taken over.
        let saved = SavedLog::open(&path).unwrap();
        let mut rooms = [room.clone(), new.clone()];
        rooms.sort();
        assert_eq!(saved.rooms().unwrap(), rooms);
        let page = saved.page(&room, None, 5000).unwrap();
        assert_eq!((page.len(), texts(&page[2999..])), (3002, vec!["x", "y", "z"]));
        assert_eq!(texts(&saved.page(&room, Some(ids[0]), 5).unwrap()), ["z"]);
        assert!(saved.page(&forgotten, None, 5).unwrap().is_empty());
        assert!(saved.holds(&room, ids[1]).unwrap() && !saved.holds(&new, ids[1]).unwrap());
        held.execute_batch("ROLLBACK").unwrap();
    }

    #[test]
    fn only_marks_of_tokens_that_may_still_be_valid_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        let now = SystemTime::now();
        let ledger = SqliteLedger::open(&path, Durability::Process).unwrap();
        ledger.spend(&SignedPart([1; 32]), now - Duration::from_secs(5)).unwrap();
        ledger.spend(&SignedPart([2; 32]), now + Duration::from_secs(60)).unwrap();
        drop(ledger);
        let marks = saved_marks(&path, now).unwrap();
        let [mark] = &marks[..] else { panic!("{} marks", marks.len()) };
        assert_eq!(mark.token.0, [2; 32]);
        assert!(mark.until >= now + Duration::from_secs(60));
    }

    #[test]
    fn a_file_of_an_older_program_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.db");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(SavedLog::open(&path), Err(StoreOpenError::TooOld { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
