//! Redis, for many nodes that act as one server: messages, spent tokens, presence, and what nodes tell each other.
//!
//! | key | what |
//! |---|---|
//! | `propromo:{ROOM}:log` | stream of the room's messages, trimmed to about `HISTORY_MAX`; with an archive, to `HISTORY_HOT` once they are archived |
//! | `propromo:{ROOM}:at-hand` | hash: archived messages that a client is about to change or to answer; for some minutes |
//! | `propromo:{ROOM}:head` | hash: `last`: the last id given out, also of a message that is not kept or was lost; `forgotten`: the room was deleted up to here; `imported`: the last message imported from an embedded installation; `told`: webhooks were sent up to here; `archived`: the room is archived up to here; `hot_from`: archived entries before this were trimmed; `whole`: everything archived is also here; `trims`: how often states of archived messages were removed |
//! | `propromo:{ROOM}:did:NODE:N` | the outcome of a node's last batch for the room, for as long as the node may ask for it |
//! | `propromo:{ROOM}:ref:DIGEST` | the message that a sender's reference made; for a day, or for ten minutes if memory was short |
//! | `propromo:{nodes}:leases` | until when each node lives; its claims of rooms hold for as long |
//! | `propromo:{ROOM}:nodes`, `…:here` | presence: which nodes claim something, and who is here |
//! | `propromo:{ROOM}:name-nodes`, `…:names` | the rooms door: which nodes claim something, and who has which name |
//! | `propromo:spent:DIGEST` | a spent token's mark, until the token has expired |
//! | `propromo:{webhooks}:leader`, `…:since` | which node sends webhooks, while it renews its lease; since when webhooks are sent |
//! | `propromo:{nodes}:wire` | hash: for each node, which versions of the wire it knows, and until when that counts |
//! | `propromo:{archive}:leader`, `…:since` | which node archives, while it renews its lease; since when |
//! | `propromo:{N}:probe` | written to check that writing works |
//! | `propromo:{N}:sign:NODE` | written by each node each second, to notice lost data; for a day |
//!
//! The braces are a cluster's hash tag: all keys of a room are on one server, so one script may use them. The script
//! that stores an entry also publishes it.
//!
//! | channel | what |
//! |---|---|
//! | `propromo:{ROOM}:feed:DB` | what is stored in a room, and who is typing; in a cluster, a sharded channel |
//! | `propromo:feed:DB` | for all nodes: beats, who comes and goes, and other events |
//! | `propromo:knowing:DB` | nothing; nodes listen that listen to rooms' channels, and are counted |
//! | `propromo:news:DB` | in which room something was stored, if a node wants to know that of all rooms |
//! | `propromo:{N}:wake:NODE` | lets a node look which rooms it is to listen to |
//!
//! While a node listens on `propromo:feed:DB` and not on `propromo:knowing:DB`, it is of a version before the channels
//! of rooms, and everything is published on that one channel.
//!
//! [`health`] knows whether Redis can be used, [`fleet`] which servers there are, and [`call`] sends commands to them.

pub mod address;
mod appended;
mod became;
pub(in crate::store) mod bounds;
mod call;
mod channels;
pub mod check;
mod confirmed;
mod failure;
mod feed;
mod fleet;
mod floors;
mod health;
pub(in crate::store) mod hot;
mod id;
pub mod import;
mod interests;
mod keys;
mod lease;
mod ledger;
mod line;
pub(in crate::store) mod log;
pub(in crate::store) mod memory;
mod missing;
mod moving;
mod names;
pub mod original;
mod outbox;
mod outcome;
mod presence;
pub(in crate::store) mod read;
mod rights;
mod rooms;
mod script;
mod sentinel;
mod server;
mod shared;
mod signs;
mod subscription;
#[cfg(test)]
pub(in crate::store) mod tests;
mod values;
mod version;
mod wire;

use self::{
    address::Deployment, feed::RedisFeed, ledger::RedisLedger, log::RedisLog, names::RedisNames, outbox::RedisOutbox,
};
use shared::Redis;
use std::{io, sync::Arc, time::Duration};

/// The stores of one node.
pub struct RedisStores {
    pub log: Arc<RedisLog>,
    pub ledger: Arc<RedisLedger>,
    pub names: Arc<RedisNames>,
    pub outbox: Arc<RedisOutbox>,
}

impl RedisStores {
    /// Prepares to use Redis, which need not be there yet. `history_max`: messages kept per room; `None` keeps all.
    /// `leeway`: how far apart clocks may be before a warning is logged. `patience`: for how long a node may ask for a
    /// batch's outcome.
    pub fn open(
        deployment: Deployment,
        history_max: Option<u64>,
        leeway: Duration,
        patience: Duration,
    ) -> io::Result<RedisStores> {
        let redis = Arc::new(Redis::new(deployment)?);
        let feed = Arc::new(RedisFeed::start(redis.clone())?);
        Ok(RedisStores {
            log: Arc::new(RedisLog::new(redis.clone(), history_max, patience, feed)),
            ledger: Arc::new(RedisLedger::new(redis.clone(), leeway)),
            names: Arc::new(RedisNames::new(redis.clone())),
            outbox: Arc::new(RedisOutbox::new(redis)),
        })
    }
}
