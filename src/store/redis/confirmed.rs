//! Messages that this node has confirmed and the archive may not have yet. If Redis loses some of them, they can be
//! counted.

use super::id::{EntryId, Tail};
use crate::message::{MessageId, RoomName};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
};

/// How many are remembered, about 3 MB; then the oldest are forgotten.
const REMEMBERED: usize = 100_000;

#[derive(Default)]
pub(in crate::store) struct Confirmed {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order in which they were confirmed.
    messages: VecDeque<(RoomName, EntryId)>,
    /// Whether some were forgotten that may not be archived.
    is_cut: bool,
    /// Up to where rooms were archived when that was last asked.
    archived: HashMap<RoomName, MessageId>,
}

/// Some of what this node has confirmed.
pub(in crate::store) struct Messages {
    pub all: Vec<(RoomName, MessageId)>,
    /// There may have been more.
    pub is_cut: bool,
}

impl Confirmed {
    /// Notes messages of one room.
    pub(super) fn note(&self, room: &RoomName, messages: impl Iterator<Item = MessageId>) {
        let mut state = self.state.lock();
        state.messages.extend(messages.map(|id| (room.clone(), EntryId::of(id))));
        if let Some(many @ 1..) = state.messages.len().checked_sub(REMEMBERED) {
            state.messages.drain(..many);
            state.is_cut = true;
        }
    }

    /// The rooms of these messages.
    pub fn rooms(&self) -> Vec<RoomName> {
        let state = self.state.lock();
        let rooms: HashSet<&RoomName> = state.messages.iter().map(|(room, _)| room).collect();
        rooms.into_iter().cloned().collect()
    }

    /// Forgets what was archived when this was called before. `archived`: up to where rooms are archived now.
    ///
    /// Not what is archived now: a room that has just lost messages may be archived beyond them before this node knows.
    pub fn forget_archived(&self, archived: HashMap<RoomName, MessageId>) {
        let mut state = self.state.lock();
        let before = mem::replace(&mut state.archived, archived);
        let is_archived =
            |(room, entry): &(RoomName, EntryId)| before.get(room).is_some_and(|upto| *entry <= EntryId::of(*upto));
        state.messages.retain(|message| !is_archived(message));
        let are_many = state.messages.len() > REMEMBERED / 2;
        state.is_cut &= are_many;
        if state.messages.len() < state.messages.capacity() / 4 {
            state.messages.shrink_to_fit();
        }
    }

    pub fn messages(&self) -> Messages {
        let state = self.state.lock();
        let id = |(room, entry): &(RoomName, EntryId)| (room.clone(), Tail::of(room).message_id(*entry));
        Messages { all: state.messages.iter().map(id).collect(), is_cut: state.is_cut }
    }

    /// Forgets these messages.
    pub fn forget(&self, messages: &HashSet<(RoomName, MessageId)>) {
        let mut state = self.state.lock();
        state.messages.retain(|(room, entry)| !messages.contains(&(room.clone(), Tail::of(room).message_id(*entry))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(millis: u64) -> EntryId {
        EntryId { millis, sequence: 0 }
    }

    #[test]
    fn what_was_archived_at_the_last_look_is_forgotten_and_no_more_is_remembered_than_may_be() {
        let (confirmed, room) = (Confirmed::default(), RoomName::channel("r"));
        let id = |millis| Tail::of(&room).message_id(entry(millis));
        confirmed.note(&room, (1..=3).map(id));
        assert_eq!(confirmed.rooms(), std::slice::from_ref(&room));
        let archived = |millis| HashMap::from([(room.clone(), id(millis))]);
        confirmed.forget_archived(archived(2));
        assert_eq!(confirmed.messages().all.len(), 3, "it may have lost them meanwhile");
        confirmed.forget_archived(archived(3));
        assert_eq!(confirmed.messages().all, [(room.clone(), id(3))]);
        confirmed.forget(&HashSet::from([(room.clone(), id(3))]));
        assert!(confirmed.messages().all.is_empty() && !confirmed.messages().is_cut);
        confirmed.note(&room, (1..=REMEMBERED as u64 + 1).map(id));
        let messages = confirmed.messages();
        assert_eq!((messages.all.len(), messages.all[0].1, messages.is_cut), (REMEMBERED, id(2), true));
    }
}
