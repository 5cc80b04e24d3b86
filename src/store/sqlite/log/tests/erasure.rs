//! What is trimmed, forgotten or deleted leaves no trace.

use super::{writer::lock_writer, *};

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
    // Nothing requests it, and new messages keep coming.
    let begun = Instant::now();
    while holds(log.dir(), "a secret") {
        assert!(begun.elapsed() < Duration::from_secs(60), "a deleted text is still in {:?}", log.dir());
        say(&*log, &room, &["chatter"]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

// SQLite seldom leaves copies, so the test puts some there. Seen to fail where the slack of pages is not overwritten.
#[test]
fn copies_of_rows_are_overwritten_also_by_the_next_process_if_one_ends_in_between() {
    const COPY: &str = "a copy of a secret";
    let dir = tempfile::tempdir().unwrap();
    let room = fresh_room();
    let texts = ["another text that is kept"; 5000];
    let leave = |due: bool| {
        let file = Connection::open(dir.path().join("log.db")).unwrap();
        file.execute("UPDATE sweep SET due = ?1", [due]).unwrap();
        file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        assert!(Slack::open(&dir.path().join("log.db")).unwrap().leave(&file, COPY) > 50);
    };
    say(&open_in(dir.path(), None), &room, &texts);
    leave(true);
    finish(&open_in(dir.path(), None));
    assert!(!holds(dir.path(), COPY), "the next process goes on");
    leave(false);
    let log = open_in(dir.path(), None);
    let id = say(&log, &room, &["a secret"])[0];
    finish(&log);
    assert!(holds(dir.path(), COPY), "nothing was deleted");
    make(&log, change(&room, id, ALICE, NewChangeKind::Delete)).unwrap();
    log.scrub(&[]).unwrap();
    assert!(!holds(dir.path(), COPY));
    assert_eq!(count(&log, &room), texts.len());
    drop(log);
    let file = Connection::open(dir.path().join("log.db")).unwrap();
    let verdict: String = file.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

// Seen to fail where a checkpoint in the middle of a wipe does not sweep the pages that it copies.
#[test]
fn a_checkpoint_in_the_middle_of_a_wipe_brings_no_copy_back() {
    const COPY: &str = "a copy of a secret";
    let log = open();
    let (room, text) = (fresh_room(), "x".repeat(1_000));
    let settle = || support::eventually("the tables have all", || log.settle().is_ok());
    let ids: Vec<_> = (0..15).flat_map(|_| say(&*log, &room, &[&*text; 1_000])).collect();
    settle();
    let mut keeper = keeper(&log, 1 << 30);
    let edit = |ids: &[MessageId]| {
        let kind = || NewChangeKind::Edit { text: "edited".into(), since: 0 };
        let edits: Vec<_> = ids.iter().map(|id| change(&room, *id, ALICE, kind()).into()).collect();
        log.append(&edits).unwrap();
        settle();
    };
    keeper.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(keeper.slack.leave(&keeper.connection, COPY) > 1_000);
    lock_writer(&keeper.writer).set_sweep_due(true).unwrap();
    keeper.wipe().unwrap();
    let left = |keeper: &Keeper| keeper.unswept.as_ref().map_or(0, Vec::len);
    let all = left(&keeper);
    assert!(all > 1_000, "the file is too small");
    // These are swept later: the WAL gets what is in their slack.
    edit(&ids[9_000..9_200]);
    while left(&keeper) > all / 2 {
        keeper.wipe().unwrap();
    }
    keeper.checkpoint().unwrap();
    // The WAL begins anew, and no longer names the pages that were copied.
    edit(&ids[..2_000]);
    while keeper.unswept.is_some() {
        keeper.wipe().unwrap();
    }
    assert!(!slack::is_due(&keeper.connection).unwrap());
    assert!(!holds(log.dir(), COPY));
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

// Seen to fail where the record that sets a room aside counts as forgotten with it: all of it is deleted.
#[test]
fn what_is_set_aside_stays_although_its_room_is_forgotten_at_once() {
    let log = open();
    let (room, aside) = (fresh_room(), fresh_room());
    say(&*log, &room, &["in the tables"]);
    log.settle().unwrap();
    say(&*log, &room, &["in the journal"]);
    log.set_aside(&room, &aside).unwrap();
    say(&*log, &room, &["doomed"]);
    log.forget(&room).unwrap();
    finish(&log);
    assert_eq!(texts(&log.history(&aside, None, 9).unwrap()), ["in the tables", "in the journal"]);
    assert_eq!((texts(&log.history(&room, None, 9).unwrap()).len(), rows(log.dir(), "messages")), (0, 2));
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
