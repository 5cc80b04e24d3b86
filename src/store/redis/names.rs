//! Names in the rooms of the rooms door, over all nodes. A node that goes without a word loses its names when its word
//! expires.

use super::{
    call::Call,
    failure::{Answer, Failure, failed},
    keys::Keys,
    script,
    shared::Redis,
    wire::NODE_NAME,
};
use crate::{
    message::RoomName,
    store::{
        error::StoreError,
        names::{Claim, LIFE, Named, SharedNames},
    },
};
use redis::Value;
use std::sync::Arc;

const STORE: &str = "names";

/// Names told at a time, and rooms asked about.
const BATCH: usize = 500;

pub struct RedisNames {
    redis: Arc<Redis>,
}

impl RedisNames {
    pub(super) fn new(redis: Arc<Redis>) -> RedisNames {
        RedisNames { redis }
    }

    #[cfg(test)]
    pub(super) fn node(&self) -> &str {
        &self.redis.node
    }

    /// Does one thing with some claims: whether any of this node's was known in the room, and which of these are its own
    /// now.
    fn tell(&self, room: i64, action: &str, claims: &[Claim]) -> Result<(bool, Vec<bool>), Failure> {
        let room = RoomName::chitchat(room);
        let keys = Keys(&room);
        let (nodes, names) = (keys.name_nodes(), keys.names());
        let answer = self.redis.health.ask_again(|fleet| {
            Call::script(&script::NAMES, &[&nodes, &names], |command| {
                command.arg(fleet.deadline(nodes.as_bytes())).arg(&self.redis.node).arg(LIFE.as_millis() as u64);
                for claim in claims {
                    let who = written(&claim.named);
                    command.arg(action).arg(&*claim.key).arg(&claim.number.to_be_bytes()[..]).arg(who);
                }
            })
        })?;
        let Value::BulkString(answer) = answer else { return Err(Failure::Unreadable) };
        match answer.split_first() {
            Some((known, own)) if own.len() == claims.len() => {
                Ok((*known == 1, own.iter().map(|own| *own == 1).collect()))
            }
            _ => Err(Failure::Unreadable),
        }
    }
}

impl SharedNames for RedisNames {
    fn take(&self, room: i64, claim: &Claim) -> Result<bool, StoreError> {
        let taken = self.tell(room, "take", std::slice::from_ref(claim));
        taken.map(|(_, own)| own[0]).map_err(failed(STORE, "take a name"))
    }

    fn give_back(&self, room: i64, claim: &Claim) -> Result<(), StoreError> {
        let given = self.tell(room, "drop", std::slice::from_ref(claim));
        given.map(drop).map_err(failed(STORE, "give a name back"))
    }

    fn renew(&self, room: i64, changed: &[Claim]) -> Result<Option<Vec<Claim>>, StoreError> {
        let (first, rest) = changed.split_at(changed.len().min(BATCH));
        let mut known = None;
        let mut lost = Vec::new();
        for part in std::iter::once(first).chain(rest.chunks(BATCH)) {
            let (before, own) = self.tell(room, "take", part).map_err(failed(STORE, "renew names"))?;
            known.get_or_insert(before);
            lost.extend(part.iter().zip(own).filter(|(_, own)| !own).map(|(claim, _)| claim.clone()));
        }
        Ok((known == Some(true)).then_some(lost))
    }

    fn users(&self, rooms: &[i64]) -> Result<Vec<Vec<Named>>, StoreError> {
        let mut users = Vec::with_capacity(rooms.len());
        for rooms in rooms.chunks(BATCH) {
            let calls: Vec<Call> = rooms
                .iter()
                .map(|room| {
                    let room = RoomName::chitchat(*room);
                    let keys = Keys(&room);
                    Call::script(&script::NAMED, &[&keys.name_nodes(), &keys.names()], |_| {})
                })
                .collect();
            let answers = self.redis.read(&calls);
            let read = answers.and_then(|answers| answers.into_iter().map(everybody).collect::<Result<Vec<_>, _>>());
            users.extend(read.map_err(failed(STORE, "say who is in a room"))?);
        }
        Ok(users)
    }
}

fn everybody(answer: Answer) -> Result<Vec<Named>, Failure> {
    let Value::Array(held) = answer? else { return Err(Failure::Unreadable) };
    let named = held.iter().filter_map(|held| match held {
        Value::BulkString(held) => read(held.get(NODE_NAME + size_of::<u64>()..)?),
        _ => None,
    });
    let mut named: Vec<Named> = named.collect();
    named.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(named)
}

/// Last activity (8) | length of the name (2) | name | color; numbers are big-endian.
fn written(named: &Named) -> Vec<u8> {
    let mut out = named.last_activity.to_be_bytes().to_vec();
    // The rooms door lets no name in that is longer.
    out.extend_from_slice(&(named.name.len().min(usize::from(u16::MAX)) as u16).to_be_bytes());
    out.extend_from_slice(named.name.as_bytes());
    out.extend_from_slice(named.color.as_bytes());
    out
}

fn read(who: &[u8]) -> Option<Named> {
    let (last_activity, rest) = who.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (name, color) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some(Named {
        name: std::str::from_utf8(name).ok()?.into(),
        color: std::str::from_utf8(color).ok()?.into(),
        last_activity: i64::from_be_bytes(*last_activity),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn who_has_a_name_is_read_as_it_was_written(name in ".{0,70}", color in ".{0,64}", last_activity: i64) {
            let named = Named { name: name.into(), color: color.into(), last_activity };
            prop_assert_eq!(read(&written(&named)), Some(named));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}
