//! Where the archive behind a room begins, as the answer of `read.lua` says.

use super::{
    failure::Failure,
    id::{EntryId, Tail},
    values::{bytes, entry_id, list, number},
};
use crate::{
    message::MessageId,
    store::archived::{Became, Place, States},
};
use redis::Value;
use std::collections::HashMap;

/// What a room's head says about the archive behind it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Bounds {
    /// Nothing older than what is here is archived.
    pub is_whole: bool,
    /// Everything from here on is here; `None`: nothing is.
    pub from: Option<MessageId>,
    /// How often states of messages were removed.
    pub trims: u64,
    /// The room was deleted up to here.
    pub forgotten: MessageId,
    /// The last entry that was removed although it is not archived.
    pub lost: MessageId,
    /// `None` if the archive is not needed, or if it is not known which of its messages have changed.
    pub changed: Option<Changed>,
}

impl Bounds {
    pub(super) fn read(rest: &[Value]) -> Result<Bounds, Failure> {
        let entry = |place: usize| rest.get(place).and_then(entry_id);
        let least = |entry: EntryId| at(entry, Tail::LEAST);
        let (changes_gone, kept_from, archived) = (entry(0), entry(1), entry(4));
        let whole = rest.get(5).and_then(bytes).is_some();
        // The oldest entry of both streams that stays: anything older was removed.
        let oldest = [entry(8), entry(9)].into_iter().flatten().min();
        let trimmed = [entry(3), kept_from, changes_gone.map(|gone| EntryId { sequence: gone.sequence + 1, ..gone })];
        let from = oldest.map(|oldest| trimmed.into_iter().flatten().fold(oldest, EntryId::max));
        let lost = |gone: &EntryId| archived.is_none_or(|archived| archived < *gone);
        let lost = [kept_from.map(EntryId::before), changes_gone].into_iter().flatten().filter(lost).max();
        let trims = rest.get(6).and_then(bytes).and_then(number).unwrap_or(0);
        let forgotten = entry(7).map_or(MessageId::BEFORE_ALL, |entry| at(entry, Tail::GREATEST));
        let changed = match rest.get(10..12) {
            Some([entries, became]) => {
                let of_entry = |(place, became): (Place, Became)| (EntryId::of(place.from), became);
                let of = read_states(entries, became)?.into_iter().map(of_entry).collect();
                Some(Changed { trims, forgotten, of })
            }
            _ => None,
        };
        Ok(Bounds {
            is_whole: whole,
            from: from.map(least),
            trims,
            forgotten,
            lost: lost.map_or(MessageId::BEFORE_ALL, |lost| at(lost, Tail::GREATEST)),
            changed,
        })
    }

    /// Whether no entry after this one is only in the archive.
    pub fn has_all_after(&self, after: MessageId) -> bool {
        self.is_whole || self.from.is_some_and(|from| place_before(from) <= after)
    }

    /// Whether neither this entry nor a later one is only in the archive.
    pub(super) fn has_all_from(&self, first: MessageId) -> bool {
        self.is_whole || self.from.is_some_and(|from| from <= first)
    }
}

/// All messages that are only in the archive, as far as a reader goes back, and of which Redis has a state.
#[derive(Clone, Debug)]
pub(in crate::store) struct Changed {
    trims: u64,
    forgotten: MessageId,
    of: HashMap<EntryId, Became>,
}

impl Changed {
    /// What these messages had become when Redis was read. They must have been found in the archive later: Redis removes a
    /// state only once the archive has it.
    pub fn states(&self, ids: &[MessageId]) -> States {
        let state = |id: &MessageId| {
            let entry = EntryId::of(*id);
            (place(entry), self.of.get(&entry).cloned().unwrap_or_default())
        };
        States { trims: self.trims, forgotten: self.forgotten, of: ids.iter().map(state).collect() }
    }
}

/// An id greater than every id before `from`, which comes from [`Bounds`].
pub(in crate::store) fn place_before(from: MessageId) -> MessageId {
    Tail::GREATEST.message_id(EntryId::of(from).before())
}

/// The id of an entry with this tail. A sequence of more than 12 bits, which no id has, gives the next millisecond.
pub(super) fn at(entry: EntryId, tail: Tail) -> MessageId {
    match entry.sequence {
        ..0x1000 => tail.message_id(entry),
        _ => tail.message_id(EntryId { millis: entry.millis + 1, sequence: 0 }),
    }
}

/// Where a message with this entry may be.
fn place(entry: EntryId) -> Place {
    Place { from: Tail::LEAST.message_id(entry), to: Tail::GREATEST.message_id(entry) }
}

/// Reads entries, and for each its edit, its reactions, and the end of its id if it is deleted.
pub(super) fn read_states(entries: &Value, became: &Value) -> Result<Vec<(Place, Became)>, Failure> {
    let mut of = Vec::new();
    for (entry, became) in list(entries)?.iter().zip(list(became)?) {
        let (Some(entry), [edit, reactions, deleted]) = (entry_id(entry), list(became)?) else {
            return Err(Failure::Unreadable);
        };
        let text = |value: &Value| bytes(value).map(<[u8]>::to_vec);
        let is_deleted = bytes(deleted).is_some();
        of.push((place(entry), Became { edit: text(edit), reactions: text(reactions), is_deleted }));
    }
    Ok(of)
}
