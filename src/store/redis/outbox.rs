//! How far webhooks have got, over all nodes: a field in each room's head, and a lease for the one node that sends
//! them.

use super::{
    call::Call,
    failure::{Failure, failed},
    id::{EntryId, Tail},
    keys::Keys,
    read, script, server,
    shared::Redis,
};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        log::MessageLog,
        outbox::{LEASE, Outbox},
    },
};
use parking_lot::Mutex;
use redis::{Value, cmd};
use std::sync::{Arc, OnceLock};

const STORE: &str = "store of webhooks";

const LEADER: &str = "propromo:{webhooks}:leader";
const SINCE: &str = "propromo:{webhooks}:since";

/// Rooms read in one round trip.
const ROOMS: usize = 500;

/// How far the webhooks of many nodes have got.
pub struct RedisOutbox {
    redis: Arc<Redis>,
    /// Where to begin in rooms of which nothing was sent yet.
    since: Mutex<Option<EntryId>>,
    /// The log to read entries from that Redis no longer has, if there is an archive.
    log: OnceLock<Arc<dyn MessageLog>>,
}

impl RedisOutbox {
    pub(super) fn new(redis: Arc<Redis>) -> RedisOutbox {
        RedisOutbox { redis, since: Mutex::new(None), log: OnceLock::new() }
    }

    /// Reads entries from this log from now on, since it has more of them than Redis.
    pub fn read_from(&self, log: Arc<dyn MessageLog>) {
        let _ = self.log.set(log);
    }

    /// Asks to lead for `millis` milliseconds. Returns whether this node leads.
    fn lease(&self, millis: u128) -> Result<bool, Failure> {
        let lease = Call::script(&script::LEASE, &[LEADER, SINCE], |command| {
            command.arg(&self.redis.node).arg(millis.to_string());
        });
        let Value::Array(answer) = self.redis.read_one(lease)? else { return Err(Failure::Unreadable) };
        let [Value::Int(leads), Value::BulkString(since)] = &answer[..] else { return Err(Failure::Unreadable) };
        let since: Option<u64> = std::str::from_utf8(since).ok().and_then(|millis| millis.parse().ok());
        let millis = since.ok_or(Failure::Unreadable)?;
        // Entries of that millisecond are sent.
        *self.since.lock() = Some(EntryId { millis: millis.saturating_sub(1), sequence: 0xfff });
        Ok(*leads == 1)
    }

    /// Since when webhooks are sent; the lease script reports it.
    fn since(&self) -> Result<EntryId, Failure> {
        if let Some(since) = *self.since.lock() {
            return Ok(since);
        }
        self.lease(0)?;
        (*self.since.lock()).ok_or(Failure::Unreadable)
    }

    /// Those of these rooms that have entries which were not sent yet.
    fn untold(&self, rooms: Vec<RoomName>, since: EntryId) -> Result<Vec<RoomName>, Failure> {
        let calls: Vec<Call> = rooms
            .iter()
            .map(|room| {
                let head = Keys(room).head();
                Call::command(&head, cmd("HMGET").arg(&head).arg("last").arg("told"))
            })
            .collect();
        let mut untold = Vec::new();
        for (room, answer) in rooms.into_iter().zip(self.redis.read(&calls)?) {
            let Value::Array(fields) = answer? else { return Err(Failure::Unreadable) };
            let [last, told] = &fields[..] else { return Err(Failure::Unreadable) };
            if entry(last).is_some_and(|last| last > entry(told).unwrap_or(since)) {
                untold.push(room);
            }
        }
        Ok(untold)
    }

    fn find_behind(&self, limit: usize) -> Result<(Vec<RoomName>, bool), Failure> {
        let (fleet, since) = (self.redis.fleet()?, self.since()?);
        let mut behind = Vec::new();
        for master in &fleet.masters {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg("propromo:{*}:head").arg("COUNT").arg(ROOMS);
                let found = {
                    let mut wire = master.wire(server::ANSWER)?;
                    wire.ask(&scan.get_packed_command())?
                };
                let (next, keys): (String, Vec<Vec<u8>>) =
                    redis::from_redis_value(found).map_err(|_| Failure::Unreadable)?;
                let rooms = keys.iter().filter_map(|key| room_of_head(key)).collect();
                behind.extend(self.untold(rooms, since)?);
                if behind.len() >= limit {
                    behind.truncate(limit);
                    return Ok((behind, true));
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok((behind, false))
    }

    /// Up to where the room's entries were sent.
    fn position(&self, room: &RoomName) -> Result<MessageId, Failure> {
        let head = Keys(room).head();
        let told = self.redis.read_one(Call::command(&head, cmd("HGET").arg(&head).arg("told")))?;
        let position = match entry(&told) {
            Some(told) => told,
            None => self.since()?,
        };
        Ok(Tail::of(room).message_id(position))
    }
}

impl Outbox for RedisOutbox {
    fn acquire_lease(&self) -> Result<bool, StoreError> {
        self.lease(LEASE.as_millis()).map_err(failed(STORE, "say who sends"))
    }

    fn resign(&self) -> Result<(), StoreError> {
        self.lease(0).map(drop).map_err(failed(STORE, "say who sends"))
    }

    fn behind(&self, limit: usize) -> Result<(Vec<RoomName>, bool), StoreError> {
        self.find_behind(limit).map_err(failed(STORE, "name the rooms that have news"))
    }

    fn next(&self, room: &RoomName, limit: usize) -> Result<Vec<Entry>, StoreError> {
        const WHAT: &str = "read what was not told";
        let position = self.position(room).map_err(failed(STORE, WHAT))?;
        match self.log.get() {
            Some(log) => log.entries(room, position, limit),
            None => read::after(&self.redis, room, position, limit).map_err(failed(STORE, WHAT)),
        }
    }

    fn told(&self, room: &RoomName, upto: MessageId) -> Result<(), StoreError> {
        let EntryId { millis, sequence } = EntryId::of(upto);
        let call = Call::script(&script::TOLD, &[&Keys(room).head()], |command| {
            command.arg(millis).arg(sequence);
        });
        self.redis.read_one(call).map(drop).map_err(failed(STORE, "note what was told"))
    }

    fn all_told(&self, _: MessageId) -> Result<(), StoreError> {
        // Each room has its own position: ids of different rooms may come from servers whose clocks differ.
        Ok(())
    }
}

fn entry(value: &Value) -> Option<EntryId> {
    match value {
        Value::BulkString(text) => EntryId::parse(text),
        _ => None,
    }
}

/// The room of `propromo:{ROOM}:head`.
pub(super) fn room_of_head(key: &[u8]) -> Option<RoomName> {
    let room = std::str::from_utf8(key).ok()?.strip_prefix("propromo:{")?.strip_suffix("}:head")?;
    Some(RoomName::from_store(room))
}
