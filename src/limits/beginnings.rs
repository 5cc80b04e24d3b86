//! How many channels and streams somebody may begin, and how fast.

use super::rate::{KeyedRate, Recent};
use crate::{
    config::Limits,
    message::RoomName,
    store::{accounts::UserId, channels::Beginner},
};
use governor::clock::DefaultClock;
use std::time::Duration;

/// For how long a room is known to have begun, without a look at the log.
const KNOWN: Duration = Duration::from_secs(600);

/// Bounds the channels that one account begins, and those of one key of backends.
pub struct Beginnings {
    /// By account, on this node. It also bounds how often an account that has begun too many has them looked at.
    accounts: KeyedRate,
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

    /// How many channels this one may have begun; `None`: any number.
    pub fn most(&self, beginner: Beginner<'_>) -> Option<u64> {
        let most = match beginner {
            Beginner::Account(_) => self.per_account,
            Beginner::Key(_) | Beginner::Streams => self.per_key,
        };
        Some(most).filter(|most| *most > 0)
    }
}
