//! What the log promises beyond the suite: restarts, trimming, failures.

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

/// Waits until what was stored is in the tables, and nothing is left to tidy up.
fn finish(log: &SqliteLog) {
    log.settle().unwrap();
    log.chores.wait_until_done();
}

/// Copies the files of a process that is killed right now.
fn copy_of_killed(dir: &Path) -> tempfile::TempDir {
    let after = tempfile::tempdir().unwrap();
    let journal = after.path().join("journal");
    std::fs::create_dir(&journal).unwrap();
    for file in std::fs::read_dir(dir.join("journal")).unwrap().map(|file| file.unwrap()) {
        std::fs::copy(file.path(), journal.join(file.file_name())).unwrap();
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

/// Keeps the applier from the tables.
fn hold(dir: &Path) -> Connection {
    let rival = Connection::open(dir.join("log.db")).unwrap();
    rival.busy_timeout(Duration::from_secs(5)).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    rival
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

/// A log to which something happens after each call that stores something.
struct Disturbed {
    log: RwLock<SqliteLog>,
    dir: Mutex<tempfile::TempDir>,
    stored: AtomicUsize,
    disturb: fn(&Disturbed, usize),
}

impl Disturbed {
    fn open(disturb: fn(&Disturbed, usize)) -> Box<Disturbed> {
        let dir = tempfile::tempdir().unwrap();
        let log = RwLock::new(open_in(dir.path(), None));
        Box::new(Disturbed { log, dir: Mutex::new(dir), stored: AtomicUsize::new(0), disturb })
    }

    fn settle(&self) {
        self.log.read().settle().unwrap();
    }

    /// Goes on with the files that a process had when it was killed.
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
        self.log.read().history(room, before, limit)
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

/// All that was stored is in the tables before anybody looks.
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
fn what_was_stored_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let room = fresh_room();
    say(&open_in(dir.path(), None), &room, &["a", "b"]);
    let log = open_in(dir.path(), None);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["a", "b"]);
}

#[test]
fn pages_of_history_are_right_wherever_the_tables_end() {
    for applied in 0..=30 {
        let log = open();
        let (room, other) = (fresh_room(), fresh_room());
        let mut ids = Vec::new();
        for n in 0..30 {
            if n == applied {
                log.settle().unwrap();
            }
            ids.extend(say(&*log, &room, &["x"]));
            say(&*log, &other, &["y"]);
        }
        for (at, limit) in [(0, 5), (1, 5), (14, 5), (15, 30), (16, 1), (29, 7), (29, 100), (20, 0)] {
            let found = |messages: Vec<Message>| messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
            let before = found(log.history(&room, Some(ids[at]), limit).unwrap());
            assert_eq!(before, ids[at.saturating_sub(limit)..at], "{limit} before {at}, {applied} applied");
            let since: Vec<_> = log.since(&room, ids[at], limit).unwrap().unwrap().iter().map(Entry::id).collect();
            assert_eq!(since, ids[at + 1..30.min(at + 1 + limit)], "{limit} since {at}, {applied} applied");
        }
    }
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

#[test]
fn a_reference_is_known_wherever_its_message_is() {
    let log = open();
    let room = fresh_room();
    let marked = |text: &str, mark: &str| Draft { reference: Some(mark.into()), ..draft(&room, text) };
    let first = suite::append(&*log, [marked("in the tables", "t")]);
    log.settle().unwrap();
    let second = suite::append(&*log, [marked("in the journal", "j")]);
    let again = suite::append(&*log, [marked("again", "t"), marked("again", "j")]);
    let id = |appended: &Appended| match appended {
        Appended::Stored(id) | Appended::Repeated(id) => *id,
        other => panic!("{other:?}"),
    };
    assert_eq!(again, [Appended::Repeated(id(&first[0])), Appended::Repeated(id(&second[0]))]);
    log.forget(&room).unwrap();
    let anew = suite::append(&*log, [marked("anew", "t"), marked("anew", "j")]);
    assert!(anew.iter().all(|appended| matches!(appended, Appended::Stored(_))));
    log.settle().unwrap();
    assert_eq!(texts(&log.history(&room, None, 9).unwrap()), ["anew", "anew"]);
}

const ALICE: &str = "alice@propromo.example";
const BOB: &str = "bob@propromo.example";

/// Every kind of change, and what it does, of messages that are in the tables and of others that are in the journal.
#[test]
fn changes_are_seen_wherever_their_message_and_they_are() {
    let edit = |text: &str| NewChangeKind::Edit { text: text.into(), since: 0 };
    let react = |emoji: &str, on| NewChangeKind::React { emoji: emoji.into(), on };
    // The tables end before each step.
    for applied in 0..=9 {
        let log = open();
        let room = fresh_room();
        let mut step = 0;
        let mut next = || {
            if step == applied {
                log.settle().unwrap();
            }
            step += 1;
        };
        next();
        let ids = say(&*log, &room, &["a", "b", "c", "d"]);
        let mut changes = Vec::new();
        for (of, by, kind) in [
            (0, ALICE, edit("A")),
            (1, BOB, react("👍", true)),
            (1, ALICE, react("👍", true)),
            (1, BOB, react("👍", false)),
            (2, ALICE, NewChangeKind::Delete),
            (0, ALICE, edit("AA")),
            (1, BOB, react("🎉", true)),
        ] {
            next();
            changes.push(make(&*log, change(&room, ids[of], by, kind)).unwrap());
        }
        next();
        let reply = suite::append(&*log, [2, 0].map(|to| Draft { reply_to: Some(ids[to]), ..draft(&room, "e") }));
        assert!(matches!(reply[..], [Appended::StoredAlone(_), Appended::Stored(_)]), "{applied}: {reply:?}");
        next();
        let history = log.history(&room, None, 10).unwrap();
        assert_eq!(texts(&history), ["AA", "b", "d", "e", "e"], "{applied}");
        assert_eq!(history[0].edited, Some(changes[5]), "{applied}");
        let reactions: Vec<_> = history[1].reactions.iter().map(|one| (&*one.emoji, one.users.clone())).collect();
        assert_eq!(reactions, [("👍", vec![ALICE.into()]), ("🎉", vec![BOB.into()])], "{applied}");
        assert_eq!((history[3].reply_to, history[4].reply_to), (None, Some(ids[0])), "{applied}");
        for message in &history {
            assert!(log.message(&room, message.id).unwrap().as_ref() == Some(message), "{applied}");
        }
        assert!(log.message(&room, ids[2]).unwrap().is_none(), "{applied}");
        assert_eq!(
            texts(&log.history(&room, Some(ids[3]), 1).unwrap()),
            ["b"],
            "{applied}: the deleted one takes no place"
        );
        let all: Vec<MessageId> = [&[ids[3]][..], &changes, &[history[3].id, history[4].id]].concat();
        for (after, rest) in [(ids[2], 0), (ids[3], 1), (changes[4], 6), (changes[6], 8)] {
            for limit in [1, 3, 100] {
                let since = log.since(&room, after, limit).unwrap().unwrap();
                let since: Vec<_> = since.iter().map(Entry::id).collect();
                assert_eq!(since, all[rest..all.len().min(rest + limit)], "{applied}: {limit} after {rest}");
            }
        }
        let texts: Vec<_> = log.since(&room, ids[3], 10).unwrap().unwrap();
        let edits = texts.iter().filter_map(|entry| match entry {
            Entry::Change(crate::entry::Change { kind: crate::entry::ChangeKind::Edited(text), .. }) => text.as_deref(),
            _ => None,
        });
        assert_eq!(edits.collect::<Vec<_>>(), ["AA", "AA"], "{applied}");
        for (of, by, kind, why) in [
            (2, ALICE, NewChangeKind::Delete, Unchangeable::NoSuchMessage),
            (0, ALICE, edit("AA"), Unchangeable::Unchanged),
            (0, BOB, edit("B"), Unchangeable::NotYours),
            (1, ALICE, react("👍", true), Unchangeable::Unchanged),
            (1, BOB, react("👍", false), Unchangeable::Unchanged),
        ] {
            assert_eq!(make(&*log, change(&room, ids[of], by, kind)), Err(why), "{applied}");
        }
    }
}

#[test]
fn changes_are_replayed() {
    let log = open();
    let room = fresh_room();
    let ids = say(&*log, &room, &["a", "b"]);
    make(&*log, change(&room, ids[1], BOB, NewChangeKind::React { emoji: "👍".into(), on: true })).unwrap();
    log.settle().unwrap();
    let held = hold(log.dir());
    let later = say(&*log, &room, &["c", "d"]);
    let edit = |id, text: &str| change(&room, id, ALICE, NewChangeKind::Edit { text: text.into(), since: 0 });
    for (id, text) in [(ids[0], "A"), (ids[1], "B"), (later[0], "C")] {
        make(&*log, edit(id, text)).unwrap();
    }
    for id in [ids[0], later[1]] {
        make(&*log, change(&room, id, ALICE, NewChangeKind::Delete)).unwrap();
    }
    let seen = |log: &SqliteLog| (log.history(&room, None, 9).unwrap(), log.since(&room, ids[0], 20).unwrap());
    let before = seen(&log);
    assert_eq!(texts(&before.0), ["B", "C"]);
    assert_eq!(before.0[0].reactions.len(), 1);
    let killed = copy_of_killed(log.dir());
    held.execute_batch("ROLLBACK").unwrap();
    finish(&log);
    assert!(seen(&log) == before, "the tables say something else");
    let again = open_in(killed.path(), None);
    assert!(seen(&again) == before, "what was replayed says something else");
    finish(&again);
    assert!(seen(&again) == before, "what was replayed and applied says something else");
}

#[test]
fn pages_end_where_their_text_is_long_wherever_the_tables_end() {
    let log = open();
    let room = fresh_room();
    let long = "x".repeat(PAGE_BYTES / 4);
    let first = say(&*log, &room, &["first"])[0];
    let mut ids = say(&*log, &room, &[&*long; 6]);
    log.settle().unwrap();
    let held = hold(log.dir());
    // One that is short now, and one that is gone, in the tables.
    let short = NewChangeKind::Edit { text: "short".into(), since: 0 };
    let edited = make(&*log, change(&room, ids[0], ALICE, short)).unwrap();
    let deleted = make(&*log, change(&room, ids[2], ALICE, NewChangeKind::Delete)).unwrap();
    ids.extend([edited, deleted]);
    ids.extend(say(&*log, &room, &[&*long; 6]));
    ids.remove(2);
    let mut seen = Vec::new();
    let mut last = first;
    loop {
        let page = log.since(&room, last, 1000).unwrap().unwrap();
        let Some(newest) = page.last() else { break };
        last = newest.id();
        assert!(page.len() <= 7);
        seen.extend(page.iter().map(Entry::id));
    }
    assert_eq!(seen, ids);
    let mut before = None;
    let mut back = Vec::new();
    loop {
        let page = log.history(&room, before, 1000).unwrap();
        let Some(oldest) = page.first() else { break };
        before = Some(oldest.id);
        assert!(page.len() <= 6);
        back.extend(page.iter().rev().map(|message| message.id));
    }
    back.reverse();
    ids.retain(|id| ![edited, deleted].contains(id));
    ids.insert(0, first);
    assert_eq!(back, ids);
    held.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn the_reach_of_a_change_is_judged_wherever_its_message_is() {
    let log = open();
    let room = fresh_room();
    let first = say(&*log, &room, &["a"])[0];
    log.settle().unwrap();
    let second = say(&*log, &room, &["b"])[0];
    for id in [first, second] {
        let late = NewChangeKind::Edit { text: "x".into(), since: id.millis() + 1 };
        assert_eq!(make(&*log, change(&room, id, ALICE, late)), Err(Unchangeable::TooLate));
        assert_eq!(
            make(&*log, change(&fresh_room(), id, ALICE, NewChangeKind::Delete)),
            Err(Unchangeable::NoSuchMessage)
        );
        assert_eq!(make(&*log, change(&room, id, BOB, NewChangeKind::Delete)), Err(Unchangeable::NotYours));
        let any = NewChange { reach: Reach::Any, ..change(&room, id, BOB, NewChangeKind::Delete) };
        make(&*log, any).unwrap();
    }
}

#[test]
fn a_message_that_changes_while_the_tables_are_filled_is_judged_by_what_it_is() {
    let log = open();
    let room = fresh_room();
    let id = say(&*log, &room, &["a"])[0];
    std::thread::scope(|scope| {
        let (over, is_over) = std::sync::mpsc::channel::<()>();
        let log = &*log;
        scope.spawn(move || {
            while is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                log.settle().unwrap();
            }
        });
        for n in 0..400 {
            let emoji = ["👍", "🎉"][n % 2];
            let react = |on| change(&room, id, BOB, NewChangeKind::React { emoji: emoji.into(), on });
            make(log, react(true)).unwrap();
            assert_eq!(make(log, react(true)), Err(Unchangeable::Unchanged), "{n}");
            let now = log.message(&room, id).unwrap().unwrap();
            assert_eq!(now.reactions.len(), 1, "{n}");
            make(log, react(false)).unwrap();
            assert_eq!(log.history(&room, None, 1).unwrap()[0].reactions.len(), 0, "{n}");
        }
        drop(over);
    });
}

/// Whether any file of the log has these bytes.
fn holds(dir: &Path, text: &str) -> bool {
    let mut files = vec![dir.to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(text.len()).any(|at| at == text.as_bytes())) {
            return true;
        }
    }
    false
}

#[test]
fn a_deleted_text_is_in_no_file_soon() {
    let log = open();
    let (room, doomed) = (fresh_room(), fresh_room());
    let long = "a secret that is longer than a page of the tables ".repeat(200);
    let ids = say(&*log, &room, &["a secret in the tables", &long]);
    say(&*log, &doomed, &["a secret of a room"]);
    finish(&log);
    assert!(holds(log.dir(), "a secret in the tables") && holds(log.dir(), "a secret that is longer"));
    let later = say(&*log, &room, &["a secret in the journal"])[0];
    assert!(holds(log.dir(), "a secret in the journal"));
    for id in [ids[0], ids[1], later] {
        make(&*log, change(&room, id, ALICE, NewChangeKind::Delete)).unwrap();
    }
    log.forget(&doomed).unwrap();
    // Nobody asks for it, and new messages keep coming.
    let begun = Instant::now();
    while holds(log.dir(), "a secret") {
        assert!(begun.elapsed() < Duration::from_secs(20), "a deleted text is still in {:?}", log.dir());
        say(&*log, &room, &["chatter"]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_message_of_a_damaged_journal_takes_its_changes_along() {
    let log = open();
    let room = fresh_room();
    let held = hold(log.dir());
    let ids = say(&*log, &room, &["before", "damaged text"]);
    let edit = NewChangeKind::Edit { text: "edited".into(), since: 0 };
    make(&*log, change(&room, ids[1], ALICE, edit)).unwrap();
    make(&*log, change(&room, ids[1], BOB, NewChangeKind::React { emoji: "👍".into(), on: true })).unwrap();
    say(&*log, &room, &["after"]);
    let killed = copy_of_killed(log.dir());
    held.execute_batch("ROLLBACK").unwrap();
    let segment = std::fs::read_dir(killed.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(7).position(|text| text == b"damaged").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let log = open_in(killed.path(), None);
    for _ in 0..2 {
        assert_eq!(texts(&log.history(&room, None, 9).unwrap()), ["before", "after"]);
        assert_eq!(log.since(&room, ids[0], 9).unwrap().unwrap().len(), 3);
        finish(&log);
    }
    assert_eq!(rows(killed.path(), "reactions"), 0);
}

#[test]
fn a_room_that_is_forgotten_is_empty_at_once_and_its_texts_leave_the_journal() {
    let log = open();
    let (room, other) = (fresh_room(), fresh_room());
    let first = say(&*log, &room, &["in the tables"])[0];
    log.settle().unwrap();
    let held = hold(log.dir());
    let second = say(&*log, &room, &["in the journal"])[0];
    say(&*log, &other, &["kept"]);
    log.forget(&room).unwrap();
    say(&*log, &room, &["anew"]);
    let seen = || {
        assert_eq!(texts(&log.history(&room, None, 9).unwrap()), ["anew"]);
        assert!(log.since(&room, first, 9).unwrap().is_none() && log.since(&room, second, 9).unwrap().is_none());
    };
    seen();
    let killed = copy_of_killed(log.dir());
    held.execute_batch("ROLLBACK").unwrap();
    finish(&log);
    seen();
    for log in [&*log, &open_in(killed.path(), None)] {
        finish(log);
        assert_eq!(texts(&log.history(&room, None, 9).unwrap()), ["anew"]);
        assert_eq!(texts(&log.history(&other, None, 9).unwrap()), ["kept"]);
    }
    assert_eq!(rows(log.dir(), "messages"), 2);
    let journal = std::fs::read_dir(log.dir().join("journal")).unwrap();
    let journal: Vec<u8> = journal.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!String::from_utf8_lossy(&journal).contains("in the journal"));
}

#[test]
fn a_journal_that_is_replayed_twice_says_the_same() {
    let log = open();
    let room = fresh_room();
    let held = hold(log.dir());
    say(&*log, &room, &["a"]);
    log.forget(&room).unwrap();
    say(&*log, &room, &["b", "c"]);
    let killed = copy_of_killed(log.dir());
    held.execute_batch("ROLLBACK").unwrap();
    finish(&log);
    // Its tables have it all now, and its segments are still there, as if it had been killed in between.
    for file in ["log.db", "log.db-wal"] {
        std::fs::copy(log.dir().join(file), killed.path().join(file)).unwrap();
    }
    let log = open_in(killed.path(), None);
    finish(&log);
    assert_eq!(texts(&log.history(&room, None, 9).unwrap()), ["b", "c"]);
}

#[test]
fn a_full_journal_lets_senders_wait_and_refuses_them_if_the_tables_fail() {
    let options = LogOptions { journal_max: 1 << 20, ..LogOptions::keeping(None) };
    let log = Opened::new(|dir| SqliteLog::open(&dir.join("log.db"), options).unwrap());
    let room = fresh_room();
    let text = "x".repeat(10_000);
    // Many times what it holds.
    (0..20).for_each(|_| drop(say(&*log, &room, &[&*text; 50])));
    assert!(log.backlog().bytes < 2 << 20, "{:?}", log.backlog());
    limit_pages(&log, 1);
    let mut stored = 1000;
    let refused = loop {
        match log.append(&[draft(&room, &text).into()]) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(refused.source.to_string().contains("journal is full"), "{refused:?}");
    assert!(log.probe().is_err());
    assert_eq!(count(&log, &room), stored);
    limit_pages(&log, 1_000_000);
    while log.append(&[draft(&room, "after").into()]).is_err() {}
    finish(&log);
    assert_eq!(count(&log, &room), stored + 1);
    log.probe().unwrap();
}

#[test]
fn a_server_that_was_killed_with_a_full_journal_is_back_soon() {
    let log = open();
    let held = hold(log.dir());
    let rooms: Vec<_> = (0..100).map(|_| fresh_room()).collect();
    let mut said = 0;
    while log.backlog().bytes < 32 << 20 {
        let drafts: Vec<_> = rooms.iter().map(|room| draft(room, "a message of usual length, more or less")).collect();
        said += suite::append(&*log, drafts).len();
    }
    let killed = copy_of_killed(log.dir());
    held.execute_batch("ROLLBACK").unwrap();
    let begun = std::time::Instant::now();
    let log = open_in(killed.path(), None);
    let found: usize = rooms.iter().map(|room| log.history(room, None, usize::MAX).unwrap().len()).sum();
    let took = begun.elapsed();
    assert_eq!(found, said);
    // The promise is 2 s in a release build; here nothing is optimised, and others are at work.
    assert!(took < Duration::from_secs(20), "{took:?} for {said} messages");
}

#[test]
fn a_log_of_the_first_version_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let room = fresh_room();
    let old = Connection::open(dir.path().join("log.db")).unwrap();
    old.execute_batch(include_str!("../schema/log-1.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute("INSERT INTO rooms (name) VALUES (?1)", [room.as_str()]).unwrap();
    let insert = "INSERT INTO messages (key, room, tail, sender, text) VALUES (?1, 1, 7, 'alice', ?2)";
    for (key, text) in [(1i64 << 12, "a"), (2 << 12, "b")] {
        old.execute(insert, (key, text)).unwrap();
    }
    drop(old);
    let log = open_in(dir.path(), None);
    say(&log, &room, &["c"]);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["a", "b", "c"]);
}

#[test]
fn what_was_stored_is_there_after_a_kill() {
    let before = open();
    let room = fresh_room();
    say(&*before, &room, &["a"]);
    before.settle().unwrap();
    say(&*before, &room, &["b", "c"]);
    let after = copy_of_killed(before.dir());
    let log = open_in(after.path(), None);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["a", "b", "c"]);
    finish(&log);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["a", "b", "c"]);
}

#[test]
fn ids_never_go_back_even_if_the_clock_does() {
    let dir = tempfile::tempdir().unwrap();
    let (room, hour) = (fresh_room(), 3_600_000 << 12);
    say(&open_in(dir.path(), None), &room, &["a"]);
    // To a log whose newest message is an hour ahead, this computer's clock has gone back.
    let file = Connection::open(dir.path().join("log.db")).unwrap();
    file.execute("UPDATE messages SET key = key + ?1", [hour]).unwrap();
    file.execute("UPDATE by_room SET key = key + ?1", [hour]).unwrap();
    file.execute("UPDATE applied SET key = key + ?1", [hour]).unwrap();
    drop(file);
    let log = open_in(dir.path(), None);
    say(&log, &room, &["b", "c"]);
    let ids: Vec<_> = log.history(&room, None, 10).unwrap().into_iter().map(|message| message.id).collect();
    assert!(ids.len() == 3 && ids.is_sorted_by(|a, b| a < b));
}

#[test]
fn ids_never_go_back_even_if_the_newest_message_was_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (room, far) = (fresh_room(), ids::unix_millis() + 3_600_000);
    let log = open_in(dir.path(), None);
    log.front.lock().set_last_key(far << 12);
    let forgotten = say(&log, &room, &["a"])[0];
    log.forget(&room).unwrap();
    finish(&log);
    drop(log);
    assert!(say(&open_in(dir.path(), None), &room, &["b"])[0] > forgotten);
}

#[test]
fn a_room_is_trimmed_to_its_newest_messages() {
    let log = open_keeping(Some(20));
    let room = fresh_room();
    let ids: Vec<_> = (0..50).flat_map(|_| say(&*log, &room, &["x"; 10])).collect();
    finish(&log);
    let kept: Vec<_> = log.history(&room, None, 1000).unwrap().into_iter().map(|message| message.id).collect();
    assert!((20..=22).contains(&kept.len()), "{} kept", kept.len());
    assert!(ids.ends_with(&kept));
}

#[test]
fn a_room_of_more_messages_than_a_slice_is_trimmed_too() {
    let log = open_keeping(Some(1000));
    let room = fresh_room();
    say(&*log, &room, &["x"; 20_000]);
    finish(&log);
    assert_eq!(log.history(&room, None, usize::MAX).unwrap().len(), 1000);
}

#[test]
fn a_room_that_was_full_before_a_restart_is_trimmed_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let room = fresh_room();
    say(&open_in(dir.path(), None), &room, &["x"; 100]);
    let log = open_in(dir.path(), Some(10));
    say(&log, &room, &["y"]);
    finish(&log);
    assert_eq!(log.history(&room, None, 1000).unwrap().len(), 10);
}

#[test]
fn trimming_one_room_leaves_the_others_alone() {
    let log = open_keeping(Some(10));
    let (busy, quiet) = (fresh_room(), fresh_room());
    say(&*log, &quiet, &["q"; 10]);
    say(&*log, &busy, &["b"; 500]);
    finish(&log);
    assert_eq!(log.history(&quiet, None, 1000).unwrap().len(), 10);
}

#[test]
fn since_the_newest_trimmed_message_nothing_is_missing_and_since_an_older_one_there_is() {
    let log = open_keeping(Some(10));
    let room = fresh_room();
    let ids = say(&*log, &room, &["x"; 30]);
    finish(&log);
    let kept = log.history(&room, None, 1000).unwrap();
    let newest_trimmed = ids[ids.len() - kept.len() - 1];
    let kept: Vec<_> = kept.into_iter().map(Entry::Message).collect();
    assert!(log.since(&room, newest_trimmed, 1000).unwrap().unwrap() == kept);
    assert!(log.since(&room, ids[0], 1000).unwrap().is_none());
}

#[test]
fn a_forgotten_rooms_messages_are_deleted_from_the_file() {
    let log = open();
    let room = fresh_room();
    say(&*log, &room, &["x"; 5000]);
    log.forget(&room).unwrap();
    finish(&log);
    let rows: i64 = Connection::open(log.dir().join("log.db"))
        .unwrap()
        .query_row("SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM rooms)", (), |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn tables_that_can_not_be_written_lose_nothing_and_it_is_overcome() {
    let log = open();
    let (room, new_room) = (fresh_room(), fresh_room());
    say(&*log, &room, &["before"]);
    log.settle().unwrap();
    limit_pages(&log, 1);
    let large = "x".repeat(100_000);
    say(&*log, &new_room, &["meanwhile"]);
    say(&*log, &room, &[&large]);
    log.settle().unwrap_err();
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["before", &large]);
    limit_pages(&log, 1_000_000);
    while log.settle().is_err() {}
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["before", &large]);
    assert_eq!(texts(&log.history(&new_room, None, 10).unwrap()), ["meanwhile"]);
}

#[test]
fn locked_tables_delay_nobody() {
    let log = open();
    let room = fresh_room();
    say(&*log, &room, &["before"]);
    log.settle().unwrap();
    let held = hold(log.dir());
    say(&*log, &room, &["meanwhile"]);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["before", "meanwhile"]);
    held.execute_batch("ROLLBACK").unwrap();
    while log.settle().is_err() {}
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["before", "meanwhile"]);
}

#[test]
fn a_journal_that_can_not_be_written_refuses_a_batch_as_a_whole_and_is_overcome() {
    let log = open();
    let room = fresh_room();
    let journal = log.dir().join("journal");
    // No segment can be made where a directory is none.
    std::fs::remove_dir(&journal).unwrap();
    std::fs::write(&journal, "").unwrap();
    log.append(&[draft(&room, "a").into(), draft(&room, "b").into()]).map(drop).unwrap_err();
    log.probe().unwrap_err();
    std::fs::remove_file(&journal).unwrap();
    std::fs::create_dir(&journal).unwrap();
    say(&*log, &room, &["after"]);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["after"]);
}

#[test]
fn a_panic_while_writing_breaks_nothing() {
    let log = open();
    let room = fresh_room();
    say(&*log, &room, &["before"]);
    log.settle().unwrap();
    let panicked = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let mut writer = log.writer.lock().unwrap();
                writer.connection().execute_batch("BEGIN IMMEDIATE; DELETE FROM messages").unwrap();
                panic!("in the middle of a transaction");
            })
            .join()
    });
    assert!(panicked.is_err());
    say(&*log, &room, &["after"]);
    log.settle().unwrap();
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["before", "after"]);
}

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
    for _ in 0..100 {
        say(&*log, &room, &batch);
        finish(&log);
    }
    let wal = log.dir().join("log.db-wal").metadata().unwrap().len();
    // Checkpoints come after 4 MiB as the writer estimates it; half-empty pages make that twice as much.
    assert!(wal < 16 << 20, "the WAL has {wal} bytes after 50 MB of messages");
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
                    // Steps through the rooms in an order that no page has.
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

#[test]
fn rooms_with_news_are_named_wherever_their_entries_are() {
    let log = open();
    let (old, both, new, forgotten) = (fresh_room(), fresh_room(), fresh_room(), fresh_room());
    let first = say(&*log, &old, &["a"])[0];
    let changed = say(&*log, &both, &["b"])[0];
    say(&*log, &forgotten, &["c"]);
    log.settle().unwrap();
    let before = log.last_id();
    let held = hold(log.dir());
    let reacted =
        make(&*log, change(&both, changed, BOB, NewChangeKind::React { emoji: "👍".into(), on: true })).unwrap();
    let said = say(&*log, &new, &["d"])[0];
    log.forget(&forgotten).unwrap();
    let look = || {
        let news = |after| {
            let mut rooms = Vec::new();
            log.rooms_after(after, |room, last| {
                rooms.push((room, ids::key(last)));
                true
            })
            .unwrap();
            rooms.sort();
            rooms
        };
        let sorted = |mut rooms: Vec<(RoomName, MessageId)>| {
            rooms.sort();
            rooms.into_iter().map(|(room, id)| (room, ids::key(id))).collect::<Vec<_>>()
        };
        assert_eq!(news(before), sorted(vec![(both.clone(), reacted), (new.clone(), said)]));
        assert_eq!(
            news(MessageId::BEFORE_ALL),
            sorted(vec![(old.clone(), first), (both.clone(), reacted), (new.clone(), said)])
        );
        assert!(news(log.last_id()).is_empty() && log.last_id() > said);
        let after =
            |room, after| -> Vec<MessageId> { log.after(room, after, 10).unwrap().iter().map(Entry::id).collect() };
        assert_eq!(after(&both, before), [reacted]);
        assert_eq!(after(&both, MessageId::BEFORE_ALL), [changed, reacted]);
        assert!(after(&forgotten, MessageId::BEFORE_ALL).is_empty() && after(&old, before).is_empty());
    };
    look();
    held.execute_batch("ROLLBACK").unwrap();
    finish(&log);
    look();
}
