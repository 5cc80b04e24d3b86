//! Who is in a room, over all nodes. A node that goes without a word is forgotten when its word expires.

use super::{
    call::Call,
    failure::{Failure, failed},
    keys::Keys,
    script,
    shared::Redis,
};
use crate::{
    event::Person,
    message::RoomName,
    store::{
        error::StoreError,
        presence::{Known, Presence, Present},
    },
};
use redis::{Value, cmd};
use std::sync::Arc;

const STORE: &str = "presence";

/// How long a node's word holds; it is renewed three times as often.
const LIFE_MILLIS: u32 = 30_000;

pub(super) struct RedisPresence {
    redis: Arc<Redis>,
}

impl RedisPresence {
    pub fn new(redis: Arc<Redis>) -> RedisPresence {
        RedisPresence { redis }
    }

    /// Everybody in a room.
    fn all(&self, room: &RoomName) -> Result<Vec<Present>, Failure> {
        let here = Keys(room).here();
        let Value::Array(fields) = self.redis.read_one(Call::command(&here, cmd("HGETALL").arg(&here)))? else {
            return Err(Failure::Unreadable);
        };
        let (users, _) = fields.as_chunks::<2>();
        Ok(users.iter().filter_map(read_user).collect())
    }
}

impl Presence for RedisPresence {
    fn tell(&self, room: &RoomName, changes: &[Present]) -> Result<Known, StoreError> {
        let keys = Keys(room);
        let call = Call::script(&script::PRESENCE, &[&keys.nodes(), &keys.here()], |command| {
            command.arg(&self.redis.node).arg(LIFE_MILLIS).arg(&self.redis.channel).arg(room.as_str());
            for Present { person: Person { user, name }, sockets } in changes {
                command.arg(&**user).arg(*sockets).arg(name.as_deref().unwrap_or_default());
            }
        });
        match self.redis.read_one(call) {
            Ok(Value::Int(0)) => Ok(Known::Anew),
            Ok(_) => Ok(Known::Before),
            Err(failure) => Err(failed(STORE, "tell who is in a room")(failure)),
        }
    }

    fn everybody(&self, room: &RoomName) -> Result<Vec<Present>, StoreError> {
        let mut users = self.all(room).map_err(failed(STORE, "say who is in a room"))?;
        users.sort_unstable_by(|a, b| a.person.user.cmp(&b.person.user));
        Ok(users)
    }

    fn sockets(&self, room: &RoomName) -> Result<usize, StoreError> {
        let users = self.all(room).map_err(failed(STORE, "say who is in a room"))?;
        Ok(users.into_iter().map(|present| present.sockets).sum())
    }
}

/// Reads a user and `node=sockets node=sockets … ~name`, the name in hexadecimal digits. Nodes that don't know of names
/// pass it over, since it has no `=`, and leave it out when they write.
fn read_user(field: &[Value; 2]) -> Option<Present> {
    let [Value::BulkString(user), Value::BulkString(nodes)] = field else { return None };
    let nodes = std::str::from_utf8(nodes).ok()?;
    let sockets = nodes.split(' ').filter_map(|node| node.split_once('=')?.1.parse::<usize>().ok()).sum();
    let name = nodes.split(' ').find_map(|part| base16ct::lower::decode_vec(part.strip_prefix('~')?).ok());
    let name = name.and_then(|name| Some(std::str::from_utf8(&name).ok()?.into()));
    Some(Present { person: Person { user: std::str::from_utf8(user).ok()?.into(), name }, sockets })
}
