//! What an embedded installation has stored, for who moves it elsewhere: read, never changed.
//!
//! The caller holds the data directory's lock, so nobody else writes meanwhile.

use super::{
    database,
    error::{StoreOpenError, failed},
    ledger,
    log::{self, ids},
};
use crate::{
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        ledger::SignedPart,
        moving::{Kept, Mark},
    },
};
use rusqlite::{Connection, OptionalExtension};
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A `log.db`.
pub struct SavedLog(Connection);

impl SavedLog {
    pub fn open(path: &Path) -> Result<SavedLog, StoreOpenError> {
        Ok(SavedLog(database::look_into(path, log::VERSION)?))
    }

    /// Every room that has messages, by name.
    pub fn rooms(&self) -> Result<Vec<RoomName>, StoreError> {
        let read = || -> rusqlite::Result<Vec<RoomName>> {
            self.0
                .prepare(
                    "SELECT name FROM rooms WHERE name IS NOT NULL
                     AND (EXISTS (SELECT 1 FROM by_room WHERE room = rooms.id)
                          OR EXISTS (SELECT 1 FROM messages
                                     WHERE key > (SELECT key FROM indexed) AND room = rooms.id))
                     ORDER BY name",
                )?
                .query_map((), |row| Ok(RoomName::from_store(row.get_ref(0)?.as_str()?)))?
                .collect()
        };
        read().map_err(failed(log::STORE, "list its rooms"))
    }

    /// Up to `limit` messages after `after` (`None`: from the first on), oldest first.
    pub fn page(&self, room: &RoomName, after: Option<MessageId>, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let after = after.map_or(i64::MIN, ids::key);
        let read = || -> rusqlite::Result<Vec<Kept>> {
            self.0
                // The newest have no entry in the index if the server was killed.
                .prepare_cached(concat!(
                    "SELECT ",
                    log::columns!(),
                    ", ref FROM by_room CROSS JOIN messages USING (key)
                     WHERE by_room.room = (SELECT id FROM rooms WHERE name = ?1) AND key > ?2
                     UNION ALL
                     SELECT ",
                    log::columns!(),
                    ", ref FROM messages
                     WHERE room = (SELECT id FROM rooms WHERE name = ?1) AND deleted IS NULL
                     AND key > max(?2, (SELECT key FROM indexed))
                     ORDER BY key LIMIT ?3",
                ))?
                .query_map((room.as_str(), after, limit as i64), |row| {
                    let reference = row.get_ref(9)?.as_str_or_null()?.map(Into::into);
                    Ok(Kept { message: log::message(&self.0, row)?, reference })
                })?
                .collect()
        };
        read().map_err(failed(log::STORE, "read a room's messages"))
    }

    /// Whether a message is in a room.
    pub fn holds(&self, room: &RoomName, id: MessageId) -> Result<bool, StoreError> {
        let read = || -> rusqlite::Result<bool> {
            let tail: Option<i64> = self
                .0
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

/// The marks of tokens in a `ledger.db` that may still be valid at `now`.
pub fn saved_marks(path: &Path, now: SystemTime) -> Result<Vec<Mark>, MarksError> {
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
pub enum MarksError {
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
        sqlite::{database::Durability, ledger::SqliteLedger, log::SqliteLog},
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
            let log = SqliteLog::open(&path, None, Durability::Process).unwrap();
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
    fn what_a_killed_server_had_not_indexed_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let room = fresh_room();
        let log = SqliteLog::open(&dir.path().join("log.db"), None, Durability::Process).unwrap();
        say(&log, &room, &["x"; 3000]);
        say(&log, &room, &["y", "z"]);
        let killed = tempfile::tempdir().unwrap();
        for file in ["log.db", "log.db-wal"] {
            std::fs::copy(dir.path().join(file), killed.path().join(file)).unwrap();
        }
        let saved = SavedLog::open(&killed.path().join("log.db")).unwrap();
        assert_eq!(saved.rooms().unwrap(), std::slice::from_ref(&room));
        let page = saved.page(&room, None, 5000).unwrap();
        assert_eq!((page.len(), texts(&page[2999..])), (3002, vec!["x", "y", "z"]));
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
