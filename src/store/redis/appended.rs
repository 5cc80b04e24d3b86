//! Reads the answers of `lua/append.lua`.

use super::{
    failure::{Answer, Failure},
    id::{EntryId, Tail},
};
use crate::{entry::Unchangeable, message::RoomName, store::log::Appended};
use redis::Value;

/// Reads the append script's answer for `count` entries.
pub(super) fn read_appended(room: &RoomName, count: usize, answer: Answer) -> Result<Vec<Appended>, Failure> {
    let Value::BulkString(bytes) = answer? else { return Err(Failure::Unreadable) };
    let Some((outcomes, rest)) = bytes.split_at_checked(9 * count) else { return Err(Failure::Unreadable) };
    let (outcomes, _) = outcomes.as_chunks::<9>();
    let (tails, rest) = rest.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Failure::Unreadable);
    }
    let (own, mut tails) = (Tail::of(room), tails.iter());
    let outcomes = outcomes.iter().map(|[outcome, id @ ..]| {
        let entry = EntryId::from_bytes(*id);
        match *outcome {
            0 => Ok(Appended::Stored(own.message_id(entry))),
            1 => Ok(Appended::Repeated(own.message_id(entry))),
            3 => Ok(Appended::StoredAlone(own.message_id(entry))),
            refused @ 16.. => Ok(Appended::Refused(unchangeable(refused).ok_or(Failure::Unreadable)?)),
            _ => {
                let tail = tails.next().ok_or(Failure::Unreadable)?;
                Ok(Appended::Repeated(Tail::from_bytes(*tail).message_id(entry)))
            }
        }
    });
    outcomes.collect()
}

/// The script's numbers for the reasons why it refuses a change.
fn unchangeable(number: u8) -> Option<Unchangeable> {
    match number {
        16 => Some(Unchangeable::NoSuchMessage),
        17 => Some(Unchangeable::NotYours),
        18 => Some(Unchangeable::TooLate),
        19 => Some(Unchangeable::Unchanged),
        20 => Some(Unchangeable::TooManyEmoji),
        _ => None,
    }
}
