//! A stream entry's id and the message id made from it. Each leads to the other, so order, `since` and history need no
//! second index.
//!
//! ```text
//! entry id    unix_ms        - sequence
//! message id  unix_ms (48) | version (4) | sequence (12) | variant (2) | room (62)
//! ```
//!
//! The room's part is a digest of its name: it keeps ids of different rooms apart. A message imported from another log
//! keeps the end of the id that it had there; its entry stores it.

use crate::message::{MessageId, RoomName};
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

const TAIL: u128 = (1 << 62) - 1;

/// The id of a stream entry. The script never lets its sequence exceed 12 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EntryId {
    pub millis: u64,
    pub sequence: u16,
}

/// The last 62 bits of a message id: a digest of the room, or, for an imported message, what its former log put there.
#[derive(Clone, Copy)]
pub(super) struct Tail(u128);

impl Tail {
    pub fn of(room: &RoomName) -> Tail {
        let digest = Sha256::digest(room.as_str());
        Tail(digest[..16].iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte)) & TAIL)
    }

    /// The message id of an entry in this room. It is [`MessageId::BEFORE_ALL`] for `0-0`, which no entry has.
    pub fn message_id(self, entry: EntryId) -> MessageId {
        if entry == EntryId::ZERO {
            return MessageId::BEFORE_ALL;
        }
        let (millis, sequence) = (u128::from(entry.millis), u128::from(entry.sequence));
        MessageId(Uuid::from_u128(millis << 80 | 7 << 76 | sequence << 64 | 0b10 << 62 | self.0))
    }

    /// The tail of any id, also of one from another log.
    pub fn at_the_end_of(id: MessageId) -> Tail {
        Tail(id.0.as_u128() & TAIL)
    }

    /// The least and the greatest tail.
    pub const LEAST: Tail = Tail(0);
    pub const GREATEST: Tail = Tail(TAIL);

    pub fn to_bytes(self) -> [u8; 8] {
        (self.0 as u64).to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 8]) -> Tail {
        Tail(u128::from(u64::from_be_bytes(bytes)) & TAIL)
    }
}

impl EntryId {
    pub const ZERO: EntryId = EntryId { millis: 0, sequence: 0 };

    /// The entry of a message id. For an id from another store, the place where it would stand.
    pub fn of(id: MessageId) -> EntryId {
        EntryId { millis: id.millis(), sequence: (id.0.as_u128() >> 64) as u16 & 0xfff }
    }

    /// The place just before this one.
    pub fn before(self) -> EntryId {
        match self.sequence {
            0 => EntryId { millis: self.millis.saturating_sub(1), sequence: 0xfff },
            sequence => EntryId { sequence: sequence - 1, ..self },
        }
    }

    /// Reads `ms-seq`.
    pub fn parse(text: &[u8]) -> Option<EntryId> {
        let (millis, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(EntryId { millis: millis.parse().ok()?, sequence: sequence.parse().ok()? })
    }

    /// The id as a number that grows with it.
    pub fn to_bits(self) -> u64 {
        self.millis << 16 | u64::from(self.sequence)
    }

    pub fn from_bits(bits: u64) -> EntryId {
        EntryId { millis: bits >> 16, sequence: bits as u16 }
    }

    /// The 8 bytes that [`EntryId::from_bytes`] reads.
    pub fn to_bytes(self) -> [u8; 8] {
        self.to_bits().to_be_bytes()
    }

    /// Reads the 8 bytes that the scripts write.
    pub fn from_bytes(bytes: [u8; 8]) -> EntryId {
        EntryId::from_bits(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = EntryId> {
        (1u64..1 << 48, 0u16..4096).prop_map(|(millis, sequence)| EntryId { millis, sequence })
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_from_its_message_id(entry in entry(), room in ".*") {
            let tail = Tail::of(&RoomName::channel(&room));
            let id = tail.message_id(entry);
            prop_assert_eq!(EntryId::of(id), entry);
            prop_assert_eq!(Tail::at_the_end_of(id).message_id(entry), id);
            prop_assert_eq!(Tail::from_bytes(tail.to_bytes()).message_id(entry), id);
            prop_assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn message_ids_are_in_the_order_of_their_entries(a in entry(), b in entry()) {
            let tail = Tail::of(&RoomName::channel("lobby"));
            prop_assert_eq!(tail.message_id(a).cmp(&tail.message_id(b)), a.cmp(&b));
        }

        #[test]
        fn an_entry_is_read_as_it_is_written(entry in entry()) {
            prop_assert_eq!(EntryId::parse(entry.to_string().as_bytes()), Some(entry));
            prop_assert_eq!(EntryId::from_bytes(entry.to_bytes()), entry);
        }
    }

    #[test]
    fn an_id_of_another_room_is_known_as_such() {
        let entry = EntryId { millis: 5, sequence: 1 };
        let of = |room: &str| Tail::of(&RoomName::channel(room)).message_id(entry);
        assert_ne!(of("a"), of("b"));
    }
}
