//! Importing messages and marks from an embedded installation.

use super::{draft, ledger, log, soon};
use crate::{
    entry::Entry,
    message::{Draft, MessageId, RoomName},
    store::{
        error::StoreError,
        ledger::{Ledger, SignedPart},
        log::{Appended, MessageLog},
        moving::{Kept, Mark, Moved, Trimmed},
        redis::{import::Standing, log::RedisLog},
        sqlite::log::{LogOptions, SqliteLog},
        suite::{append, fresh_room, say, texts},
    },
};

/// Messages as another log would have stored them.
fn foreign(room: &RoomName, texts: &[&str]) -> Vec<Moved> {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&dir.path().join("log.db"), LogOptions::keeping(None)).unwrap();
    let drafts: Vec<Draft> =
        texts.iter().map(|text| Draft { reference: Some((*text).into()), ..draft(room, text) }).collect();
    append(&log, drafts);
    let messages = log.history(room, None, texts.len()).unwrap();
    messages
        .into_iter()
        .map(|message| Moved::Message(Kept { reference: Some(message.text.clone()), message }))
        .collect()
}

fn import(log: &RedisLog, room: &RoomName, before: Option<MessageId>, page: &[Moved]) -> Result<bool, StoreError> {
    log.import(room, before, page, Trimmed::default())
}

#[test]
fn messages_that_are_taken_over_keep_their_ids() {
    let opened = log();
    let room = fresh_room();
    let page = foreign(&room, &["a", "b", "c"]);
    let ids: Vec<MessageId> = page.iter().map(Moved::id).collect();
    assert!(import(&opened, &room, None, &page[..2]).unwrap());
    assert!(import(&opened, &room, Some(ids[1]), &page[2..]).unwrap());
    let new = say(&*opened.store, &room, &["d"])[0];
    let since = opened.since(&room, ids[0], 10).unwrap().unwrap();
    assert_eq!(since.iter().map(Entry::id).collect::<Vec<_>>(), [ids[1], ids[2], new]);
    assert!(new > ids[2]);
    assert_eq!(texts(&opened.history(&room, Some(ids[2]), 10).unwrap()), ["a", "b"]);
    let again = append(&*opened.store, [Draft { reference: Some("b".into()), ..draft(&room, "b") }]);
    assert_eq!(again, [Appended::Repeated(ids[1])]);
}

#[test]
fn a_page_that_comes_twice_is_taken_over_once_and_one_out_of_order_never() {
    let opened = log();
    let room = fresh_room();
    let page = foreign(&room, &["a", "b", "c"]);
    let last = page[1].id();
    assert!(import(&opened, &room, None, &page[..2]).unwrap());
    assert!(import(&opened, &room, None, &page[..2]).unwrap());
    assert!(!import(&opened, &room, Some(page[0].id()), &page[2..]).unwrap());
    assert_eq!(opened.standing(std::slice::from_ref(&room)).unwrap(), [Standing::TakenOver { last, spoken: false }]);
    say(&*opened.store, &room, &["own"]);
    assert_eq!(opened.standing(std::slice::from_ref(&room)).unwrap(), [Standing::TakenOver { last, spoken: true }]);
    assert!(!import(&opened, &room, Some(last), &page[2..]).unwrap());
    assert_eq!(texts(&opened.history(&room, None, 10).unwrap()), ["a", "b", "own"]);
}

#[test]
fn a_room_with_messages_of_its_own_takes_none_over() {
    let opened = log();
    let (room, other) = (fresh_room(), fresh_room());
    say(&*opened.store, &room, &["own"]);
    assert_eq!(opened.standing(&[room.clone(), other]).unwrap(), [Standing::Taken, Standing::Untouched]);
    assert!(!import(&opened, &room, None, &foreign(&room, &["a"])).unwrap());
    assert_eq!(texts(&opened.history(&room, None, 10).unwrap()), ["own"]);
}

#[test]
fn marks_that_are_taken_over_count_as_spent() {
    let opened = ledger();
    let token = SignedPart([9; 32]);
    opened.import(&[Mark { token, until: soon() }]).unwrap();
    assert!(!opened.spend(&token, soon()).unwrap());
}
