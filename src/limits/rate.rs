//! How often an address or an account may do something, in bounded memory.

use crate::refusal::{Reason, Refusal};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

/// Keys that have a count of their own; some 2 MiB.
const MAX_KEYS: usize = 65_536;
/// Counts that all other keys share while there are more.
const SHARED_KEYS: u64 = 1_024;
/// Keys whose count is full again are forgotten each time this many were checked.
const SWEEP_EVERY: u32 = 4_096;

/// Counts logins by address (IPv6: by /64) and by account.
///
/// An email address that belongs to nobody counts as any other, so that the limit doesn't tell which
/// ones exist.
pub struct LoginLimits<C: Clock = DefaultClock> {
    rates: Option<LoginRates<C>>,
}

struct LoginRates<C: Clock> {
    addresses: KeyedRate<C>,
    accounts: KeyedRate<C>,
}

impl LoginLimits {
    /// `rate`: logins a minute of one address, and of one account; `None`: no limit.
    pub fn new(rate: Option<NonZeroU32>) -> LoginLimits {
        LoginLimits::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock + Clone> LoginLimits<C> {
    fn with_clock(rate: Option<NonZeroU32>, clock: C) -> LoginLimits<C> {
        let rates = rate.map(Quota::per_minute).map(|quota| LoginRates {
            addresses: KeyedRate::with_clock(quota, clock.clone()),
            accounts: KeyedRate::with_clock(quota, clock),
        });
        LoginLimits { rates }
    }

    /// Counts one attempt, or refuses it with the time after which one will pass.
    ///
    /// What an address is refused doesn't count against the account: else one address could shut
    /// out many accounts.
    pub fn check(&self, client: IpAddr, email: &str) -> Result<(), Refusal> {
        let Some(LoginRates { addresses, accounts }) = &self.rates else { return Ok(()) };
        addresses
            .check(&subnet(client))
            .and_then(|()| accounts.check(&email.to_lowercase()))
            .map_err(|wait| Refusal::from(Reason::RateLimited).retry_after(wait))
    }
}

/// Counts one kind of thing by address (IPv6: by /64).
pub struct AddressLimit(Option<KeyedRate>);

impl AddressLimit {
    /// `rate`: how many a minute; `None`: no limit.
    pub fn a_minute(rate: Option<NonZeroU32>) -> AddressLimit {
        AddressLimit(rate.map(Quota::per_minute).map(KeyedRate::new))
    }

    /// Counts one, or refuses it with the time after which one will pass.
    pub fn check(&self, client: IpAddr) -> Result<(), Refusal> {
        let checked = self.0.as_ref().map_or(Ok(()), |rate| rate.check(&subnet(client)));
        checked.map_err(|wait| Refusal::from(Reason::RateLimited).retry_after(wait))
    }
}

/// Whom an address is counted as: IPv4 by itself, IPv6 by its /64, the least that a provider hands to
/// one customer (RFC 6177 §2).
pub fn subnet(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// A rate for each of any number of keys, in bounded memory.
///
/// A key is kept as a hash that nobody outside can foretell. Should more than [`MAX_KEYS`] be active at
/// once (a flood from many networks), all share [`SHARED_KEYS`] counts until it is over.
pub struct KeyedRate<C: Clock = DefaultClock> {
    limiter: RateLimiter<u64, HashMapStateStore<u64>, C, NoOpMiddleware<C::Instant>>,
    hasher: RandomState,
    checks: AtomicU32,
    crowded: AtomicBool,
}

impl KeyedRate {
    pub fn new(quota: Quota) -> KeyedRate {
        KeyedRate::with_clock(quota, DefaultClock::default())
    }
}

impl<C: Clock> KeyedRate<C> {
    fn with_clock(quota: Quota, clock: C) -> KeyedRate<C> {
        KeyedRate {
            limiter: RateLimiter::hashmap_with_clock(quota, clock),
            hasher: RandomState::new(),
            checks: AtomicU32::new(0),
            crowded: AtomicBool::new(false),
        }
    }

    /// Counts one use by `key`, or says how long until one will pass.
    pub fn check<K: Hash + ?Sized>(&self, key: &K) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep();
        }
        let mut hash = self.hasher.hash_one(key);
        if self.crowded.load(Ordering::Relaxed) {
            hash %= SHARED_KEYS;
        }
        self.limiter.check_key(&hash).map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }

    fn sweep(&self) {
        self.limiter.retain_recent();
        // Until the next sweep so many more may come.
        self.crowded.store(self.limiter.len() + SWEEP_EVERY as usize > MAX_KEYS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn a_minute(rate: u32) -> (LoginLimits<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (LoginLimits::with_clock(NonZeroU32::new(rate), clock.clone()), clock)
    }

    fn address(n: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, n])
    }

    #[test]
    fn an_address_is_limited_whatever_the_account() {
        let (limits, _) = a_minute(10);
        for n in 0..10 {
            limits.check(HERE, &format!("{n}@example.org")).unwrap();
        }
        assert_eq!(limits.check(HERE, "another@example.org").unwrap_err().reason, Reason::RateLimited);
        limits.check(address(1), "another@example.org").unwrap();
    }

    #[test]
    fn an_account_is_limited_whatever_the_address_and_case() {
        let (limits, _) = a_minute(2);
        limits.check(address(1), "alice@example.org").unwrap();
        limits.check(address(2), "Alice@Example.ORG").unwrap();
        assert!(limits.check(address(3), "ALICE@example.org").is_err());
        limits.check(address(3), "bob@example.org").unwrap();
    }

    #[test]
    fn a_refused_address_costs_the_account_nothing() {
        let (limits, _) = a_minute(2);
        limits.check(HERE, "a@example.org").unwrap();
        limits.check(HERE, "a@example.org").unwrap();
        for _ in 0..5 {
            assert!(limits.check(HERE, "victim@example.org").is_err());
        }
        limits.check(address(1), "victim@example.org").unwrap();
    }

    #[test]
    fn the_time_to_wait_is_told_exactly() {
        let (limits, clock) = a_minute(10);
        for _ in 0..10 {
            limits.check(HERE, "a@example.org").unwrap();
        }
        let wait = limits.check(HERE, "a@example.org").unwrap_err().retry_after.unwrap();
        assert_eq!(wait, Duration::from_secs(6));

        clock.advance(wait - Duration::from_nanos(1));
        assert!(limits.check(HERE, "a@example.org").is_err());
        clock.advance(Duration::from_nanos(1));
        limits.check(HERE, "a@example.org").unwrap();
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let limits = LoginLimits::new(None);
        for _ in 0..1_000 {
            limits.check(HERE, "a@example.org").unwrap();
        }
    }

    #[test]
    fn addresses_of_one_slash_64_count_together() {
        let (limits, _) = a_minute(1);
        limits.check("2001:db8:1:2::1".parse().unwrap(), "a@example.org").unwrap();
        assert!(limits.check("2001:db8:1:2:ffff::9".parse().unwrap(), "b@example.org").is_err());
        limits.check("2001:db8:1:3::1".parse().unwrap(), "c@example.org").unwrap();
    }

    #[test]
    fn things_done_by_one_slash_64_count_together() {
        let limit = AddressLimit::a_minute(NonZeroU32::new(2));
        let check = |client: &str| limit.check(client.parse().unwrap());
        check("2001:db8::1").unwrap();
        check("2001:db8::2").unwrap();
        let refusal = check("2001:db8::3").unwrap_err();
        assert_eq!(refusal.reason, Reason::RateLimited);
        assert!(refusal.retry_after.is_some());
        check("192.0.2.1").unwrap();
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_itself() {
        assert_eq!(subnet("::ffff:192.0.2.1".parse().unwrap()), HERE);
    }

    #[test]
    fn keys_whose_count_is_full_again_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let rate = KeyedRate::with_clock(Quota::per_minute(NonZeroU32::MIN), clock.clone());
        for key in 0..100 {
            rate.check(&key).unwrap();
        }
        clock.advance(Duration::from_secs(180));
        rate.sweep();
        assert!(rate.limiter.is_empty());
    }

    #[test]
    fn a_flood_of_keys_stays_within_its_memory() {
        let rate = KeyedRate::with_clock(Quota::per_minute(NonZeroU32::MIN), FakeRelativeClock::default());
        for key in 0..3 * MAX_KEYS {
            let _ = rate.check(&key);
        }
        assert!(rate.limiter.len() <= MAX_KEYS + SHARED_KEYS as usize);
    }

    proptest! {
        #[test]
        fn a_subnet_keeps_the_upper_half_and_nothing_else(bits: u128) {
            let v6 = Ipv6Addr::from_bits(bits);
            prop_assume!(v6.to_ipv4_mapped().is_none());
            let IpAddr::V6(masked) = subnet(v6.into()) else { panic!("an IPv6 subnet is IPv6") };
            prop_assert_eq!(masked.to_bits() >> 64, bits >> 64);
            prop_assert_eq!(masked.to_bits() as u64, 0);
        }
    }
}
