//! Spent tokens in Redis: one atomic `SET … NX EX` each.

use super::{
    call::Call,
    failure::{Failure, failed},
    script, server,
    shared::Redis,
};
use crate::store::{
    error::{ClockSkew, StoreError},
    ledger::{Ledger, SignedPart},
    moving::Mark,
};
use redis::{Value, cmd};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

pub(super) const STORE: &str = "token ledger";

const PREFIX: &str = "propromo:spent:";

/// How much longer than its token a mark is kept. The clocks of two nodes may differ from Redis' clock by half of this,
/// one ahead and one behind, and Redis' clock may jump by half of it. When a mark is gone, its token has expired by
/// every one of these clocks.
const SPARE: Duration = Duration::from_secs(600);

pub struct RedisLedger {
    pub(super) redis: Arc<Redis>,
    /// How far apart clocks may be before a warning is logged.
    leeway: Duration,
    told: AtomicBool,
}

impl RedisLedger {
    pub(super) fn new(redis: Arc<Redis>, leeway: Duration) -> RedisLedger {
        RedisLedger { redis, leeway, told: AtomicBool::new(false) }
    }

    /// Fails if the clocks are so far apart that a mark might be gone before its token has expired.
    fn clocks_agree(&self) -> Result<(), Failure> {
        let skew = self.redis.fleet()?.skew();
        let far = skew > self.leeway;
        if far && !self.told.swap(far, Ordering::Relaxed) {
            tracing::warn!(seconds = skew.as_secs(), "this machine's clock and Redis' are far apart; set them");
        } else if !far && self.told.swap(far, Ordering::Relaxed) {
            tracing::info!("this machine's clock and Redis' agree again");
        }
        if skew > SPARE / 2 { Err(Failure::Skewed(ClockSkew(skew))) } else { Ok(()) }
    }
}

impl Ledger for RedisLedger {
    fn spend(&self, token: &SignedPart, until: SystemTime) -> Result<bool, StoreError> {
        self.clocks_agree().map_err(failed(STORE, "spend a token"))?;
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
            Ok(_) => Err(Failure::Unreadable),
            Err(failure) => Err(failure),
        }
        .map_err(failed(STORE, "spend a token"))
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.redis.probe().and_then(|()| self.clocks_agree()).map_err(failed(STORE, "be used"))
    }
}

impl RedisLedger {
    /// Passes the marks of all tokens that are spent to `take`, in parts. A mark may come twice.
    pub fn each_mark(&self, take: &mut dyn FnMut(&[Mark]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        const WHAT: &str = "list its marks";
        const SOME: usize = 500;
        let fleet = self.redis.fleet().map_err(failed(STORE, WHAT))?;
        for master in &fleet.masters {
            let mut cursor = "0".to_owned();
            loop {
                let mut scan = cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(SOME);
                let found = || -> Result<(String, Vec<String>), Failure> {
                    let found = master.wire(server::ANSWER)?.ask(&scan.get_packed_command())?;
                    redis::from_redis_value(found).map_err(|_| Failure::Unreadable)
                };
                let (next, keys) = found().map_err(failed(STORE, WHAT))?;
                take(&self.marks(keys).map_err(failed(STORE, WHAT))?)?;
                if next == "0" {
                    break;
                }
                cursor = next;
            }
        }
        Ok(())
    }

    fn marks(&self, keys: Vec<String>) -> Result<Vec<Mark>, Failure> {
        let now = SystemTime::now();
        let lives: Vec<Call> = keys.iter().map(|key| Call::command(key, cmd("TTL").arg(key))).collect();
        let mut marks = Vec::with_capacity(keys.len());
        for (key, life) in keys.iter().zip(self.redis.read(&lives)?) {
            let Value::Int(seconds) = life? else { return Err(Failure::Unreadable) };
            let token =
                key.strip_prefix(PREFIX).and_then(|token| base16ct::lower::decode_vec(token).ok()?.try_into().ok());
            // It may have expired in the meantime.
            if let (Some(token), Ok(seconds)) = (token, u64::try_from(seconds)) {
                marks.push(Mark { token: SignedPart(token), until: now + Duration::from_secs(seconds) });
            }
        }
        Ok(marks)
    }
}

/// For how many seconds to keep the mark of a token that expires at `until`.
pub(super) fn life(until: SystemTime) -> u64 {
    // Rounded up.
    until.duration_since(SystemTime::now()).unwrap_or_default().as_secs() + 1 + SPARE.as_secs()
}

pub(super) fn key(token: &SignedPart) -> String {
    format!("{PREFIX}{}", base16ct::lower::encode_string(&token.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    // With a spare of one minute, as it was before, a node that is 90 s behind still took the token when the mark was
    // gone.
    #[test]
    fn a_mark_outlives_its_token_by_every_clock_that_is_let_in() {
        let kept = Duration::from_secs(life(SystemTime::now() + Duration::from_secs(300)));
        // Spent at a node that is as far ahead as allowed, and shown again at one that is as far behind.
        assert!(kept >= Duration::from_secs(300) + SPARE);
        assert!(SPARE / 2 >= Duration::from_secs(90) && SPARE > Duration::from_secs(400));
    }
}
