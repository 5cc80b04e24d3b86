//! Keeps the log within its bound (`STORE_MAX`): deletes the oldest messages of the largest rooms.
//!
//! The keeper does a little of it at a time, between its other chores. Once the tables are half as large as they may
//! be, one walk over them, a slice at a time, measures what each room takes. From then on the writer keeps these sizes
//! up to date.

use super::{
    apply, authors,
    keeper::{AGAIN, Keeper},
    sizes::{CHANGE, Sizes, size},
    writer::lock_writer,
};
use crate::store::{
    sqlite::{database, slack::SlackError},
    usage::Fill,
};
use rusqlite::OptionalExtension;
use std::time::{Duration, Instant};

/// Rows that are weighed, or chosen for deletion, at a time.
const ROWS: i64 = 2048;

/// Bytes of one room that are deleted at a time.
const PIECE: u64 = 1 << 20;

/// How often the log says that the store is nearly full.
const TELL: Duration = Duration::from_secs(600);

/// How much of a room's oldest messages to delete.
struct Piece {
    /// The key of the last message.
    through: i64,
    messages: u64,
    bytes: u64,
}

impl Keeper {
    /// Measures, and does the next piece of work if there is one.
    pub(super) fn keep_within_bound(&mut self) -> Result<(), SlackError> {
        if !self.quota.is_set() {
            return Ok(());
        }
        let begun = Instant::now();
        self.measure()?;
        if !self.work.is_weighed {
            if self.quota.is_worth_weighing() {
                self.weigh()?;
                self.go_on(begun);
            }
            return Ok(());
        }
        if self.work.cuts.is_empty() {
            if std::mem::take(&mut self.work.is_cutting) {
                self.quota.round();
            }
            let Some(goal) = self.quota.to_free() else { return Ok(()) };
            self.choose(goal)?;
        }
        if let Some((room, much)) = self.work.cuts.pop() {
            let gone = self.cut(room, much)?;
            let is_removed = lock_writer(&self.writer).remove_if_empty(room)?;
            // The number of one that is removed may become another room's, which has nothing to give up.
            if gone < much && gone > 0 && !is_removed {
                self.work.cuts.push((room, much - gone));
            }
            self.work.is_cutting = true;
        } else {
            // No message can go, so there is no hurry.
            self.chores.rest(AGAIN);
        }
        self.go_on(begun);
        Ok(())
    }

    /// Calls this again after a pause as long as the work took, or at once if space is short.
    fn go_on(&self, begun: Instant) {
        self.chores.measure();
        if self.quota.fill() == Fill::Plenty {
            self.chores.rest(begun.elapsed());
        }
    }

    /// Measures what the log takes. Noting authors does so as well, or the bound would wait for its end.
    pub(super) fn measure(&self) -> rusqlite::Result<()> {
        if !self.quota.is_set() {
            return Ok(());
        }
        // One view of the tables: records that they have already must not count in the tail again.
        let tables = self.connection.unchecked_transaction()?;
        let (applied, bytes) = (apply::applied_to(&tables)?, database::used(&tables)?);
        tables.finish()?;
        self.quota.log_takes(bytes + self.tail.bytes_after(applied));
        Ok(())
    }

    /// Weighs the next rows.
    fn weigh(&mut self) -> rusqlite::Result<()> {
        let (after, last) = match self.work.walk {
            Some(walk) => walk,
            None => {
                let mut writer = lock_writer(&self.writer);
                // The writer weighs everything after this.
                writer.sizes = Some(Sizes::default());
                (i64::MIN, apply::applied_to(&self.connection)?)
            }
        };
        let rows: Vec<(i64, i64, i64)> = self
            .connection
            .prepare_cached(concat!(
                "SELECT key, room, ",
                size!(),
                " FROM messages WHERE key > ?1 AND key <= ?2
                 UNION ALL SELECT key, room, ?4 FROM changes WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3"
            ))?
            .query_map((after, last, ROWS, CHANGE), |row| row.try_into())?
            .collect::<Result<_, _>>()?;
        let mut writer = lock_writer(&self.writer);
        let Some(sizes) = &mut writer.sizes else {
            self.work.walk = None;
            return Ok(());
        };
        rows.iter().for_each(|(_, room, bytes)| sizes.add(*room, *bytes));
        match rows.last() {
            Some((key, ..)) => self.work.walk = Some((*key, last)),
            None => (self.work.walk, self.work.is_weighed) = (None, true),
        }
        Ok(())
    }

    /// Decides what to delete.
    fn choose(&mut self, goal: u64) -> rusqlite::Result<()> {
        let alone = authors::alone(&self.connection)?;
        let mut writer = lock_writer(&self.writer);
        let Some(sizes) = &mut writer.sizes else {
            self.work.is_weighed = false;
            return Ok(());
        };
        self.work.cuts = sizes.cut(goal, &alone);
        // The largest is popped first.
        self.work.cuts.reverse();
        drop(writer);
        if self.work.told.is_some_and(|told| told.elapsed() < TELL) {
            return Ok(());
        }
        self.work.told = Some(Instant::now());
        let usage = self.quota.usage();
        tracing::warn!(
            bytes = usage.bytes,
            max = usage.max,
            rooms = self.work.cuts.len(),
            "the store has nearly all that it may have (STORE_MAX): the oldest messages of the largest rooms are deleted"
        );
        Ok(())
    }

    /// Deletes about this many bytes of a room's oldest messages, or as many as one piece has. Returns how many, estimated
    /// for changes.
    fn cut(&mut self, room: i64, much: u64) -> Result<u64, SlackError> {
        let piece = self.oldest(room, much.min(PIECE))?;
        if let Some(Piece { through, messages, bytes }) = piece {
            if self.delete_through(room, through)? {
                self.delete_changes_through(room, through)?;
                self.quota.trimmed(messages);
            }
            return Ok(bytes);
        }
        let changes: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(key) FROM (SELECT key FROM changes WHERE room = ?1 ORDER BY key LIMIT ?2)")?
            .query_row((room, ROWS), |row| row.get(0))
            .optional()?
            .flatten();
        match changes {
            Some(through) => self.delete_changes_through(room, through).map(|_| PIECE),
            None => {
                if let Some(sizes) = &mut lock_writer(&self.writer).sizes {
                    sizes.forget(room);
                }
                Ok(0)
            }
        }
    }

    /// The oldest messages of a room that together take this many bytes.
    fn oldest(&self, room: i64, bytes: u64) -> rusqlite::Result<Option<Piece>> {
        let mut rows = self.connection.prepare_cached(concat!(
            "SELECT messages.key, ",
            size!(),
            " FROM by_room JOIN messages ON messages.key = by_room.key WHERE by_room.room = ?1 ORDER BY by_room.key LIMIT ?2"
        ))?;
        let mut rows = rows.query((room, ROWS))?;
        let mut piece = None;
        while let Some(row) = rows.next()? {
            let Piece { messages, bytes: before, .. } = piece.unwrap_or(Piece { through: 0, messages: 0, bytes: 0 });
            let now = Piece {
                through: row.get(0)?,
                messages: messages + 1,
                bytes: before + row.get::<_, i64>(1)?.unsigned_abs(),
            };
            let is_enough = now.bytes >= bytes;
            piece = Some(now);
            if is_enough {
                break;
            }
        }
        Ok(piece)
    }
}
