//! The message log in SQLite: one writing connection, four that read, one thread that tidies up.
//!
//! - All messages of all rooms are appended to one table in the order of their ids; a narrow table, written for many
//!   messages at once (`unindexed`), finds those of a room. Clustering by room instead touches a wide page for each
//!   room of a batch, and measured three times slower with 1000 rooms.
//! - A batch is one transaction. It waits for no sync (unless [`Durability::Power`]) and does no
//!   checkpoint: `keeper` does those beside it.
//! - `synchronous` is `NORMAL`: a commit is in the kernel's page cache when it returns, so it outlives
//!   a killed process; see `DiskSync`.
//! - Trimming keeps at least `history_max` messages of a room, and up to a tenth more. It happens in
//!   rooms that are written to.
//! - A reference is forgotten with the message that it made.

mod change;
mod chores;
mod follow;
pub(super) mod ids;
mod keeper;
mod unindexed;
mod writer;

use self::{chores::Chores, keeper::Keeper, unindexed::Unindexed, writer::Writer};
use super::{
    database::{self, DiskSync, Durability, Pool, Tuning},
    error::{StoreOpenError, failed},
};
use crate::{
    entry::{Entry, NewEntry},
    message::{Message, MessageId, RoomName},
    store::{
        error::StoreError,
        log::{Appended, MessageLog, PAGE_BYTES},
    },
    vital,
};
use rusqlite::{Connection, OptionalExtension, Row};
use rusqlite_migration::{M, Migrations};
use std::{
    error::Error,
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use uuid::Uuid;
use writer::lock_writer;

pub(super) const STORE: &str = "message log";

const STEPS: &[M<'static>] = &[
    M::up(include_str!("../schema/log-1.sql")),
    M::up(include_str!("../schema/log-2.sql")),
    M::up(include_str!("../schema/log-3.sql")),
];
/// Of the tables.
pub(super) const VERSION: u32 = STEPS.len() as u32;
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// Makes the file if there is none, and brings its tables up to date.
pub(super) fn prepare(path: &Path) -> Result<(), StoreOpenError> {
    database::prepare(path, &MIGRATIONS, VERSION)
}

/// The log of one process.
pub struct SqliteLog {
    /// Used by the log's writer, and for milliseconds by the keeper and [`MessageLog::forget`].
    writer: Arc<Mutex<Writer>>,
    readers: Pool,
    unindexed: Arc<Unindexed>,
    chores: Arc<Chores>,
    keeper: Option<JoinHandle<()>>,
}

impl SqliteLog {
    /// Opens the file, made and brought up to date if need be. `history_max`: messages kept a room;
    /// `None` keeps all.
    pub fn open(path: &Path, history_max: Option<u64>, durability: Durability) -> Result<SqliteLog, StoreOpenError> {
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        prepare(path)?;
        let writing = Tuning {
            sync: DiskSync::from(durability),
            autocheckpoint: 0,
            // The last index page of some thousand rooms: without them each message would be a read.
            cache_kib: 32 * 1024,
            query_only: false,
            busy: database::BUSY,
        };
        // Each commit makes a reader's own cache worthless; the kernel's serves it. What four of them keep nobody else has.
        let reading = Tuning { cache_kib: 256, query_only: true, ..writing };
        let keeping = Tuning { sync: DiskSync::Checkpoint, cache_kib: 256, ..writing };

        let connection = database::connect(path, &keeping).map_err(unusable)?;
        let last = newest_key(&connection).map_err(unusable)?;
        let ahead = Duration::from_millis((last >> 12).saturating_sub(ids::unix_millis()).max(0) as u64);
        if ahead > Duration::from_secs(1) {
            tracing::warn!(
                seconds = ahead.as_secs(),
                "the newest message is from the future: new ones get its time until the clock has caught up"
            );
        }

        let keep = history_max.filter(|keep| *keep > 0);
        let chores = Arc::new(Chores::default());
        // Rooms that were forgotten just before the last end.
        chores.sweep_forgotten();
        let unindexed = Arc::new(Unindexed::load(&connection, last).map_err(unusable)?);
        let writer = Writer::open(path.to_owned(), writing, last, keep, chores.clone(), unindexed.clone());
        let writer = writer.map_err(unusable)?;
        let writer = Arc::new(Mutex::new(writer));
        let readers = database::pool(path, reading)?;
        let keeper = Keeper { writer: writer.clone(), chores: chores.clone(), connection, keep };
        let keeper = vital::spawn("log-keeper", move || keeper.run())
            .map_err(|cause| StoreOpenError::Thread { name: "log-keeper", cause })?;
        Ok(SqliteLog { writer, readers, unindexed, chores, keeper: Some(keeper) })
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
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        lock_writer(&self.writer).append(entries).map_err(unable("store messages"))
    }

    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let before = before.map_or(i64::MAX, ids::key);
        self.read("read a room's history", |connection| {
            let Some(room) = known_room(connection, room)? else { return Ok(Vec::new()) };
            let (newest, _) = self.unindexed.of_room(room, ..before);
            let newest = &newest[newest.len().saturating_sub(limit)..];
            // One view of the log: trimming in between must not leave a gap.
            let view = connection.transaction()?;
            let mut page = Page::default();
            read_each(&view, newest.iter().rev(), &mut page)?;
            if !page.is_full() {
                let mut older = view.prepare_cached(concat!(
                    "SELECT ",
                    columns!(),
                    " FROM by_room CROSS JOIN messages USING (key)
                     WHERE by_room.room = ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3",
                ))?;
                let range = (room, newest.first().unwrap_or(&before), as_limit(limit - newest.len()));
                page.fill(older.query_map(range, |row| message(&view, row))?)?;
            }
            page.messages.reverse();
            Ok(page.messages)
        })
    }

    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        self.follow(room, after, limit, true)
    }

    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.read("read a message", |connection| {
            let Some(room) = known_room(connection, room)? else { return Ok(None) };
            let view = connection.transaction()?;
            let is_here = view
                .prepare_cached("SELECT 1 FROM messages WHERE key = ?1 AND room = ?2")?
                .exists((ids::key(id), room))?;
            let mut found = Page::default();
            if is_here {
                read_each(&view, [ids::key(id)].iter(), &mut found)?;
            }
            Ok(found.messages.pop().filter(|message| message.id == id))
        })
    }

    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        lock_writer(&self.writer).forget(room).map_err(unable("forget a room"))
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.read("be read", |connection| {
            connection.prepare_cached("SELECT 1 FROM rooms LIMIT 1")?.exists(())?;
            Ok(())
        })
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.chores.stop();
        if let Some(keeper) = self.keeper.take() {
            // It can only fail if the thread panicked, which the panic hook has told already.
            let _ = keeper.join();
        }
        // Else it is done at the next start.
        if let Err(error) = lock_writer(&self.writer).index() {
            tracing::warn!(%error, "the newest messages could not be indexed");
        }
    }
}

/// The number that a room has here, if it has messages.
fn known_room(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()
}

/// The columns that [`message`] reads.
macro_rules! columns {
    () => {
        "key, tail, sender, text, extra, name, reply_to, edited, reacted"
    };
}
pub(super) use columns;

/// Whether all that followed `after` in a room is kept, and `after` was an entry of it.
fn is_whole_after(view: &Connection, room: i64, after: MessageId) -> rusqlite::Result<bool> {
    let key = ids::key(after);
    let (trimmed, changes_trimmed): (Option<[u8; 16]>, Option<i64>) = view
        .prepare_cached("SELECT trimmed, changes_trimmed FROM rooms WHERE id = ?1")?
        .query_row([room], |row| row.try_into())
        .optional()?
        .unwrap_or_default();
    if trimmed.is_some_and(|id| id == *after.0.as_bytes()) {
        return Ok(changes_trimmed.is_none_or(|changes| changes <= key));
    }
    let trimmed = trimmed.map(|id| ids::key(MessageId(Uuid::from_bytes(id))));
    if trimmed.max(changes_trimmed).is_some_and(|trimmed| trimmed > key) {
        return Ok(false);
    }
    let tail: Option<i64> = view
        .prepare_cached("SELECT tail FROM messages WHERE key = ?1 AND room = ?2")?
        .query_row((key, room), |row| row.get(0))
        .optional()?;
    match tail {
        Some(tail) => Ok(ids::join(key, tail) == after),
        None => change::is_kept(view, room, after),
    }
}

/// Messages read one after the other, until they are a page's worth of text.
#[derive(Default)]
struct Page {
    messages: Vec<Message>,
    bytes: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.bytes >= PAGE_BYTES
    }

    fn push(&mut self, message: Message) {
        self.bytes += message.text.len();
        self.messages.push(message);
    }

    fn fill(&mut self, mut rows: impl Iterator<Item = rusqlite::Result<Message>>) -> rusqlite::Result<()> {
        while !self.is_full()
            && let Some(message) = rows.next()
        {
            self.push(message?);
        }
        Ok(())
    }
}

/// Appends the messages that have these keys, as long as they fit the page.
fn read_each<'k>(view: &Connection, keys: impl Iterator<Item = &'k i64>, page: &mut Page) -> rusqlite::Result<()> {
    let mut one =
        view.prepare_cached(concat!("SELECT ", columns!(), " FROM messages WHERE key = ?1 AND deleted IS NULL"))?;
    for key in keys {
        if page.is_full() {
            break;
        }
        if let Some(message) = one.query_row([key], |row| message(view, row)).optional()? {
            page.push(message);
        }
    }
    Ok(())
}

/// The greatest key that an id was ever made of.
fn newest_key(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(
        "SELECT max(coalesce((SELECT max(key) FROM messages), 0), coalesce((SELECT max(key) FROM changes), 0),
                    coalesce((SELECT key FROM floor), 0))",
        (),
        |row| row.get(0),
    )
}

/// Reads `columns!()`, and who reacted.
pub(super) fn message(view: &Connection, row: &Row<'_>) -> rusqlite::Result<Message> {
    let id = |place| row.get::<_, Option<[u8; 16]>>(place).map(|id| id.map(|id| MessageId(Uuid::from_bytes(id))));
    let mut message = Message {
        name: row.get_ref(5)?.as_str_or_null()?.map(Into::into),
        extra: row.get_ref(4)?.as_str_or_null()?.map(Into::into),
        reply_to: id(6)?,
        edited: id(7)?,
        ..Message::new(ids::join(row.get(0)?, row.get(1)?), row.get_ref(2)?.as_str()?.into(), row.get_ref(3)?.as_str()?)
    };
    if row.get::<_, Option<bool>>(8)? == Some(true) {
        change::read_reactions(view, &mut message)?;
    }
    Ok(message)
}

fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn unable<E: Into<Box<dyn Error + Send + Sync>>>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    failed(STORE, what)
}

#[cfg(test)]
mod tests;
