//! The message log in Redis: a stream a room. A batch is one round trip, a room's share of it one atomic script.

use super::{
    call::Call,
    failure::{Answer, Failure, failed},
    feed::RedisFeed,
    fleet::Fleet,
    id::{EntryId, Tail},
    keys::Keys,
    script,
    shared::Redis,
    wire::{self, read_entries},
};
use crate::{
    message::{Draft, Message, MessageId, RoomName},
    store::{
        error::StoreError,
        feed::Feed,
        log::{Appended, MessageLog, PAGE_BYTES, is_full_page},
    },
};
use redis::{Value, cmd};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc};

pub(super) const STORE: &str = "message log";

/// Entries read at a time: a page of long messages is full long before as many as may be asked for.
const SHARE: usize = 128;

/// How long a sender's reference is remembered, seconds.
pub(super) const REMEMBER: u32 = 24 * 60 * 60;

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

    /// The call that appends these drafts, all of one room.
    fn append_call(&self, fleet: &Fleet, room: &RoomName, drafts: &[&Draft]) -> Call {
        let keys = Keys(room);
        let (log, head) = (keys.log(), keys.head());
        let references: Vec<String> =
            drafts.iter().filter_map(|draft| reference(draft)).map(|digest| keys.reference(&digest)).collect();
        let mut all = vec![log.as_str(), head.as_str()];
        all.extend(references.iter().map(String::as_str));
        Call::script(&script::APPEND, &all, |command| {
            command.arg(fleet.deadline(log.as_bytes())).arg(&self.redis.channel).arg(room.as_str());
            command.arg(self.keep).arg(REMEMBER);
            let mut body = Vec::new();
            for draft in drafts {
                body.clear();
                wire::write_body(draft, &mut body);
                command.arg(action(draft)).arg(&body[..]);
            }
        })
    }

    /// Reads from this entry on, a share at a time, until there are enough, in number or in text.
    fn page(
        &self,
        room: &RoomName,
        command: &'static str,
        mut from: String,
        limit: usize,
        page: &mut Vec<Message>,
    ) -> Result<(), Failure> {
        let to = if command == "XRANGE" { "+" } else { "-" };
        while page.len() < limit && !is_full_page(page) {
            let share = SHARE.min(limit - page.len());
            let mut range = cmd(command);
            range.arg(Keys(room).log()).arg(&from).arg(to).arg("COUNT").arg(share);
            let entries = self.redis.read_one(Call::command(&Keys(room).log(), &range))?;
            let (got, last) = (entry_count(&entries), last_entry(&entries));
            page.extend(read_entries(room, entries)?);
            match last {
                Some(last) if got == share => from = format!("({last}"),
                _ => break,
            }
        }
        if let Some(end) = end_of_page(page) {
            page.truncate(end);
        }
        Ok(())
    }
}

impl MessageLog for RedisLog {
    fn append(&self, drafts: &[Draft]) -> Result<Vec<Appended>, StoreError> {
        let fleet = self.redis.fleet().map_err(failed(STORE, "store messages"))?;
        let mut rooms: Vec<(&RoomName, Vec<usize>)> = Vec::new();
        let mut places: HashMap<&RoomName, usize> = HashMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            let place = *places.entry(&draft.room).or_insert_with(|| {
                rooms.push((&draft.room, Vec::new()));
                rooms.len() - 1
            });
            rooms[place].1.push(index);
        }
        let calls: Vec<Call> = rooms
            .iter()
            .map(|(room, share)| {
                let drafts: Vec<&Draft> = share.iter().map(|index| &drafts[*index]).collect();
                self.append_call(&fleet, room, &drafts)
            })
            .collect();
        let mut appended = vec![Appended::NotStored; drafts.len()];
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
        let newest = before.map_or("+".to_owned(), older_than);
        let mut messages = Vec::new();
        self.page(room, "XREVRANGE", newest, limit, &mut messages).map_err(failed(STORE, "read history"))?;
        messages.reverse();
        Ok(messages)
    }

    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Message>>, StoreError> {
        // Trimming takes the oldest first: if that message is still there, so is everything after it.
        let (first, mut messages) = (EntryId::of(after).to_string(), Vec::new());
        self.page(room, "XRANGE", first, limit.saturating_add(1), &mut messages)
            .map_err(failed(STORE, "read history"))?;
        if messages.first().is_none_or(|message| message.id != after) {
            return Ok(None);
        }
        messages.remove(0);
        Ok(Some(messages))
    }

    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        let keys = Keys(room);
        let call = Call::script(&script::FORGET, &[&keys.log(), &keys.head()], |_| {});
        self.redis.read_one(call).map(drop).map_err(failed(STORE, "forget a room"))
    }

    fn feed(&self) -> Option<Arc<dyn Feed>> {
        Some(self.feed.clone())
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.redis.probe().map_err(failed(STORE, "be used"))
    }
}

fn older_than(id: MessageId) -> String {
    format!("({}", EntryId::of(id))
}

fn entry_count(answer: &Value) -> usize {
    if let Value::Array(entries) = answer { entries.len() } else { 0 }
}

/// The id of the last entry, as Redis writes it.
fn last_entry(answer: &Value) -> Option<String> {
    let Value::Array(entries) = answer else { return None };
    let Value::Array(entry) = entries.last()? else { return None };
    let Value::BulkString(id) = entry.first()? else { return None };
    String::from_utf8(id.clone()).ok()
}

/// How many messages are a page's worth of text, if that is fewer than these.
fn end_of_page(page: &[Message]) -> Option<usize> {
    let mut bytes = 0;
    page.iter()
        .position(|message| {
            bytes += message.text.len();
            bytes >= PAGE_BYTES
        })
        .map(|last| last + 1)
}

fn action(draft: &Draft) -> &'static str {
    match (draft.kept, &draft.reference) {
        (false, _) => "pass",
        (true, None) => "keep",
        (true, Some(_)) => "once",
    }
}

/// What a reference is known by: one sender's, in one room. Nothing for a message that isn't kept.
fn reference(draft: &Draft) -> Option<[u8; 32]> {
    let reference = draft.reference.as_deref().filter(|_| draft.kept)?;
    Some(reference_digest(&draft.sender, reference))
}

pub(super) fn reference_digest(sender: &str, reference: &str) -> [u8; 32] {
    let length = (sender.len() as u64).to_be_bytes();
    Sha256::new_with_prefix(length).chain_update(sender).chain_update(reference).finalize().into()
}

/// What the append script says of `count` drafts.
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
            _ => {
                let tail = tails.next().ok_or(Failure::Unreadable)?;
                Ok(Appended::Repeated(Tail::from_bytes(*tail).message_id(entry)))
            }
        }
    });
    outcomes.collect()
}
