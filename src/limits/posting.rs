//! How much one address may say where nobody has an account.

use super::rate::{KeyedRate, subnet};
use crate::refusal::{Reason, Refusal};
use std::{net::IpAddr, num::NonZeroU32};

/// A message counts once for each of these many bytes that it begins: long messages fill the disk.
const UNIT: usize = 1024;

/// How many seconds' worth may come at once.
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Counts messages by address (IPv6: by /64), over all its connections.
pub struct PostingLimit(KeyedRate);

impl PostingLimit {
    /// `rate` is in messages per second; `None`: no limit.
    pub fn a_second(rate: Option<NonZeroU32>) -> PostingLimit {
        PostingLimit(KeyedRate::a_second(rate, BURST))
    }

    /// Counts a message of `bytes` bytes, or refuses it.
    pub fn check(&self, client: IpAddr, bytes: usize) -> Result<(), Refusal> {
        let units = 1 + bytes / UNIT;
        let refused =
            || Refusal::new(Reason::RateLimited, "Your address sends more than this server allows; slow down.");
        if !self.0.allows_at_once(units) {
            // It would never pass.
            return Err(refused());
        }
        self.0.check_several(&subnet(client), units).map_err(|wait| refused().retry_after(wait))
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
        assert!(PostingLimit::a_second(None).check(HERE, 64 * UNIT).is_ok());
    }
}
