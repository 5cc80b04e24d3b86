//! How much one address may say where nobody has an account.

use super::rate::subnet;
use crate::refusal::{Reason, Refusal};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
};

/// A message counts once for each of these many bytes that it begins: long messages fill the disk.
const UNIT: usize = 1024;

/// How many seconds' worth may come at once.
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Addresses whose quota is full again are forgotten each time this many messages were counted. All others have a
/// connection, or had one until some seconds ago, so their number is bounded.
const SWEEP_EVERY: u32 = 4096;

/// Counts messages by address (IPv6: by /64), over all its connections.
pub struct PostingLimit {
    rates: Option<DefaultKeyedRateLimiter<IpAddr>>,
    checks: AtomicU32,
}

impl PostingLimit {
    /// `rate` is in messages per second; `None`: no limit.
    pub fn a_second(rate: Option<NonZeroU32>) -> PostingLimit {
        let quota = |rate| Quota::per_second(rate).allow_burst(BURST.saturating_mul(rate));
        PostingLimit { rates: rate.map(quota).map(RateLimiter::keyed), checks: AtomicU32::new(0) }
    }

    /// Counts a message of `bytes` bytes, or refuses it.
    pub fn check(&self, client: IpAddr, bytes: usize) -> Result<(), Refusal> {
        let Some(rates) = &self.rates else { return Ok(()) };
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            rates.retain_recent();
        }
        let units = NonZeroU32::MIN.saturating_add(u32::try_from(bytes / UNIT).unwrap_or(u32::MAX));
        let refused =
            || Refusal::new(Reason::RateLimited, "Your address sends more than this server allows; slow down.");
        match rates.check_key_n(&subnet(client), units) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(refused().retry_after(until.wait_time_from(rates.clock().now()))),
            // A message of this size would never pass.
            Err(_) => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn long_messages_count_for_as_many_as_they_are_long() {
        let limit = PostingLimit::a_second(NonZeroU32::new(4));
        limit.check(HERE, 15 * UNIT).unwrap();
        assert!(limit.check(HERE, 15 * UNIT).is_err());
        limit.check(HERE, 10).unwrap();
        limit.check(IpAddr::from([192, 0, 2, 1]), 15 * UNIT).unwrap();
    }

    #[test]
    fn one_that_is_longer_than_a_burst_is_refused() {
        assert!(PostingLimit::a_second(NonZeroU32::new(1)).check(HERE, 64 * UNIT).is_err());
    }
}
