//! What a store of begun channels must do.

use crate::{
    message::RoomName,
    store::{
        accounts::UserId,
        channels::{Beginner, Channels},
    },
};
use jiff::Timestamp;
use std::{collections::BTreeSet, thread};

const ALICE: Beginner<'static> = Beginner::Account(UserId(1));
const KEY: Beginner<'static> = Beginner::Key("1");

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn begin(channels: &dyn Channels, room: &str, beginner: Beginner<'_>, seconds: i64, most: u64) -> bool {
    channels.begin(&RoomName::channel(room), beginner, at(seconds), most).unwrap()
}

fn begun(channels: &dyn Channels, beginner: Beginner<'_>) -> BTreeSet<String> {
    let rooms = channels.begun_by(beginner, at(1_000_000), 100).unwrap();
    rooms.iter().map(|room| room.local().to_owned()).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

pub(crate) fn one_may_begin_so_many_and_another_as_many(channels: &dyn Channels) {
    assert!(begin(channels, "a", ALICE, 0, 2) && begin(channels, "b", ALICE, 0, 2));
    assert!(!begin(channels, "c", ALICE, 100, 2));
    assert!(begin(channels, "c", KEY, 100, 2), "the key of the same number is another one");
    // Its own, where nothing is kept any more.
    assert!(begin(channels, "a", ALICE, 200, 2));
    assert_eq!((begun(channels, ALICE), begun(channels, KEY)), (names(["a", "b"]), names(["c"])));
    assert_eq!(channels.begun_by(ALICE, at(150), 9).unwrap(), [RoomName::channel("b")]);
    assert_eq!(channels.begun_by(ALICE, at(1_000_000), 1).unwrap().len(), 1);
}

pub(crate) fn who_comes_a_moment_later_begins_nothing_and_who_comes_when_all_is_gone_does(channels: &dyn Channels) {
    assert!(begin(channels, "a", ALICE, 0, 1));
    assert!(begin(channels, "a", KEY, 1, 0));
    assert_eq!(begun(channels, KEY), names([]));
    assert!(!begin(channels, "a", KEY, 100, 0));
    assert!(begin(channels, "a", KEY, 100, 1));
    assert_eq!((begun(channels, ALICE), begun(channels, KEY)), (names([]), names(["a"])));
}

pub(crate) fn what_is_forgotten_counts_no_more_unless_it_was_begun_again(channels: &dyn Channels) {
    for room in ["a", "b", "c"] {
        assert!(begin(channels, room, ALICE, 0, 3));
    }
    assert!(begin(channels, "b", ALICE, 300, 3));
    channels.forget(&["a", "b", "x"].map(RoomName::channel), at(200)).unwrap();
    assert_eq!(begun(channels, ALICE), names(["b", "c"]));
    assert!(begin(channels, "d", ALICE, 300, 3) && !begin(channels, "e", ALICE, 300, 3));
}

pub(crate) fn many_at_once_begin_no_more_than_they_may(channels: &dyn Channels) {
    let begun = thread::scope(|scope| {
        let racers: Vec<_> =
            (0..8).map(|n| scope.spawn(move || begin(channels, &format!("race {n}"), ALICE, 0, 3))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).filter(|may| *may).count()
    });
    assert_eq!(begun, 3);
}
