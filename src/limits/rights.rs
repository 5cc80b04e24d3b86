//! The present rights of an account in its room: read with each message, and changed by other threads.

use crate::store::moderation::{FOR_GOOD, Rights};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The rights of one socket's account in its room. [`Recheck`](crate::recheck::Recheck) keeps them up to date; asking
/// costs no more than reading a number.
#[derive(Debug)]
pub struct LiveRights {
    moderator: AtomicBool,
    /// In Unix milliseconds; 0: it may speak.
    muted_until: AtomicU64,
}

/// An account may not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Muted {
    /// In Unix milliseconds; `None`: until it is taken back.
    pub until: Option<u64>,
}

impl LiveRights {
    pub fn of(rights: Rights) -> Arc<LiveRights> {
        let live = LiveRights { moderator: AtomicBool::new(false), muted_until: AtomicU64::new(0) };
        live.set(rights);
        Arc::new(live)
    }

    pub fn set(&self, rights: Rights) {
        self.moderator.store(rights.moderator, Ordering::Relaxed);
        self.mute(rights.muted_until);
    }

    /// Mutes the account until this time (Unix milliseconds), or with `None` lets it speak again.
    pub fn mute(&self, until: Option<u64>) {
        self.muted_until.store(until.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether the account moderates. While it is muted it does not.
    pub fn may_moderate(&self) -> bool {
        self.moderator.load(Ordering::Relaxed) && self.muted().is_none()
    }

    /// Whether the account is muted now, and until when.
    pub fn muted(&self) -> Option<Muted> {
        let until = self.muted_until.load(Ordering::Relaxed);
        (until > 0).then(|| Muted::now(until)).flatten()
    }
}

impl Muted {
    /// The mute that ends at `until`, unless it is over.
    fn now(until: u64) -> Option<Muted> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        (u128::from(until) > now).then(|| Muted { until: Some(until).filter(|until| *until != FOR_GOOD) })
    }
}

/// The Unix time, in milliseconds, at which a mute ends that begins now and lasts this many seconds; `None`: it never
/// ends.
pub fn mute_ends(seconds: Option<u64>) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    seconds.map_or(FOR_GOOD, |seconds| now.saturating_add(seconds.saturating_mul(1000)).min(LAST))
}

/// The last millisecond of the year 9999: RFC 3339 has no later times.
const LAST: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_is_over_when_its_time_has_come() {
        let live = LiveRights::of(Rights::default());
        assert_eq!(live.muted(), None);
        live.mute(Some(FOR_GOOD));
        assert_eq!(live.muted(), Some(Muted { until: None }));
        live.mute(Some(1));
        assert_eq!(live.muted(), None);
        let until = mute_ends(Some(60));
        live.mute(Some(until));
        assert_eq!(live.muted(), Some(Muted { until: Some(until) }));
    }

    #[test]
    fn who_is_muted_does_not_moderate() {
        let live = LiveRights::of(Rights { moderator: true, muted_until: None });
        assert!(live.may_moderate() && live.muted().is_none());
        live.mute(Some(FOR_GOOD));
        assert!(!live.may_moderate());
        live.mute(None);
        assert!(live.may_moderate());
    }

    #[test]
    fn the_longest_mute_has_an_end_that_can_be_written() {
        assert_eq!(mute_ends(Some(u64::MAX)), LAST);
        assert_eq!(mute_ends(None), FOR_GOOD);
    }
}
