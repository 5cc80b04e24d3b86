//! A rate limit for any number of keys, such as addresses.

use super::table::{Table, Use};
use crate::refusal::{Reason, Refusal};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock, Reference},
    middleware::NoOpMiddleware,
};
use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

/// Counts events of one kind by address (IPv6: by /64).
pub struct AddressLimit(KeyedRate);

impl AddressLimit {
    /// `rate` is in events per minute; `None`: no limit.
    pub fn a_minute(rate: Option<NonZeroU32>) -> AddressLimit {
        AddressLimit(KeyedRate::a_minute(rate))
    }

    /// Counts an event, or refuses it with the time after which one is allowed.
    pub fn check(&self, client: IpAddr) -> Result<(), Refusal> {
        self.0.check(&subnet(client)).map_err(rate_limited)
    }

    /// Refuses where [`AddressLimit::check`] would, but does not count.
    pub fn look(&self, client: IpAddr) -> Result<(), Refusal> {
        self.0.look(&subnet(client)).map_err(rate_limited)
    }
}

/// The refusal of what is allowed after `wait`.
pub(super) fn rate_limited(wait: Duration) -> Refusal {
    Refusal::from(Reason::RateLimited).retry_after(wait)
}

/// What an address counts as: IPv4 itself, IPv6 its /64, the least that a provider gives to one customer (RFC 6177 §2).
pub fn subnet(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// A rate limit for each of any number of keys, in bounded memory (see [`Table`]); or no limit.
pub struct KeyedRate<C: Clock = DefaultClock> {
    /// `None`: there is no limit.
    limiter: Option<Limiter<C>>,
    hasher: RandomState,
}

struct Limiter<C: Clock> {
    limiter: RateLimiter<Use, Table, C, NoOpMiddleware<C::Instant>>,
    burst: NonZeroU32,
}

impl KeyedRate {
    /// `rate` is in uses per minute, which may come at once; `None`: no limit.
    pub fn a_minute(rate: Option<NonZeroU32>) -> KeyedRate {
        KeyedRate::with_clock(rate.map(Quota::per_minute), DefaultClock::default())
    }

    /// `rate` is in uses per second, of which `burst` seconds' worth may come at once; `None`: no limit.
    pub fn a_second(rate: Option<NonZeroU32>, burst: NonZeroU32) -> KeyedRate {
        let quota = |rate: NonZeroU32| Quota::per_second(rate).allow_burst(rate.saturating_mul(burst));
        KeyedRate::with_clock(rate.map(quota), DefaultClock::default())
    }
}

impl<C: Clock> KeyedRate<C> {
    /// Without a quota there is no limit.
    pub(super) fn with_clock(quota: Option<Quota>, clock: C) -> KeyedRate<C> {
        let limited = |quota: Quota| Limiter {
            limiter: RateLimiter::new(quota, Table::default(), clock),
            burst: quota.burst_size(),
        };
        KeyedRate { limiter: quota.map(limited), hasher: RandomState::new() }
    }

    /// Counts one use by `key`, or returns how long to wait until one is allowed.
    pub fn check<K: Hash + ?Sized>(&self, key: &K) -> Result<(), Duration> {
        self.ask(key, Use::Counted, 1)
    }

    /// Counts this many uses by `key`, all or none. More than the burst count as the burst, or they could never pass.
    pub fn check_several<K: Hash + ?Sized>(&self, key: &K, uses: usize) -> Result<(), Duration> {
        self.ask(key, Use::Counted, uses)
    }

    /// Whether one use by `key` is allowed now; does not count it.
    pub fn look<K: Hash + ?Sized>(&self, key: &K) -> Result<(), Duration> {
        self.ask(key, Use::Looked, 1)
    }

    /// Whether this many uses may come at once.
    pub(super) fn allows_at_once(&self, uses: usize) -> bool {
        self.limiter.as_ref().is_none_or(|Limiter { burst, .. }| uses <= burst.get() as usize)
    }

    fn ask<K: Hash + ?Sized>(&self, key: &K, how: fn(u64) -> Use, uses: usize) -> Result<(), Duration> {
        let uses = NonZeroU32::new(u32::try_from(uses).unwrap_or(u32::MAX));
        let (Some(Limiter { limiter, burst }), Some(uses)) = (&self.limiter, uses) else { return Ok(()) };
        match limiter.check_key_n(&how(self.hasher.hash_one(key)), uses.min(*burst)) {
            Ok(decided) => decided.map_err(|until| until.wait_time_from(limiter.clock().now())),
            // Never: the burst always fits.
            Err(_) => Err(Duration::MAX),
        }
    }
}

/// Remembers keys for a while.
pub struct Recent<C: Clock = DefaultClock> {
    table: Table,
    hasher: RandomState,
    clock: C,
    start: C::Instant,
    remembered: Duration,
}

impl<C: Clock> Recent<C> {
    pub(super) fn with_clock(remembered: Duration, clock: C) -> Recent<C> {
        Recent { table: Table::default(), hasher: RandomState::new(), start: clock.now(), clock, remembered }
    }

    pub fn remember<K: Hash + ?Sized>(&self, key: &K) {
        let until = self.now().saturating_add(u64::try_from(self.remembered.as_nanos()).unwrap_or(u64::MAX));
        self.table.set(self.hasher.hash_one(key), until);
    }

    pub fn has<K: Hash + ?Sized>(&self, key: &K) -> bool {
        self.table.get(self.hasher.hash_one(key)).is_some_and(|until| until > self.now())
    }

    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.start).as_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    #[test]
    fn things_done_by_one_slash_64_count_together() {
        let limit = AddressLimit::a_minute(NonZeroU32::new(2));
        let check = |client: &str| limit.check(client.parse().unwrap());
        check("2001:db8::1").unwrap();
        check("2001:db8::2").unwrap();
        let refusal = check("2001:db8::3").unwrap_err();
        assert_eq!(refusal.reason, Reason::RateLimited);
        assert!(refusal.retry_after.unwrap() <= Duration::from_secs(30));
        check("192.0.2.1").unwrap();
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_itself() {
        assert_eq!(subnet("::ffff:192.0.2.1".parse().unwrap()), IpAddr::from([192, 0, 2, 1]));
    }

    #[test]
    fn what_is_only_looked_at_does_not_count() {
        let rate = KeyedRate::with_clock(Some(Quota::per_minute(NonZeroU32::MIN)), FakeRelativeClock::default());
        for _ in 0..10 {
            rate.look("key").unwrap();
        }
        rate.check("key").unwrap();
        assert!(rate.look("key").is_err());
    }

    #[test]
    fn a_flood_of_keys_does_not_wipe_out_a_count_that_is_spent() {
        let rate = KeyedRate::with_clock(NonZeroU32::new(2).map(Quota::per_minute), FakeRelativeClock::default());
        rate.check("spent").unwrap();
        rate.check("spent").unwrap();
        for key in 0..200_000 {
            rate.check(&key).unwrap();
        }
        assert!(rate.check("spent").is_err());
    }

    #[test]
    fn what_was_done_lately_is_forgotten_in_the_end() {
        let clock = FakeRelativeClock::default();
        let lately = Recent::with_clock(Duration::from_secs(60), clock.clone());
        lately.remember("key");
        clock.advance(Duration::from_secs(59));
        assert!(lately.has("key") && !lately.has("another"));
        clock.advance(Duration::from_secs(1));
        assert!(!lately.has("key"));
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
