//! Spent tokens in Redis: one atomic `SET … NX EX` each.

use super::{call::Call, failure::failed, script, shared::Redis};
use crate::store::{
    error::StoreError,
    ledger::{Ledger, SignedPart},
};
use redis::Value;
use std::{fmt::Write, sync::Arc, time::SystemTime};

pub(super) const STORE: &str = "token ledger";

pub struct RedisLedger {
    pub(super) redis: Arc<Redis>,
}

impl RedisLedger {
    pub(super) fn new(redis: Arc<Redis>) -> RedisLedger {
        RedisLedger { redis }
    }
}

impl Ledger for RedisLedger {
    fn spend(&self, token: &SignedPart, until: SystemTime) -> Result<bool, StoreError> {
        let life = life(until);
        let attempt = rand::random::<u128>().to_be_bytes();
        let key = key(token);
        let spend = self.redis.health.ask_again(|fleet| {
            Call::script(&script::SPEND, &[&key], |command| {
                command.arg(fleet.deadline(key.as_bytes())).arg(life).arg(&attempt[..]);
            })
        });
        match spend {
            Ok(Value::Int(spent)) => Ok(spent == 1),
            Ok(_) => Err(super::failure::Failure::Unreadable),
            Err(failure) => Err(failure),
        }
        .map_err(failed(STORE, "spend a token"))
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.redis.probe().map_err(failed(STORE, "be used"))
    }
}

/// Seconds for which the mark of a token is kept that expires at `until`.
pub(super) fn life(until: SystemTime) -> u64 {
    // Rounded up, and a minute more: nodes' clocks and Redis' may differ by that much.
    until.duration_since(SystemTime::now()).unwrap_or_default().as_secs() + 60
}

pub(super) fn key(token: &SignedPart) -> String {
    let mut key = String::from("propromo:spent:");
    for byte in token.0 {
        // Writing to a string never fails.
        let _ = write!(key, "{byte:02x}");
    }
    key
}
