//! Signs by which a node notices that Redis has lost data.

use super::{failure::is_full, fleet::Fleet, server::Wire};
use redis::{RedisResult, cmd};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How long the sign of a node that is gone stays.
const SIGN_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Counters that the watch writes to each master once a second. They show that Redis has lost data: that it was
/// emptied, set back, or replaced by a replica that was behind.
#[derive(Default)]
pub(super) struct Signs {
    count: u64,
    /// The last sign that each key got an answer for.
    left: HashMap<String, (u64, Instant)>,
}

/// What leaving signs has shown.
#[derive(Default)]
pub(super) struct Left {
    /// The sign before is gone.
    pub is_lost: bool,
    /// There is no memory for a sign.
    pub is_full: bool,
}

impl Signs {
    /// Leaves the next sign.
    pub fn leave(&mut self, node: &str, fleet: &Fleet, wires: &mut [Wire]) -> RedisResult<Left> {
        self.count += 1;
        let mut found = Left::default();
        for (index, wire) in wires.iter_mut().enumerate() {
            let key = format!("{}:{node}", fleet.sign_key(index));
            let sign = cmd("SET").arg(&key).arg(self.count).arg("EX").arg(SIGN_KEPT.as_secs()).arg("GET").to_owned();
            let answer = match wire.ask(&sign.get_packed_command()) {
                Err(error) if is_full(&error) => {
                    found.is_full = true;
                    continue;
                }
                answer => answer?,
            };
            let before: Option<u64> = redis::from_redis_value(answer)?;
            if let Some((last, when)) = self.left.insert(key, (self.count, Instant::now())) {
                // An older sign may have expired.
                found.is_lost |= when.elapsed() < SIGN_KEPT / 2 && before.is_none_or(|before| before < last);
            }
        }
        Ok(found)
    }
}
