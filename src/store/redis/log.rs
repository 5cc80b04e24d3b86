//! The message log in Redis: one stream per room. A batch is one round trip, and a room's share of it is one atomic
//! script.

use super::{
    appended::read_appended,
    call::Call,
    confirmed::Confirmed,
    failure::{Answer, Failure, failed},
    feed::RedisFeed,
    fleet::{Fleet, Master},
    id::{EntryId, Tail},
    keys::Keys,
    memory::Memory,
    moving::{Moving, Turn},
    outcome::{Batch, OpenBatches},
    read, rooms, script, server,
    shared::Redis,
    wire,
};
use crate::{
    entry::{Entry, NewEntry},
    message::{Draft, Message, MessageId, RoomName},
    store::{
        error::StoreError,
        feed::Feed,
        log::{Appended, FoundOut, MessageLog, Open},
    },
};
use redis::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub(super) const STORE: &str = "message log";

/// How long a sender's reference is remembered, in seconds.
pub(super) const REMEMBER: u32 = 24 * 60 * 60;

/// The same while the memory of Redis is short: nothing else bounds how many references there are, and clients mostly
/// send a message again within minutes.
const REMEMBER_SHORTLY: u32 = 10 * 60;

/// How much longer than needed Redis keeps a batch's outcome.
const NOTED_LONGER: Duration = Duration::from_secs(30);

/// Time between two tries to read a room whose slot is moving.
const MOVES_EVERY: Duration = Duration::from_millis(50);

/// Old entries that one script deletes; all other commands wait for it.
const DELETED_AT_A_TIME: i64 = 500;

/// Entries that one script copies.
const COPIED_AT_A_TIME: usize = 200;

pub struct RedisLog {
    pub(super) redis: Arc<Redis>,
    /// Messages kept per room; 0 keeps all.
    keep: u64,
    /// How many seconds a batch's outcome is kept.
    noted: u64,
    open: OpenBatches,
    moving: Moving,
    feed: Arc<RedisFeed>,
    /// The newest archived entry of any room, as 8 bytes; 0: there is no archive.
    newest_archived: AtomicU64,
    pub(in crate::store) confirmed: Confirmed,
}

impl RedisLog {
    pub(super) fn new(
        redis: Arc<Redis>,
        history_max: Option<u64>,
        patience: Duration,
        feed: Arc<RedisFeed>,
    ) -> RedisLog {
        let noted = (patience + NOTED_LONGER).as_secs();
        RedisLog {
            redis,
            keep: history_max.unwrap_or(0),
            noted,
            open: OpenBatches::default(),
            moving: Moving::default(),
            feed,
            newest_archived: AtomicU64::new(0),
            confirmed: Confirmed::default(),
        }
    }

    /// Notes that there is an archive, up to this entry. Everything appended from now on has a greater id, whatever
    /// Redis has lost.
    pub fn archived_up_to(&self, newest: MessageId) {
        // This never goes back: a later look at the archive may end sooner.
        let newest = EntryId::of(newest).to_bits().max(1);
        self.newest_archived.fetch_max(newest, Ordering::Relaxed);
    }

    /// The call that appends these entries, all of one room, and what is needed to find its outcome if the answer is
    /// lost.
    fn append_call(&self, fleet: &Fleet, room: &RoomName, entries: &[&NewEntry], mark: u64) -> (Call, Batch) {
        let keys = Keys(room);
        let key = self.open.key(&self.redis.node, room);
        let (deadline, losses) = (fleet.deadline(key.as_bytes()), self.redis.health.losses());
        let batch = Batch { mark, room: room.clone(), key, deadline, entries: entries.len(), losses };
        let references: Vec<String> =
            entries.iter().filter_map(|entry| reference(entry)).map(|digest| keys.reference(&digest)).collect();
        let own = [keys.log(), keys.head(), keys.changes(), keys.became(), keys.changed()];
        let at_hand = keys.at_hand();
        let others = [&batch.key, &at_hand];
        let all: Vec<&str> = own.iter().chain(others).chain(&references).map(String::as_str).collect();
        // Redis may have lost everything that is archived, and its clock may have gone back.
        let newest_archived = self.newest_archived.load(Ordering::Relaxed);
        let (is_archived, floor) =
            (newest_archived > 0, self.redis.floors.of(room).max(EntryId::from_bits(newest_archived)));
        let mixed = entries.iter().any(|entry| matches!(entry, NewEntry::Change(_)));
        let (publish, channel) = self.redis.way(fleet, Some(room));
        let call = Call::script(&script::APPEND, &all, |command| {
            command.arg(deadline).arg(&channel).arg(room.as_str());
            let remember = if self.redis.health.is_short() { REMEMBER_SHORTLY } else { REMEMBER };
            command.arg(self.keep).arg(remember).arg(&Tail::of(room).to_bytes()).arg(if mixed { "4" } else { "1" });
            command.arg(&mark.to_be_bytes()).arg(self.noted).arg(&floor.to_bytes()).arg(u8::from(is_archived));
            let mut body = Vec::new();
            let news = self.redis.news_channel();
            if !news.is_empty() {
                wire::write_authors(entries, &mut body);
            }
            command.arg(publish).arg(news).arg(&body[..]);
            for entry in entries {
                body.clear();
                match entry {
                    NewEntry::Message(draft) => wire::write_body(draft, &mut body),
                    NewEntry::Change(change) => wire::write_change(change, &mut body),
                }
                command.arg(action(entry)).arg(&body[..]);
            }
        });
        (call, batch)
    }

    fn read_answer(&self, batch: &Batch, answer: Answer) -> Result<Vec<Appended>, Failure> {
        let outcomes = read_appended(&batch.room, batch.entries, answer)?;
        if let Some(id) = outcomes.iter().rev().find_map(given_id) {
            self.redis.floors.raise(&batch.room, EntryId::of(id));
        }
        Ok(outcomes)
    }

    /// Notes which messages are stored, where there is an archive that may lack them.
    fn note(&self, room: &RoomName, entries: &[&NewEntry], outcomes: &[Appended]) {
        if self.newest_archived.load(Ordering::Relaxed) > 0 {
            let is_kept = |entry: &NewEntry| matches!(entry, NewEntry::Message(draft) if draft.kept);
            let kept = entries.iter().zip(outcomes).filter(|(entry, _)| is_kept(entry));
            self.confirmed.note(room, kept.filter_map(|(_, outcome)| given_id(outcome)));
        }
    }

    /// Holds a room's share of a batch for later, if there is space for it.
    fn hold(&self, mark: u64, room: &RoomName, entries: &[&NewEntry], share: &[usize], appended: &mut [Appended]) {
        if self.moving.hold(room, mark, entries) {
            for (place, index) in share.iter().enumerate() {
                appended[*index] = Appended::Open(Open { batch: mark, place, waits: true });
            }
        }
    }

    /// Tries again to append entries that wait because their slot is moving.
    fn append_again(&self, mark: u64, room: &RoomName, entries: &[&NewEntry]) -> Result<FoundOut, StoreError> {
        let fleet = self.redis.fleet().map_err(failed(STORE, "store messages"))?;
        let (call, batch) = self.append_call(&fleet, room, entries, mark);
        match self.read_answer(&batch, self.redis.health.ask(&fleet, call)) {
            Err(error) if error.is_moving() => Ok(FoundOut::Undecided),
            // Redis is away; it may come back before the caller stops asking.
            Err(error @ (Failure::Away(_) | Failure::NoConnection(_))) => Err(failed(STORE, "store messages")(error)),
            answer => {
                let found = match answer {
                    Ok(outcomes) => {
                        self.note(room, entries, &outcomes);
                        Ok(FoundOut::Done(outcomes))
                    }
                    Err(error) if error.leaves_open() => {
                        self.open.open(batch);
                        Ok(FoundOut::Undecided)
                    }
                    Err(error) => {
                        tracing::debug!(%error, "messages that waited for a slot were refused");
                        Ok(FoundOut::Nothing)
                    }
                };
                // Not before this: later entries must not overtake it.
                self.moving.give_up(mark);
                found
            }
        }
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
        let mut appended = vec![Appended::NotStored; entries.len()];
        let mut failure = None;
        let (mut calls, mut batches) = (Vec::new(), Vec::new());
        for (room, share) in &rooms {
            let entries: Vec<&NewEntry> = share.iter().map(|index| &entries[*index]).collect();
            let mark = self.open.mark();
            if self.moving.is_waiting(room) {
                self.hold(mark, room, &entries, share, &mut appended);
                continue;
            }
            let (call, batch) = self.append_call(&fleet, room, &entries, mark);
            calls.push(call);
            batches.push((batch, entries, share));
        }
        let answers = self.redis.health.run(&fleet, &calls);
        for ((batch, entries, share), answer) in batches.into_iter().zip(answers) {
            match self.read_answer(&batch, answer) {
                Ok(outcomes) => {
                    self.note(&batch.room, &entries, &outcomes);
                    share.iter().zip(outcomes).for_each(|(index, outcome)| appended[*index] = outcome);
                }
                Err(error) if error.is_moving() => {
                    self.hold(batch.mark, &batch.room, &entries, share, &mut appended);
                }
                Err(error) if error.leaves_open() => {
                    for (place, index) in share.iter().enumerate() {
                        appended[*index] = Appended::Open(Open { batch: batch.mark, place, waits: false });
                    }
                    self.open.open(batch);
                }
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

    fn find_out(&self, batch: u64) -> Result<FoundOut, StoreError> {
        match self.moving.turn(batch) {
            Turn::Other => self.open.find_out(&self.redis, batch),
            Turn::Later => Ok(FoundOut::Undecided),
            Turn::Now(room, entries) => self.append_again(batch, &room, &entries.iter().collect::<Vec<_>>()),
        }
    }

    fn leave_open(&self, batch: u64) -> FoundOut {
        self.open.close(batch);
        self.moving.give_up(batch)
    }

    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError> {
        let newest = unmoved(|| read::newest(&self.redis, room, before, limit));
        let mut messages = newest.map_err(failed(STORE, "read history"))?;
        messages.reverse();
        Ok(messages)
    }

    fn newer(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Message>, StoreError> {
        unmoved(|| read::newer(&self.redis, room, after, limit)).map_err(failed(STORE, "read history"))
    }

    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Entry>>, StoreError> {
        unmoved(|| read::since(&self.redis, room, after, limit)).map_err(failed(STORE, "read what a client has missed"))
    }

    fn message(&self, room: &RoomName, id: MessageId) -> Result<Option<Message>, StoreError> {
        let found = unmoved(|| read::one(&self.redis, room, id, false)).map_err(failed(STORE, "read a message"))?;
        Ok(found.0)
    }

    fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        rooms::rooms(&self.redis, after, limit).map_err(failed(STORE, "list the rooms"))
    }

    fn forget(&self, room: &RoomName) -> Result<(), StoreError> {
        self.let_go(room).map(drop)
    }

    fn forget_before(&self, room: &RoomName, before: u64) -> Result<(), StoreError> {
        self.let_go_before(room, before).map(drop)
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
            let all = [keys.log(), keys.copy(), keys.changes()];
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

/// Reads, and tries again while a cluster is moving the room's keys, for a limited time. Only this reader waits.
pub(super) fn unmoved<T>(read: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    let until = Instant::now() + server::ANSWER;
    loop {
        match read() {
            Err(error) if error.is_moving() && Instant::now() < until => thread::sleep(MOVES_EVERY),
            answer => return answer,
        }
    }
}

impl RedisLog {
    /// Forgets a room. Returns the last id that it gave out.
    pub(in crate::store) fn let_go(&self, room: &RoomName) -> Result<Option<MessageId>, StoreError> {
        let all = Keys(room).of_log();
        let call = Call::script(&script::FORGET, &all.each_ref().map(String::as_str), |_| {});
        match self.redis.read_one(call).map_err(failed(STORE, "forget a room"))? {
            Value::BulkString(last) => Ok(EntryId::parse(&last).map(|last| Tail::GREATEST.message_id(last))),
            _ => Ok(None),
        }
    }

    /// The share of its memory limit that the fullest server uses; `None`: none has a limit, or nobody may ask.
    pub(in crate::store) fn memory_used(&self) -> Option<f64> {
        let fleet = self.redis.fleet().ok()?;
        let share =
            |master: &Master| Memory::read(&mut *master.wire(server::ANSWER).ok()?).map(|memory| memory.share());
        fleet.masters.iter().filter_map(share).max_by(f64::total_cmp)
    }

    /// Deletes everything older than `before`. Returns whether there was anything.
    pub(in crate::store) fn let_go_before(&self, room: &RoomName, before: u64) -> Result<bool, StoreError> {
        let all = Keys(room).of_log();
        let mut any = false;
        loop {
            let call = Call::script(&script::AGE, &all.each_ref().map(String::as_str), |command| {
                command.arg(before).arg(DELETED_AT_A_TIME);
            });
            match self.redis.read_one(call).map_err(failed(STORE, "delete old messages"))? {
                Value::Int(deleted) if deleted < DELETED_AT_A_TIME => return Ok(any || deleted > 0),
                Value::Int(_) => any = true,
                _ => return Err(failed(STORE, "delete old messages")(Failure::Unreadable)),
            }
        }
    }
}

/// The id that the entry got.
fn given_id(outcome: &Appended) -> Option<MessageId> {
    match outcome {
        Appended::Stored(id) | Appended::StoredAlone(id) => Some(*id),
        _ => None,
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

/// The digest of a sender's reference in one room. `None` for entries that can be sent twice without harm, and for
/// messages that are not kept.
fn reference(entry: &NewEntry) -> Option<[u8; 32]> {
    let NewEntry::Message(draft) = entry else { return None };
    let reference = draft.reference.as_deref().filter(|_| draft.kept)?;
    Some(reference_digest(&draft.sender, reference))
}

pub(super) fn reference_digest(sender: &str, reference: &str) -> [u8; 32] {
    let length = (sender.len() as u64).to_be_bytes();
    Sha256::new_with_prefix(length).chain_update(sender).chain_update(reference).finalize().into()
}
