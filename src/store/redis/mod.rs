//! Redis, for many nodes that act as one server: messages, spent tokens, presence, and what nodes tell each other.
//!
//! | key | what |
//! |---|---|
//! | `propromo:{ROOM}:log` | stream of the room's messages, trimmed to about `HISTORY_MAX` |
//! | `propromo:{ROOM}:head` | hash: `last` id given out, also for messages that are not kept; `forgotten`: up to where the room was deleted; `imported`: the last message taken over from an embedded installation |
//! | `propromo:{ROOM}:ref:DIGEST` | the message that a sender's reference made; for a day |
//! | `propromo:{ROOM}:nodes`, `…:here` | presence: when each node's word expires, and who is here |
//! | `propromo:{ROOM}:name-nodes`, `…:names` | the rooms door: when each node's claims expire, and who has which name |
//! | `propromo:spent:DIGEST` | a spent token's mark, until the token has expired |
//! | `propromo:{N}:probe` | written to find out whether that works |
//!
//! The braces are a cluster's hash tag: all keys of a room are on one server, so one script may use them. Everything
//! that is stored is published on one channel, `propromo:feed:DB`, by the script that stores it.
//!
//! [`health`] knows whether Redis can be used, [`fleet`] which servers there are, [`call`] sends commands to them.

pub mod address;
mod call;
pub mod check;
mod feed;
mod fleet;
mod health;
mod id;
pub mod import;
mod ledger;
mod log;
mod names;
mod presence;
mod script;
mod server;
#[cfg(test)]
mod tests;
mod wire;

use self::{
    address::Deployment,
    call::{Answer, Call, Failure},
    feed::RedisFeed,
    fleet::Fleet,
    health::{Health, Watch},
    ledger::RedisLedger,
    log::RedisLog,
    names::RedisNames,
};
use super::{error::StoreError, outage::KnownOutage};
use crate::message::RoomName;
use std::{error::Error, fmt::Write, io, sync::Arc};

/// The stores of one node.
pub struct RedisStores {
    pub log: Arc<RedisLog>,
    pub ledger: Arc<RedisLedger>,
    pub names: Arc<RedisNames>,
}

impl RedisStores {
    /// Gets ready to use Redis, which need not be there yet. `history_max`: messages kept a room; `None` keeps all.
    pub fn open(deployment: Deployment, history_max: Option<u64>) -> io::Result<RedisStores> {
        let redis = Arc::new(Redis::new(deployment)?);
        let feed = Arc::new(RedisFeed::start(redis.clone())?);
        Ok(RedisStores {
            log: Arc::new(RedisLog::new(redis.clone(), history_max, feed)),
            ledger: Arc::new(RedisLedger::new(redis.clone())),
            names: Arc::new(RedisNames::new(redis)),
        })
    }
}

/// What the stores share.
struct Redis {
    health: Arc<Health>,
    channel: String,
    /// This process, as other nodes know it: 16 hexadecimal digits.
    node: String,
    _watch: Watch,
}

impl Redis {
    fn new(deployment: Deployment) -> io::Result<Redis> {
        let channel = feed_channel(&deployment);
        let (health, watch) = Health::watch(deployment, channel.clone())?;
        Ok(Redis { health, channel, node: format!("{:016x}", rand::random::<u64>()), _watch: watch })
    }

    fn fleet(&self) -> Result<Arc<Fleet>, Failure> {
        self.health.fleet().map_err(Failure::Away)
    }

    /// Runs commands that may be carried out twice, in one round trip.
    fn read(&self, calls: &[Call]) -> Result<Vec<Answer>, Failure> {
        let fleet = self.fleet()?;
        let answers = self.health.run(&fleet, calls);
        let broken = answers.iter().any(|answer| answer.as_ref().is_err_and(Failure::is_broken_connection));
        if broken && let Some(other) = self.health.wait_for_other(Some(fleet.generation), server::CONNECT) {
            return Ok(self.health.run(&other, calls));
        }
        Ok(answers)
    }

    fn read_one(&self, call: Call) -> Answer {
        self.read(&[call])?.pop().unwrap_or(Err(Failure::Unreadable))
    }

    /// Fails if Redis does not take commands that change something.
    fn probe(&self) -> Result<(), Failure> {
        // The watch has tried to write no longer ago than an outage, and asks each server every second.
        self.fleet().map(drop)
    }
}

/// The channel on which everything that is stored is published. Channels know no databases.
fn feed_channel(deployment: &Deployment) -> String {
    format!("propromo:feed:{}", deployment.db())
}

/// The keys of one room.
struct Keys<'a>(&'a RoomName);

impl Keys<'_> {
    fn log(&self) -> String {
        self.key("log")
    }

    fn head(&self) -> String {
        self.key("head")
    }

    fn nodes(&self) -> String {
        self.key("nodes")
    }

    fn here(&self) -> String {
        self.key("here")
    }

    fn name_nodes(&self) -> String {
        self.key("name-nodes")
    }

    fn names(&self) -> String {
        self.key("names")
    }

    /// The key of a sender's reference.
    fn reference(&self, digest: &[u8]) -> String {
        let mut key = self.key("ref:");
        for byte in &digest[..16] {
            // Writing to a string never fails.
            let _ = write!(key, "{byte:02x}");
        }
        key
    }

    /// The tag is never empty, whatever the room's name: that begins with a letter, never with `}`.
    fn key(&self, what: &str) -> String {
        format!("propromo:{{{}}}:{what}", self.0.as_str())
    }
}

/// Turns a failure into the [`StoreError`] of this store and attempt.
fn failed(store: &'static str, what: &'static str) -> impl FnOnce(Failure) -> StoreError {
    move |failure| {
        let source: Box<dyn Error + Send + Sync> = match failure {
            Failure::Away(_) => Box::new(KnownOutage(failure.to_string())),
            failure => Box::new(failure),
        };
        StoreError { store, what, source }
    }
}
