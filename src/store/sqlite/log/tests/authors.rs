//! All messages of one account are found without reading the rooms of others.

use super::*;
use crate::{
    likeness::same_email,
    store::{
        account_messages::{Place, Walk},
        sqlite::log::authors::{look_at_old, note_old},
    },
};
use uuid::Uuid;

/// As somebody might have typed it.
const ALICE_TOO: &str = "Alice@Propromo.Example";

fn rooms_of(log: &dyn MessageLog, sender: &str) -> Vec<RoomName> {
    log.rooms_of(sender, None, 1_000_000).unwrap()
}

fn post(log: &dyn MessageLog, room: &RoomName, sender: &str) {
    log.append(&[Draft::new(room.clone(), sender.into(), "hello").into()]).unwrap();
}

/// 10,240 messages of Bob.
fn flood(log: &dyn MessageLog, room: &RoomName) {
    let batch = vec![Draft::new(room.clone(), BOB.into(), "x").into(); 256];
    (0..40).for_each(|_| drop(log.append(&batch).unwrap()));
}

/// Rooms in which Bob says something, the first three of which Alice comes to as well.
fn fill(log: &dyn MessageLog, rooms: usize) -> Vec<RoomName> {
    let mut rooms: Vec<_> = std::iter::repeat_with(fresh_room).take(rooms).collect();
    rooms.iter().for_each(|room| post(log, room, BOB));
    rooms[..3].iter().zip([ALICE, ALICE_TOO, ALICE]).for_each(|(room, sender)| post(log, room, sender));
    rooms[..3].sort();
    rooms
}

fn walk(log: &dyn MessageLog, sender: &str) -> usize {
    let mut found = 0;
    let mut walk = Walk { log, sender, place: Place::Start, until: None };
    let take = |_: &RoomName, message: &Message| {
        assert!(same_email(&message.sender, sender));
        found += 1;
        Ok::<_, StoreError>(true)
    };
    assert!(walk.on(take).unwrap());
    found
}

/// Makes the tables those of the version before authors were noted.
fn unnote(dir: &Path) {
    let file = Connection::open(dir.join("log.db")).unwrap();
    file.execute_batch("DROP TABLE authors; DROP TABLE unnoted; PRAGMA user_version = 6").unwrap();
}

#[test]
fn to_find_what_one_account_has_said_only_its_rooms_are_read() {
    let disturbs: [fn(&Disturbed, usize); 2] = [|_, _| {}, |log, _| log.settle()];
    for disturb in disturbs {
        let log = Disturbed::open(disturb);
        let rooms = fill(&*log, 60);
        assert_eq!(walk(&*log, ALICE), 3);
        // Of each its page, and that there is no other.
        assert_eq!(log.read.load(Ordering::Relaxed), 6);
        assert_eq!(rooms_of(&*log, ALICE_TOO), rooms[..3]);
        assert_eq!(log.rooms_of(ALICE, Some(&rooms[0]), 1).unwrap(), rooms[1..2]);
    }
}

#[test]
fn a_log_of_before_is_opened_at_once_and_its_authors_are_noted_by_and_by() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), None);
    let rooms = fill(&log, 60);
    let last = fresh_room();
    // More than are looked at at a time.
    flood(&log, &rooms[9]);
    post(&log, &last, ALICE);
    drop(log);
    unnote(dir.path());
    prepare(&dir.path().join("log.db")).unwrap();
    assert_eq!((rows(dir.path(), "authors"), rows(dir.path(), "unnoted")), (0, 1));
    let log = open_in(dir.path(), None);
    // Whether it has got there or not.
    assert_eq!(walk(&log, ALICE), 4);
    let new = fresh_room();
    post(&log, &new, ALICE);
    finish(&log);
    let mut expected = rooms[..3].to_vec();
    expected.extend([last, new]);
    expected.sort();
    assert_eq!(rooms_of(&log, ALICE), expected);
    assert_eq!((rooms_of(&log, BOB).len(), rows(dir.path(), "unnoted")), (60, 0));
}

// Seen to fail where pages that this takes are not counted: the WAL has all of them until somebody says something.
#[test]
fn what_is_noted_of_messages_of_before_is_copied_from_the_wal() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open_in(dir.path(), None);
    let room = fresh_room();
    let by = |n| Draft::new(room.clone(), format!("{n}@propromo.example").into(), "hello").into();
    (0..8).for_each(|batch| drop(log.append(&(0..256).map(|n| by(256 * batch + n)).collect::<Vec<_>>()).unwrap()));
    drop(log);
    unnote(dir.path());
    let log = open_in(dir.path(), None);
    finish(&log);
    std::fs::copy(dir.path().join("log.db"), copy.path().join("log.db")).unwrap();
    assert!(rows(copy.path(), "authors") > 1_000);
}

#[test]
fn while_authors_of_before_are_not_noted_every_room_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), None);
    let rooms = fill(&log, 10);
    finish(&log);
    let file = Connection::open(dir.path().join("log.db")).unwrap();
    file.execute_batch("DELETE FROM authors; INSERT INTO unnoted VALUES (0, 0, 9223372036854775807)").unwrap();
    assert_eq!((rooms_of(&log, ALICE).len(), walk(&log, ALICE)), (rooms.len(), 3));
}

#[test]
fn an_interrupted_note_of_authors_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), None);
    let room = fresh_room();
    flood(&log, &room);
    drop(log);
    unnote(dir.path());
    let path = dir.path().join("log.db");
    prepare(&path).unwrap();
    let left = |file: &Connection| -> i64 {
        file.query_row("SELECT count(*) FROM messages, unnoted WHERE key > after AND key <= last", (), |row| row.get(0))
            .unwrap()
    };
    let mut file = Connection::open(&path).unwrap();
    let mut steps = vec![left(&file)];
    while let Some(old) = look_at_old(&file).unwrap() {
        let tx = file.transaction().unwrap();
        note_old(&tx, &old).unwrap();
        tx.commit().unwrap();
        steps.push(left(&file));
    }
    assert_eq!(steps, [10240, 6144, 2048, 0, 0]);
}

#[test]
fn a_room_that_gets_the_number_of_one_that_is_gone_has_its_own_authors() {
    let log = open();
    let (gone, new) = (fresh_room(), fresh_room());
    post(&*log, &gone, ALICE);
    finish(&log);
    log.forget(&gone).unwrap();
    finish(&log);
    assert_eq!((rooms_of(&*log, ALICE), rows(log.dir(), "authors"), rows(log.dir(), "rooms")), (Vec::new(), 0, 0));
    post(&*log, &new, ALICE);
    finish(&log);
    assert_eq!(rooms_of(&*log, ALICE), [new]);
}

#[test]
fn what_is_set_aside_is_still_found_and_names_of_guests_are_not_noted() {
    let log = open();
    let monitor = RoomName::monitor(&format!("m{}", Uuid::now_v7()));
    let (aside, guests) = (RoomName::removed(&monitor, 7), RoomName::chitchat(7));
    post(&*log, &monitor, ALICE);
    post(&*log, &guests, ALICE);
    log.set_aside(&monitor, &aside).unwrap();
    finish(&log);
    assert_eq!((rooms_of(&*log, ALICE), rows(log.dir(), "authors")), (vec![aside], 1));
}

// Seen to fail where the lists don't wait for the tables: they name the room, which is empty by then.
#[test]
fn what_was_set_aside_a_moment_ago_is_listed_by_its_new_name() {
    let log = open();
    let (monitor, aside) = (fresh_room(), fresh_room());
    post(&*log, &monitor, ALICE);
    log.set_aside(&monitor, &aside).unwrap();
    assert_eq!(rooms_of(&*log, ALICE), std::slice::from_ref(&aside));
    let (monitor, again) = (aside, fresh_room());
    log.set_aside(&monitor, &again).unwrap();
    assert_eq!(log.rooms(None, 9).unwrap(), std::slice::from_ref(&again));
    assert_eq!(log.history(&again, None, 9).unwrap().len(), 1);
}
