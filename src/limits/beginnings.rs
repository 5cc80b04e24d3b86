//! How many channels and streams somebody may begin, and how fast.

use super::rate::{KeyedRate, Recent};
use crate::{
    config::Limits,
    message::RoomName,
    store::{accounts::UserId, channels::Beginner},
};
use governor::clock::DefaultClock;
use std::{num::NonZeroU32, time::Duration};

/// For how long a room is known to have begun, without a look at the log.
const KNOWN: Duration = Duration::from_secs(600);

/// How often a minute those who have begun too many have some of them looked at, on this node: that costs hundreds of
/// looks at the log.
const LOOKS: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// Bounds the channels that one account begins, and those of one key of backends.
pub struct Beginnings {
    /// By account, on this node.
    accounts: KeyedRate,
    looks: KeyedRate,
    /// Most channels of an account; 0: any number.
    per_account: u64,
    per_key: u64,
    /// Rooms in which something is kept, or was a while ago.
    begun: Recent,
}

impl Beginnings {
    pub fn new(limits: &Limits) -> Beginnings {
        Beginnings {
            accounts: KeyedRate::a_minute(limits.channel_rate),
            looks: KeyedRate::a_minute(Some(LOOKS)),
            per_account: limits.channels_per_account,
            per_key: limits.channels_per_key,
            begun: Recent::with_clock(KNOWN, DefaultClock::default()),
        }
    }

    /// Whether this room is known to have begun.
    pub fn has_begun(&self, room: &RoomName) -> bool {
        self.begun.has(room)
    }

    pub fn note_begun(&self, room: &RoomName) {
        self.begun.remember(room);
    }

    /// Counts a channel that an account begins, or returns how long to wait until one is allowed.
    pub fn may_begin(&self, account: UserId) -> Result<(), Duration> {
        self.accounts.check(&account)
    }

    /// Whether some of the channels that this one has begun may be looked at now.
    pub fn may_look(&self, beginner: Beginner<'_>) -> bool {
        self.looks.check(&beginner.to_string()).is_ok()
    }

    /// How many channels this one may have begun; `None`: any number.
    pub fn most(&self, beginner: Beginner<'_>) -> Option<u64> {
        let most = match beginner {
            Beginner::Account(_) => self.per_account,
            Beginner::Key(_) | Beginner::Streams => self.per_key,
        };
        Some(most).filter(|most| *most > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail without a rate for this: each message of a key that has begun too many had hundreds of them looked at.
    #[test]
    fn those_who_have_begun_too_many_have_them_looked_at_only_so_often() {
        let beginnings = Beginnings {
            accounts: KeyedRate::a_minute(None),
            looks: KeyedRate::a_minute(Some(LOOKS)),
            per_account: 1,
            per_key: 1,
            begun: Recent::with_clock(KNOWN, DefaultClock::default()),
        };
        let passed = (0..10_000).filter(|_| beginnings.may_look(Beginner::Key("busy"))).count();
        assert!((60..120).contains(&passed), "{passed}");
        assert!(beginnings.may_look(Beginner::Key("calm")) && beginnings.may_look(Beginner::Account(UserId(1))));
    }
}
