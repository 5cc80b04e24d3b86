//! Messages and spent tokens on the move from SQLite to Redis.

use crate::{
    cli::failure::{Failure, failed, say},
    message::{MessageId, RoomName},
    store::{
        chat_rooms::{Access, ChatRoom, ChatRooms, RoomKey},
        redis::{RedisStores, import::Standing},
        sqlite::{
            chat_rooms::SqliteChatRooms,
            saved::{SavedLog, saved_marks},
        },
    },
};
use std::{path::Path, sync::Arc, time::SystemTime};

/// The rooms of the rooms door, before and after.
pub(super) struct Rooms {
    /// `None`: there is no file of them in `DATA_DIR`.
    pub(super) old: Option<SqliteChatRooms>,
    pub(super) new: Arc<dyn ChatRooms>,
}

/// Messages taken over at a time: one atomic script, for which everybody else waits.
const PAGE: usize = 256;

/// Rooms named in a line.
const NAMED: usize = 5;

/// A sign of life every so many messages.
const PROGRESS: u64 = 100_000;

/// Before the messages, so that no token works twice however this ends.
pub(super) fn move_tokens(ledger: &Path, redis: &RedisStores) -> Result<(), Failure> {
    let marks = saved_marks(ledger, SystemTime::now()).map_err(failed)?;
    redis.ledger.import(&marks)?;
    say(format_args!("spent tokens: {} that have not expired are noted", marks.len()))
}

/// What is to be done for one room.
struct Errand {
    room: RoomName,
    /// The last message that an earlier run has taken over.
    before: Option<MessageId>,
}

pub(super) fn move_messages(log: &Path, redis: &RedisStores, rooms: &Rooms, url: &str) -> Result<(), Failure> {
    let log = SavedLog::open(log)?;
    let (names, strange) = of_known_rooms(log.rooms()?, rooms)?;
    if !strange.is_empty() {
        say(format_args!(
            "messages: those of {} stay behind, since the new database has other rooms with their numbers, or none: {}",
            counted(strange.len(), "room"),
            listed(&strange)
        ))?;
    }
    let all = names.len();
    let errands = errands(&log, redis, names, url)?;
    let mut copied = 0;
    for Errand { room, mut before } in errands {
        loop {
            let page = log.page(&room, before, PAGE)?;
            let Some(last) = page.last().map(|kept| kept.message.id) else { break };
            if !redis.log.import(&room, before, &page)? {
                return Err(Failure::Failed(format!(
                    "somebody has said something in {} of {url} while its messages were moved; stop all nodes, empty \
                     that Redis, and run this again",
                    room.as_str()
                )));
            }
            before = Some(last);
            let (told, now) = (copied / PROGRESS, copied + page.len() as u64);
            copied = now;
            if now / PROGRESS > told {
                say(format_args!("messages: {copied} so far"))?;
            }
        }
    }
    say(format_args!("messages: {copied} of {} copied", counted(all, "room")))
}

/// What is left to do; fails, before anything is done, if a room has messages of its own.
fn errands(log: &SavedLog, redis: &RedisStores, rooms: Vec<RoomName>, url: &str) -> Result<Vec<Errand>, Failure> {
    let mut errands = Vec::new();
    let mut taken = Vec::new();
    for (room, standing) in rooms.iter().zip(redis.log.standing(&rooms)?) {
        match standing {
            Standing::Untouched => errands.push(Errand { room: room.clone(), before: None }),
            Standing::TakenOver { last, spoken } if log.holds(room, last)? => {
                let rest = !log.page(room, Some(last), 1)?.is_empty();
                match (rest, spoken) {
                    (true, true) => taken.push(room.clone()),
                    (true, false) => errands.push(Errand { room: room.clone(), before: Some(last) }),
                    (false, _) => {}
                }
            }
            Standing::TakenOver { .. } | Standing::Taken => taken.push(room.clone()),
        }
    }
    if taken.is_empty() {
        return Ok(errands);
    }
    Err(Failure::Failed(format!(
        "{url} has other messages already in {}: {}; no message was copied. Two histories can't be made one: choose another \
         Redis or database number, or empty that one",
        counted(taken.len(), "room"),
        listed(&taken)
    )))
}

/// Sorts out rooms of the rooms door whose messages would be shown in another room of the same number.
fn of_known_rooms(names: Vec<RoomName>, rooms: &Rooms) -> Result<(Vec<RoomName>, Vec<RoomName>), Failure> {
    let (mut known, mut strange) = (Vec::new(), Vec::new());
    for name in names {
        let number = name.as_str().strip_prefix("chitchat:").and_then(|id| id.parse::<i64>().ok());
        let fits = match number.map(RoomKey::Id) {
            None => true,
            Some(key) => {
                let old = rooms.old.as_ref().map(|old| old.find(key)).transpose()?.flatten();
                rooms.new.find(key)?.is_some_and(|new| old.is_none_or(|old| is_same(&old, &new)))
            }
        };
        if fits { known.push(name) } else { strange.push(name) }
    }
    Ok((known, strange))
}

/// Whether a room was copied from the other, or both are the public chat that every installation has.
fn is_same(old: &ChatRoom, new: &ChatRoom) -> bool {
    let public = |room: &ChatRoom| room.id == 1 && room.fields.access == Access::Public;
    old.created_at == new.created_at || public(old) && public(new)
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn listed(rooms: &[RoomName]) -> String {
    let names: Vec<&str> = rooms.iter().take(NAMED).map(RoomName::as_str).collect();
    format!("{}{}", names.join(", "), if rooms.len() > NAMED { " …" } else { "" })
}
