//! Removes what was deleted from the log's files: old copies of pages in the WAL, and copies of rows in the slack of pages.
//!
//! A wipe reads the whole file, so it goes on in slices, between which the keeper does its other chores. All checkpoints
//! until its end are made here: they must not bring back what was overwritten.

use super::{
    keeper::{AGAIN, Keeper},
    writer::{Writer, lock_writer},
};
use crate::store::sqlite::slack::{self, SlackError};
use std::time::{Duration, Instant};

/// How long a wipe works before it rests, and for how many times as long it rests then: so that nobody else notices,
/// or while a caller waits for it.
const SLICE: Duration = Duration::from_millis(4);
const REST: u32 = 15;
const REST_WHILE_AWAITED: u32 = 1;

impl Keeper {
    /// Does the next slice of removing everything that was deleted before it began, or leaves it for later.
    ///
    /// Messages wait for none of it. The applier waits while the WAL is copied, twice as a rule.
    pub(super) fn wipe(&mut self) -> Result<(), SlackError> {
        // It is put back once the slice is done: after an error the wipe begins anew.
        let unswept = match self.unswept.take() {
            Some(pages) => Some(pages),
            None => self.begin_wipe()?,
        };
        let Some(mut pages) = unswept else { return Ok(()) };
        let begun = Instant::now();
        while begun.elapsed() < SLICE
            && let Some(page) = pages.pop()
        {
            self.slack.overwrite(page)?;
        }
        if pages.is_empty() {
            return self.end_wipe();
        }
        self.unswept = Some(pages);
        let rest = if self.chores.goes_on() { REST_WHILE_AWAITED } else { REST };
        self.chores.wipe_after(begun.elapsed() * rest);
        Ok(())
    }

    /// Empties the WAL. All that was deleted is out of the file then, but for the slack of the pages that this returns;
    /// `None`: there is nothing more to do for now.
    fn begin_wipe(&mut self) -> Result<Option<Vec<u32>>, SlackError> {
        self.chores.wipe_begins();
        let is_empty = {
            let _paused = lock_writer(&self.writer);
            slack::empty_wal(&self.connection)?
        };
        if !is_empty {
            self.chores.wipe_after(AGAIN);
            return Ok(None);
        }
        if !slack::is_due(&self.connection)? {
            self.chores.wiped();
            return Ok(None);
        }
        self.slack.pages(&self.connection).map(Some)
    }

    fn end_wipe(&mut self) -> Result<(), SlackError> {
        self.slack.sync()?;
        let writer = self.writer.clone();
        let mut writer = lock_writer(&writer);
        if self.overwrite_changed(&mut writer)?.is_none() {
            self.chores.wipe_after(AGAIN);
            return Ok(());
        }
        writer.set_sweep_due(false)?;
        self.chores.wiped();
        Ok(())
    }

    /// Makes a checkpoint while a wipe goes on. If it fails, or the WAL is in use, the wipe begins anew.
    pub(super) fn checkpoint_in_wipe(&mut self, mut pages: Vec<u32>) -> Result<(), SlackError> {
        let writer = self.writer.clone();
        if let Some(changed) = self.overwrite_changed(&mut lock_writer(&writer))? {
            pages.retain(|page| changed.binary_search(page).is_err());
            self.unswept = Some(pages);
        }
        Ok(())
    }

    /// Makes a checkpoint, and overwrites the slack of the pages that changed. Returns those pages; `None`: the WAL is in use.
    fn overwrite_changed(&mut self, writer: &mut Writer) -> Result<Option<Vec<u32>>, SlackError> {
        let changed = self.slack.checkpoint(&self.connection)?;
        if changed.is_some() {
            self.slack.sync()?;
            writer.forget_pages()?;
        }
        Ok(changed)
    }
}
