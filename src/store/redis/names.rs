//! Names in the rooms of the rooms door, over all nodes: claims of nodes that have a lease (see
//! [`lease`](super::lease)).

use super::{
    call::Call,
    failure::{Failure, failed},
    keys::Keys,
    lease::{Epoch, is_epoch},
    presence::FORGET_MILLIS,
    script,
    shared::Redis,
    wire::NODE_NAME,
};
use crate::{
    message::RoomName,
    store::{
        error::StoreError,
        names::{Claim, Named, SharedNames},
        presence::Standing,
    },
};
use redis::{Value, cmd};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

const STORE: &str = "names";

/// Rooms read in one round trip.
const BATCH: usize = 500;

pub struct RedisNames {
    redis: Arc<Redis>,
}

impl RedisNames {
    pub(super) fn new(redis: Arc<Redis>) -> RedisNames {
        RedisNames { redis }
    }

    /// Does `action` with these claims, after removing the claims of epochs that are `over`. Returns for each the
    /// holder, if it is another node.
    fn tell(
        &self,
        action: &str,
        claims: &[(i64, Vec<Claim>)],
        over: &[Epoch],
    ) -> Result<Vec<Vec<Option<Epoch>>>, Failure> {
        let me = self.redis.lease.hold(&self.redis.health)?;
        let (earlier, over) = (self.redis.lease.own()[1..].join(" "), over.join(" "));
        let fleet = self.redis.fleet()?;
        let calls = claims.iter().map(|(room, claims)| {
            let room = RoomName::chitchat(*room);
            let (nodes, names) = (Keys(&room).name_nodes(), Keys(&room).names());
            Call::script(&script::NAMES, &[&nodes, &names], |command| {
                command
                    .arg(fleet.deadline_soon(nodes.as_bytes()))
                    .arg(&*me)
                    .arg(FORGET_MILLIS)
                    .arg(&earlier)
                    .arg(&over);
                for claim in claims {
                    let who = written(&claim.named);
                    command.arg(action).arg(&*claim.key).arg(&claim.number.to_be_bytes()[..]).arg(who);
                }
            })
            .soon()
        });
        let answers = self.redis.read(&calls.collect::<Vec<_>>())?;
        answers.into_iter().zip(claims).map(|(answer, (_, claims))| holders(answer?, claims.len())).collect()
    }

    fn taken(&self, claims: &[(i64, Vec<Claim>)]) -> Result<Vec<Vec<bool>>, Failure> {
        let mut held = self.tell("take", claims, &[])?;
        let holders = || held.iter().flatten().flatten().map(|holder| &**holder).filter(|holder| is_epoch(holder));
        let over = self.redis.lease.over(&self.redis.health, holders())?;
        if !over.is_empty() {
            held = self.tell("take", claims, &over)?;
        }
        Ok(held.into_iter().map(|room| room.iter().map(Option::is_none).collect()).collect())
    }

    /// The claims in each room by epochs that stand, with their holders.
    fn claims(&self, rooms: &[i64]) -> Result<Vec<Vec<Held>>, Failure> {
        let mut all = Vec::with_capacity(rooms.len());
        for rooms in rooms.chunks(BATCH) {
            let calls = rooms.iter().flat_map(|room| {
                let room = RoomName::chitchat(*room);
                let (nodes, names) = (Keys(&room).name_nodes(), Keys(&room).names());
                let ask = [(&nodes, "HGETALL"), (&names, "HVALS")];
                ask.map(|(key, what)| Call::command(key, cmd(what).arg(key)).soon())
            });
            let now = self.redis.fleet()?.now();
            let mut answers = self.redis.read(&calls.collect::<Vec<_>>())?.into_iter();
            while let (Some(nodes), Some(names)) = (answers.next(), answers.next()) {
                let (nodes, held) = read_room(nodes?, names?).ok_or(Failure::Unreadable)?;
                let claimants: BTreeSet<Epoch> = held.iter().map(|(node, _)| node.clone()).collect();
                let epochs = claimants.iter().map(|node| &**node).filter(|node| is_epoch(node));
                let over = self.redis.lease.over(&self.redis.health, epochs)?;
                let stands = |node: &Epoch| match is_epoch(node) {
                    true => !over.contains(node),
                    false => nodes.get(node).is_some_and(|until| *until > now),
                };
                all.push(held.into_iter().filter(|(node, _)| stands(node)).collect());
            }
        }
        Ok(all)
    }
}

impl SharedNames for RedisNames {
    fn standing(&self) -> Standing {
        self.redis.standing()
    }

    fn sure(&self) -> Option<u64> {
        self.redis.lease.held().map(|_| self.redis.lease.standing().epoch)
    }

    fn take(&self, claims: &[(i64, Vec<Claim>)]) -> Result<Vec<Vec<bool>>, StoreError> {
        self.taken(claims).map_err(failed(STORE, "take a name"))
    }

    fn give_back(&self, room: i64, claim: &Claim) -> Result<(), StoreError> {
        let given = self.tell("drop", &[(room, vec![claim.clone()])], &[]);
        given.map(drop).map_err(failed(STORE, "give a name back"))
    }

    fn own(&self, rooms: &[i64]) -> Result<Vec<Vec<u64>>, StoreError> {
        let claims = self.claims(rooms).map_err(failed(STORE, "compare names"))?;
        let me = self.redis.lease.own().swap_remove(0);
        let number = |(node, held): &Held| {
            (*node == me).then(|| held.first_chunk().map(|number| u64::from_be_bytes(*number))).flatten()
        };
        Ok(claims.iter().map(|room| room.iter().filter_map(number).collect()).collect())
    }

    fn users(&self, rooms: &[i64]) -> Result<Vec<Vec<Named>>, StoreError> {
        let claims = self.claims(rooms).map_err(failed(STORE, "say who is in a room"))?;
        let named = |room: Vec<Held>| {
            let named = room.iter().filter_map(|(_, held)| read(held.get(size_of::<u64>()..)?));
            let mut named: Vec<Named> = named.collect();
            named.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            named
        };
        Ok(claims.into_iter().map(named).collect())
    }
}

/// Reads the holder of each name.
fn holders(answer: Value, claims: usize) -> Result<Vec<Option<Epoch>>, Failure> {
    let Value::Array(holders) = answer else { return Err(Failure::Unreadable) };
    let holder = |holder: &Value| match holder {
        Value::BulkString(none) if none.is_empty() => Some(None),
        Value::BulkString(holder) => Some(Some(Epoch::from(std::str::from_utf8(holder).ok()?))),
        _ => None,
    };
    let holders: Option<Vec<_>> = holders.iter().map(holder).collect();
    holders.filter(|holders| holders.len() == claims).ok_or(Failure::Unreadable)
}

/// The holder of a name, and the claim's number and details.
type Held = (Epoch, Vec<u8>);

/// Until when each node's claims are kept, and the names.
type Room = (HashMap<Epoch, i64>, Vec<Held>);

fn read_room(nodes: Value, names: Value) -> Option<Room> {
    let (Value::Array(nodes), Value::Array(names)) = (nodes, names) else { return None };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().map(Epoch::from),
        _ => None,
    };
    let until = |[node, until]: &[Value; 2]| Some((text(node)?, text(until)?.parse().ok()?));
    let nodes = nodes.as_chunks::<2>().0.iter().filter_map(until).collect();
    let held = |held: Value| match held {
        Value::BulkString(held) => {
            let (node, rest) = held.split_at_checked(NODE_NAME)?;
            Some((std::str::from_utf8(node).ok()?.into(), rest.to_vec()))
        }
        _ => None,
    };
    Some((nodes, names.into_iter().filter_map(held).collect()))
}

/// Last activity (8) | length of the name (2) | name | color; numbers are big-endian.
fn written(named: &Named) -> Vec<u8> {
    let mut out = named.last_activity.to_be_bytes().to_vec();
    // The rooms door admits no longer names.
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
