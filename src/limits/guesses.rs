//! How often a password may be guessed. Only wrong guesses count, and nobody's guesses lock others out.
//!
//! Each counted guess has cost a password hash, and the queue for hashes is short, so no flood can fill a table here.

use super::rate::{AddressLimit, KeyedRate, Recent, rate_limited, subnet};
use crate::{
    auth::password::{Asker, Kind, Standing},
    config::Limits,
    likeness::email_key,
    refusal::Refusal,
    store::chat_rooms::RoomBounds,
};
use governor::{
    Quota,
    clock::{Clock, DefaultClock},
};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, num::NonZeroU32, time::Duration};

/// All addresses without a recent failure together may guess at one account this many times `LOGIN_RATE`.
const FRESH_SHARE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// How long an address counts as known after a right password.
const RIGHT: Duration = Duration::from_secs(24 * 3600);
/// How long an address waits behind the others after a wrong password.
const WRONG: Duration = Duration::from_secs(600);

/// Counts wrong passwords for accounts.
///
/// Counts those of one address (IPv6: of a /64) for any account. Counts those for one account in shares: one for
/// addresses that were wrong lately, one for all other addresses, and one for each address from which the account
/// logged in lately. So a guesser with many addresses can't lock the owner out at such an address; at a new one only if
/// the second share is used up. All strangers together have at most 11 times `LOGIN_RATE` guesses a minute at one
/// account.
///
/// An email address without an account counts like any other, so that the limit does not reveal which ones exist.
pub struct LoginLimits<C: Clock = DefaultClock> {
    addresses: KeyedRate<C>,
    /// By account, from an address where it logged in lately.
    own: KeyedRate<C>,
    /// By account, from addresses that were wrong lately.
    tried: KeyedRate<C>,
    /// By account, from all other addresses.
    fresh: KeyedRate<C>,
    /// The addresses from which accounts logged in lately.
    homes: Recent<C>,
    standings: Standings<C>,
}

impl LoginLimits {
    /// `rate` is how many wrong passwords a minute one address may give, and how many may be given for one account;
    /// `None`: no limit.
    pub fn new(rate: Option<NonZeroU32>) -> LoginLimits {
        LoginLimits::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock + Clone> LoginLimits<C> {
    fn with_clock(rate: Option<NonZeroU32>, clock: C) -> LoginLimits<C> {
        let counted = |rate: Option<NonZeroU32>| KeyedRate::with_clock(rate.map(Quota::per_minute), clock.clone());
        LoginLimits {
            addresses: counted(rate),
            own: counted(rate),
            tried: counted(rate),
            fresh: counted(rate.map(|rate| rate.saturating_mul(FRESH_SHARE))),
            homes: Recent::with_clock(RIGHT, clock.clone()),
            standings: Standings::with_clock(clock),
        }
    }

    /// Refuses an address that has been wrong too often, with the time after which it may try again.
    pub fn may_try(&self, client: IpAddr, email: &str) -> Result<(), Refusal> {
        let (network, account) = (subnet(client), email_key(email));
        let own = (&*account, network);
        let looked = self.addresses.look(&network).and_then(|()| match self.share(&own) {
            Share::Own => self.own.look(&own),
            Share::Tried => self.tried.look(&*account),
            Share::Fresh => self.fresh.look(&*account),
        });
        looked.map_err(rate_limited)
    }

    pub fn was_wrong(&self, client: IpAddr, email: &str) {
        let (network, account) = (subnet(client), email_key(email));
        let own = (&*account, network);
        // If too many come at once, the next check refuses.
        let _ = self.addresses.check(&network);
        let _ = match self.share(&own) {
            Share::Own => self.own.check(&own),
            Share::Tried => self.tried.check(&*account),
            Share::Fresh => self.fresh.check(&*account),
        };
        self.standings.wrong.remember(&network);
    }

    pub fn was_right(&self, client: IpAddr, email: &str) {
        self.homes.remember(&(&*email_key(email), subnet(client)));
        self.standings.right.remember(&subnet(client));
    }

    pub fn asker(&self, client: IpAddr) -> Asker {
        self.standings.asker(Kind::Account, client)
    }

    fn share(&self, own: &(&str, IpAddr)) -> Share {
        match () {
            () if self.homes.has(own) => Share::Own,
            () if self.standings.wrong.has(&own.1) => Share::Tried,
            () => Share::Fresh,
        }
    }
}

enum Share {
    Own,
    Tried,
    Fresh,
}

/// The limits of the rooms door's plain requests.
pub struct RoomLimits {
    creations: AddressLimit,
    changes: AddressLimit,
    /// Most rooms in all, and of one address; 0: any number.
    most: (u64, u64),
    /// Counts wrong passwords by address and room.
    guesses: KeyedRate,
    standings: Standings,
    /// The room at which the last search for an unused one ended. The next search goes on from there, so that it costs
    /// little when most rooms are used.
    pub searched: Mutex<i64>,
}

impl RoomLimits {
    /// `most` is how many rooms there may be.
    pub fn new(limits: &Limits, most: u64) -> RoomLimits {
        RoomLimits {
            creations: AddressLimit::a_minute(limits.room_rate),
            changes: AddressLimit::a_minute(limits.room_change_rate),
            most: (most, limits.rooms_per_address),
            guesses: KeyedRate::a_minute(limits.login_rate),
            standings: Standings::with_clock(DefaultClock::default()),
            searched: Mutex::new(0),
        }
    }

    /// Counts a new room of this address, or refuses it with the time after which one is allowed.
    pub fn may_create(&self, client: IpAddr) -> Result<(), Refusal> {
        self.creations.check(client)
    }

    /// How many rooms this address may find or make. The store gets only a mark of the address (IPv6: of the /64).
    pub fn bounds(&self, client: IpAddr) -> RoomBounds {
        let (all, of_address) = self.most;
        let digest = Sha256::digest(format!("maker of rooms: {}", subnet(client)));
        let of_address = Some(of_address).filter(|most| *most > 0);
        RoomBounds { all, of_address: of_address.map(|most| (std::array::from_fn(|n| digest[n]), most)) }
    }

    /// Counts a change of a room by this address, or refuses it with the time after which one is allowed.
    pub fn may_change(&self, client: IpAddr) -> Result<(), Refusal> {
        self.changes.check(client)
    }

    /// Refuses an address that gave wrong passwords of this room too often.
    ///
    /// Only wrong passwords count, so any number of people may enter a room from one address. Only this address counts,
    /// so nobody can lock others out.
    pub fn may_guess(&self, client: IpAddr, room: &str) -> Result<(), Refusal> {
        self.guesses.look(&(subnet(client), room)).map_err(rate_limited)
    }

    pub fn was_wrong(&self, client: IpAddr, room: &str) {
        // If it is one too many, the next check refuses.
        let _ = self.guesses.check(&(subnet(client), room));
        self.standings.wrong.remember(&subnet(client));
    }

    pub fn was_right(&self, client: IpAddr) {
        self.standings.right.remember(&subnet(client));
    }

    pub fn asker(&self, client: IpAddr) -> Asker {
        self.standings.asker(Kind::Room, client)
    }
}

/// Which addresses gave right and wrong secrets of one kind lately: they wait in different lines.
struct Standings<C: Clock = DefaultClock> {
    right: Recent<C>,
    wrong: Recent<C>,
}

impl<C: Clock + Clone> Standings<C> {
    fn with_clock(clock: C) -> Standings<C> {
        Standings { right: Recent::with_clock(RIGHT, clock.clone()), wrong: Recent::with_clock(WRONG, clock) }
    }

    fn asker(&self, kind: Kind, client: IpAddr) -> Asker {
        let address = subnet(client);
        let standing = match () {
            () if self.right.has(&address) => Standing::Known,
            () if self.wrong.has(&address) => Standing::Suspect,
            () => Standing::New,
        };
        Asker { kind, standing, address }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Reason;
    use governor::clock::FakeRelativeClock;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const ALICE: &str = "alice@example.org";

    fn a_minute(rate: u32) -> (LoginLimits<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (LoginLimits::with_clock(NonZeroU32::new(rate), clock.clone()), clock)
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4((0xC633_0000 + n).into())
    }

    /// Makes a wrong guess, if it is allowed.
    fn guess(limits: &LoginLimits<FakeRelativeClock>, client: IpAddr, email: &str) -> Result<(), Refusal> {
        limits.may_try(client, email).inspect(|()| limits.was_wrong(client, email))
    }

    #[test]
    fn an_address_is_limited_whatever_the_account() {
        let (limits, _) = a_minute(10);
        for n in 0..10 {
            guess(&limits, HERE, &format!("{n}@example.org")).unwrap();
        }
        assert_eq!(guess(&limits, HERE, "another@example.org").unwrap_err().reason, Reason::RateLimited);
        guess(&limits, address(1), "another@example.org").unwrap();
    }

    #[test]
    fn right_passwords_do_not_count() {
        let (limits, _) = a_minute(2);
        for _ in 0..100 {
            limits.may_try(HERE, ALICE).unwrap();
            limits.was_right(HERE, ALICE);
        }
    }

    #[test]
    fn all_strangers_together_have_eleven_times_the_rate_for_one_account() {
        let (limits, clock) = a_minute(10);
        let heard = |from: u32| (from..from + 12_000).filter(|n| guess(&limits, address(*n), ALICE).is_ok()).count();
        assert_eq!(heard(0), 100, "addresses that were not wrong before");
        let again = (0..100).filter(|n| guess(&limits, address(*n), "Alice@Example.ORG").is_ok()).count();
        assert_eq!(again, 10, "those that were");
        clock.advance(Duration::from_secs(60));
        assert_eq!(heard(20_000), 100, "a minute later");
    }

    #[test]
    fn the_owner_is_heard_at_home_whatever_strangers_do_and_guesses_no_more_than_others() {
        let (limits, _) = a_minute(10);
        limits.was_right(HERE, ALICE);
        for n in 0..12_000 {
            let _ = guess(&limits, address(n), ALICE);
        }
        for _ in 0..35 {
            limits.may_try(HERE, ALICE).unwrap();
        }
        assert_eq!((0..20).filter(|_| guess(&limits, HERE, ALICE).is_ok()).count(), 10);
    }

    #[test]
    fn an_owner_at_a_new_address_is_heard_beside_those_who_were_wrong() {
        let (limits, _) = a_minute(10);
        for n in 0..1_000 {
            let _ = guess(&limits, address(n % 50), ALICE);
        }
        limits.may_try(HERE, ALICE).unwrap();
    }

    #[test]
    fn a_refused_address_costs_the_account_nothing() {
        let (limits, _) = a_minute(2);
        guess(&limits, HERE, "a@example.org").unwrap();
        guess(&limits, HERE, "a@example.org").unwrap();
        for _ in 0..50 {
            assert!(guess(&limits, HERE, ALICE).is_err());
        }
        guess(&limits, address(1), ALICE).unwrap();
    }

    #[test]
    fn the_time_to_wait_is_told_exactly() {
        let (limits, clock) = a_minute(10);
        for _ in 0..10 {
            guess(&limits, HERE, ALICE).unwrap();
        }
        let wait = limits.may_try(HERE, ALICE).unwrap_err().retry_after.unwrap();
        assert_eq!(wait, Duration::from_secs(6));

        clock.advance(wait - Duration::from_nanos(1));
        assert!(limits.may_try(HERE, ALICE).is_err());
        clock.advance(Duration::from_nanos(1));
        limits.may_try(HERE, ALICE).unwrap();
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let limits = LoginLimits::new(None);
        for _ in 0..1_000 {
            limits.may_try(HERE, ALICE).unwrap();
            limits.was_wrong(HERE, ALICE);
        }
    }

    #[test]
    fn addresses_of_one_slash_64_count_together() {
        let (limits, _) = a_minute(1);
        guess(&limits, "2001:db8:1:2::1".parse().unwrap(), "a@example.org").unwrap();
        assert!(guess(&limits, "2001:db8:1:2:ffff::9".parse().unwrap(), "b@example.org").is_err());
        guess(&limits, "2001:db8:1:3::1".parse().unwrap(), "c@example.org").unwrap();
    }

    #[test]
    fn who_was_wrong_stands_in_another_line_and_who_was_right_in_a_third() {
        let (limits, clock) = a_minute(10);
        let standing = || limits.asker(HERE).standing;
        assert_eq!(standing(), Standing::New);
        limits.was_wrong(HERE, ALICE);
        assert_eq!(standing(), Standing::Suspect);
        limits.was_right(HERE, ALICE);
        assert_eq!(standing(), Standing::Known);
        clock.advance(RIGHT);
        assert_eq!(standing(), Standing::New);
    }
}
