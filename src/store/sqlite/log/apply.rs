//! Applies journal records to the tables.

use super::{authors::Noted, change, ids, shrunk, sizes};
use crate::{
    message::RoomName,
    store::{
        journal::{Outcome, Record, Said, What},
        sqlite::slack,
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    thread,
    time::Instant,
};

/// After so many rows the thread lets others have its core: some 30 µs, instead of the milliseconds after which the kernel
/// would take it away.
const AT_A_TIME: usize = 16;

/// Rooms whose row is remembered. If there are more, all are forgotten and looked up again.
const KNOWN_ROOMS: usize = 100_000;

/// Pages that a change touches: its own, the message's and those of two indexes.
const CHANGE_PAGES: usize = 4;

/// Which rows rooms have, and how much the rooms have grown.
pub(super) struct Rooms {
    known: HashMap<RoomName, Known>,
    authors: Noted,
    /// How much a room may grow before it is checked for trimming; `None`: never.
    slack: Option<u64>,
}

/// What is remembered about a room.
struct Known {
    id: i64,
    /// Entries since it was last checked.
    grown: u64,
}

/// What a transaction has done.
#[derive(Default)]
pub(super) struct Applied {
    /// Rooms to check for trimming.
    pub overgrown: Vec<i64>,
    /// Whether a room was forgotten.
    pub forgotten: bool,
    /// Whether a message was deleted.
    pub deleted: bool,
    /// Pages that were changed, roughly.
    pub pages: usize,
    /// Bytes that rooms have grown by, roughly; negative: shrunk.
    pub grown: Vec<(i64, i64)>,
}

impl Rooms {
    pub fn new(slack: Option<u64>) -> Rooms {
        Rooms { known: HashMap::new(), authors: Noted::default(), slack }
    }

    pub fn clear(&mut self) {
        self.known.clear();
        self.authors.clear();
    }

    /// Forgets whose messages rooms have: another room has got the number of one.
    pub fn clear_authors(&mut self) {
        self.authors.clear();
    }

    /// Applies the records that the tables lack. They are in the order of the journal. Until the time `giving_way`, threads
    /// that wait for its core get it soon.
    pub fn apply(
        &mut self,
        tx: &Transaction<'_>,
        records: &[Arc<Record>],
        giving_way: Option<Instant>,
    ) -> rusqlite::Result<Applied> {
        let Some(last) = records.last().map(|record| record.key) else { return Ok(Applied::default()) };
        let before = applied_to(tx)?;
        let ends = Ends::of(records);
        if self.known.len() >= KNOWN_ROOMS {
            self.clear();
        }
        let Rooms { known: rooms, authors, slack } = self;
        let mut applied = Applied { forgotten: ends.forget_any, ..Applied::default() };
        let mut entries = Vec::with_capacity(records.len());
        let mut deleted = HashSet::new();
        let mut bytes = 0;
        let mut insert = tx.prepare_cached(
            "INSERT OR IGNORE INTO messages (key, room, tail, sender, text, extra, ref, name, reply_to)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        let give_way_at = |row: usize| {
            if (row + 1).is_multiple_of(AT_A_TIME) && giving_way.is_some_and(|until| Instant::now() < until) {
                thread::yield_now();
            }
        };
        for (row, record) in records.iter().filter(|record| record.key > before).enumerate() {
            give_way_at(row);
            let Record { key, tail, room, what } = &**record;
            // Records that a later one forgets are skipped; but what is set aside is in another room by then.
            if !what.is_end() && ends.is_forgotten(room, *key) {
                continue;
            }
            let known = match what {
                What::Message(said) => {
                    let known = row_of(rooms, tx, room)?;
                    let Said { sender, name, text, extra, reference, reply_to } = said;
                    let (name, extra, reference) = (name.as_deref(), extra.as_deref(), reference.as_deref());
                    let reply_to = reply_to.map(|id| id.0.into_bytes());
                    let row = (key, known.id, tail, &**sender, &**text, extra, reference, name, reply_to);
                    if insert.execute(row)? == 0 {
                        continue;
                    }
                    entries.push((known.id, *key));
                    applied.pages += authors.note(tx, (known.id, room), sender)?;
                    let size = sizes::of(said);
                    applied.grown.push((known.id, size as i64));
                    bytes += size as usize;
                    known
                }
                What::Change(changed) => {
                    let known = row_of(rooms, tx, room)?;
                    applied.grown.push((known.id, change::make(tx, known.id, ids::join(*key, *tail), changed)?));
                    applied.pages += CHANGE_PAGES;
                    if changed.outcome == Outcome::Nothing {
                        applied.deleted = true;
                        deleted.insert(ids::key(changed.of));
                    }
                    known
                }
                What::Forget => {
                    rooms.remove(room);
                    shrunk::note_room(tx, room)?;
                    tx.prepare_cached("UPDATE rooms SET name = NULL WHERE name = ?1")?.execute([room.as_str()])?;
                    continue;
                }
                What::SetAside(to) => {
                    rooms.remove(room);
                    shrunk::note_room(tx, room)?;
                    tx.prepare_cached("UPDATE rooms SET name = ?2 WHERE name = ?1")?
                        .execute((room.as_str(), to.as_str()))?;
                    continue;
                }
            };
            known.grown = known.grown.saturating_add(1);
            if slack.is_some_and(|slack| known.grown >= slack) {
                known.grown = 0;
                applied.overgrown.push(known.id);
            }
        }
        if applied.deleted {
            slack::set_due(tx, true)?;
        }
        // In the order of the pages.
        entries.retain(|(_, key)| !deleted.contains(key));
        entries.sort_unstable();
        let mut enter = tx.prepare_cached("INSERT OR IGNORE INTO by_room (room, key) VALUES (?1, ?2)")?;
        for (row, entry) in entries.iter().enumerate() {
            enter.execute(*entry)?;
            give_way_at(row);
        }
        tx.prepare_cached("UPDATE applied SET key = ?1")?.execute([last.max(before)])?;
        // The index by room: a page for each room.
        applied.pages += 1 + bytes / 4096 + entries.chunk_by(|one, other| one.0 == other.0).count();
        Ok(applied)
    }
}

/// Where among the records rooms are forgotten or set aside.
struct Ends<'r> {
    /// By room, in ascending order: the key of each end, and whether everything before it is forgotten.
    of_room: HashMap<&'r RoomName, Vec<(i64, bool)>>,
    forget_any: bool,
}

impl<'r> Ends<'r> {
    fn of(records: &'r [Arc<Record>]) -> Ends<'r> {
        let mut ends = Ends { of_room: HashMap::new(), forget_any: false };
        for record in records.iter().filter(|record| record.what.is_end()) {
            let forgets = record.what == What::Forget;
            ends.forget_any |= forgets;
            ends.of_room.entry(&record.room).or_default().push((record.key, forgets));
        }
        ends
    }

    /// Whether the room's next end after this key forgets it.
    fn is_forgotten(&self, room: &RoomName, key: i64) -> bool {
        let next = self.of_room.get(room).and_then(|ends| ends.iter().find(|(end, _)| *end > key));
        next.is_some_and(|(_, forgets)| *forgets)
    }
}

/// The tables have everything up to this key.
pub(in crate::store::sqlite) fn applied_to(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT key FROM applied")?.query_row((), |row| row.get(0))
}

/// The row of a room, made if there is none.
fn row_of<'k>(
    rooms: &'k mut HashMap<RoomName, Known>,
    tx: &Transaction<'_>,
    room: &RoomName,
) -> rusqlite::Result<&'k mut Known> {
    if !rooms.contains_key(room) {
        rooms.insert(room.clone(), look_up(tx, room)?);
    }
    // It was looked up just now, or before.
    rooms.get_mut(room).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn look_up(tx: &Transaction<'_>, room: &RoomName) -> rusqlite::Result<Known> {
    let found: Option<i64> = tx
        .prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()?;
    match found {
        // Its growth is unknown, so it is checked after the next message.
        Some(id) => Ok(Known { id, grown: u64::MAX }),
        None => {
            tx.prepare_cached("INSERT INTO rooms (name) VALUES (?1)")?.execute([room.as_str()])?;
            Ok(Known { id: tx.last_insert_rowid(), grown: 0 })
        }
    }
}
