//! The message log in Redis: a stream a room. A batch is one round trip, a room's share of it one atomic script.

use super::{
    call::Call,
    failure::{Answer, Failure, failed},
    feed::RedisFeed,
    fleet::Fleet,
    id::{EntryId, Tail},
    keys::Keys,
    read, rooms, script,
    shared::Redis,
    wire,
};
use crate::{
    entry::{Entry, NewEntry, Unchangeable},
    message::{Draft, Message, MessageId, RoomName},
    store::{
        error::StoreError,
        feed::Feed,
        log::{Appended, MessageLog},
    },
};
use redis::Value;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc};

pub(super) const STORE: &str = "message log";

/// How long a sender's reference is remembered, seconds.
pub(super) const REMEMBER: u32 = 24 * 60 * 60;

/// Old entries that one script deletes: for it everybody else waits.
const DELETED_AT_A_TIME: i64 = 500;

/// Entries that one script copies.
const COPIED_AT_A_TIME: usize = 200;

pub struct RedisLog {
    pub(super) redis: Arc<Redis>,
    /// Messages kept a room; 0 keeps all.
    keep: u64,
    feed: Arc<RedisFeed>,
}

impl RedisLog {
    pub(super) fn new(redis: Arc<Redis>, history_max: Option<u64>, feed: Arc<RedisFeed>) -> RedisLog {
        RedisLog { redis, keep: history_max.unwrap_or(0), feed }
    }

    /// The call that appends these entries, all of one room.
    fn append_call(&self, fleet: &Fleet, room: &RoomName, entries: &[&NewEntry]) -> Call {
        let keys = Keys(room);
        let references: Vec<String> =
            entries.iter().filter_map(|entry| reference(entry)).map(|digest| keys.reference(&digest)).collect();
        let own = [keys.log(), keys.head(), keys.changes(), keys.became(), keys.changed()];
        let all: Vec<&str> = own.iter().chain(&references).map(String::as_str).collect();
        let mixed = entries.iter().any(|entry| matches!(entry, NewEntry::Change(_)));
        Call::script(&script::APPEND, &all, |command| {
            command.arg(fleet.deadline(own[0].as_bytes())).arg(&self.redis.channel).arg(room.as_str());
            command.arg(self.keep).arg(REMEMBER).arg(&Tail::of(room).to_bytes()).arg(if mixed { "4" } else { "1" });
            let mut body = Vec::new();
            for entry in entries {
                body.clear();
                match entry {
                    NewEntry::Message(draft) => wire::write_body(draft, &mut body),
                    NewEntry::Change(change) => wire::write_change(change, &mut body),
                }
                command.arg(action(entry)).arg(&body[..]);
            }
        })
    }
}

impl MessageLog for RedisLog {
    fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        let fleet = self.redis.fleet().map_err(failed(STORE, "store messages"))?;
        let mut rooms: Vec<(&RoomName, Vec<usize>)> = Vec::new();
        let mut places: HashMap<&RoomName, usize> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let place = *places.entry(entry.room()).or_insert_with(|| {
                rooms.push((entry.room(), Vec::new()));
                rooms.len() - 1
            });
            rooms[place].1.push(index);
        }
        let calls: Vec<Call> = rooms
            .iter()
            .map(|(room, share)| {
                let share: Vec<&NewEntry> = share.iter().map(|index| &entries[*index]).collect();
                self.append_call(&fleet, room, &share)
            })
            .collect();
        let mut appended = vec![Appended::NotStored; entries.len()];
        let mut failure = None;
        for ((room, share), answer) in rooms.iter().zip(self.redis.health.run(&fleet, &calls)) {
            match read_appended(room, share.len(), answer) {
                Ok(outcomes) => share.iter().zip(outcomes).for_each(|(index, outcome)| appended[*index] = outcome),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        match failure {
            Some(failure) if appended.iter().all(|outcome| *outcome == Appended::NotStored) => {
                Err(failed(STORE, "store messages")(failure))
            }
            _ => Ok(appended),
        }
    }

    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let mut messages = read::newest(&self.redis, room, before, limit).map_err(failed(STORE, "read history"))?;
        messages.reverse();
        Ok(messages)
    }

    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        read::since(&self.redis, room, after, limit).map_err(failed(STORE, "read what a client has missed"))
    }

    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError> {
        read::one(&self.redis, room, id).map_err(failed(STORE, "read a message"))
    }

    fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        rooms::rooms(&self.redis, after, limit).map_err(failed(STORE, "list the rooms"))
    }

    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        let keys = Keys(room);
        let all = [keys.log(), keys.head(), keys.changes(), keys.became(), keys.changed()];
        let call = Call::script(&script::FORGET, &all.each_ref().map(String::as_str), |_| {});
        self.redis.read_one(call).map(drop).map_err(failed(STORE, "forget a room"))
    }

    fn forget_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError> {
        let keys = Keys(room);
        let all = [keys.log(), keys.head(), keys.changes(), keys.became(), keys.changed()];
        loop {
            let call = Call::script(&script::AGE, &all.each_ref().map(String::as_str), |command| {
                command.arg(before).arg(DELETED_AT_A_TIME);
            });
            match self.redis.read_one(call).map_err(failed(STORE, "delete old messages"))? {
                Value::Int(deleted) if deleted < DELETED_AT_A_TIME => return Ok(()),
                Value::Int(_) => {}
                _ => return Err(failed(STORE, "delete old messages")(Failure::Unreadable)),
            }
        }
    }

    fn set_aside(&self, room: &RoomName, to: &RoomName) -> Result<(), StoreError> {
        self.copy_room(room, to)?;
        self.forget(room)
    }

    fn entries(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        read::after(&self.redis, room, after, limit).map_err(failed(STORE, "read a room"))
    }

    fn scrub(&self, rooms: &[RoomName]) -> Result<(), StoreError> {
        const WHAT: &str = "overwrite what was deleted";
        for room in rooms {
            let keys = Keys(room);
            let all = [keys.log(), keys.copy()];
            let more = || {
                let call = Call::script(&script::SCRUB, &all.each_ref().map(String::as_str), |command| {
                    command.arg(COPIED_AT_A_TIME);
                });
                self.redis.read_one(call).map_err(failed(STORE, WHAT))
            };
            while more()? != Value::Int(0) {}
        }
        Ok(())
    }

    fn feed(&self) -> Option<Arc<dyn Feed>> {
        Some(self.feed.clone())
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.redis.probe().map_err(failed(STORE, "be used"))
    }
}

fn action(entry: &NewEntry) -> &'static str {
    let NewEntry::Message(Draft { kept, reference, reply_to, .. }) = entry else { return "change" };
    match (kept, reference, reply_to) {
        (false, ..) => "pass",
        (true, None, None) => "keep",
        (true, None, Some(_)) => "keep>",
        (true, Some(_), None) => "once",
        (true, Some(_), Some(_)) => "once>",
    }
}

/// What a reference is known by: one sender's, in one room. Nothing for what can be sent twice without harm, and for a
/// message that isn't kept.
fn reference(entry: &NewEntry) -> Option<[u8; 32]> {
    let NewEntry::Message(draft) = entry else { return None };
    let reference = draft.reference.as_deref().filter(|_| draft.kept)?;
    Some(reference_digest(&draft.sender, reference))
}

pub(super) fn reference_digest(sender: &str, reference: &str) -> [u8; 32] {
    let length = (sender.len() as u64).to_be_bytes();
    Sha256::new_with_prefix(length).chain_update(sender).chain_update(reference).finalize().into()
}

/// What the append script says of `count` entries.
fn read_appended(room: &RoomName, count: usize, answer: Answer) -> Result<Vec<Appended>, Failure> {
    let Value::BulkString(bytes) = answer? else { return Err(Failure::Unreadable) };
    let Some((outcomes, rest)) = bytes.split_at_checked(9 * count) else { return Err(Failure::Unreadable) };
    let (outcomes, _) = outcomes.as_chunks::<9>();
    let (tails, rest) = rest.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Failure::Unreadable);
    }
    let (own, mut tails) = (Tail::of(room), tails.iter());
    let outcomes = outcomes.iter().map(|[outcome, id @ ..]| {
        let entry = EntryId::from_bytes(*id);
        match *outcome {
            0 => Ok(Appended::Stored(own.message_id(entry))),
            1 => Ok(Appended::Repeated(own.message_id(entry))),
            3 => Ok(Appended::StoredAlone(own.message_id(entry))),
            refused @ 16.. => Ok(Appended::Refused(unchangeable(refused).ok_or(Failure::Unreadable)?)),
            _ => {
                let tail = tails.next().ok_or(Failure::Unreadable)?;
                Ok(Appended::Repeated(Tail::from_bytes(*tail).message_id(entry)))
            }
        }
    });
    outcomes.collect()
}

/// The script's numbers for why a change may not be made.
fn unchangeable(number: u8) -> Option<Unchangeable> {
    match number {
        16 => Some(Unchangeable::NoSuchMessage),
        17 => Some(Unchangeable::NotYours),
        18 => Some(Unchangeable::TooLate),
        19 => Some(Unchangeable::Unchanged),
        20 => Some(Unchangeable::TooManyEmoji),
        _ => None,
    }
}
