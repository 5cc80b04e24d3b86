//! Search in the embedded store: an index of words in a file of its own, `search.db`, that follows the log.
//!
//! A thread reads what the log has got since it last looked, and brings the index up to date: messages, edits, deletions, in
//! the order of each room. No commit of the log waits for it. How far it is stands in the same transaction, so after a
//! crash it goes on where it was, and an old store is read from its beginning. A file that can't be used is made anew.
//!
//! The thread takes a small share of one core, however much is said: under a flood the index falls behind, and not the chat.
//! Rooms take turns, so one that floods delays its own messages most. What the log has trimmed by then is never indexed.

use super::{
    database::{self, DiskSync, Pool, Tuning},
    error::{StoreOpenError, failed},
    log::{SqliteLog, ids},
};
use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        log::{MessageLog, is_full_page},
        outage::Outages,
        search::{Found, Query, Search, words},
    },
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded, select};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use std::{
    collections::VecDeque,
    error::Error,
    fs, mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use uuid::Uuid;

const STORE: &str = "search index";

const STEPS: &[M<'static>] = &[M::up(include_str!("schema/search-1.sql"))];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// How often is looked for what is new.
const PAUSE: Duration = Duration::from_secs(1);

/// How often is looked for what the log keeps no more.
const SWEEP: Duration = Duration::from_secs(300);

/// How long somebody waits for the index to be up to date while nothing of it gets done.
const PATIENCE: Duration = Duration::from_secs(60);

/// Entries of one transaction.
const BATCH: usize = 500;

/// How long the thread rests after a transaction, in multiples of the time that this took.
const REST: u32 = 15;

/// The same while somebody waits for it.
const REST_WHILE_AWAITED: u32 = 2;

/// What can't be done during an outage.
const FOLLOW: &str = "follow the log";

/// The index of one process.
pub struct SqliteSearch {
    log: Arc<SqliteLog>,
    readers: Pool,
    /// Its end is the thread's.
    stop: Option<Sender<()>>,
    /// Who waits for the index, and is to be told.
    wanted: Sender<Sender<Result<(), StoreError>>>,
    work: Arc<Work>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and those who wait for it know of each other.
#[derive(Default)]
struct Work {
    /// Transactions so far.
    done: AtomicU64,
    /// How many wait.
    awaited: AtomicUsize,
}

impl SqliteSearch {
    /// Opens the file, made if need be, and begins to follow the log.
    pub fn open(path: &Path, log: Arc<SqliteLog>) -> Result<SqliteSearch, StoreOpenError> {
        if let Err(error) = database::prepare(path, &MIGRATIONS, STEPS.len() as u32) {
            tracing::warn!(
                error = &error as &dyn Error,
                "the search index can't be used; it is made anew from the log"
            );
            remove(path)?;
            database::prepare(path, &MIGRATIONS, STEPS.len() as u32)?;
        }
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.to_owned(), cause: cause.into() };
        let writing = Tuning {
            sync: DiskSync::Checkpoint,
            autocheckpoint: 1000,
            cache_kib: 2048,
            query_only: false,
            busy: database::BUSY,
        };
        let file = database::connect(path, &writing).map_err(unusable)?;
        // What is deleted is overwritten.
        file.pragma_update(None, "secure_delete", true).map_err(unusable)?;
        let readers = database::pool(path, Tuning { query_only: true, ..writing })?;
        let (stop, stopped) = bounded(0);
        let (wanted, asked) = bounded(0);
        let work = Arc::new(Work::default());
        let follower = Follower { log: log.clone(), file, stopped, asked, work: work.clone(), erased: false };
        let thread = vital::spawn("search", move || follower.run())
            .map_err(|cause| StoreOpenError::Thread { name: "search", cause })?;
        Ok(SqliteSearch { log, readers, stop: Some(stop), wanted, work, thread: Some(thread) })
    }

    /// The numbers and the rest of the ids of messages that the index has for a query, newest first.
    fn look_up(
        &self,
        room: &RoomName,
        query: &Query,
        before: i64,
        limit: usize,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        const WHAT: &str = "be searched";
        let connection = self.readers.get().map_err(failed(STORE, WHAT))?;
        let found = || -> rusqlite::Result<Vec<(i64, i64)>> {
            let Some(room) = room_number(&connection, room)? else { return Ok(Vec::new()) };
            connection
                .prepare_cached(
                    "SELECT rowid, tail FROM messages WHERE messages MATCH ?1 AND rowid < ?2 ORDER BY rowid DESC LIMIT ?3",
                )?
                .query_map((expression(room, query), before, limit as i64), |row| row.try_into())?
                .collect()
        };
        found().map_err(failed(STORE, WHAT))
    }
}

impl Search for SqliteSearch {
    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Found, StoreError> {
        let mut before = before.map_or(i64::MAX, ids::key);
        let mut found = Found::default();
        loop {
            let page = self.look_up(room, query, before, limit)?;
            let is_last = page.len() < limit;
            for (key, tail) in page {
                before = key;
                let id = ids::join(key, tail);
                // Deleted, or edited, since the index has looked: it has the last word no more.
                let message = self.log.message(room, id)?.filter(|message| query.matches(&message.text));
                if let Some(message) = message
                    && !found.push(message, limit)
                {
                    found.next = Some(id);
                    return Ok(found);
                }
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        self.work.awaited.fetch_add(1, Ordering::SeqCst);
        let caught_up = self.ask_and_wait();
        self.work.awaited.fetch_sub(1, Ordering::SeqCst);
        caught_up.unwrap_or_else(|| Err(failed(STORE, "follow the log in time")("it is busy")))
    }
}

impl SqliteSearch {
    /// Waits as long as the thread gets on: to take out many messages takes minutes. `None`: it does not.
    fn ask_and_wait(&self) -> Option<Result<(), StoreError>> {
        let (mut answer, caught_up) = bounded(1);
        let mut done = self.work.done.load(Ordering::SeqCst);
        let mut gets_on = || {
            let before = mem::replace(&mut done, self.work.done.load(Ordering::SeqCst));
            before != done
        };
        while let Err(unsent) = self.wanted.send_timeout(answer, PATIENCE) {
            let SendTimeoutError::Timeout(unheard) = unsent else { return None };
            answer = unheard;
            if !gets_on() {
                return None;
            }
        }
        loop {
            match caught_up.recv_timeout(PATIENCE) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if gets_on() => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for SqliteSearch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only fail if the thread panicked, which the panic hook has told already.
            let _ = thread.join();
        }
    }
}

/// What is asked of the index. Words hold letters and digits alone, so nothing in them can mean anything else.
fn expression(room: i64, query: &Query) -> String {
    let words: Vec<String> =
        query.words().map(|(word, is_open)| format!("\"{word}\"{}", if is_open { " *" } else { "" })).collect();
    format!("room : \"{room}\" AND words : ({})", words.join(" AND "))
}

fn remove(path: &Path) -> Result<(), StoreOpenError> {
    for end in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let file = PathBuf::from(file);
        match fs::remove_file(&file) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreOpenError::File { path: file, cause: cause.into() });
            }
            _ => {}
        }
    }
    Ok(())
}

fn room_number(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()
}

/// The thread that keeps the index true.
struct Follower {
    log: Arc<SqliteLog>,
    file: Connection,
    stopped: Receiver<()>,
    asked: Receiver<Sender<Result<(), StoreError>>>,
    work: Arc<Work>,
    /// Whether something was taken out since the WAL was last emptied.
    erased: bool,
}

impl Follower {
    fn run(mut self) {
        let outages = Outages::new(STORE);
        let (mut seen, mut swept) = (None, None::<Instant>);
        loop {
            let asked = select! {
                recv(self.stopped) -> _ => return,
                recv(self.asked) -> asked => asked.ok(),
                default(PAUSE) => None,
            };
            vital::may_panic("search");
            let last = self.log.last_id();
            if let Some(asked) = asked {
                // What was erased may stand in its write-ahead log, whoever did it.
                self.erased = true;
                // Whoever asked may have gone.
                let _ = asked.send(self.catch_up(last, true).map(drop));
                continue;
            }
            // Asked before the sweep: what goes during it has to be looked for again.
            let unswept = self.log.unswept();
            let is_sweep_due = unswept.is_some() || swept.is_none_or(|swept| swept.elapsed() >= SWEEP);
            if seen == Some(last) && !is_sweep_due {
                continue;
            }
            match self.catch_up(last, is_sweep_due) {
                Ok(is_all) => {
                    seen = is_all.then_some(last);
                    if is_sweep_due {
                        swept = Some(Instant::now());
                        unswept.into_iter().for_each(|rounds| self.log.swept(rounds));
                    }
                    outages.worked(FOLLOW);
                }
                Err(error) => outages.failed(FOLLOW, &error.source),
            }
        }
    }

    /// Rests after work that began then; whether to go on.
    fn rest(&self, begun: Instant) -> bool {
        let rest = if self.work.awaited.load(Ordering::SeqCst) > 0 { REST_WHILE_AWAITED } else { REST };
        self.stopped.recv_timeout(begun.elapsed() * rest) == Err(RecvTimeoutError::Timeout)
    }

    /// Takes in all up to `last`, which was the log's last id before, or as much as there is room for; whether that is all.
    fn catch_up(&mut self, last: MessageId, sweep: bool) -> Result<bool, StoreError> {
        if sweep {
            self.sweep()?;
        }
        let floor = self.read(|file| {
            let floor = file.query_row("SELECT position FROM floor", (), |row| row.get(0)).optional();
            Ok(floor?.map_or(MessageId::BEFORE_ALL, |id| MessageId(Uuid::from_bytes(id))))
        })?;
        let mut rooms = VecDeque::new();
        self.log.rooms_after(floor, |room, _| {
            rooms.push_back(room);
            true
        })?;
        while !rooms.is_empty() {
            self.log.index_takes(self.read(database::used)?);
            if self.log.is_index_full() {
                // The log lets go of something first, and then this does.
                self.wipe()?;
                return Ok(false);
            }
            let begun = Instant::now();
            let (mut batch, mut left) = (Vec::new(), BATCH);
            let mut again = Vec::new();
            while left > 0
                && let Some(room) = rooms.pop_front()
            {
                let position = self.read(|file| position(file, &room))?;
                let entries = self.log.after(&room, position, left)?;
                let Some(newest) = entries.last().map(Entry::id) else { continue };
                // What was said since `last` is for the next time: this one has to end.
                if newest < last && (entries.len() == left || is_full_page(&entries)) {
                    again.push(room.clone());
                }
                left -= entries.len();
                batch.push((room, entries));
            }
            let take = |tx: &Transaction<'_>| {
                batch.iter().try_fold(false, |erased, (room, entries)| Ok(take_in(tx, room, entries)? || erased))
            };
            self.erased |= self.change(take)?;
            rooms.extend(again);
            if !self.rest(begun) {
                return Ok(true);
            }
        }
        self.change(|tx| {
            tx.execute("INSERT OR REPLACE INTO floor (id, position) VALUES (0, ?1)", [last.0.as_bytes()]).map(drop)
        })?;
        self.wipe()?;
        self.log.index_takes(self.read(database::used)?);
        Ok(true)
    }

    /// Empties the WAL if it has what was erased.
    fn wipe(&mut self) -> Result<(), StoreError> {
        if self.erased {
            // Or what was erased would stand in older copies of its pages.
            self.read(|file| file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())))?;
            self.erased = false;
        }
        Ok(())
    }

    /// Takes out what the log keeps no more.
    fn sweep(&mut self) -> Result<(), StoreError> {
        let rooms: Vec<(i64, String)> = self.read(|file| {
            file.prepare_cached("SELECT id, name FROM rooms")?.query_map((), |row| row.try_into())?.collect()
        })?;
        for (number, name) in rooms {
            let name = RoomName::from_store(&name);
            let oldest = self.log.after(&name, MessageId::BEFORE_ALL, 1)?.first().map(Entry::id);
            let before = oldest.map_or(i64::MAX, ids::key);
            loop {
                let begun = Instant::now();
                let gone = self.change(|tx| {
                    let gone = tx
                        .prepare_cached(
                            "DELETE FROM messages WHERE rowid IN
                             (SELECT rowid FROM messages WHERE messages MATCH ?1 AND rowid < ?2 ORDER BY rowid LIMIT ?3)",
                        )?
                        .execute((format!("room : \"{number}\""), before, BATCH as i64))?;
                    if gone == 0 && oldest.is_none() {
                        tx.execute("DELETE FROM rooms WHERE id = ?1", [number])?;
                    }
                    Ok(gone)
                })?;
                self.erased |= gone > 0;
                if !self.rest(begun) {
                    return Ok(());
                }
                if gone < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        work(&self.file).map_err(failed(STORE, FOLLOW))
    }

    fn change<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let change = || {
            let tx = self.file.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&tx)?;
            tx.commit()?;
            self.work.done.fetch_add(1, Ordering::SeqCst);
            Ok(result)
        };
        change().map_err(failed::<rusqlite::Error>(STORE, FOLLOW))
    }
}

/// How far the index is in a room.
fn position(file: &Connection, room: &RoomName) -> rusqlite::Result<MessageId> {
    let position = file
        .prepare_cached("SELECT position FROM rooms WHERE name = ?1")?
        .query_row([room.as_str()], |row| row.get(0))
        .optional()?;
    Ok(position.map_or(MessageId::BEFORE_ALL, |id| MessageId(Uuid::from_bytes(id))))
}

/// Brings a room up to date with these entries; whether something was taken out.
fn take_in(tx: &Transaction<'_>, room: &RoomName, entries: &[Entry]) -> rusqlite::Result<bool> {
    let Some(last) = entries.last().map(Entry::id) else { return Ok(false) };
    tx.prepare_cached(
        "INSERT INTO rooms (name, position) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET position = excluded.position",
    )?
    .execute((room.as_str(), last.0.as_bytes()))?;
    let number = room_number(tx, room)?;
    let mut erased = false;
    for entry in entries {
        match entry {
            Entry::Message(message) => {
                tx.prepare_cached(
                    "INSERT OR REPLACE INTO messages (rowid, words, room, tail) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((
                    ids::key(message.id),
                    words(&message.text).join(" "),
                    number.map(|number| number.to_string()),
                    ids::tail(message.id),
                ))?;
            }
            Entry::Change(Change { of, kind: ChangeKind::Edited(Some(text)), .. }) => {
                tx.prepare_cached("UPDATE messages SET words = ?2 WHERE rowid = ?1")?
                    .execute((ids::key(*of), words(text).join(" ")))?;
                erased = true;
            }
            Entry::Change(Change { of, kind: ChangeKind::Edited(None) | ChangeKind::Deleted, .. }) => {
                tx.prepare_cached("DELETE FROM messages WHERE rowid = ?1")?.execute([ids::key(*of)])?;
                erased = true;
            }
            Entry::Change(Change { kind: ChangeKind::Reacted { .. }, .. }) => {}
        }
    }
    Ok(erased)
}
