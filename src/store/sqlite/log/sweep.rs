//! Removes what was deleted from the log's files: old copies of pages in the WAL, and copies of rows in the slack of pages.

use super::{
    keeper::Keeper,
    writer::{Writer, lock_writer},
};
use crate::store::sqlite::slack::{self, SlackError};
use std::time::{Duration, Instant};

/// How long the keeper works before it rests, and for how many times as long it rests then: so that nobody else notices,
/// or while a caller waits for it.
const SLICE: Duration = Duration::from_millis(4);
const REST: u32 = 15;
const REST_WHILE_AWAITED: u32 = 1;

impl Keeper {
    /// Removes everything that was deleted before this, or leaves it for later.
    ///
    /// Messages wait for none of it. The applier waits while the WAL is copied, twice as a rule.
    pub(super) fn wipe(&mut self) -> Result<(), SlackError> {
        let writer = self.writer.clone();
        let is_empty = {
            let _paused = lock_writer(&writer);
            self.empty_wal()?
        };
        if !is_empty {
            return self.wipe_later();
        }
        if !slack::is_due(&self.connection)? {
            self.chores.wiped();
            return Ok(());
        }
        // All that was deleted is out of the file by now, but for the slack of these pages.
        let mut pages = self.slack.pages(&self.connection)?;
        while !pages.is_empty() {
            let begun = Instant::now();
            while begun.elapsed() < SLICE
                && let Some(page) = pages.pop()
            {
                self.slack.overwrite(page)?;
            }
            if self.chores.take_checkpoint() {
                let changed = self.overwrite_changed(&mut lock_writer(&writer))?;
                let Some(changed) = changed else { return self.wipe_later() };
                pages.retain(|page| changed.binary_search(page).is_err());
            }
            let rest = if self.chores.goes_on() { REST_WHILE_AWAITED } else { REST };
            if self.chores.rest(begun.elapsed() * rest) {
                return Ok(());
            }
        }
        self.slack.sync()?;
        let is_done = {
            let mut writer = lock_writer(&writer);
            let is_done = self.overwrite_changed(&mut writer)?.is_some();
            if is_done {
                writer.set_sweep_due(false)?;
            }
            is_done
        };
        if !is_done {
            return self.wipe_later();
        }
        self.chores.wiped();
        Ok(())
    }

    /// Copies the WAL into the file, and overwrites the slack of the pages that it had. Returns those pages; `None`: it
    /// is in use.
    fn overwrite_changed(&mut self, writer: &mut Writer) -> Result<Option<Vec<u32>>, SlackError> {
        let changed = self.slack.changed()?;
        if !self.empty_wal()? {
            return Ok(None);
        }
        let pages = self.slack.pages(&self.connection)?;
        for page in changed.iter().filter(|page| pages.binary_search(page).is_ok()) {
            self.slack.overwrite(*page)?;
        }
        self.slack.sync()?;
        writer.forget_pages()?;
        Ok(Some(changed))
    }

    /// Copies the WAL into the file, and empties it; the caller keeps the writer out. Returns `false` if a reader has been using it for
    /// long, such as a backup.
    fn empty_wal(&self) -> rusqlite::Result<bool> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0).map(|is_busy: bool| !is_busy))
    }

    fn wipe_later(&self) -> Result<(), SlackError> {
        self.chores.wipe();
        self.chores.rest(Duration::from_secs(1));
        Ok(())
    }
}
