//! Who has said something in which rooms where accounts speak: all messages of one account are found without reading
//! the rooms of others.
//!
//! A pair may stay when its last message is gone: then a room is read in vain. None is ever missing, except while
//! messages that are older than the table are not noted yet.

use crate::{likeness::email_key, message::RoomName};
use rusqlite::{Connection, OptionalExtension, Transaction};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Pairs that are remembered. If there are more, all are forgotten, and noted again.
const REMEMBERED: usize = 100_000;

/// Pages that a new pair touches: those of the table and of its index.
const PAGES: usize = 2;

/// Older messages whose authors are noted at a time.
const OLD: i64 = 4096;

/// The author's number, the same for all spellings of one address. Two addresses with one number cost a look into a room.
fn number(sender: &str) -> i64 {
    let digest: [u8; 32] = Sha256::digest(email_key(sender)).into();
    i64::from_le_bytes(std::array::from_fn(|at| digest[at]))
}

/// Whether authors are noted in this room. In others anybody may use another person's address as a name, and any number
/// of names.
fn is_noted(room: &RoomName) -> bool {
    room.is_of_accounts() || room.is_removed()
}

/// Pairs of a room's number and a sender that are in the table.
#[derive(Default)]
pub(super) struct Noted(HashSet<(i64, Arc<str>)>);

impl Noted {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes the author of a message. Returns how many pages that took, roughly.
    pub fn note(&mut self, tx: &Connection, room: (i64, &RoomName), sender: &Arc<str>) -> rusqlite::Result<usize> {
        let (number, name) = room;
        if !is_noted(name) {
            return Ok(0);
        }
        let pair = (number, sender.clone());
        if self.0.contains(&pair) {
            return Ok(0);
        }
        let added = add(tx, number, sender)?;
        if self.0.len() >= REMEMBERED {
            self.clear();
        }
        self.0.insert(pair);
        Ok(PAGES * added)
    }
}

/// Notes the author of a message that is added in another way.
pub(in crate::store::sqlite) fn note(tx: &Connection, room: (i64, &RoomName), sender: &str) -> rusqlite::Result<()> {
    if is_noted(room.1) { add(tx, room.0, sender).map(drop) } else { Ok(()) }
}

/// Returns how many rows that added: one, or none.
fn add(tx: &Connection, room: i64, sender: &str) -> rusqlite::Result<usize> {
    let mut add = tx.prepare_cached("INSERT OR IGNORE INTO authors (author, room) VALUES (?1, ?2)")?;
    add.execute((number(sender), room))
}

/// Forgets the authors of a room that is gone.
pub(super) fn forget(tx: &Connection, room: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM authors WHERE room = ?1")?.execute([room]).map(drop)
}

/// Numbers and names of all rooms in which this sender has said something, and perhaps of others; `None`: not all are
/// noted yet.
pub(in crate::store::sqlite) fn rooms_of(
    view: &Connection,
    sender: &str,
) -> rusqlite::Result<Option<Vec<(i64, RoomName)>>> {
    if !are_all_noted(view)? {
        return Ok(None);
    }
    view.prepare_cached(
        "SELECT id, name FROM authors JOIN rooms ON id = room WHERE author = ?1 AND name IS NOT NULL ORDER BY name",
    )?
    .query_map([number(sender)], |row| Ok((row.get(0)?, RoomName::from_store(row.get_ref(1)?.as_str()?))))?
    .collect::<rusqlite::Result<_>>()
    .map(Some)
}

/// The author of each room in which only one account has spoken. None as long as not all authors are noted.
pub(super) fn alone(view: &Connection) -> rusqlite::Result<HashMap<i64, i64>> {
    if !are_all_noted(view)? {
        return Ok(HashMap::new());
    }
    view.prepare_cached("SELECT room, min(author) FROM authors GROUP BY room HAVING count(*) = 1")?
        .query_map((), |row| <(i64, i64)>::try_from(row))?
        .collect()
}

fn are_all_noted(view: &Connection) -> rusqlite::Result<bool> {
    view.prepare_cached("SELECT 1 FROM unnoted")?.exists(()).map(|left| !left)
}

/// Whose messages of before are to be noted next.
pub(super) struct Old {
    pairs: HashSet<(i64, String)>,
    /// The key of the last message looked at; `None`: those were all.
    last: Option<i64>,
}

/// Looks at the next messages that are older than the table; `None`: all are noted.
pub(super) fn look_at_old(view: &Connection) -> rusqlite::Result<Option<Old>> {
    let left = view
        .prepare_cached("SELECT after, last FROM unnoted")?
        .query_row((), |row| <(i64, i64)>::try_from(row))
        .optional()?;
    let Some((after, last)) = left else { return Ok(None) };
    let mut old = Old { pairs: HashSet::new(), last: None };
    let mut names = view.prepare_cached("SELECT name FROM rooms WHERE id = ?1 AND name IS NOT NULL")?;
    let mut known: HashMap<i64, bool> = HashMap::new();
    let mut messages = view
        .prepare_cached("SELECT key, room, sender FROM messages WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3")?;
    let mut messages = messages.query((after, last, OLD))?;
    while let Some(message) = messages.next()? {
        old.last = Some(message.get(0)?);
        let room: i64 = message.get(1)?;
        let counts = match known.get(&room) {
            Some(counts) => *counts,
            None => {
                let name = names.query_row([room], |row| Ok(RoomName::from_store(row.get_ref(0)?.as_str()?)));
                *known.entry(room).or_insert(name.optional()?.is_some_and(|name| is_noted(&name)))
            }
        };
        if counts {
            old.pairs.insert((room, message.get(2)?));
        }
    }
    Ok(Some(old))
}

/// Notes them. Returns how many pages that took, roughly.
pub(super) fn note_old(tx: &Transaction<'_>, old: &Old) -> rusqlite::Result<usize> {
    let mut pages = 1;
    for (room, sender) in &old.pairs {
        pages += PAGES * add(tx, *room, sender)?;
    }
    match old.last {
        Some(last) => tx.prepare_cached("UPDATE unnoted SET after = ?1")?.execute([last])?,
        None => tx.prepare_cached("DELETE FROM unnoted")?.execute(())?,
    };
    Ok(pages)
}
