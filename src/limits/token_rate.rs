//! How many tokens are signed for clients that need no password for them.

use super::rate::{KeyedRate, subnet};
use crate::{
    refusal::{Reason, Refusal},
    store::accounts::UserId,
};
use std::{net::IpAddr, num::NonZeroU32, time::Duration};

/// How many accounts' shares one address has: a whole office may come back at once.
const ACCOUNTS_OF_ONE_ADDRESS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Counts tokens by account, and by address (IPv6: by /64), because signing is expensive with some keys (RSA:
/// milliseconds).
pub struct TokenRate {
    accounts: KeyedRate,
    addresses: KeyedRate,
}

impl TokenRate {
    /// `rate` is in tokens per minute for one account; `None`: no limit.
    pub fn a_minute(rate: Option<NonZeroU32>) -> TokenRate {
        TokenRate {
            accounts: KeyedRate::a_minute(rate),
            addresses: KeyedRate::a_minute(rate.map(|rate| rate.saturating_mul(ACCOUNTS_OF_ONE_ADDRESS))),
        }
    }

    /// Counts one token for this address, or refuses it.
    pub fn may_ask(&self, client: IpAddr) -> Result<(), Refusal> {
        self.addresses.check(&subnet(client)).map_err(refused)
    }

    /// Counts tokens for this account, or refuses them. A number above the burst counts as the burst.
    pub fn may_have(&self, account: UserId, tokens: usize) -> Result<(), Refusal> {
        self.accounts.check_several(&account, tokens).map_err(refused)
    }
}

fn refused(wait: Duration) -> Refusal {
    Refusal::new(Reason::RateLimited, "Too many tokens; wait and try again.").retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_account_has_a_share_and_an_address_that_of_ten() {
        let limits = TokenRate::a_minute(NonZeroU32::new(3));
        for _ in 0..3 {
            limits.may_have(UserId(1), 1).unwrap();
        }
        let refusal = limits.may_have(UserId(1), 1).unwrap_err();
        assert_eq!(refusal.reason, Reason::RateLimited);
        assert!(refusal.retry_after.unwrap() <= Duration::from_secs(20));
        limits.may_have(UserId(2), 1).unwrap();
        assert_eq!((0..50).filter(|_| limits.may_ask(HERE).is_ok()).count(), 30);
        limits.may_ask(IpAddr::from([192, 0, 2, 1])).unwrap();
    }

    #[test]
    fn many_at_once_count_each_but_are_never_impossible() {
        let limits = TokenRate::a_minute(NonZeroU32::new(10));
        limits.may_have(UserId(1), 6).unwrap();
        assert!(limits.may_have(UserId(1), 6).is_err());
        limits.may_have(UserId(2), 500).unwrap();
        limits.may_have(UserId(2), 0).unwrap();
        assert!(limits.may_have(UserId(2), 1).is_err());
    }
}
