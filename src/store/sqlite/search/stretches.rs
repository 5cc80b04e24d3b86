//! Stretches of rooms: what one search of the index looks through at a time.
//!
//! Each word is indexed behind the mark of its message's stretch. So a search by the first letters of a word merges the
//! lists of one stretch's words, and nobody can make that long: not by filling other rooms, and not by filling the same
//! one, which only gets more stretches. Removing a message touches lists of that length only, too.

use crate::{
    message::MessageId,
    store::{
        search::{Query, words},
        sqlite::log::ids,
    },
};
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::fmt::Write;

/// After so many bytes of words the next stretch begins. To look through as many takes a few milliseconds.
const FULL: i64 = if cfg!(test) { 8 << 10 } else { 256 << 10 };

/// Divides a mark from its word; no word has it, and the tokenizer takes it for a letter.
const DIVIDER: char = '·';

/// A stretch to look through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub id: i64,
    /// The id of its first message. A search goes on before that.
    pub first: MessageId,
}

/// Up to `limit` stretches of a room with messages before this key, newest first.
pub(super) fn before(connection: &Connection, room: i64, before: i64, limit: usize) -> rusqlite::Result<Vec<Stretch>> {
    connection
        .prepare_cached(
            "SELECT id, first, tail FROM stretches WHERE room = ?1 AND first < ?2 ORDER BY first DESC LIMIT ?3",
        )?
        .query_map((room, before, limit as i64), |row| {
            Ok(Stretch { id: row.get(0)?, first: ids::join(row.get(1)?, row.get(2)?) })
        })?
        .collect()
}

/// A query in FTS5's syntax, for one stretch. Words hold only letters and digits, so nothing in them has a special
/// meaning.
pub(super) fn expression(stretch: i64, query: &Query) -> String {
    let words: Vec<String> = query
        .words()
        .map(|(word, is_open)| format!("\"{stretch:x}{DIVIDER}{word}\"{}", if is_open { " *" } else { "" }))
        .collect();
    words.join(" AND ")
}

/// All messages of a stretch in FTS5's syntax: each has the mark alone as a word.
pub(super) fn all_of(stretch: i64) -> String {
    format!("\"{stretch:x}{DIVIDER}\"")
}

/// The stretch to which the messages of a room are added that are read one after the other.
pub(super) struct Filling<'t> {
    tx: &'t Connection,
    room: i64,
    /// Its number and size.
    last: Option<(i64, i64)>,
}

impl<'t> Filling<'t> {
    pub fn of(tx: &'t Connection, room: i64) -> rusqlite::Result<Filling<'t>> {
        let last = tx
            .prepare_cached("SELECT id, size FROM stretches WHERE room = ?1 ORDER BY first DESC LIMIT 1")?
            .query_row([room], |row| row.try_into())
            .optional()?;
        Ok(Filling { tx, room, last })
    }

    /// Adds a message that is newer than all others of its room.
    pub fn add(&mut self, id: MessageId, text: &str) -> rusqlite::Result<()> {
        let stretch = match self.last {
            Some((stretch, size)) if size < FULL => stretch,
            _ => {
                self.tx
                    .prepare_cached("INSERT INTO stretches (room, first, tail, size) VALUES (?1, ?2, ?3, 0)")?
                    .execute((self.room, ids::key(id), ids::tail(id)))?;
                let stretch = self.tx.last_insert_rowid();
                self.last = Some((stretch, 0));
                stretch
            }
        };
        let size = put(self.tx, stretch, id, text)?;
        if let Some((_, all)) = &mut self.last {
            *all += size;
        }
        Ok(())
    }

    /// Notes how full the stretch is now.
    pub fn end(self) -> rusqlite::Result<()> {
        let Some((stretch, size)) = self.last else { return Ok(()) };
        self.tx.prepare_cached("UPDATE stretches SET size = ?2 WHERE id = ?1")?.execute((stretch, size)).map(drop)
    }
}

/// Puts a message of a room in with its present text, if a stretch of the room reaches that far back.
pub(super) fn change(tx: &Connection, room: i64, id: MessageId, text: &str) -> rusqlite::Result<()> {
    let found: Option<(i64, i64)> = tx
        .prepare_cached("SELECT id, size FROM stretches WHERE room = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1")?
        .query_row((room, ids::key(id)), |row| row.try_into())
        .optional()?;
    let Some((stretch, size)) = found else { return Ok(()) };
    let size = size + put(tx, stretch, id, text)?;
    tx.prepare_cached("UPDATE stretches SET size = ?2 WHERE id = ?1")?.execute((stretch, size))?;
    if size >= 2 * FULL { divide(tx, room, stretch) } else { Ok(()) }
}

/// Indexes a message. Returns how many bytes its words have.
fn put(tx: &Connection, stretch: i64, id: MessageId, text: &str) -> rusqlite::Result<i64> {
    let words = marked(stretch, text);
    let row = (ids::key(id), &words, ids::tail(id));
    let inserted = tx.prepare_cached("INSERT INTO messages (rowid, words, tail) VALUES (?1, ?2, ?3)")?.execute(row);
    match inserted {
        // To replace a row, FTS5 looks for it first, which costs as much as to insert one, so it is told only if there is one.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            tx.prepare_cached("REPLACE INTO messages (rowid, words, tail) VALUES (?1, ?2, ?3)")?.execute(row)?;
        }
        other => drop(other?),
    }
    Ok(words.len() as i64)
}

/// Makes two stretches of one that edits have made too long: half of its words go to the second.
///
/// This costs as much as was put in since the last time, and a stretch of one message is never too long.
fn divide(tx: &Connection, room: i64, stretch: i64) -> rusqlite::Result<()> {
    let rows: Vec<(i64, i64, String)> = tx
        .prepare_cached("SELECT rowid, tail, words FROM messages WHERE messages MATCH ?1 ORDER BY rowid")?
        .query_map([all_of(stretch)], |row| row.try_into())?
        .collect::<Result<_, _>>()?;
    let all: usize = rows.iter().map(|(.., words)| words.len()).sum();
    let mut size = 0;
    let middle = rows.iter().position(|(.., words)| {
        size += words.len();
        2 * size > all
    });
    let (kept, moved) = rows.split_at(middle.unwrap_or(0).max(1).min(rows.len()));
    let kept: usize = kept.iter().map(|(.., words)| words.len()).sum();
    tx.prepare_cached("UPDATE stretches SET size = ?2 WHERE id = ?1")?.execute((stretch, kept as i64))?;
    let Some((first, tail, _)) = moved.first() else { return Ok(()) };
    tx.prepare_cached("INSERT INTO stretches (room, first, tail, size) VALUES (?1, ?2, ?3, ?4)")?.execute((
        room,
        first,
        tail,
        (all - kept) as i64,
    ))?;
    let second = tx.last_insert_rowid();
    let mut change = tx.prepare_cached("UPDATE messages SET words = ?2 WHERE rowid = ?1")?;
    for (key, _, words) in moved {
        let own = |word: &str| word.split_once(DIVIDER).map(|(_, word)| word.to_owned()).unwrap_or_default();
        change.execute((key, joined(second, words.split(' ').map(own))))?;
    }
    Ok(())
}

/// The distinct words of a text, each behind the mark of its stretch, and the mark alone.
fn marked(stretch: i64, text: &str) -> String {
    let mut words = words(text);
    words.push(String::new());
    words.sort_unstable();
    words.dedup();
    joined(stretch, words)
}

fn joined(stretch: i64, words: impl IntoIterator<Item = String>) -> String {
    let mut all = String::new();
    for word in words {
        let space = if all.is_empty() { "" } else { " " };
        // Writing to a string never fails.
        let _ = write!(all, "{space}{stretch:x}{DIVIDER}{word}");
    }
    all
}

/// Removes up to `limit` messages of a room from before this key, oldest first, and stretches of which nothing is left.
/// Returns how many messages, and whether those were all.
pub(super) fn take_out(tx: &Connection, room: i64, before: i64, limit: usize) -> rusqlite::Result<(usize, bool)> {
    let mut gone = 0;
    loop {
        let oldest: Option<(i64, Option<i64>)> = tx
            .prepare_cached(
                "SELECT id, (SELECT min(first) FROM stretches AS next WHERE next.room = ?1 AND next.first > oldest.first)
                 FROM stretches AS oldest WHERE room = ?1 AND first < ?2 ORDER BY first LIMIT 1",
            )?
            .query_row((room, before), |row| row.try_into())
            .optional()?;
        let Some((stretch, next)) = oldest else { return Ok((gone, true)) };
        let some = tx
            .prepare_cached(
                "DELETE FROM messages WHERE rowid IN
                 (SELECT rowid FROM messages WHERE messages MATCH ?1 AND rowid < ?2 ORDER BY rowid LIMIT ?3)",
            )?
            .execute((all_of(stretch), before, (limit - gone) as i64))?;
        gone += some;
        if gone >= limit {
            return Ok((gone, false));
        }
        if next.map_or(before < i64::MAX, |next| next > before) {
            return Ok((gone, true));
        }
        tx.prepare_cached("DELETE FROM stretches WHERE id = ?1")?.execute([stretch])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_message_that_is_put_in_again_is_found_by_its_present_words_alone() {
        let mut file = Connection::open_in_memory().unwrap();
        super::super::MIGRATIONS.to_latest(&mut file).unwrap();
        let id = MessageId(Uuid::from_u128(7 << 64));
        let found = |word: &str| -> i64 {
            let expression = expression(1, &Query::parse(word).unwrap());
            file.query_row("SELECT count(*) FROM messages WHERE messages MATCH ?1", [expression], |row| row.get(0))
                .unwrap()
        };
        put(&file, 1, id, "a plan").unwrap();
        assert_eq!((found("plan "), found("promise ")), (1, 0));
        put(&file, 1, id, "a promise").unwrap();
        assert_eq!((found("plan "), found("promise ")), (0, 1));
    }
}
