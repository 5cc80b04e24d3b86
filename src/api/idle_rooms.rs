//! Removes rooms of the rooms door that nobody uses any more or ever used, to make place for others.

use super::room_end;
use crate::{
    chat::Chat,
    message::RoomName,
    refusal::Refusal,
    store::{chat_rooms::ChatRoom, error::StoreError},
    vital,
};
use jiff::Timestamp;
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

/// How many rooms are read from the store and checked at a time.
const PAGE: usize = 100;

/// A new room is spared for this long, so that its creator can use it, however many others want a room.
const SPARED: Duration = Duration::from_secs(60);

/// The longest pause between two checks of all rooms.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Starts the thread that removes unused rooms, if the settings set a time for that.
pub fn start(chat: &Arc<Chat>) -> io::Result<()> {
    let (Some(idle), Some(unused)) = (chat.config.rooms.idle, chat.config.rooms.unused()) else { return Ok(()) };
    let chat = Arc::downgrade(chat);
    let pause = (idle.min(unused) / 4).clamp(Duration::from_secs(1), LONGEST_PAUSE);
    vital::spawn("idle-rooms", move || {
        while let Some(chat) = chat.upgrade() {
            vital::may_panic("idle-rooms");
            if let Err(error) = sweep(&chat, idle, unused) {
                error.log("rooms that nobody uses stay until the next look at them");
            }
            drop(chat);
            thread::sleep(pause);
        }
    })?;
    Ok(())
}

/// Removes every room that has been unused for too long.
fn sweep(chat: &Chat, idle: Duration, unused: Duration) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let rooms = chat.chat_rooms.untouched(ago(idle.min(unused)), after, PAGE)?;
        let Some(last) = rooms.last() else { return Ok(()) };
        after = last.id;
        for room in &rooms {
            let (over, why) = match last_event(chat, room)? {
                None => (room.updated_at < ago(unused), "unused"),
                Some(event) => (room.updated_at.max(event) < ago(idle), "idle"),
            };
            if over && !is_entered(chat, room)? {
                remove(chat, room, why)?;
            }
        }
    }
}

/// Removes a room that nobody ever used, to make place for a new one. Returns whether there was one. So a client that
/// fills the list with rooms pushes out its own.
pub fn make_place(chat: &Chat) -> Result<bool, Refusal> {
    let mut after = chat.room_limits.searched.lock();
    for _ in 0..2 {
        let rooms = chat.chat_rooms.untouched(ago(SPARED), *after, PAGE)?;
        for room in &rooms {
            *after = room.id;
            if last_event(chat, room)?.is_none() && !is_entered(chat, room)? && remove(chat, room, "made_place")? {
                return Ok(true);
            }
        }
        if rooms.len() < PAGE {
            *after = 0;
        }
    }
    Ok(false)
}

fn last_event(chat: &Chat, room: &ChatRoom) -> Result<Option<Timestamp>, StoreError> {
    let last = chat.log.history(&RoomName::chitchat(room.id), None, 1)?;
    Ok(last.last().and_then(|event| Timestamp::try_from(event.id.time()).ok()))
}

/// Whether anybody is in the room, on any node. Whoever only listens is in it, too. Fails if the other nodes can't be
/// asked: what is said there must not be deleted by mistake.
fn is_entered(chat: &Chat, room: &ChatRoom) -> Result<bool, StoreError> {
    let room = RoomName::chitchat(room.id);
    // This node's members need not be known elsewhere yet.
    let here = chat.rooms.find(&room).is_some_and(|room| room.count() > 0);
    Ok(here || !chat.rooms.connections(&room)?.is_empty())
}

fn remove(chat: &Chat, room: &ChatRoom, why: &'static str) -> Result<bool, StoreError> {
    let removed = room_end::remove(chat, room)?;
    if removed {
        chat.metrics.room_removed(why);
        tracing::info!(room = room.id, "a room that nobody uses was removed");
    }
    Ok(removed)
}

fn ago(age: Duration) -> Timestamp {
    Timestamp::try_from(SystemTime::now() - age).unwrap_or(Timestamp::UNIX_EPOCH)
}
