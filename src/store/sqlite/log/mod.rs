//! The message log: a journal in front, SQLite behind it.
//!
//! - A batch is appended to the journal with one write ([`journal`](crate::store::journal)) and put into the tail in
//!   memory; an entry waits for nothing else (`front`). A completed write survives a killed process; with
//!   [`Durability::Power`] it is also synced to disk.
//! - The applier moves journal records into the tables, many per transaction, and removes the segments. Readers look
//!   into the tail first, and into the tables afterwards.
//! - All messages of all rooms are appended to one table in the order of their ids; a narrow table finds those of a
//!   room. Clustering by room instead touches a wide page for each room of a batch, and measured three times slower
//!   with 1000 rooms.
//! - Whether a change is allowed is decided before it is journalled, by the message's state at that moment, in the tail
//!   and in the tables (`batch`, `state`). Applying it to the tables decides nothing any more.
//! - Trimming keeps at least `history_max` messages of a room, and up to a tenth more, beside those in the tail. It
//!   happens in rooms that are written to.
//! - A reference is forgotten with the message that it made.
//! - What was deleted is overwritten: in segments, which are removed, in the tables, in their WAL, and where SQLite has
//!   left copies (`sweep`).

mod age;
mod applier;
pub(super) mod apply;
pub(super) mod authors;
pub(super) mod batch;
pub(super) mod change;
mod chores;
pub mod copy;
mod follow;
mod front;
pub(super) mod ids;
mod keeper;
mod losses;
pub(super) mod page;
mod quota;
pub(super) mod read;
mod rooms;
pub(super) mod row;
mod shrunk;
mod sizes;
mod state;
mod store_max;
mod sweep;
pub(super) mod tail;
mod work;
mod writer;

use self::{
    applier::Applier,
    batch::Before,
    chores::Chores,
    front::Front,
    ids::Ids,
    keeper::Keeper,
    page::Page,
    quota::Quota,
    tail::{Found, Full, Tail},
    work::Work,
    writer::Writer,
};
use super::{
    database::{self, DiskSync, Durability, Pool, Tuning},
    error::{StoreOpenError, failed},
    slack::{self, Slack},
};
use crate::{
    entry::{Entry, NewChangeKind, NewEntry},
    message::{Message, MessageId, RoomName},
    store::{
        error::StoreError,
        journal::{Journal, Replay},
        log::{Appended, Backlog, FoundOut, MessageLog},
        outage::Outages,
        usage::{Fill, Usage},
    },
    vital,
};
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};
use std::{
    error::Error,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub(super) const STORE: &str = "message log";

const STEPS: &[M<'static>] = &[
    M::up(include_str!("../schema/log-1.sql")),
    M::up(include_str!("../schema/log-2.sql")),
    M::up(include_str!("../schema/log-3.sql")),
    M::up(include_str!("../schema/log-4.sql")),
    M::up(include_str!("../schema/log-5.sql")),
    M::up(include_str!("../schema/log-6.sql")),
    M::up(include_str!("../schema/log-7.sql")),
];
/// Version of the tables. A program that knows no journal refuses tables of version 4, so it can't miss a journal's
/// records.
pub(super) const VERSION: u32 = STEPS.len() as u32;
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// How long a sender waits for space in the journal; as long as for the lock of a table.
const PATIENCE: Duration = database::BUSY;

/// How long to wait while nothing is done of overwriting what was deleted; after that it is tried again later.
const SCRUB_PATIENCE: Duration = Duration::from_secs(60);

/// Makes the file if there is none, and brings its tables up to date.
pub(super) fn prepare(path: &Path) -> Result<(), StoreOpenError> {
    database::prepare(path, &MIGRATIONS, VERSION)
}

/// The directory of a log's journal.
pub(super) fn journal_beside(log: &Path) -> PathBuf {
    log.with_file_name("journal")
}

/// The log of one process.
pub struct SqliteLog {
    /// Used by the log's writer, and briefly by the applier and [`MessageLog::probe`]. Locked before the tail.
    front: Arc<parking_lot::Mutex<Front>>,
    tail: Arc<Tail>,
    /// Used by the applier and the keeper.
    writer: Arc<Mutex<Writer>>,
    readers: Pool,
    chores: Arc<Chores>,
    quota: Arc<Quota>,
    applier: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    /// Closed after all connections.
    _handle: Arc<File>,
}

/// What the log keeps, and what its messages survive.
#[derive(Clone)]
pub struct LogOptions {
    /// Messages kept per room; `None` keeps all.
    pub history_max: Option<u64>,
    pub durability: Durability,
    /// Bytes, as memory, of records that the journal may have and the tables lack.
    pub journal_max: u64,
    /// Bytes that the log and its search index may take together; `None`: no bound.
    pub store_max: Option<u64>,
    /// Called each time that records were moved into the tables, with how long it took.
    pub on_apply: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl LogOptions {
    /// Options that keep everything, for a command that opens the log while no server does.
    pub fn of_command() -> LogOptions {
        LogOptions {
            history_max: None,
            durability: Durability::Process,
            journal_max: 64 << 20,
            store_max: None,
            on_apply: Arc::new(|_| {}),
        }
    }

    #[cfg(test)]
    pub fn keeping(history_max: Option<u64>) -> LogOptions {
        LogOptions { history_max, journal_max: crate::store::journal::tests::MAX, ..LogOptions::of_command() }
    }
}

impl SqliteLog {
    /// Opens the file, makes it or brings it up to date if necessary, and replays its journal.
    pub fn open(path: &Path, options: LogOptions) -> Result<SqliteLog, StoreOpenError> {
        let LogOptions { history_max, durability, journal_max, store_max, on_apply } = options;
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        prepare(path)?;
        let writing = Tuning {
            sync: DiskSync::from(durability),
            autocheckpoint: 0,
            // Room for what one transaction changes: the last index pages of a few thousand rooms, and new rows.
            cache_kib: 16 * 1024,
            query_only: false,
            busy: database::BUSY,
        };
        // Each commit invalidates a reader's own cache, and the kernel's cache is enough. What four readers held would
        // be lost to others.
        let reading = Tuning { cache_kib: 256, query_only: true, ..writing };
        // It can try again later, and others may wait for it.
        let keeping =
            Tuning { sync: DiskSync::Checkpoint, cache_kib: 256, busy: Duration::from_millis(100), ..writing };

        let connection = database::connect(path, &keeping).map_err(unusable)?;
        let applied = apply::applied_to(&connection).map_err(unusable)?;
        let (journal, replay) = Journal::open(&journal_beside(path), durability == Durability::Power)?;
        let last = replay.records.last().map_or(applied, |record| record.key.max(applied));
        let ahead = Duration::from_millis((last >> 12).saturating_sub(ids::unix_millis()).max(0) as u64);
        if ahead > Duration::from_secs(1) {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the newest message is from the future: new ones get its time until the clock has caught up"
            );
        }

        let keep = history_max.filter(|keep| *keep > 0);
        let chores = Arc::new(Chores::default());
        // Rooms that were forgotten just before the last stop.
        chores.sweep_forgotten();
        chores.measure();
        chores.note_authors();
        let slack =
            Slack::open(path).map_err(|cause| StoreOpenError::File { path: path.to_owned(), cause: cause.into() })?;
        if slack::is_due(&connection).map_err(unusable)? {
            chores.wipe();
        }
        let quota = Arc::new(Quota::new(store_max));
        let writer = Writer::open(path.to_owned(), writing, keep, chores.clone()).map_err(unusable)?;
        let writer = Arc::new(Mutex::new(writer));
        let readers = database::pool(path, reading)?;
        let tables = database::connect(path, &reading).map_err(unusable)?;
        let tail = Arc::new(Tail::new(quota.of_journal(journal_max), applied));
        take_in(replay, &Before { tail: &tail, tables: &tables }, applied).map_err(unusable)?;
        let front = Front::new(journal, Ids::after(last), tail.clone(), tables);
        let front = Arc::new(parking_lot::Mutex::new(front));
        let thread = |name| move |cause| StoreOpenError::Thread { name, cause };
        // From here on a failure drops this, which stops the threads that were started.
        let _handle = slack.handle();
        let mut log = SqliteLog { front, tail, writer, readers, chores, quota, applier: None, keeper: None, _handle };
        let applier = Applier {
            front: log.front.clone(),
            tail: log.tail.clone(),
            writer: log.writer.clone(),
            chores: log.chores.clone(),
            outages: Outages::new(STORE),
            on_apply,
        };
        let name = "log-applier";
        log.applier = Some(vital::spawn(name, move || applier.run()).map_err(thread(name))?);
        let keeper = Keeper {
            writer: log.writer.clone(),
            chores: log.chores.clone(),
            connection,
            slack,
            unswept: None,
            keep,
            quota: log.quota.clone(),
            tail: log.tail.clone(),
            work: Work::default(),
        };
        // Before anybody says something.
        keeper.measure().map_err(unusable)?;
        let name = "log-keeper";
        log.keeper = Some(vital::spawn(name, move || keeper.run()).map_err(thread(name))?);
        Ok(log)
    }

    /// Waits until everything stored is in the tables, and in no segment of the journal.
    pub fn settle(&self) -> Result<(), StoreError> {
        if self.tail.settle(PATIENCE) { Ok(()) } else { Err(unable("take over what is in its journal")(Full)) }
    }

    /// How often messages were deleted to free space, if the search index has yet to follow.
    pub(super) fn unswept(&self) -> Option<u64> {
        self.quota.unswept()
    }

    /// Notes that the search index has followed up to this number of rounds.
    pub(super) fn swept(&self, rounds: u64) {
        self.quota.swept(rounds);
    }

    /// Notes how many bytes the search index takes.
    pub(super) fn index_takes(&self, bytes: u64) {
        self.quota.index_takes(bytes);
        self.chores.measure();
    }

    pub(super) fn is_index_full(&self) -> bool {
        self.quota.is_index_full()
    }

    /// Appends only entries that a full store can take: deletions, and messages that are not kept.
    fn append_what_takes_nothing(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        let takes_nothing = |entry: &NewEntry| match entry {
            NewEntry::Message(draft) => !draft.kept,
            NewEntry::Change(change) => matches!(change.kind, NewChangeKind::Delete),
        };
        let few: Vec<NewEntry> = entries.iter().filter(|entry| takes_nothing(entry)).cloned().collect();
        if few.is_empty() {
            return Err(unable("store messages")(NoRoom));
        }
        let mut appended = self.front.lock().append(&few).map_err(unable("store messages"))?.into_iter();
        let each = |entry| if takes_nothing(entry) { appended.next() } else { None };
        Ok(entries.iter().map(each).map(|outcome| outcome.unwrap_or(Appended::NotStored)).collect())
    }

    fn read<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.readers.get().map_err(unable(what))?;
        work(&mut connection).map_err(unable(what))
    }
}

impl MessageLog for SqliteLog {
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        if self.quota.fill() == Fill::Full {
            return self.append_what_takes_nothing(entries);
        }
        if entries.iter().any(NewEntry::is_kept) {
            // Before the front is locked: the applier needs it to free space.
            self.tail.wait_for_room(PATIENCE).map_err(unable("store messages"))?;
        }
        self.front.lock().append(entries).map_err(unable("store messages"))
    }

    fn find_out(&self, _: u64) -> Result<FoundOut, StoreError> {
        self.front.lock().find_out().map_err(unable("take back messages that failed"))
    }

    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let before = before.map_or(i64::MAX, ids::key);
        let seen = self.tail.newest(room, before, limit);
        // From the newest on, as far as they fit.
        let mut page = Page::new(limit);
        page.add(seen.messages.iter().filter_map(|shown| shown.message()));
        if !page.is_full() && !seen.is_all {
            let before = before.min(seen.first);
            self.read("read a room's history", |connection| {
                read::newest(connection, room, before, &seen.overlay, &mut page)
            })?;
        }
        page.entries.reverse();
        Ok(page.entries)
    }

    fn newer(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Message>, StoreError> {
        let (seen, is_here) = self.tail.after(room, after, limit);
        let mut page = Page::new(limit);
        if !is_here && !seen.is_all {
            self.read("read a room's history", |connection| {
                read::newer(connection, room, (after, seen.first), &seen.overlay, &mut page)
            })?;
        }
        page.add(seen.messages.iter().filter_map(|shown| shown.message()));
        Ok(page.entries)
    }

    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        self.follow(room, after, limit, true)
    }

    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError> {
        match self.tail.find(room, id) {
            Found::Here(shown) => Ok(shown.message()),
            Found::Nowhere => Ok(None),
            Found::Unknown => self.read("read a message", |connection| {
                Ok(change::state(connection, room, id)?.map(|state| state.message()))
            }),
        }
    }

    fn forget_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError> {
        self.delete_before(room, before)
    }

    fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        self.list_rooms(after, limit)
    }

    fn rooms_of(&self, sender: &str, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        self.list_rooms_of(sender, after, limit)
    }

    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        self.front.lock().forget(room).map_err(unable("forget a room"))
    }

    fn set_aside(&self, room: &RoomName, to: &RoomName) -> Result<(), StoreError> {
        self.front.lock().set_aside(room, to).map_err(unable("set a room's messages aside"))
    }

    fn entries(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.after(room, after, limit)
    }

    fn scrub(&self, _: &[RoomName]) -> Result<(), StoreError> {
        const WHAT: &str = "overwrite what was deleted";
        if !self.tail.settle(SCRUB_PATIENCE) {
            return Err(unable(WHAT)(Full));
        }
        if !self.chores.wait_until_wiped(self.chores.wipe(), SCRUB_PATIENCE) {
            return Err(unable(WHAT)("its write-ahead log is in use, perhaps by a backup"));
        }
        Ok(())
    }

    fn backlog(&self) -> Backlog {
        self.tail.backlog()
    }

    fn usage(&self) -> Usage {
        self.quota.usage()
    }

    fn probe(&self) -> Result<(), StoreError> {
        if self.quota.fill() == Fill::Full {
            return Err(unable("store messages")(NoRoom));
        }
        self.read("be read", |connection| {
            connection.prepare_cached("SELECT 1 FROM rooms LIMIT 1")?.exists(())?;
            Ok(())
        })?;
        if self.tail.is_stuck() {
            return Err(unable("store messages")(Full));
        }
        self.front.lock().probe().map_err(unable("store messages"))
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        // The applier first: the records that it moves may be the keeper's to trim.
        self.tail.stop();
        // They fail only if the thread panicked, which the panic hook has already logged.
        let _ = self.applier.take().map(JoinHandle::join);
        self.chores.stop();
        let _ = self.keeper.take().map(JoinHandle::join);
    }
}

/// The log and its index have reached their bound.
#[derive(Debug, thiserror::Error)]
#[error("it takes all that it may take (STORE_MAX) until old messages are deleted, which goes on")]
struct NoRoom;

/// Puts the journal's records after the key `applied` into the tail, and logs what was found.
fn take_in(replay: Replay, before: &Before<'_>, applied: i64) -> rusqlite::Result<()> {
    let begun = Instant::now();
    let Replay { mut records, damaged, torn } = replay;
    records.retain(|record| record.key > applied);
    let entries = records.len();
    batch::replay(records, before)?;
    if entries > 0 {
        let milliseconds = begun.elapsed().as_millis();
        tracing::info!(
            entries,
            milliseconds,
            "the server had ended without a last word; its journal has been replayed"
        );
    }
    if torn > 0 {
        let bytes = torn;
        tracing::warn!(bytes, "the end of the journal is torn: what was being written there was not echoed");
    }
    for damage in damaged {
        tracing::error!(
            path = %damage.path.display(),
            at = damage.at,
            bytes = damage.bytes,
            "the journal is damaged: what was there is lost, what follows is not; check the disk"
        );
    }
    Ok(())
}

fn unable<E: Into<Box<dyn Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    failed(STORE, what)
}

#[cfg(test)]
mod tests;
