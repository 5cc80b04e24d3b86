//! Applies a journal outside of the server: to the tables of a copy that is made while the server runs, or to its own
//! tables while it does not.

use super::{VERSION, apply::Rooms, journal_beside};
use crate::store::{
    journal::{self, Record},
    sqlite::{
        backup,
        database::{self, BUSY, DiskSync, Tuning},
        error::StoreOpenError,
    },
};
use rusqlite::TransactionBehavior;
use std::{path::Path, sync::Arc};

/// The first version of the tables that had a journal before them.
const FIRST_WITH_JOURNAL: u32 = 4;

/// Records applied in one transaction.
const BATCH: usize = 16 * 1024;

/// Copies the log to the new file `to`, which has everything up to one moment, and no journal.
pub fn copy(from: &Path, to: &Path) -> Result<(), StoreOpenError> {
    // First: what is removed from the journal after this is in the tables by then.
    let replay = journal::read(&journal_beside(from))?;
    backup::copy(from, to)?;
    put(replay.records, to)
}

/// Applies a log's journal to its tables. No other process writes to either meanwhile.
pub(in crate::store::sqlite) fn take_over(log: &Path) -> Result<(), StoreOpenError> {
    // The next start removes the segments.
    put(journal::read(&journal_beside(log))?.records, log)
}

fn put(records: Vec<Record>, log: &Path) -> Result<(), StoreOpenError> {
    let version = database::version(log);
    if version.is_some_and(|version| version < FIRST_WITH_JOURNAL) {
        return Ok(());
    }
    if version.is_some_and(|version| version < VERSION) {
        super::prepare(log)?;
    }
    let records: Vec<_> = records.into_iter().map(Arc::new).collect();
    let tuning = Tuning { sync: DiskSync::Commit, autocheckpoint: 0, cache_kib: 8192, query_only: false, busy: BUSY };
    let put = || -> rusqlite::Result<()> {
        let mut tables = database::connect(log, &tuning)?;
        database::wipe_what_is_deleted(&tables)?;
        let mut rooms = Rooms::new(None);
        for records in records.chunks(BATCH) {
            let tx = tables.transaction_with_behavior(TransactionBehavior::Immediate)?;
            rooms.apply(&tx, records, None)?;
            tx.commit()?;
        }
        Ok(())
    };
    put().map_err(|cause| StoreOpenError::File { path: log.to_owned(), cause: cause.into() })
}
