//! Message ids: UUIDv7 that only ever grow, and how a table's integer key holds them.
//!
//! `rand_a` is a counter (RFC 9562 §6.2, method 1: a fixed-length dedicated counter). So the upper 60 bits of an id,
//! without the version, are a *key*: a 63-bit integer that orders messages, and that SQLite can use as the row number.
//! The other 62 random bits are the *tail*.
//!
//! ```text
//! id    unix_ms (48) | version (4) | counter (12) | variant (2) | random (62)
//! key   unix_ms (48) |               counter (12)
//! tail                                                            random (62)
//! ```

use crate::message::MessageId;
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

const TAIL_MASK: u128 = (1 << 62) - 1;

/// Makes ids, each greater than all before it.
pub(super) struct Ids {
    /// The key of the newest id.
    last: i64,
    /// Fast and not secret: ids must differ, but may be guessable.
    random: SmallRng,
}

impl Ids {
    /// Continues above `last`, whatever the clock says.
    pub fn after(last: i64) -> Ids {
        Ids { last, random: SmallRng::from_os_rng() }
    }

    /// The key and tail of the next id. If the clock went back, or a millisecond has more than 4096 ids, the ids' time
    /// runs ahead of the clock.
    pub fn next(&mut self, unix_millis: i64) -> (i64, i64) {
        self.last = (unix_millis << 12).max(self.last + 1);
        (self.last, (self.random.next_u64() >> 2) as i64)
    }
}

pub(super) fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // 48 bits of milliseconds last until the year 10889.
    since.as_millis() as i64 & ((1 << 48) - 1)
}

pub(in crate::store::sqlite) fn join(key: i64, tail: i64) -> MessageId {
    let (key, tail) = (key as u128, tail as u128 & TAIL_MASK);
    MessageId(Uuid::from_u128(((key >> 12) << 80) | (7 << 76) | ((key & 0xfff) << 64) | (0b10 << 62) | tail))
}

/// The other half.
pub(in crate::store::sqlite) fn tail(id: MessageId) -> i64 {
    (id.0.as_u128() & TAIL_MASK) as i64
}

/// The key of any UUID. [`join`] leads back to the same id only if it made that id.
pub(in crate::store::sqlite) fn key(id: MessageId) -> i64 {
    let bits = id.0.as_u128();
    (((bits >> 80) << 12) | ((bits >> 64) & 0xfff)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_are_version_7_and_grow_whatever_the_clock_does(
            first in 0i64..1 << 60,
            clock in prop::collection::vec(0i64..1 << 47, 1..50),
        ) {
            let mut ids = Ids::after(first);
            let mut last = join(first, i64::MAX);
            for millis in clock {
                let (key, tail) = ids.next(millis);
                let id = join(key, tail);
                prop_assert!(id > last);
                prop_assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
                last = id;
            }
        }

        #[test]
        fn a_key_and_a_tail_come_back_from_the_id(key_in in 0i64..1 << 60, tail in 0i64..1 << 62) {
            let id = join(key_in, tail);
            prop_assert_eq!(key(id), key_in);
            prop_assert_eq!(join(key(id), tail), id);
        }
    }

    #[test]
    fn an_id_says_the_millisecond_it_was_made_in() {
        let (key, tail) = Ids::after(0).next(1_700_000_000_123);
        assert_eq!(join(key, tail).millis(), 1_700_000_000_123);
    }
}
