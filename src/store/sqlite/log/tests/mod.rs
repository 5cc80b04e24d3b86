//! What the log promises beyond the suite: restarts, trimming, failures.

mod authors;
mod erasure;
mod overlay;
mod recovery;
mod store_max;

use super::*;
use crate::{
    entry::{Entry, NewChange, NewChangeKind, Reach, Unchangeable},
    message::Draft,
    store::log::PAGE_BYTES,
    store::suite::{self, Opened, change, draft, fresh_room, make, say, texts},
};
use parking_lot::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};

fn open() -> Opened<SqliteLog> {
    open_keeping(None)
}

fn open_keeping(history_max: Option<u64>) -> Opened<SqliteLog> {
    Opened::new(|dir| open_in(dir, history_max))
}

fn open_in(dir: &Path, history_max: Option<u64>) -> SqliteLog {
    SqliteLog::open(&dir.join("log.db"), LogOptions::keeping(history_max)).unwrap()
}

/// Waits until everything stored is in the tables, and no chore is left.
fn finish(log: &SqliteLog) {
    log.settle().unwrap();
    log.chores.wait_until_done();
}

/// Copies the files as a process leaves them that is killed right now.
fn copy_of_killed(dir: &Path) -> tempfile::TempDir {
    let after = tempfile::tempdir().unwrap();
    let journal = after.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    for file in std::fs::read_dir(dir.join("journal")).unwrap().map(|file| file.unwrap()) {
        match std::fs::copy(file.path(), journal.join(file.file_name())) {
            // Meanwhile it was removed: what was in it is in the tables, which are copied after it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
    for file in ["log.db", "log.db-wal"] {
        std::fs::copy(dir.join(file), after.path().join(file)).unwrap();
    }
    after
}

fn rows(dir: &Path, table: &str) -> i64 {
    let file = Connection::open(dir.join("log.db")).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
}

/// Locks the applier out of the tables.
fn hold(dir: &Path) -> Connection {
    let rival = Connection::open(dir.join("log.db")).unwrap();
    rival.busy_timeout(Duration::from_secs(5)).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    rival
}

/// A keeper beside that of a log, which has ended: it does what the test asks for, and nothing else.
fn keeper(log: &Opened<SqliteLog>, store_max: u64) -> Keeper {
    finish(log);
    log.chores.stop();
    let path = log.dir().join("log.db");
    let tuning = Tuning {
        sync: DiskSync::Checkpoint,
        autocheckpoint: 0,
        cache_kib: 256,
        query_only: false,
        busy: database::BUSY,
    };
    Keeper {
        writer: log.writer.clone(),
        chores: Arc::default(),
        connection: database::connect(&path, &tuning).unwrap(),
        slack: Slack::open(&path).unwrap(),
        unswept: None,
        keep: None,
        quota: Arc::new(Quota::new(Some(store_max))),
        tail: log.tail.clone(),
        work: Work { is_weighed: true, ..Work::default() },
    }
}

fn limit_pages(log: &SqliteLog, pages: u32) {
    let mut writer = log.writer.lock().unwrap();
    writer.connection().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
}

/// How many messages a room has, read page by page.
fn count(log: &SqliteLog, room: &RoomName) -> usize {
    let (mut before, mut count) = (None, 0);
    loop {
        let page = log.history(room, before, 5000).unwrap();
        let Some(oldest) = page.first() else { return count };
        before = Some(oldest.id);
        count += page.len();
    }
}

suite::message_log!(open);

/// A log that is disturbed after each call that stores something.
struct Disturbed {
    log: RwLock<SqliteLog>,
    dir: Mutex<tempfile::TempDir>,
    stored: AtomicUsize,
    /// Pages of history that were read.
    read: AtomicUsize,
    disturb: fn(&Disturbed, usize),
}

impl Disturbed {
    fn open(disturb: fn(&Disturbed, usize)) -> Box<Disturbed> {
        let dir = tempfile::tempdir().unwrap();
        let log = RwLock::new(open_in(dir.path(), None));
        Box::new(Disturbed {
            log,
            dir: Mutex::new(dir),
            stored: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            disturb,
        })
    }

    fn settle(&self) {
        self.log.read().settle().unwrap();
    }

    /// Continues with the files as a killed process leaves them.
    fn kill(&self) {
        let mut dir = self.dir.lock().unwrap();
        *dir = {
            let _held = hold(dir.path());
            copy_of_killed(dir.path())
        };
        *self.log.write() = open_in(dir.path(), None);
    }
}

impl MessageLog for Disturbed {
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        let appended = self.log.read().append(entries);
        (self.disturb)(self, self.stored.fetch_add(1, Ordering::Relaxed));
        appended
    }

    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.log.read().history(room, before, limit)
    }

    fn newer(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Message>, StoreError> {
        self.log.read().newer(room, after, limit)
    }

    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        self.log.read().since(room, after, limit)
    }

    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.log.read().message(room, id)
    }

    fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        self.log.read().rooms(after, limit)
    }

    fn rooms_of(&self, sender: &str, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        self.log.read().rooms_of(sender, after, limit)
    }

    fn forget_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError> {
        self.log.read().forget_before(room, before)
    }

    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        let forgotten = self.log.read().forget(room);
        (self.disturb)(self, self.stored.fetch_add(1, Ordering::Relaxed));
        forgotten
    }

    fn set_aside(&self, room: &RoomName, to: &RoomName) -> Result<(), StoreError> {
        let set_aside = self.log.read().set_aside(room, to);
        (self.disturb)(self, self.stored.fetch_add(1, Ordering::Relaxed));
        set_aside
    }

    fn entries(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.log.read().entries(room, after, limit)
    }

    fn scrub(&self, rooms: &[RoomName]) -> Result<(), StoreError> {
        self.log.read().scrub(rooms)
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.log.read().probe()
    }
}

/// Everything stored is in the tables before it is read.
mod in_the_tables {
    use super::*;

    suite::message_log!(|| Disturbed::open(|log, _| log.settle()));
}

/// A part of it is.
mod in_both {
    use super::*;

    suite::message_log!(|| Disturbed::open(|log, n| {
        if n.is_multiple_of(3) {
            log.settle();
        }
    }));
}

/// The server is killed again and again.
mod after_kills {
    use super::*;

    suite::message_log!(|| Disturbed::open(|log, n| match n % 4 {
        0 | 2 => log.kill(),
        1 => log.settle(),
        _ => {}
    }));
}

#[test]
fn what_is_in_the_tables_is_in_no_segment() {
    let log = open();
    let room = fresh_room();
    say(&*log, &room, &["x"; 10]);
    log.settle().unwrap();
    assert_eq!((rows(log.dir(), "messages"), rows(log.dir(), "by_room")), (10, 10));
    assert_eq!(crate::store::journal::read(&log.dir().join("journal")).unwrap().records.len(), 0);
}

#[test]
fn the_end_leaves_nothing_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    say(&open_in(dir.path(), None), &fresh_room(), &["a", "b"]);
    assert_eq!(rows(dir.path(), "by_room"), 2);
    assert_eq!(std::fs::read_dir(dir.path().join("journal")).unwrap().count(), 0);
}

#[test]
fn what_nobody_hastens_is_taken_over_by_and_by() {
    let log = open();
    say(&*log, &fresh_room(), &["a", "b"]);
    while log.backlog().bytes > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(rows(log.dir(), "messages"), 2);
}

const ALICE: &str = "alice@propromo.example";
const BOB: &str = "bob@propromo.example";

#[test]
fn history_can_be_read_while_batches_are_stored() {
    let log = open();
    let room = fresh_room();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|_| drop(say(&*log, &room, &["x"; 10]))));
        for _ in 0..100 {
            let seen = log.history(&room, None, usize::MAX).unwrap();
            assert_eq!(seen.len() % 10, 0, "a batch is seen as a whole");
        }
    });
}

#[test]
fn the_wal_stays_small_while_messages_keep_coming() {
    let log = open();
    let room = fresh_room();
    let text = "x".repeat(2000);
    let batch = vec![&*text; 256];
    for _ in 0..200 {
        say(&*log, &room, &batch);
        finish(&log);
    }
    let wal = log.dir().join("log.db-wal").metadata().unwrap().len();
    // Checkpoints come after 8 MiB as the writer estimates it; half-empty pages make that twice as much.
    assert!(wal < 24 << 20, "the WAL has {wal} bytes after 100 MB of messages");
}

/// Run with `cargo test --release -- --ignored --nocapture how_fast`.
#[test]
#[ignore = "measures, asserts nothing"]
fn how_fast_batches_are_stored() {
    let text = "x".repeat(128);
    for rooms in [1usize, 100, 1000] {
        let rooms: Vec<_> = (0..rooms).map(|_| fresh_room()).collect();
        for batch in [1usize, 40, 256] {
            let log = open_keeping(Some(100_000));
            let total = if batch == 1 { 20_000 } else { 500_000 };
            let mut slowest = Duration::ZERO;
            let started = std::time::Instant::now();
            for start in (0..total).step_by(batch) {
                let drafts: Vec<_> = (start..start + batch)
                    // Goes through the rooms in an order that no page has.
                    .map(|n| draft(&rooms[n.wrapping_mul(7919) % rooms.len()], &text))
                    .collect();
                let commit = std::time::Instant::now();
                suite::append(&*log, drafts);
                slowest = slowest.max(commit.elapsed());
            }
            let rate = total as f64 / started.elapsed().as_secs_f64();
            println!("{:5} rooms, batches of {batch:3}: {rate:8.0} messages/s, slowest {slowest:?}", rooms.len());
        }
    }
}
