//! How often an address may make a room, and guess the password of one.

use super::rate::{AddressLimit, subnet};
use crate::{
    config::Limits,
    refusal::{Reason, Refusal},
};
use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The limits of the rooms door's plain requests.
pub struct RoomLimits {
    creations: AddressLimit,
    guesses: Option<Guesses>,
}

impl RoomLimits {
    pub fn new(limits: &Limits) -> RoomLimits {
        RoomLimits { creations: AddressLimit::a_minute(limits.room_rate), guesses: limits.login_rate.map(Guesses::new) }
    }

    /// Counts a new room of this address, or refuses it with the time after which one will pass.
    pub fn may_create(&self, client: IpAddr) -> Result<(), Refusal> {
        self.creations.check(client)
    }

    /// Refuses an address that has been wrong about this room's password too often.
    ///
    /// Only wrong secrets count, so that any number of people may enter a room from one address; and only
    /// those of this address, so that nobody can keep others out.
    pub fn may_guess(&self, client: IpAddr, room: i64) -> Result<(), Refusal> {
        let checked =
            self.guesses.as_ref().map_or(Ok(()), |guesses| guesses.check(&(subnet(client), room), Instant::now()));
        checked.map_err(|wait| Refusal::from(Reason::RateLimited).retry_after(wait))
    }

    pub fn guessed_wrong(&self, client: IpAddr, room: i64) {
        if let Some(guesses) = &self.guesses {
            guesses.count(&(subnet(client), room), Instant::now());
        }
    }
}

/// Counts of their own for most keys; two that fall together share one. 32 KiB, whatever comes.
const COUNTS: usize = 4096;

const MINUTE: Duration = Duration::from_secs(60);

/// Wrong guesses in the current minute, by key.
pub struct Guesses {
    a_minute: NonZeroU32,
    since: Instant,
    hasher: RandomState,
    /// The minute in the upper half, its count in the lower.
    counts: Box<[AtomicU64]>,
}

impl Guesses {
    pub fn new(a_minute: NonZeroU32) -> Guesses {
        let counts = (0..COUNTS).map(|_| AtomicU64::new(0)).collect();
        Guesses { a_minute, since: Instant::now(), hasher: RandomState::new(), counts }
    }

    /// Whether one more is allowed, or how long until it is.
    pub fn check<K: Hash>(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let (minute, left) = self.minute(now);
        let counted = self.of(key).load(Ordering::Relaxed);
        let spent = counted >> 32 == minute && counted as u32 >= self.a_minute.get();
        if spent { Err(left) } else { Ok(()) }
    }

    pub fn count<K: Hash>(&self, key: &K, now: Instant) {
        let (minute, _) = self.minute(now);
        let counted = |counted: u64| if counted >> 32 == minute { counted + 1 } else { minute << 32 | 1 };
        // Never fails: the closure always gives a value.
        let _ = self.of(key).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(counted(count)));
    }

    fn of<K: Hash>(&self, key: &K) -> &AtomicU64 {
        &self.counts[self.hasher.hash_one(key) as usize % COUNTS]
    }

    /// The current minute, from 1, and what is left of it.
    fn minute(&self, now: Instant) -> (u64, Duration) {
        let elapsed = now.saturating_duration_since(self.since);
        let minute = elapsed.as_secs() / MINUTE.as_secs();
        (minute + 1, MINUTE * (minute as u32 + 1) - elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: (IpAddr, i64) = (IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn a_minute(count: u32) -> Guesses {
        Guesses::new(NonZeroU32::new(count).unwrap())
    }

    #[test]
    fn after_so_many_wrong_guesses_no_more_are_heard_until_the_next_minute() {
        let guesses = a_minute(3);
        let now = guesses.since + Duration::from_secs(70);
        for _ in 0..3 {
            assert_eq!(guesses.check(&HERE, now), Ok(()));
            guesses.count(&HERE, now);
        }
        assert_eq!(guesses.check(&HERE, now), Err(Duration::from_secs(50)));
        assert_eq!(guesses.check(&HERE, now + Duration::from_secs(49)), Err(Duration::from_secs(1)));
        assert_eq!(guesses.check(&HERE, now + Duration::from_secs(50)), Ok(()));
    }

    #[test]
    fn guesses_at_one_room_cost_nothing_at_most_others() {
        let guesses = a_minute(1);
        guesses.count(&HERE, guesses.since);
        let shut_out = (2..102).filter(|room| guesses.check(&(HERE.0, *room), guesses.since).is_err()).count();
        assert!(guesses.check(&HERE, guesses.since).is_err());
        assert!(shut_out < 5, "{shut_out} of 100 fall together with one count of {COUNTS}");
    }
}
