//! Who is in a room, over all nodes: claims of nodes that have a lease (see [`lease`](super::lease)).
//!
//! A room has two hashes, in the form that nodes of versions before leases use, so that both understand each other.
//! `nodes`: which nodes claim something here, and until when that holds even if no node finds their lease over; nodes
//! without a lease renew that every ten seconds. `here`: each user's sockets by node.

use super::{
    call::Call,
    failure::{Answer, Failure, failed},
    keys::Keys,
    lease::{Epoch, is_epoch},
    script,
    shared::Redis,
};
use crate::{
    event::Person,
    message::RoomName,
    store::{
        error::StoreError,
        presence::{Presence, PresenceReport, Present, Seen, Standing},
    },
};
use redis::{Value, cmd};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

const STORE: &str = "presence";

/// How long claims stay that no node removes: those of a node that died in a room where all other nodes, if any, are of
/// versions before leases.
pub(super) const FORGET_MILLIS: i64 = 3_600_000;

pub(super) struct RedisPresence {
    redis: Arc<Redis>,
}

impl RedisPresence {
    pub fn new(redis: Arc<Redis>) -> RedisPresence {
        RedisPresence { redis }
    }

    fn told(&self, reports: &[PresenceReport]) -> Result<Vec<Result<bool, Failure>>, Failure> {
        let fleet = self.redis.fleet()?;
        if reports.iter().any(|report| report.again) {
            // If these claims were lost, the lease may be lost too, and without it others would take the claims for
            // void.
            self.redis.lease.renew(&self.redis.health)?;
        }
        let me = self.redis.lease.hold(&self.redis.health)?;
        let earlier = self.redis.lease.own()[1..].join(" ");
        let calls: Vec<Call> = reports
            .iter()
            .map(|PresenceReport { room, changes, over, again }| {
                let keys = Keys(room);
                let nodes = keys.nodes();
                Call::script(&script::PRESENCE, &[&nodes, &keys.here()], |command| {
                    command.arg(fleet.deadline_soon(nodes.as_bytes())).arg(&*me).arg(FORGET_MILLIS).arg(&earlier);
                    command
                        .arg(over.join(" "))
                        .arg(&self.redis.channels.everybody)
                        .arg(room.as_str())
                        .arg(u8::from(*again));
                    for Present { person: Person { user, name }, sockets } in changes {
                        command.arg(&**user).arg(*sockets).arg(name.as_deref().unwrap_or_default());
                    }
                })
                .soon()
            })
            .collect();
        let answers = self.redis.health.run(&fleet, &calls);
        Ok(answers.into_iter().map(|answer| self.finds_void(answer)).collect())
    }

    /// Whether a node that claims something in the room has no lease.
    fn finds_void(&self, answer: Answer) -> Result<bool, Failure> {
        let Value::Array(nodes) = answer? else { return Err(Failure::Unreadable) };
        let nodes = nodes.iter().filter_map(text).filter(|node| is_epoch(node));
        Ok(!self.redis.lease.over(&self.redis.health, nodes)?.is_empty())
    }

    fn claims(&self, rooms: &[RoomName]) -> Result<Vec<Claims>, Failure> {
        let calls = rooms.iter().flat_map(|room| {
            let (nodes, here) = (Keys(room).nodes(), Keys(room).here());
            [nodes, here].map(|key| Call::command(&key, cmd("HGETALL").arg(&key)).soon())
        });
        let now = self.redis.fleet()?.now();
        let mut answers = self.redis.read(&calls.collect::<Vec<_>>())?.into_iter();
        let mut all = Vec::with_capacity(rooms.len());
        while let (Some(nodes), Some(here)) = (answers.next(), answers.next()) {
            let mut claims = Claims::read(&nodes?, &here?).ok_or(Failure::Unreadable)?;
            let epochs = claims.claimants.iter().map(|node| &**node).filter(|node| is_epoch(node));
            claims.over = self.redis.lease.over(&self.redis.health, epochs)?;
            let is_void =
                |node: &&Epoch| !is_epoch(node) && claims.nodes.get(&***node).is_none_or(|until| *until <= now);
            claims.over.extend(claims.claimants.iter().filter(is_void).cloned());
            all.push(claims);
        }
        Ok(all)
    }

    fn seen(&self, rooms: &[RoomName]) -> Result<Vec<Seen>, Failure> {
        let (me, epoch) = (self.redis.lease.hold(&self.redis.health)?, self.standing().epoch);
        let soon = self.redis.fleet()?.now() + FORGET_MILLIS / 2;
        let seen = |claims: Claims| {
            // Nodes without a lease let all claims of a room expire together with their own.
            let fades = claims.nodes.get(&me).is_none_or(|until| *until < soon)
                || claims.nodes.keys().any(|node| !is_epoch(node));
            let own = claims.present(|node| *node == *me);
            Seen { epoch, users: claims.everybody(), fades: fades && !own.is_empty(), own, over: claims.over }
        };
        Ok(self.claims(rooms)?.into_iter().map(seen).collect())
    }

    fn everybody_in(&self, room: &RoomName) -> Result<Vec<Present>, StoreError> {
        let claims = self.claims(std::slice::from_ref(room)).map_err(failed(STORE, "say who is in a room"))?;
        Ok(claims.first().map(Claims::everybody).unwrap_or_default())
    }
}

impl Presence for RedisPresence {
    fn standing(&self) -> Standing {
        self.redis.standing()
    }

    fn tell(&self, reports: &[PresenceReport]) -> Vec<Result<bool, StoreError>> {
        let answers = self.told(reports).unwrap_or_else(|failure| {
            let sentence: Arc<str> = failure.to_string().into();
            reports.iter().map(|_| Err(Failure::Broken(sentence.clone()))).collect()
        });
        answers
            .into_iter()
            .map(|answer| answer.map_err(|failure| failed(STORE, "tell who is in a room")(failure)))
            .collect()
    }

    fn look(&self, rooms: &[RoomName]) -> Result<Vec<Seen>, StoreError> {
        self.seen(rooms).map_err(failed(STORE, "compare who is in rooms"))
    }

    fn everybody(&self, room: &RoomName) -> Result<Vec<Present>, StoreError> {
        self.everybody_in(room)
    }

    fn sockets(&self, room: &RoomName) -> Result<usize, StoreError> {
        Ok(self.everybody_in(room)?.into_iter().map(|present| present.sockets).sum())
    }

    fn leave(&self) -> Result<(), StoreError> {
        self.redis.lease.leave(&self.redis.health).map_err(failed(STORE, "give its lease back"))
    }
}

/// All claims of a room.
struct Claims {
    /// Until when each node's claims are kept (Unix ms by the server's clock).
    nodes: HashMap<Epoch, i64>,
    /// Each user, with the sockets that each node claims.
    here: Vec<(Person, Vec<(Epoch, usize)>)>,
    claimants: BTreeSet<Epoch>,
    /// Nodes whose claims are void.
    over: Vec<Epoch>,
}

impl Claims {
    fn read(nodes: &Value, here: &Value) -> Option<Claims> {
        let (Value::Array(nodes), Value::Array(here)) = (nodes, here) else { return None };
        let until = |[node, until]: &[Value; 2]| Some((Epoch::from(text(node)?), text(until)?.parse().ok()?));
        let nodes: HashMap<Epoch, i64> = nodes.as_chunks::<2>().0.iter().filter_map(until).collect();
        let mut claimants: BTreeSet<Epoch> = nodes.keys().cloned().collect();
        let here = here.as_chunks::<2>().0.iter().filter_map(|field| read_user(field, &mut claimants)).collect();
        Some(Claims { nodes, here, claimants, over: Vec::new() })
    }

    fn everybody(&self) -> Vec<Present> {
        self.present(|node| !self.over.iter().any(|over| **over == *node))
    }

    /// Who is here by the claims of nodes for which `stands` is true.
    fn present(&self, stands: impl Fn(&str) -> bool) -> Vec<Present> {
        let sockets = |claims: &[(Epoch, usize)]| claims.iter().filter(|(node, _)| stands(node)).map(|(_, n)| n).sum();
        let present =
            self.here.iter().map(|(person, claims)| Present { person: person.clone(), sockets: sockets(claims) });
        let mut present: Vec<Present> = present.filter(|present| present.sockets > 0).collect();
        present.sort_unstable_by(|a, b| a.person.user.cmp(&b.person.user));
        present
    }
}

/// Reads a user and `node=sockets node=sockets … ~name`, the name in hexadecimal digits. Nodes that don't know names
/// skip the name, since it has no `=`, and leave it out when they write. `claimants` has each node once.
fn read_user(field: &[Value; 2], claimants: &mut BTreeSet<Epoch>) -> Option<(Person, Vec<(Epoch, usize)>)> {
    let (user, nodes) = (text(&field[0])?, text(&field[1])?);
    let mut claims = Vec::new();
    for (node, sockets) in nodes.split(' ').filter_map(|claim| claim.split_once('=')) {
        let Some(sockets) = sockets.parse().ok() else { continue };
        let claimant = claimants.get(node).cloned().unwrap_or_else(|| node.into());
        claimants.insert(claimant.clone());
        claims.push((claimant, sockets));
    }
    let name = nodes.split(' ').find_map(|part| base16ct::lower::decode_vec(part.strip_prefix('~')?).ok());
    let name = name.and_then(|name| Some(std::str::from_utf8(&name).ok()?.into()));
    Some((Person { user: user.into(), name }, claims))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}
