//! Reads the messages of an original Propromo chat, as it kept them in Redis. It changes nothing.
//!
//! | key | what |
//! |---|---|
//! | `chatroom:MONITOR:messages` | hash: a message by its UUID |
//! | `chatroom:MONITOR:messages:UUID` | a message |
//!
//! A message is a JSON object with `email`, `timestamp` (RFC 3339, or Unix milliseconds) and `text`.

use super::{
    address::{Deployment, Layout},
    server::{Server, Wire},
};
use crate::{
    message::{Message, MessageId},
    store::moving::Kept,
};
use redis::{Cmd, FromRedisValue, RedisResult, cmd};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(10);

/// Keys, or messages, read in one round trip.
const BATCH: usize = 500;

const PREFIX: &str = "chatroom:";
const HASH: &str = ":messages";
const TEXT: &str = ":messages:";

/// The low 62 bits of a UUID, which follow its variant.
const TAIL: u128 = (1 << 62) - 1;

/// The Redis of an original chat.
pub struct Original {
    wire: Wire,
}

/// A room of the original chat that has messages.
pub struct Room {
    /// The monitor's hash.
    pub id: String,
    /// Whether there is a hash of messages.
    hash: bool,
    /// Keys of single messages.
    keys: Vec<String>,
}

/// The contents of a room.
pub struct Read {
    /// In the order of their ids, each once.
    pub messages: Vec<Kept>,
    /// The keys of values that are no messages.
    pub unreadable: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum OriginalError {
    #[error("can't read the original messages at {redis}: {cause}")]
    Unusable { redis: String, cause: redis::RedisError },
    #[error("the original chat kept its messages in one server; name that one, as redis://HOST:PORT")]
    Several,
}

impl Original {
    pub fn open(deployment: &Deployment) -> Result<Original, OriginalError> {
        let Layout::One(host) = &deployment.layout else { return Err(OriginalError::Several) };
        let open = || Server::new(deployment, host.clone())?.open(PATIENCE, PATIENCE);
        let wire = open().map_err(|cause| OriginalError::Unusable { redis: deployment.to_string(), cause })?;
        Ok(Original { wire })
    }

    /// Every room that has messages.
    pub fn rooms(&mut self) -> RedisResult<Vec<Room>> {
        let mut rooms = BTreeMap::<String, Room>::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg("chatroom:*").arg("COUNT").arg(BATCH);
            let (next, keys): (String, Vec<String>) = self.ask(&scan)?;
            for key in keys {
                let Some(rest) = key.strip_prefix(PREFIX) else { continue };
                let (id, is_hash) = match (rest.strip_suffix(HASH), rest.rsplit_once(TEXT)) {
                    (Some(id), _) => (id, true),
                    (None, Some((id, _))) => (id, false),
                    (None, None) => continue,
                };
                let room = rooms.entry(id.to_owned()).or_insert_with(|| Room {
                    id: id.to_owned(),
                    hash: false,
                    keys: Vec::new(),
                });
                if is_hash {
                    room.hash = true;
                } else {
                    room.keys.push(key);
                }
            }
            if next == "0" {
                return Ok(rooms.into_values().collect());
            }
            cursor = next;
        }
    }

    /// The messages of a room.
    pub fn read(&mut self, room: &Room) -> RedisResult<Read> {
        let mut read = Read { messages: Vec::new(), unreadable: Vec::new() };
        let hash = format!("{PREFIX}{}{HASH}", room.id);
        if room.hash {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = cmd("HSCAN");
                scan.arg(&hash).arg(&cursor).arg("COUNT").arg(BATCH);
                let (next, fields): (String, Vec<(String, Vec<u8>)>) = self.ask(&scan)?;
                for (field, json) in fields {
                    read.add(&field, &json, || format!("{hash} {field}"));
                }
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        for keys in room.keys.chunks(BATCH) {
            let values: Vec<Option<Vec<u8>>> = self.ask(cmd("MGET").arg(keys))?;
            for (key, json) in keys.iter().zip(values) {
                let uuid = key.rsplit_once(TEXT).map_or("", |(_, uuid)| uuid);
                // `None`: it is of another type, or has just gone.
                read.add(uuid, &json.unwrap_or_default(), || key.clone());
            }
        }
        read.messages.sort_by_key(|kept| kept.message.id);
        read.keep_apart();
        Ok(read)
    }

    fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        Ok(redis::from_redis_value(self.wire.ask(&command.get_packed_command())?)?)
    }
}

impl Read {
    fn add(&mut self, uuid: &str, json: &[u8], key: impl FnOnce() -> String) {
        match message(uuid, json) {
            Some(message) => self.messages.push(Kept { message, reference: None }),
            None => self.unreadable.push(key()),
        }
    }

    /// Drops duplicates, since SCAN may return a key twice. Two messages of one millisecond may get the same place: the
    /// one with the later id moves to the next place.
    fn keep_apart(&mut self) {
        let mut seen = HashSet::new();
        self.messages.retain(|kept| seen.insert(kept.message.id));
        let place = |id: MessageId| id.0.as_u128() >> 64;
        let mut last = None;
        for kept in &mut self.messages {
            let id = &mut kept.message.id;
            if let Some(last) = last
                && place(*id) <= last
            {
                *id = placed(next_place(last), id.0.as_u128() & TAIL);
            }
            last = Some(place(*id));
        }
    }
}

/// Reads a message from its JSON.
fn message(uuid: &str, json: &[u8]) -> Option<Message> {
    let object: Value = serde_json::from_slice(json).ok()?;
    let text = |name: &str| object[name].as_str();
    let millis = match &object["timestamp"] {
        Value::String(time) => time.parse::<jiff::Timestamp>().ok()?.as_millisecond(),
        time => time.as_i64()?,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let millis = u64::try_from(millis).ok().filter(|millis| u128::from(*millis) <= now)?;
    // The original made its ids from the text alone (UUID version 5). An id that is not a UUID is hashed.
    let bits = match Uuid::try_parse(uuid) {
        Ok(uuid) => uuid.as_u128(),
        Err(_) => u128::from_be_bytes(Sha256::digest(uuid)[..16].try_into().ok()?),
    };
    Some(Message::new(id(millis, bits), text("email")?.into(), text("text")?))
}

/// A UUIDv7 of this time with the last 74 bits of `bits`, without its version and variant.
fn id(millis: u64, bits: u128) -> MessageId {
    placed((u128::from(millis) << 16) | (7 << 12) | ((bits >> 64) & 0xfff), bits & TAIL)
}

/// `place`: the first 64 bits.
fn placed(place: u128, tail: u128) -> MessageId {
    MessageId(Uuid::from_u128((place << 64) | (0b10 << 62) | tail))
}

fn next_place(place: u128) -> u128 {
    if place & 0xfff < 0xfff { place + 1 } else { (((place >> 16) + 1) << 16) | (7 << 12) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: &[(&str, &str)]) -> Read {
        let mut read = Read { messages: Vec::new(), unreadable: Vec::new() };
        for (uuid, json) in messages {
            read.add(uuid, json.as_bytes(), || (*uuid).to_owned());
        }
        read.messages.sort_by_key(|kept| kept.message.id);
        read.keep_apart();
        read
    }

    #[test]
    fn time_and_most_of_the_id_are_kept() {
        let json = r#"{"email":"a@b","timestamp":"2024-05-06T07:08:09.123Z","text":"hi"}"#;
        let read = read(&[("2ed6657d-e927-568b-95e1-2665a8aea6a2", json)]);
        let message = &read.messages[0].message;
        assert_eq!(message.id.millis(), 1_714_979_289_123);
        assert!(message.id.to_string().ends_with("-768b-95e1-2665a8aea6a2"), "{}", message.id);
        assert!(MessageId::parse(&message.id.to_string()).is_some());
        assert_eq!((&*message.sender, &*message.text), ("a@b", "hi"));
    }

    #[test]
    fn what_is_no_message_is_named() {
        let future = r#"{"email":"a@b","timestamp":"2999-01-01T00:00:00Z","text":"x"}"#;
        let read =
            read(&[("a", "{}"), ("b", "no json"), ("c", future), ("d", r#"{"email":1,"timestamp":1,"text":""}"#)]);
        assert_eq!((read.messages.len(), read.unreadable), (0, ["a", "b", "c", "d"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn messages_of_one_place_are_kept_apart_and_the_same_one_is_not_doubled() {
        let json = r#"{"email":"a@b","timestamp":1714979289123,"text":"hi"}"#;
        let (one, two) = ("00000000-0000-5fff-8000-000000000001", "00000000-0000-5fff-8000-000000000002");
        let read = read(&[(two, json), (one, json), (one, json)]);
        let ids: Vec<_> = read.messages.iter().map(|kept| kept.message.id).collect();
        assert_eq!(ids.len(), 2);
        assert!(ids[0] < ids[1] && ids[1].millis() == 1_714_979_289_124, "{ids:?}");
    }
}
