//! Searches: how often an account may search, whose turn it is, and how long each one looks.
//!
//! How much a search has to look through depends on what others have said, and on how its words begin. So it looks for a
//! bounded time and then answers with what it has and where to go on; and those who search take turns.

use super::{
    rate::{AddressLimit, KeyedRate, rate_limited},
    turns::{Claimant, Turns},
};
use crate::{refusal::Refusal, store::accounts::UserId};
use std::{
    net::IpAddr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// How many search at a time: as many as read the embedded index, and few enough to leave connections to PostgreSQL for
/// others.
const AT_ONCE: usize = 4;

pub struct SearchLimits {
    addresses: AddressLimit,
    accounts: KeyedRate,
    turns: Turns,
    time: Duration,
}

impl SearchLimits {
    /// `rate` is in searches per minute; `None`: no limit. `time` is how long one looks.
    pub fn new(rate: Option<NonZeroU32>, time: Duration) -> SearchLimits {
        SearchLimits {
            addresses: AddressLimit::a_minute(rate),
            accounts: KeyedRate::a_minute(rate),
            turns: Turns::new(AT_ONCE),
            time,
        }
    }

    /// Counts a search of this account, from this address, or refuses it.
    pub fn check(&self, client: IpAddr, account: UserId) -> Result<(), Refusal> {
        self.addresses.check(client)?;
        self.accounts.check(&account).map_err(rate_limited)
    }

    /// Runs a search when it is the claimant's turn. `search` gets the time at which it is to answer.
    pub fn take_turn<T>(&self, claimant: Claimant, search: impl FnOnce(Instant) -> T) -> T {
        let _turn = self.turns.wait(claimant);
        search(Instant::now() + self.time)
    }

    /// How many searches wait for their turn.
    pub fn waiting(&self) -> usize {
        self.turns.waiting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    // Seen to fail with a limit by address alone.
    #[test]
    fn an_account_searches_no_more_often_from_many_addresses() {
        let limits = SearchLimits::new(NonZeroU32::new(3), Duration::ZERO);
        let from = |n: u8| IpAddr::from([192, 0, 2, n]);
        let passed = (0..10).filter(|n| limits.check(from(*n), UserId(1)).is_ok()).count();
        assert_eq!(passed, 3);
        assert!(limits.check(from(0), UserId(2)).is_ok());
        assert!(
            (0..10).filter(|n| limits.check(HERE, UserId(10 + n)).is_ok()).count() == 3,
            "nor many from one address"
        );
    }

    #[test]
    fn a_search_is_told_when_to_answer() {
        let limits = SearchLimits::new(None, Duration::from_secs(60));
        let until = limits.take_turn(Claimant::of(HERE), |until| until);
        assert!(until > Instant::now() + Duration::from_secs(50));
        assert_eq!(limits.waiting(), 0);
    }
}
