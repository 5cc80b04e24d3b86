//! Reads what an embedded installation has stored, for a move to another store. It changes nothing.
//!
//! The caller holds the data directory's lock, so no other process writes meanwhile.

use super::{
    database,
    error::{StoreOpenError, failed},
    ledger,
    log::{
        self,
        batch::{self, Before},
        change, ids,
        page::Page,
        row,
        tail::{Found, Tail},
    },
    outbox,
};
use crate::{
    entry::{Change, ChangeKind},
    likeness::same_email,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        journal::{self, What},
        ledger::SignedPart,
        moving::{Kept, KeptChange, Mark, Moved, OwnMark, Trimmed},
    },
};
use rusqlite::{Connection, OptionalExtension, Row};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

/// Entries read in one go where mostly the first is enough.
const FEW: usize = 64;

/// A `log.db`, and the records that its journal has and its tables lack: a killed server leaves some.
pub struct SavedLog {
    tables: Connection,
    tail: Tail,
    /// Whether the journal has rooms that were set aside: only the tables can show what is in those.
    sets_aside: bool,
}

impl SavedLog {
    pub fn open(path: &Path) -> Result<SavedLog, StoreOpenError> {
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        let tables = database::look_into(path, log::VERSION)?;
        let applied = log::apply::applied_to(&tables).map_err(unusable)?;
        let tail = Tail::new(0, applied);
        let mut records = journal::read(&log::journal_beside(path))?.records;
        records.retain(|record| record.key > applied);
        let sets_aside = records.iter().any(|record| matches!(record.what, What::SetAside(_)));
        batch::replay(records, &Before { tail: &tail, tables: &tables }).map_err(unusable)?;
        Ok(SavedLog { tables, tail, sets_aside })
    }

    /// Whether all of it can be read. If not, starting a server once makes it readable.
    pub fn is_whole(&self) -> bool {
        !self.sets_aside
    }

    /// Every room that has entries, by name.
    pub fn rooms(&self) -> Result<Vec<RoomName>, StoreError> {
        let mut rooms: BTreeSet<RoomName> = self.read("list its rooms", |tables| {
            tables
                .prepare(
                    "SELECT name FROM rooms WHERE name IS NOT NULL
                     AND (EXISTS (SELECT 1 FROM by_room WHERE room = rooms.id)
                          OR EXISTS (SELECT 1 FROM changes WHERE room = rooms.id))",
                )?
                .query_map((), |row| Ok(RoomName::from_store(row.get_ref(0)?.as_str()?)))?
                .collect()
        })?;
        for room in self.tail.rooms() {
            if room.last.is_some() {
                rooms.insert(room.name);
            } else if room.is_forgotten {
                rooms.remove(&room.name);
            }
        }
        Ok(rooms.into_iter().collect())
    }

    /// About how many entries there are.
    pub fn count(&self) -> Result<u64, StoreError> {
        let count = |table: &str| {
            self.read("count its entries", |tables| {
                tables.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get::<_, i64>(0))
            })
        };
        Ok((count("by_room")? + count("changes")?).unsigned_abs() + self.tail.count() as u64)
    }

    /// Up to `limit` entries after `after` (`None`: from the first on), oldest first; fewer if they are long.
    pub fn page(&self, room: &RoomName, after: Option<MessageId>, limit: usize) -> Result<Vec<Moved>, StoreError> {
        let after = after.unwrap_or(MessageId::BEFORE_ALL);
        let key = ids::key(after);
        let (seen, _) = self.tail.after(room, after, limit);
        let (mut messages, mut changes) = (Page::new(limit), Page::new(limit));
        if !seen.is_all
            && let Some(number) = self.number(room)?
        {
            self.read("read a room's entries", |tables| {
                let mut older = tables.prepare_cached(concat!(
                    "SELECT ",
                    row::columns!(),
                    ", ref FROM by_room CROSS JOIN messages USING (key)
                     WHERE by_room.room = ?1 AND key > ?2 ORDER BY key",
                ))?;
                messages.fill(older.query_map((number, key), |found| {
                    let reference = found.get_ref(9)?.as_str_or_null()?.map(Into::into);
                    let message = row::shown(tables, found, &seen.overlay)?;
                    Ok(message.map(|message| Kept { message, reference }))
                })?)?;
                change::read(tables, number, (key, i64::MAX), &seen.overlay, &mut changes)
            })?;
        }
        messages.add(self.tail.kept(room, key, limit).into_iter());
        changes.add(seen.changes.into_iter());
        let with_mark = |change: Change| {
            let mark = if change.kind == ChangeKind::Deleted { self.mark(room, change.of)? } else { None };
            Ok(KeptChange { change, mark })
        };
        let changes = changes.entries.into_iter().map(with_mark).collect::<Result<_, StoreError>>()?;
        Ok(Moved::in_order(messages.entries, changes, limit))
    }

    /// Whether a room has any readable message.
    pub fn has_messages(&self, room: &RoomName) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let page = self.page(room, after, FEW)?;
            if page.iter().any(|entry| matches!(entry, Moved::Message(_))) {
                return Ok(true);
            }
            match page.last() {
                Some(last) => after = Some(last.id()),
                None => return Ok(false),
            }
        }
    }

    /// Which parts of a room are not kept any more.
    pub fn trimmed(&self, room: &RoomName) -> Result<Trimmed, StoreError> {
        if self.is_forgotten(room) {
            return Ok(Trimmed::default());
        }
        self.read("say what it keeps", |tables| {
            let trimmed = tables
                .prepare_cached("SELECT trimmed, changes_trimmed FROM rooms WHERE name = ?1")?
                .query_row([room.as_str()], |row| {
                    let message = row.get::<_, Option<[u8; 16]>>(0)?.map(|id| MessageId(Uuid::from_bytes(id)));
                    Ok(Trimmed { message, change: row.get::<_, Option<i64>>(1)?.map(|key| ids::join(key, 0)) })
                })
                .optional()?;
            Ok(trimmed.unwrap_or_default())
        })
    }

    /// Whether a room has an entry. A deleted message counts as long as its row is kept.
    pub fn holds(&self, room: &RoomName, id: MessageId) -> Result<bool, StoreError> {
        match self.tail.holds(room, id) {
            Found::Here(()) => return Ok(true),
            Found::Nowhere => return Ok(false),
            Found::Unknown => {}
        }
        let Some(number) = self.number(room)? else { return Ok(false) };
        self.read("look for an entry", |tables| {
            let tail: Option<i64> = tables
                .prepare_cached("SELECT tail FROM messages WHERE key = ?1 AND room = ?2")?
                .query_row((ids::key(id), number), |row| row.get(0))
                .optional()?;
            match tail {
                Some(tail) => Ok(ids::join(ids::key(id), tail) == id),
                None => change::is_kept(tables, number, id),
            }
        })
    }

    /// The sender and reference of a message, deleted or not.
    fn mark(&self, room: &RoomName, id: MessageId) -> Result<Option<OwnMark>, StoreError> {
        match self.tail.mark(room, id) {
            Found::Here(mark) => return Ok(mark),
            Found::Nowhere => return Ok(None),
            Found::Unknown => {}
        }
        self.read("look for an entry", |tables| {
            tables
                .prepare_cached("SELECT sender, ref FROM messages WHERE key = ?1 AND tail = ?2 AND ref IS NOT NULL")?
                .query_row((ids::key(id), ids::tail(id)), |row| {
                    Ok((row.get_ref(0)?.as_str()?.into(), row.get_ref(1)?.as_str()?.into()))
                })
                .optional()
        })
    }

    fn is_forgotten(&self, room: &RoomName) -> bool {
        self.tail.after(room, MessageId::BEFORE_ALL, 0).0.is_all
    }

    /// The number of a room in the tables.
    fn number(&self, room: &RoomName) -> Result<Option<i64>, StoreError> {
        self.read("look for a room", |tables| log::read::known_room(tables, room))
    }

    fn read<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.tables).map_err(failed(log::STORE, what))
    }
}

/// About how many messages an account has sent in rooms where accounts speak, without those that are only in the
/// journal. `None`: not all authors are noted yet.
pub fn said_by(log: &Path, email: &str) -> Result<Option<u64>, SavedError> {
    let tables = database::look_into(log, log::VERSION)?;
    let read = || -> rusqlite::Result<Option<u64>> {
        let Some(rooms) = log::authors::rooms_of(&tables, email)? else { return Ok(None) };
        let mut senders = tables.prepare(
            "SELECT sender, count(*) FROM by_room CROSS JOIN messages USING (key) WHERE by_room.room = ?1 GROUP BY 1",
        )?;
        let mut all = 0;
        for (room, _) in rooms {
            let mut rows = senders.query([room])?;
            while let Some(row) = rows.next()? {
                if same_email(row.get_ref(0)?.as_str()?, email) {
                    all += row.get::<_, i64>(1)?.unsigned_abs();
                }
            }
        }
        Ok(Some(all))
    };
    Ok(read().map_err(failed(log::STORE, "count what somebody has said"))?)
}

/// Up to where each room's entries were sent to webhooks, from a `webhooks.db`.
pub struct SavedPositions {
    floor: MessageId,
    of_room: HashMap<RoomName, MessageId>,
}

impl SavedPositions {
    pub fn read(path: &Path) -> Result<SavedPositions, SavedError> {
        let file = database::look_into(path, outbox::VERSION)?;
        let id = |row: &Row<'_>, place| row.get(place).map(|id| MessageId(Uuid::from_bytes(id)));
        let read = || -> rusqlite::Result<SavedPositions> {
            let floor = file.query_row("SELECT entry FROM floor", (), |row| id(row, 0)).optional()?;
            let of_room = file
                .prepare("SELECT room, entry FROM told")?
                .query_map((), |row| Ok((RoomName::from_store(row.get_ref(0)?.as_str()?), id(row, 1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(SavedPositions { floor: floor.unwrap_or(MessageId::BEFORE_ALL), of_room })
        };
        Ok(read().map_err(failed(outbox::STORE, "say how far it is"))?)
    }

    pub fn of(&self, room: &RoomName) -> MessageId {
        self.of_room.get(room).copied().unwrap_or(self.floor).max(self.floor)
    }
}

/// The marks in a `ledger.db` of tokens that may still be valid at `now`.
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

    fn message(entry: &Moved) -> &Kept {
        let Moved::Message(kept) = entry else { panic!("a change") };
        kept
    }

    fn texts(page: &[Moved]) -> Vec<&str> {
        page.iter().map(|entry| &*message(entry).message.text).collect()
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
        assert_eq!((texts(&first), first[1].id()), (vec!["a", "b"], ids[1]));
        let second = saved.page(&room, Some(ids[1]), 2).unwrap();
        assert_eq!((texts(&second), message(&second[0]).reference.as_deref()), (vec!["c"], Some("r")));
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
        // As far as this can see no server has it open any more, and nothing of its journal has been applied.
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
