//! What the log promises beyond the suite: restarts, trimming, failures.

use super::*;
use crate::entry::Entry;
use crate::store::suite::{self, Opened, draft, fresh_room, say, texts};
use rusqlite::ErrorCode;

fn open() -> Opened<SqliteLog> {
    open_keeping(None)
}

fn open_keeping(history_max: Option<u64>) -> Opened<SqliteLog> {
    Opened::new(|dir| open_in(dir, history_max))
}

fn open_in(dir: &Path, history_max: Option<u64>) -> SqliteLog {
    SqliteLog::open(&dir.join("log.db"), history_max, Durability::Process).unwrap()
}

suite::message_log!(open);

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let room = fresh_room();
    say(&open_in(dir.path(), None), &room, &["a", "b"]);
    let log = open_in(dir.path(), None);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["a", "b"]);
}

#[test]
fn pages_of_history_are_right_wherever_the_index_ends() {
    for indexed in 0..=30 {
        let log = open();
        let (room, other) = (fresh_room(), fresh_room());
        let mut ids = Vec::new();
        for n in 0..30 {
            if n == indexed {
                log.writer.lock().unwrap().index().unwrap();
            }
            ids.extend(say(&*log, &room, &["x"]));
            say(&*log, &other, &["y"]);
        }
        for (at, limit) in [(0, 5), (1, 5), (14, 5), (15, 30), (16, 1), (29, 7), (29, 100), (20, 0)] {
            let found = |messages: Vec<Message>| messages.into_iter().map(|message| message.id).collect::<Vec<_>>();
            let before = found(log.history(&room, Some(ids[at]), limit).unwrap());
            assert_eq!(before, ids[at.saturating_sub(limit)..at], "{limit} before {at}, {indexed} indexed");
            let since: Vec<_> = log.since(&room, ids[at], limit).unwrap().unwrap().iter().map(Entry::id).collect();
            assert_eq!(since, ids[at + 1..30.min(at + 1 + limit)], "{limit} since {at}, {indexed} indexed");
        }
    }
}

#[test]
fn messages_are_indexed_by_and_by_and_at_the_end() {
    let log = open();
    let room = fresh_room();
    let entries = |dir: &Path| -> i64 {
        let file = Connection::open(dir.join("log.db")).unwrap();
        file.query_row("SELECT count(*) FROM by_room", (), |row| row.get(0)).unwrap()
    };
    say(&*log, &room, &["x"; 10]);
    assert_eq!(entries(log.dir()), 0);
    for _ in 0..10 {
        say(&*log, &room, &["x"; 256]);
    }
    assert!(entries(log.dir()) > 2000);
    let dir = tempfile::tempdir().unwrap();
    say(&open_in(dir.path(), None), &room, &["a", "b"]);
    assert_eq!(entries(dir.path()), 2);
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
    say(&*before, &room, &["a", "b"]);
    // The files of a process that was killed right now.
    let after = tempfile::tempdir().unwrap();
    for file in ["log.db", "log.db-wal"] {
        std::fs::copy(before.dir().join(file), after.path().join(file)).unwrap();
    }
    let log = open_in(after.path(), None);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["a", "b"]);
}

#[test]
fn ids_never_go_back_even_if_the_clock_does() {
    let dir = tempfile::tempdir().unwrap();
    let (room, hour) = (fresh_room(), 3_600_000 << 12);
    say(&open_in(dir.path(), None), &room, &["a"]);
    // To a log whose newest message is an hour ahead, this computer's clock has gone back.
    let file = Connection::open(dir.path().join("log.db")).unwrap();
    file.execute("UPDATE messages SET key = key + ?1", [hour]).unwrap();
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
    log.writer.lock().unwrap().set_last_key(far << 12);
    let forgotten = say(&log, &room, &["a"])[0];
    log.forget(&room).unwrap();
    log.chores.wait_until_done();
    drop(log);
    assert!(say(&open_in(dir.path(), None), &room, &["b"])[0] > forgotten);
}

#[test]
fn a_room_is_trimmed_to_its_newest_messages() {
    let log = open_keeping(Some(20));
    let room = fresh_room();
    let ids: Vec<_> = (0..50).flat_map(|_| say(&*log, &room, &["x"; 10])).collect();
    log.chores.wait_until_done();
    let kept: Vec<_> = log.history(&room, None, 1000).unwrap().into_iter().map(|message| message.id).collect();
    assert!((20..=22).contains(&kept.len()), "{} kept", kept.len());
    assert!(ids.ends_with(&kept));
}

#[test]
fn a_room_of_more_messages_than_a_slice_is_trimmed_too() {
    let log = open_keeping(Some(1000));
    let room = fresh_room();
    say(&*log, &room, &["x"; 20_000]);
    log.chores.wait_until_done();
    assert_eq!(log.history(&room, None, usize::MAX).unwrap().len(), 1000);
}

#[test]
fn a_room_that_was_full_before_a_restart_is_trimmed_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let room = fresh_room();
    say(&open_in(dir.path(), None), &room, &["x"; 100]);
    let log = open_in(dir.path(), Some(10));
    say(&log, &room, &["y"]);
    log.chores.wait_until_done();
    assert_eq!(log.history(&room, None, 1000).unwrap().len(), 10);
}

#[test]
fn trimming_one_room_leaves_the_others_alone() {
    let log = open_keeping(Some(10));
    let (busy, quiet) = (fresh_room(), fresh_room());
    say(&*log, &quiet, &["q"; 10]);
    say(&*log, &busy, &["b"; 500]);
    log.chores.wait_until_done();
    assert_eq!(log.history(&quiet, None, 1000).unwrap().len(), 10);
}

#[test]
fn since_the_newest_trimmed_message_nothing_is_missing_and_since_an_older_one_there_is() {
    let log = open_keeping(Some(10));
    let room = fresh_room();
    let ids = say(&*log, &room, &["x"; 30]);
    log.chores.wait_until_done();
    let kept = log.history(&room, None, 1000).unwrap();
    let newest_trimmed = ids[ids.len() - kept.len() - 1];
    assert!(
        log.since(&room, newest_trimmed, 1000).unwrap().unwrap()
            == kept.into_iter().map(Entry::Message).collect::<Vec<_>>()
    );
    assert!(log.since(&room, ids[0], 1000).unwrap().is_none());
}

#[test]
fn a_forgotten_rooms_messages_are_deleted_from_the_file() {
    let log = open();
    let room = fresh_room();
    say(&*log, &room, &["x"; 5000]);
    log.forget(&room).unwrap();
    log.chores.wait_until_done();
    let rows: i64 = Connection::open(log.dir().join("log.db"))
        .unwrap()
        .query_row("SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM rooms)", (), |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn a_full_disk_refuses_a_batch_as_a_whole_and_is_overcome() {
    let log = open();
    let (room, new_room) = (fresh_room(), fresh_room());
    say(&*log, &room, &["before"]);
    let limit = |pages: u32| {
        let mut writer = log.writer.lock().unwrap();
        writer.connection().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(1);
    let large = "x".repeat(10_000);
    let error = log.append(&[draft(&new_room, "a").into(), draft(&room, &large).into()]).unwrap_err();
    let cause = error.source.downcast_ref::<rusqlite::Error>().unwrap();
    assert_eq!(cause.sqlite_error_code(), Some(ErrorCode::DiskFull));
    limit(1_000_000);
    say(&*log, &new_room, &["after"]);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["before"]);
    assert_eq!(texts(&log.history(&new_room, None, 10).unwrap()), ["after"]);
}

#[test]
fn a_locked_file_refuses_a_batch_and_is_overcome() {
    let log = open();
    let room = fresh_room();
    say(&*log, &room, &["before"]);
    log.writer.lock().unwrap().connection().busy_timeout(Duration::ZERO).unwrap();
    let rival = Connection::open(log.dir().join("log.db")).unwrap();
    rival.execute_batch("BEGIN IMMEDIATE").unwrap();
    log.append(&[draft(&room, "refused").into()]).map(drop).unwrap_err();
    rival.execute_batch("ROLLBACK").unwrap();
    say(&*log, &room, &["after"]);
    assert_eq!(texts(&log.history(&room, None, 10).unwrap()), ["before", "after"]);
}

#[test]
fn a_panic_while_writing_breaks_nothing() {
    let log = open();
    let room = fresh_room();
    say(&*log, &room, &["before"]);
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
        log.chores.wait_until_done();
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
