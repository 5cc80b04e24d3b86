//! Rooms as a whole, with real sockets and a log in memory.

use super::*;
use crate::{
    entry::Entry,
    message::{Draft, Message},
    socket::{frame, outbound::tests::outbound},
    store::{error::StoreError, log::Appended},
};
use std::{
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tungstenite::protocol::{Role, WebSocket};
use uuid::Uuid;

pub const BOUNDS: Bounds =
    Bounds { announce: AnnouncePolicy { users: 200, rate: None }, inbox_rooms: 500, patience: Duration::from_secs(10) };

/// Keeps all messages of all rooms in memory. Fails on demand.
#[derive(Default)]
struct MemoryLog {
    messages: Mutex<Vec<(RoomName, Message)>>,
    /// How many messages each write had.
    batches: Mutex<Vec<usize>>,
    broken: AtomicBool,
    /// Held by a test that checks something between storing and delivering.
    pause: Mutex<()>,
}

impl MessageLog for MemoryLog {
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError { store: "message log", what: "store messages", source: "broken".into() });
        }
        self.batches.lock().push(entries.len());
        let mut messages = self.messages.lock();
        let outcomes = entries.iter().map(|entry| {
            let id = MessageId(Uuid::now_v7());
            if let Entry::Message(message) = entry.clone().stored(id, false) {
                messages.push((entry.room().clone(), message));
            }
            Appended::Stored(id)
        });
        let outcomes = outcomes.collect();
        drop(messages);
        drop(self.pause.lock());
        Ok(outcomes)
    }

    fn history(&self, room: &RoomName, _: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let messages = self.messages.lock();
        let all: Vec<_> =
            messages.iter().filter(|(name, _)| name == room).map(|(_, message)| message.clone()).collect();
        Ok(all[all.len().saturating_sub(limit)..].to_vec())
    }

    fn newer(&self, _: &RoomName, _: MessageId, _: usize) -> Result<Vec<Message>, StoreError> {
        Ok(Vec::new())
    }

    fn since(&self, _: &RoomName, _: MessageId, _: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        Ok(None)
    }

    fn message(&self, _: &RoomName, _: MessageId) -> Result<Option<Message>, StoreError> {
        Ok(None)
    }

    fn forget_before(&self, _: &RoomName, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn rooms(&self, _: Option<&RoomName>, _: usize) -> Result<Vec<RoomName>, StoreError> {
        Ok(Vec::new())
    }

    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        self.messages.lock().retain(|(name, _)| name != room);
        Ok(())
    }

    fn set_aside(&self, _: &RoomName, _: &RoomName) -> Result<(), StoreError> {
        Ok(())
    }

    fn entries(&self, _: &RoomName, _: MessageId, _: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(Vec::new())
    }

    fn scrub(&self, _: &[RoomName]) -> Result<(), StoreError> {
        Ok(())
    }

    fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Encodes messages as their text, and events as their name.
pub(super) struct Plain;

impl Encoder for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn message(&self, _: &RoomName, message: &Message, out: &mut Vec<u8>) {
        out.extend_from_slice(message.text.as_bytes());
    }

    fn ack(&self, reference: &str, _: MessageId, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("ack {reference}").as_bytes());
    }

    fn not_stored(&self, _: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"not stored");
    }

    fn unknown(&self, _: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"unknown");
    }

    fn event(&self, _: &RoomName, event: &Event, out: &mut Vec<u8>) {
        let said = match event {
            Event::Joined(person) => format!("+{}", person.user),
            Event::Left(person) => format!("-{}", person.user),
            Event::Typing(person) => format!("~{}", person.user),
            Event::Notice { text, .. } => format!("!{text}"),
            Event::Disconnect { .. }
            | Event::Read { .. }
            | Event::Members { .. }
            | Event::Missed
            | Event::Shut { .. } => return,
        };
        out.extend_from_slice(said.as_bytes());
    }
}

struct Client {
    member: Arc<Member>,
    socket: WebSocket<TcpStream>,
}

impl Client {
    /// Joins; messages are held for it until `release`.
    fn join(rooms: &Rooms, room: &RoomName, user: &str) -> Client {
        let (outbound, peer) = outbound(1 << 20, Duration::from_secs(20));
        let member = rooms.join(room, Person::unnamed(user.into()), &Plain, outbound);
        Client { member, socket: WebSocket::from_raw_socket(peer, Role::Client, None) }
    }

    fn live(rooms: &Rooms, room: &RoomName, user: &str) -> Client {
        let client = Client::join(rooms, room, user);
        rooms.release(&client.member, None);
        client
    }

    fn say(&self, rooms: &Rooms, text: &str, reference: Option<&str>) {
        let draft = Draft {
            reference: reference.map(Into::into),
            ..Draft::new(self.member.room.name.clone(), self.member.person.user.clone(), text)
        };
        rooms.post(&self.member, draft);
    }

    fn hear(&mut self) -> String {
        self.socket.read().unwrap().into_text().unwrap().to_string()
    }

    /// All frames up to this text.
    fn hear_until(&mut self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|text| text != last) {
            heard.push(self.hear());
        }
        heard
    }
}

fn rooms(lanes: usize) -> (Rooms, Arc<MemoryLog>) {
    let log = Arc::new(MemoryLog::default());
    (Rooms::start(log.clone(), lanes, BOUNDS).unwrap(), log)
}

#[test]
fn everybody_hears_everything_in_one_order() {
    let (rooms, _) = rooms(3);
    let room = RoomName::channel("all");
    let mut clients: Vec<_> = (0..150).map(|_| Client::live(&rooms, &room, "same")).collect();
    thread::scope(|scope| {
        for sender in &clients[..5] {
            let rooms = &rooms;
            scope.spawn(move || (0..20).for_each(|n| sender.say(rooms, &format!("{} {n}", sender.member.id()), None)));
        }
    });
    clients[0].say(&rooms, "end", None);
    let first = clients[0].hear_until("end");
    assert_eq!(first.len(), 101);
    for client in &mut clients[1..] {
        assert_eq!(client.hear_until("end"), first);
    }
}

#[test]
fn history_and_live_meet_without_gap_or_double() {
    let (rooms, log) = rooms(2);
    let room = RoomName::channel("busy");
    let speaker = Client::live(&rooms, &room, "speaker");
    thread::scope(|scope| {
        scope.spawn(|| (0..2000).for_each(|n| speaker.say(&rooms, &n.to_string(), None)));
        for _ in 0..8 {
            scope.spawn(|| {
                let mut newcomer = Client::join(&rooms, &room, "speaker");
                let history = log.history(&room, None, usize::MAX).unwrap();
                for message in &history {
                    newcomer.member.outbound.send_waiting(frame::text_of(&message.text)).unwrap();
                }
                rooms.release(&newcomer.member, history.last().map(|message| message.id));
                let heard = newcomer.hear_until("1999");
                assert_eq!(heard, (0..2000).map(|n| n.to_string()).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn a_message_that_was_found_in_history_is_not_delivered_again() {
    let (rooms, log) = rooms(1);
    let room = RoomName::channel("window");
    let speaker = Client::live(&rooms, &room, "speaker");
    // The newcomer reads its history after the message is stored and before it is delivered.
    let mut newcomer = Client::join(&rooms, &room, "speaker");
    thread::scope(|scope| {
        let stored = log.pause.lock();
        scope.spawn(|| speaker.say(&rooms, "once", None));
        let found = loop {
            if let Some(message) = log.history(&room, None, 1).unwrap().pop() {
                break message.id;
            }
            thread::yield_now();
        };
        rooms.release(&newcomer.member, Some(found));
        drop(stored);
    });
    speaker.say(&rooms, "twice", None);
    assert_eq!(newcomer.hear(), "twice");
}

#[test]
fn what_can_not_be_stored_is_told_to_its_sender_alone() {
    let (rooms, log) = rooms(1);
    let room = RoomName::channel("broken");
    let mut alice = Client::live(&rooms, &room, "alice");
    let mut bob = Client::live(&rooms, &room, "alice");
    log.broken.store(true, Ordering::SeqCst);
    alice.say(&rooms, "lost", None);
    assert_eq!(alice.hear(), "not stored");
    log.broken.store(false, Ordering::SeqCst);
    alice.say(&rooms, "kept", None);
    assert_eq!(alice.hear(), "kept");
    assert_eq!(bob.hear(), "kept");
}

#[test]
fn a_sender_that_asks_gets_an_acknowledgement() {
    let (rooms, _) = rooms(2);
    let mut alice = Client::live(&rooms, &RoomName::channel("acks"), "alice");
    alice.say(&rooms, "hello", Some("r1"));
    assert_eq!([alice.hear(), alice.hear()], ["hello", "ack r1"]);
}

fn users(room: &Room) -> Vec<String> {
    room.everybody().into_iter().map(|present| present.person.user.to_string()).collect()
}

#[test]
fn a_user_joins_once_and_leaves_once_however_many_sockets_it_has() {
    let (rooms, _) = rooms(1);
    let room = RoomName::channel("presence");
    let mut watcher = Client::live(&rooms, &room, "watcher");
    let first = Client::live(&rooms, &room, "alice");
    let second = Client::live(&rooms, &room, "alice");
    assert_eq!(users(&first.member.room), ["alice", "watcher"]);
    rooms.leave(&first.member);
    rooms.leave(&second.member);
    assert_eq!([watcher.hear(), watcher.hear()], ["+alice", "-alice"]);
    assert_eq!(users(&watcher.member.room), ["watcher"]);
}

#[test]
fn a_newcomer_finds_the_room_of_a_message_whose_author_has_left() {
    let (rooms, _) = rooms(1);
    let room = RoomName::channel("left");
    let author = Client::live(&rooms, &room, "author");
    rooms.leave(&author.member);
    let mut newcomer = Client::live(&rooms, &room, "author");
    author.say(&rooms, "late", None);
    assert_eq!(newcomer.hear(), "late");
}

#[test]
fn rooms_that_are_gone_are_forgotten() {
    let (rooms, _) = rooms(1);
    for n in 0..1000 {
        let client = Client::live(&rooms, &RoomName::channel(&n.to_string()), "alice");
        rooms.leave(&client.member);
    }
    assert!(rooms.directory.lock().len() < 1000);
}

#[test]
fn a_publisher_hears_how_many_listen_and_whether_it_is_stored() {
    let (rooms, log) = rooms(2);
    let room = RoomName::stream("feed");
    let mut listeners: Vec<_> = (0..3).map(|_| Client::live(&rooms, &room, "listener")).collect();
    let draft = Draft { kept: false, ..Draft::new(room, "p".into(), "block") };
    assert_eq!(rooms.publish(draft.clone()), Ok(3));
    for listener in &mut listeners {
        assert_eq!(listener.hear(), "block");
    }
    log.broken.store(true, Ordering::SeqCst);
    assert_eq!(rooms.publish(draft), Err(Reason::Unavailable));
}

#[test]
fn a_room_that_is_closed_says_why_and_then_nothing_more() {
    let (rooms, _) = rooms(2);
    let room = RoomName::chitchat(7);
    let mut members: Vec<_> = (0..100).map(|_| Client::live(&rooms, &room, "member")).collect();
    let mut newcomer = Client::join(&rooms, &room, "newcomer");
    let mut elsewhere = Client::live(&rooms, &RoomName::chitchat(8), "other");
    rooms.close(&room, "farewell", Close { code: 1000, reason: "room_deleted" });
    members[0].say(&rooms, "too late", None);
    rooms.release(&newcomer.member, None);
    for closed in members.iter_mut().skip(1).chain([&mut newcomer]) {
        while closed.hear() != "farewell" {}
        let tungstenite::Message::Close(Some(frame)) = closed.socket.read().unwrap() else { panic!("not closed") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, "room_deleted"));
    }
    elsewhere.say(&rooms, "still here", None);
    assert_eq!(elsewhere.hear(), "still here");
}

#[test]
fn a_room_is_forgotten_with_all_that_was_posted_before() {
    let (rooms, log) = rooms(1);
    let (gone, kept) = (RoomName::chitchat(7), RoomName::chitchat(8));
    let (leaver, stayer) = (Client::live(&rooms, &gone, "a"), Client::live(&rooms, &kept, "b"));
    for n in 0..500 {
        leaver.say(&rooms, &n.to_string(), None);
        stayer.say(&rooms, &n.to_string(), None);
    }
    rooms.forget(&gone);
    rooms.stop();
    assert_eq!(log.history(&gone, None, 1000).unwrap().len(), 0);
    assert_eq!(log.history(&kept, None, 1000).unwrap().len(), 500);
}

#[test]
fn what_was_posted_before_the_stop_is_stored() {
    let (rooms, log) = rooms(1);
    let client = Client::live(&rooms, &RoomName::channel("stop"), "alice");
    for n in 0..500 {
        client.say(&rooms, &n.to_string(), None);
    }
    rooms.stop();
    assert_eq!(log.messages.lock().len(), 500);
}

/// Has what is `said` stored together, behind a message of a member of a large room, so that no other thread gets the
/// writer meanwhile.
fn in_one_batch(rooms: &Rooms, log: &MemoryLog, first: &Client, said: impl FnOnce()) {
    let _paused = log.pause.lock();
    first.say(rooms, "first", None);
    while rooms.waiting() > 0 || rooms.batch_in_work().is_none() {
        thread::yield_now();
    }
    said();
}

#[test]
fn a_batch_ends_with_256_messages_or_512_kib() {
    let (rooms, log) = rooms(1);
    let audience: Vec<Client> =
        (0..17).map(|n| Client::live(&rooms, &RoomName::channel("large"), &n.to_string())).collect();
    in_one_batch(&rooms, &log, &audience[0], || {
        (0..300).for_each(|n| audience[0].say(&rooms, &n.to_string(), None));
        (0..10).for_each(|_| audience[0].say(&rooms, &"x".repeat(100 << 10), None));
    });
    rooms.stop();
    assert_eq!(*log.batches.lock(), [1, 256, 44 + 6, 4]);
}

#[test]
fn a_reader_may_take_its_time_while_many_small_rooms_are_busy() {
    let log = Arc::new(MemoryLog::default());
    let rooms = Rooms::start(log.clone(), 2, BOUNDS).unwrap();
    let live = |room: &str, user: &str| Client::live(&rooms, &RoomName::channel(room), user);
    let mut alone: Vec<Client> = (0..8).map(|n| live(&format!("small {n}"), "ann")).collect();
    let audience: Vec<Client> = (0..17).map(|n| live("large", &n.to_string())).collect();
    assert!(!rooms.is_patient(&alone[0].member.room));

    in_one_batch(&rooms, &log, &audience[0], || {
        for n in 0..16 {
            alone[n % 2].say(&rooms, "in turn", None);
        }
        alone[0].say(&rooms, "last", None);
    });
    alone[0].hear_until("last");
    assert!(!rooms.is_patient(&alone[0].member.room), "two rooms are not many");

    in_one_batch(&rooms, &log, &audience[0], || alone.iter().for_each(|client| client.say(&rooms, "together", None)));
    alone.iter_mut().for_each(|client| drop(client.hear_until("together")));
    assert!(alone.iter().all(|client| rooms.is_patient(&client.member.room)));
    assert!(!rooms.is_patient(&audience[0].member.room), "too many wait for it");

    for n in 0..8 {
        alone[0].say(&rooms, &n.to_string(), None);
        alone[0].hear_until(&n.to_string());
    }
    assert!(!rooms.is_patient(&alone[0].member.room), "only one room is busy");
}
