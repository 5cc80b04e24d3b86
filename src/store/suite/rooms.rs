//! What every store of rooms must do.

use crate::store::chat_rooms::{Access, ChatRoom, ChatRooms, Created, RoomBounds, RoomFields, RoomKey, Updated};
use jiff::Timestamp;
use std::thread;
use uuid::Uuid;

const MANY: RoomBounds = RoomBounds { all: 1_000_000, of_address: None };

/// A title that no earlier run has used: a back end may be shared.
fn fresh_title() -> String {
    format!("Räum {}", Uuid::now_v7().simple())
}

fn fields(title: &str, access: Access) -> RoomFields {
    RoomFields { title: title.to_owned(), description: "a room".to_owned(), access, creator: Some([7; 32]) }
}

fn hidden() -> Access {
    Access::Hidden { password_hash: "a hash".to_owned() }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn made(rooms: &dyn ChatRooms, fields: &RoomFields) -> ChatRoom {
    match rooms.create(fields, at(1_000), MANY).unwrap() {
        Created::Room(room) => room,
        Created::TitleTaken => panic!("taken"),
        Created::Full | Created::AddressFull => panic!("full"),
    }
}

fn changed(rooms: &dyn ChatRooms, room: &ChatRoom, fields: &RoomFields) -> ChatRoom {
    match rooms.update(room, fields, at(2_000)).unwrap() {
        Updated::Room(room) => room,
        Updated::TitleTaken => panic!("taken"),
        Updated::Stale => panic!("stale"),
    }
}

fn found(rooms: &dyn ChatRooms, key: RoomKey<'_>) -> Option<ChatRoom> {
    rooms.find(key).unwrap()
}

pub(crate) fn the_public_chat_is_there_from_the_start(rooms: &dyn ChatRooms) {
    let room = found(rooms, RoomKey::Id(1)).unwrap();
    assert_eq!(room.fields.title, "Public Chat");
    assert_eq!(room.fields.description, "This is the default chat, available to everyone!");
    assert!(room.fields.access == Access::Public);
    let age = Timestamp::now().duration_since(room.created_at);
    assert!(age.as_secs() >= 0 && room.created_at == room.updated_at);
    assert!(rooms.list(0, 1).unwrap().contains(&room));
}

pub(crate) fn a_room_is_found_by_its_number_and_by_its_title_in_any_case(rooms: &dyn ChatRooms) {
    let title = fresh_title();
    let room = made(rooms, &fields(&title, hidden()));
    assert!(room.fields == fields(&title, hidden()));
    assert!((room.created_at, room.updated_at) == (at(1_000), at(1_000)));
    for key in [RoomKey::Id(room.id), RoomKey::Title(&title), RoomKey::Title(&title.to_uppercase())] {
        assert!(found(rooms, key).as_ref() == Some(&room), "{key:?}");
    }
    assert!(found(rooms, RoomKey::Title(&fresh_title())).is_none());
}

pub(crate) fn hidden_rooms_are_found_but_not_listed(rooms: &dyn ChatRooms) {
    let private = made(rooms, &fields(&fresh_title(), Access::Private { password_hash: "a hash".to_owned() }));
    let hidden = made(rooms, &fields(&fresh_title(), hidden()));
    let listed = rooms.list(private.id - 1, 2).unwrap();
    assert!(listed.contains(&private) && !listed.contains(&hidden));
    assert!(listed.is_sorted_by_key(|room| room.id));
    assert!(found(rooms, RoomKey::Id(hidden.id)).is_some());
    assert!(!rooms.list(private.id, 1_000).unwrap().contains(&private));
    let untouched = |before| rooms.untouched(at(before), private.id - 1, 1_000).unwrap();
    assert!(untouched(1_001).contains(&hidden) && untouched(1_000).is_empty());
    assert!(rooms.untouched(Timestamp::now(), 0, 1).unwrap().iter().all(|room| room.id > 1));
}

pub(crate) fn a_title_is_one_rooms_whatever_its_case(rooms: &dyn ChatRooms) {
    let title = fresh_title();
    made(rooms, &fields(&title, Access::Public));
    let again = rooms.create(&fields(&title.to_uppercase(), hidden()), at(1), MANY).unwrap();
    assert!(matches!(again, Created::TitleTaken));
}

pub(crate) fn a_title_is_one_rooms_however_it_is_written_to_look_the_same(rooms: &dyn ChatRooms) {
    let title = format!("Räum \u{f6} {}", Uuid::now_v7().simple());
    let room = made(rooms, &fields(&title, Access::Public));
    let decomposed = title.replace('\u{f6}', "o\u{308}");
    let cyrillic = title.replace('a', "\u{430}");
    for same in [&decomposed, &cyrillic, &title.replace(' ', " \u{200b}")] {
        let again = rooms.create(&fields(same, Access::Public), at(1), MANY).unwrap();
        assert!(matches!(again, Created::TitleTaken), "{same:?}");
        assert!(found(rooms, RoomKey::Title(same)).as_ref() == Some(&room), "{same:?}");
    }
    let other = made(rooms, &fields(&fresh_title(), Access::Public));
    assert!(matches!(rooms.update(&other, &fields(&decomposed, Access::Public), at(3)).unwrap(), Updated::TitleTaken));
    assert!(matches!(rooms.update(&room, &fields(&decomposed, Access::Public), at(3)).unwrap(), Updated::Room(_)));
}

pub(crate) fn of_many_who_make_a_room_of_one_title_one_does(rooms: &dyn ChatRooms) {
    let wanted = fields(&fresh_title(), Access::Public);
    let made = thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| rooms.create(&wanted, at(1), MANY).unwrap())).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
    });
    let rooms = made.iter().filter(|made| matches!(made, Created::Room(_))).count();
    let refused = made.iter().filter(|made| matches!(made, Created::TitleTaken)).count();
    assert_eq!((rooms, refused), (1, 7));
}

pub(crate) fn there_are_at_most_so_many_rooms(rooms: &dyn ChatRooms) {
    let full = rooms.create(&fields(&fresh_title(), Access::Public), at(1), RoomBounds { all: 1, ..MANY }).unwrap();
    assert!(matches!(full, Created::Full));
}

pub(crate) fn one_address_makes_at_most_so_many_rooms(rooms: &dyn ChatRooms) {
    // No earlier run has used these.
    let [here, there] = [(); 2].map(|()| rand::random::<[u8; 8]>());
    let make = |address: [u8; 8], most| {
        let bounds = RoomBounds { of_address: Some((address, most)), ..MANY };
        rooms.create(&fields(&fresh_title(), Access::Public), at(1), bounds).unwrap()
    };
    let Created::Room(first) = make(here, 2) else { panic!("there is place") };
    assert!(matches!(make(here, 2), Created::Room(_)));
    assert!(matches!(make(here, 2), Created::AddressFull) && matches!(make(there, 2), Created::Room(_)));
    // A change makes it nobody else's.
    let first = changed(rooms, &first, &fields(&fresh_title(), Access::Public));
    assert!(matches!(make(here, 2), Created::AddressFull));
    assert!(rooms.delete(&first).unwrap() && matches!(make(here, 2), Created::Room(_)));
}

pub(crate) fn a_change_is_seen_and_its_time_too(rooms: &dyn ChatRooms) {
    let room = made(rooms, &fields(&fresh_title(), hidden()));
    let wanted =
        RoomFields { description: "changed".to_owned(), creator: None, ..fields(&fresh_title(), Access::Public) };
    let after = changed(rooms, &room, &wanted);
    assert!(after.fields == wanted);
    assert!((after.id, after.created_at, after.updated_at) == (room.id, at(1_000), at(2_000)));
    assert!(found(rooms, RoomKey::Id(room.id)) == Some(after));
    assert!(found(rooms, RoomKey::Title(&room.fields.title)).is_none(), "the old title is free");
}

pub(crate) fn a_room_may_change_the_case_of_its_title_but_not_take_another_rooms(rooms: &dyn ChatRooms) {
    let title = fresh_title();
    let room = made(rooms, &fields(&title, Access::Public));
    let room = changed(rooms, &room, &fields(&title.to_uppercase(), Access::Public));
    let other = made(rooms, &fields(&fresh_title(), Access::Public));
    let taking = rooms.update(&other, &fields(&title, Access::Public), at(3)).unwrap();
    assert!(matches!(taking, Updated::TitleTaken));
    assert!(found(rooms, RoomKey::Title(&title)) == Some(room));
}

pub(crate) fn a_change_of_what_was_changed_meanwhile_is_stale(rooms: &dyn ChatRooms) {
    let before = made(rooms, &fields(&fresh_title(), hidden()));
    let after = changed(rooms, &before, &fields(&fresh_title(), Access::Public));
    assert!(matches!(rooms.update(&before, &before.fields, at(3)).unwrap(), Updated::Stale));
    assert!(!rooms.delete(&before).unwrap());
    assert!(found(rooms, RoomKey::Id(before.id)) == Some(after));
}

pub(crate) fn a_deleted_room_is_gone_and_its_number_is_not_given_again(rooms: &dyn ChatRooms) {
    let title = fresh_title();
    let room = made(rooms, &fields(&title, Access::Public));
    assert!(rooms.delete(&room).unwrap());
    assert!(!rooms.delete(&room).unwrap());
    assert!(found(rooms, RoomKey::Id(room.id)).is_none() && found(rooms, RoomKey::Title(&title)).is_none());
    assert!(matches!(rooms.update(&room, &room.fields, at(3)).unwrap(), Updated::Stale));
    assert!(made(rooms, &fields(&title, Access::Public)).id > room.id);
}

pub(crate) fn the_rooms_can_be_probed(rooms: &dyn ChatRooms) {
    rooms.probe().unwrap();
}
