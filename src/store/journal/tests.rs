//! A journal that is torn or spoilt anywhere, and one that is used as it should be.

use super::*;
use crate::message::{MessageId, RoomName};
use proptest::prelude::*;
use std::path::Path;

/// A limit that no test reaches by chance.
pub(crate) const MAX: u64 = 256 << 20;

fn message(key: i64, text: &str, reference: Option<&str>) -> Record {
    let is_even = text.len().is_multiple_of(2);
    let what = What::Message(Said {
        sender: "alice@propromo.example".into(),
        name: is_even.then(|| "Ann".into()),
        text: text.into(),
        extra: is_even.then(|| "{}".into()),
        reference: reference.map(Into::into),
        reply_to: reference.map(|_| id(key)),
    });
    Record { key, tail: key * 7, room: RoomName::channel("lobby"), what }
}

fn id(key: i64) -> MessageId {
    MessageId(uuid::Uuid::from_u128(key as u128))
}

/// One of all that can happen.
fn happened(key: i64, text: &str, reference: Option<&str>, kind: u8) -> Record {
    let said = message(key, text, reference);
    let changed = |outcome| What::Change(Changed { of: id(key - 1), by: "bob".into(), outcome });
    let what = match kind {
        0 => What::Forget,
        1 => changed(Outcome::Text(text.into())),
        2 => changed(Outcome::Nothing),
        3 | 4 => changed(Outcome::Reacted { emoji: text.into(), on: kind == 3 }),
        _ => said.what,
    };
    Record { what, ..said }
}

/// Texts of all kinds, some with what begins a segment in them.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (prop_oneof![".{0,60}", Just("PPCJ\u{1}\0\0\0".to_owned())], prop::option::of("[a-z]{1,8}"), 0u8..10);
    prop::collection::vec(one, 1..20).prop_map(|all| {
        let numbered = (1..).zip(all);
        let one = |(key, (text, reference, kind)): (i64, (String, Option<String>, u8))| {
            happened(key, &text, reference.as_deref(), kind)
        };
        numbered.map(one).collect()
    })
}

/// Writes records in batches of these sizes, and gives the one segment's bytes with where each record ends.
fn written(dir: &Path, records: &[Record], batch: usize) -> (PathBuf, Vec<u8>, Vec<usize>) {
    let (mut journal, _) = Journal::open(dir, false).unwrap();
    let mut ends = Vec::new();
    for batch in records.chunks(batch) {
        journal.append(batch).unwrap();
        journal.probe().unwrap();
    }
    let path = segments(dir).unwrap().pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let mut at = segment::HEAD;
    for _ in records {
        at += record::HEAD + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        ends.push(at);
    }
    (path, bytes[..at].to_owned(), ends)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_journal_torn_at_every_byte_of_its_last_record_has_all_before_it(records in records(), batch in 1usize..8) {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes, ends) = written(dir.path(), &records, batch);
        let before = if ends.len() > 1 { ends[ends.len() - 2] } else { segment::HEAD };
        for end in before..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let replay = read(dir.path()).unwrap();
            prop_assert!(replay.records == records[..records.len() - 1], "torn at {end}");
            prop_assert!(replay.damaged.is_empty());
            prop_assert_eq!(replay.torn, end - before);
        }
        fs::write(&path, &bytes).unwrap();
        prop_assert!(read(dir.path()).unwrap().records == records);
    }

    #[test]
    fn one_byte_changed_anywhere_costs_one_record_and_alters_none(
        records in records(),
        batch in 1usize..8,
        flip in 1u8..,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes, ends) = written(dir.path(), &records, batch);
        for at in 0..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= flip;
            fs::write(&path, &spoilt).unwrap();
            let replay = read(dir.path()).unwrap();
            let mut left = records.clone();
            if at >= segment::HEAD {
                left.remove(ends.partition_point(|end| *end <= at));
            }
            prop_assert!(replay.records == left, "{at} of {} changed", bytes.len());
            prop_assert!(replay.torn > 0 || !replay.damaged.is_empty());
        }
    }
}

#[test]
fn what_somebody_says_can_not_pass_for_a_record() {
    let dir = tempfile::tempdir().unwrap();
    // A whole record, as text: of some number all bytes are such that a text may have them.
    let forged = (99..).find_map(|key| {
        let mut forged = Vec::new();
        record::write(&message(key, "forged", None), 0, &mut forged);
        String::from_utf8(forged).ok()
    });
    let text = forged.unwrap();
    let records = [message(1, "before", None), message(2, &text, None), message(3, "after", None)];
    let (path, mut bytes, ends) = written(dir.path(), &records, 1);
    bytes[ends[0] + 5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let replay = read(dir.path()).unwrap();
    assert!(replay.records == [records[0].clone(), records[2].clone()]);
}

#[test]
fn segments_are_of_bounded_size_and_are_read_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), false).unwrap();
    let text = "x".repeat(64 << 10);
    for key in 1..=200 {
        journal.append([&message(key, &text, None)]).unwrap();
    }
    let sizes: Vec<u64> = segments(dir.path()).unwrap().iter().map(|path| path.metadata().unwrap().len()).collect();
    assert!(sizes.len() == 4 && sizes.iter().all(|size| *size <= SEGMENT + (65 << 10)), "{sizes:?}");
    let keys: Vec<i64> = read(dir.path()).unwrap().records.iter().map(|record| record.key).collect();
    assert_eq!(keys, (1..=200).collect::<Vec<_>>());
    let first = journal.take_applied(70);
    assert_eq!(first.len(), 1);
    assert!(remove(first).is_empty());
    let keys: Vec<i64> = read(dir.path()).unwrap().records.iter().map(|record| record.key).collect();
    assert!(keys[0] > 1 && keys[0] <= 71, "{}", keys[0]);
}

#[test]
fn a_journal_that_was_let_go_empty_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), true).unwrap();
    journal.append([&message(1, "a", None)]).unwrap();
    journal.seal();
    journal.probe().unwrap();
    assert!(remove(journal.take_applied(1)).is_empty());
    drop(journal);
    assert!(segments(dir.path()).unwrap().is_empty());
}

#[test]
fn a_new_process_goes_on_in_a_segment_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    for key in 1..4 {
        let (mut journal, replay) = Journal::open(dir.path(), false).unwrap();
        assert_eq!(replay.records.len(), key as usize - 1);
        journal.append([&message(key, "a", None)]).unwrap();
    }
    assert_eq!(segments(dir.path()).unwrap().len(), 3);
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let journal_dir = dir.path().join("journal");
    let (mut journal, _) = Journal::open(&journal_dir, false).unwrap();
    journal.append([&message(1, "a", None)]).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&journal_dir), 0o700);
    assert_eq!(mode(&segments(&journal_dir).unwrap()[0]), 0o600);
}

#[test]
fn a_newer_programs_journal_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{:016x}.{SUFFIX}", 0));
    let mut head = segment::head(5);
    head[4] = 2;
    let checksum = crc32c::crc32c(&head[..12]).to_le_bytes();
    head[12..].copy_from_slice(&checksum);
    fs::write(&path, head).unwrap();
    assert!(matches!(Journal::open(dir.path(), false), Err(JournalError::TooNew { version: 2, .. })));
    assert_eq!(fs::read(&path).unwrap(), head);
}

/// A file on which writes succeed, and nothing else does.
fn nowhere() -> File {
    OpenOptions::new().write(true).open("/dev/null").unwrap()
}

impl Journal {
    /// Has the next writes fail and leave something that can't be cut off, until the file is given back.
    pub fn give_away_file(&mut self) -> File {
        // Else a write is all that is asked of the file.
        self.sync = true;
        let current = self.current().unwrap();
        std::mem::replace(&mut current.file, nowhere())
    }

    pub fn give_back_file(&mut self, file: File) {
        self.current().unwrap().file = file;
    }
}

#[test]
fn what_failed_and_can_not_be_cut_off_stays_known_as_such_and_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), false).unwrap();
    journal.append([&message(1, "a", None)]).unwrap();
    let file = journal.give_away_file();
    assert!(journal.append([&message(2, "lost", None)]).unwrap_err().is_left);
    journal.tidy().unwrap_err();
    // This one was not even begun.
    assert!(!journal.append([&message(3, "lost too", None)]).unwrap_err().is_left);
    journal.seal();
    assert!(!journal.has_sealed(), "what failed would come back from there");
    // As it would be, had the first file failed.
    let current = journal.current.as_ref().unwrap();
    let mut bytes = Vec::new();
    record::write(&message(2, "lost", None), current.marker, &mut bytes);
    file.write_all_at(&bytes, current.length).unwrap();
    assert_eq!(read(dir.path()).unwrap().records.len(), 2, "a crash now would bring it back");
    journal.give_back_file(file);
    journal.tidy().unwrap();
    assert_eq!(read(dir.path()).unwrap().records.len(), 1);
}

#[test]
fn after_a_write_that_failed_the_next_one_stands_where_it_should_have() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), false).unwrap();
    journal.append([&message(1, "a", None)]).unwrap();
    // As a write leaves it that came half way, when the file could not be cut either.
    let current = journal.current.as_mut().unwrap();
    current.file.write_all_at(&[7; 500], current.length).unwrap();
    current.untidy = true;
    journal.append([&message(2, "b", None)]).unwrap();
    drop(journal);
    let replay = read(dir.path()).unwrap();
    assert!(replay.records.len() == 2 && replay.torn == 0 && replay.damaged.is_empty());
}
