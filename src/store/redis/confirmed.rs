//! Messages that this node has confirmed and the archive may not have yet. If Redis loses some of them, they can be
//! counted.

use super::{
    call::Call,
    failure::{Failure, failed},
    id::{EntryId, Tail},
    keys::Keys,
    log::{RedisLog, STORE},
    read::list,
};
use crate::{
    message::{MessageId, RoomName},
    store::error::StoreError,
};
use parking_lot::Mutex;
use redis::{Value, cmd};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
};

/// How many are remembered, about 3 MB; then the oldest are forgotten.
const REMEMBERED: usize = 100_000;

/// Messages that one round trip asks for.
const ASKED: usize = 500;

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

impl RedisLog {
    /// Those of these messages that Redis does not have, and of which it does not know that they were deleted.
    pub(in crate::store) fn missing(
        &self,
        messages: &[(RoomName, MessageId)],
    ) -> Result<Vec<(RoomName, MessageId)>, StoreError> {
        let mut missing = Vec::new();
        for some in messages.chunks(ASKED) {
            missing.extend(self.missing_of(some).map_err(failed(STORE, "look for messages"))?);
        }
        Ok(missing)
    }

    fn missing_of(&self, messages: &[(RoomName, MessageId)]) -> Result<Vec<(RoomName, MessageId)>, Failure> {
        let ask = |(room, id): &(RoomName, MessageId)| {
            let (keys, entry) = (Keys(room), EntryId::of(*id).to_string());
            let (log, became) = (keys.log(), keys.became());
            let deleted = format!("d{entry}");
            [
                Call::command(&log, cmd("XRANGE").arg(&log).arg(&entry).arg(&entry)),
                Call::command(&became, cmd("HGET").arg(&became).arg(deleted)),
            ]
        };
        let answers = self.redis.read(&messages.iter().flat_map(ask).collect::<Vec<_>>())?;
        let mut answers = answers.into_iter();
        let mut missing = Vec::new();
        for message in messages {
            let mut answer = || answers.next().unwrap_or(Err(Failure::Unreadable));
            let (found, deleted) = (answer()?, answer()?);
            if list(&found)?.is_empty() && deleted == Value::Nil {
                missing.push(message.clone());
            }
        }
        Ok(missing)
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
