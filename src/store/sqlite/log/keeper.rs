//! The thread that keeps the log's files small: checkpoints, trimming, forgotten rooms, the bound of all (`store_max`),
//! what deleted messages leave behind (`sweep`). It also notes the authors of messages that are older than their table.
//!
//! It works beside the writer where it can. Where it needs the writer, it holds it for some milliseconds, and then lets
//! the applier go on.

use super::{
    authors,
    chores::{Chore, Chores},
    quota::Quota,
    tail::Tail,
    work::Work,
    writer::{Writer, lock_writer},
};
use crate::{
    store::sqlite::slack::{Slack, SlackError},
    vital,
};
use rusqlite::{Connection, OptionalExtension};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How long the applier may wait for a slice of deletions.
const SLICE: Duration = Duration::from_millis(2);

/// WAL pages (32 MiB) from which on the writer is paused for a checkpoint, after which the WAL restarts at its
/// beginning. A checkpoint never completes while the WAL is written to.
const PAUSE_PAGES: i64 = 8 * 1024;

/// The pause lasts about as long as the copying just before it, so that must have been quick...
const QUICK: Duration = Duration::from_millis(8);

/// ...unless the WAL has 256 MiB: then the disk is slower than the applier, which has to wait.
const MAX_PAGES: i64 = 64 * 1024;

/// How long to wait after a failure, or where nothing can be done.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Keeper {
    pub writer: Arc<Mutex<Writer>>,
    pub chores: Arc<Chores>,
    /// Its own: a checkpoint on the writer's connection would delay a commit by its syncs.
    pub connection: Connection,
    pub slack: Slack,
    /// The pages that a wipe has yet to sweep, while one goes on.
    pub unswept: Option<Vec<u32>>,
    /// Messages kept per room.
    pub keep: Option<u64>,
    pub quota: Arc<Quota>,
    pub tail: Arc<Tail>,
    pub work: Work,
}

impl Keeper {
    pub fn run(mut self) {
        loop {
            let chore = self.chores.next();
            vital::may_panic("log-keeper");
            let done = match chore {
                Chore::Stop => return,
                Chore::Checkpoint => self.checkpoint(),
                Chore::Trim(room) => self.trim(room),
                Chore::SweepForgotten => self.sweep_forgotten(),
                Chore::Wipe => self.wipe(),
                // Nothing else would request it again while the store is full.
                Chore::Measure => self.keep_within_bound().inspect_err(|_| self.chores.measure()),
                Chore::NoteAuthors => {
                    self.note_authors().inspect_err(|_| self.chores.note_authors()).map_err(Into::into)
                }
            };
            if let Err(error) = done {
                tracing::warn!(%error, "the message log could not be tidied up; its files may grow until it can");
                match chore {
                    // A caller may be waiting for it, and other chores must not.
                    Chore::Wipe => {
                        self.chores.wipe_after(AGAIN);
                        continue;
                    }
                    Chore::SweepForgotten => self.chores.sweep_forgotten(),
                    Chore::Checkpoint | Chore::Trim(_) | Chore::Measure | Chore::NoteAuthors | Chore::Stop => {}
                }
                self.chores.rest(AGAIN);
            }
        }
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), SlackError> {
        if let Some(pages) = self.unswept.take() {
            return self.checkpoint_in_wipe(pages);
        }
        let (pause, most) = (PAUSE_PAGES.min(self.quota.wal_pages()), MAX_PAGES.min(self.quota.wal_pages()));
        if self.copy_wal()? < pause {
            return Ok(());
        }
        loop {
            let started = Instant::now();
            let pages = self.copy_wal()?;
            if started.elapsed() < QUICK || pages > most {
                break;
            }
        }
        let _paused = lock_writer(&self.writer);
        self.copy_wal()?;
        // Requested in the meantime, and done now.
        self.chores.take_checkpoint();
        Ok(())
    }

    /// Copies what can be copied without waiting. Returns the length of the WAL in pages.
    fn copy_wal(&self) -> rusqlite::Result<i64> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get(1))
    }

    fn trim(&mut self, room: i64) -> Result<(), SlackError> {
        let Some(keep) = self.keep else { return Ok(()) };
        let newest_unwanted = |table: &str| -> rusqlite::Result<Option<i64>> {
            self.connection
                .prepare_cached(&format!(
                    "SELECT key FROM {table} WHERE room = ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2"
                ))?
                .query_row((room, i64::try_from(keep).unwrap_or(i64::MAX)), |row| row.get(0))
                .optional()
        };
        let (message, change) = (newest_unwanted("by_room")?, newest_unwanted("changes")?);
        if let Some(key) = message
            && !self.delete_through(room, key)?
        {
            return Ok(());
        }
        // Changes from before the oldest message that is kept, and those beyond the limit.
        match message.max(change) {
            Some(key) => self.delete_changes_through(room, key).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn sweep_forgotten(&mut self) -> Result<(), SlackError> {
        let rooms: Vec<i64> = self
            .connection
            .prepare_cached("SELECT id FROM rooms WHERE name IS NULL")?
            .query_map((), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for room in rooms {
            if !self.delete_through(room, i64::MAX)? || !self.delete_changes_through(room, i64::MAX)? {
                break;
            }
            lock_writer(&self.writer).remove_room(room)?;
            // Its number may become another room's, which has nothing to give up.
            self.work.cuts.retain(|(cut, _)| *cut != room);
            self.chores.wipe();
        }
        Ok(())
    }

    /// Notes the authors of the next messages that are older than the table of authors, and rests as long as that took.
    fn note_authors(&self) -> rusqlite::Result<()> {
        let begun = Instant::now();
        let Some(old) = authors::look_at_old(&self.connection)? else { return Ok(()) };
        lock_writer(&self.writer).note_old(&old)?;
        self.measure()?;
        self.chores.note_authors();
        self.chores.rest(begun.elapsed());
        Ok(())
    }

    /// Deletes a room's messages up to `key`; `false` if it was stopped.
    pub(super) fn delete_through(&mut self, room: i64, key: i64) -> Result<bool, SlackError> {
        self.in_slices(|writer| writer.trim(room, key, SLICE))
    }

    pub(super) fn delete_changes_through(&mut self, room: i64, key: i64) -> Result<bool, SlackError> {
        self.in_slices(|writer| writer.trim_changes(room, key, SLICE))
    }

    /// Lets the writer work in slices until it reports that all is done, and rests as long as each slice took; `false`
    /// if it was stopped.
    fn in_slices(&mut self, work: impl Fn(&mut Writer) -> rusqlite::Result<bool>) -> Result<bool, SlackError> {
        loop {
            let started = Instant::now();
            if work(&mut lock_writer(&self.writer))? {
                return Ok(true);
            }
            let took = started.elapsed();
            if self.chores.take_checkpoint() {
                self.checkpoint()?;
            }
            if self.chores.rest(took) {
                return Ok(false);
            }
        }
    }
}
