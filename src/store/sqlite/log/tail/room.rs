//! The tail's part of one room, and what readers see of it.

use super::super::{ids, state::State};
use crate::{
    entry::{Change, ChangeKind},
    message::{Message, MessageId, RoomName},
    store::{
        journal::{Changed, Outcome, Record, Said, What},
        moving::{Kept, OwnMark},
    },
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

/// Memory that a record or a state takes beside its texts, roughly.
const OVERHEAD: u64 = 256;

#[derive(Default)]
pub(super) struct Room {
    messages: VecDeque<Arc<Record>>,
    changes: VecDeque<Arc<Record>>,
    /// The messages that these changes are about, here or in the tables, by key.
    changed: BTreeMap<i64, Now>,
    /// By reference, the messages that have it.
    references: HashMap<Box<str>, Vec<Arc<Record>>>,
    /// How often it is forgotten here. Until these records are moved, the tables' part of the room counts as gone.
    forgotten: usize,
}

/// A changed message as it is now.
pub(in crate::store::sqlite) struct Now {
    pub id: MessageId,
    /// `None`: it was deleted.
    pub state: Option<Arc<State>>,
    /// The key of its last change.
    pub last: i64,
}

/// What the tail knows about a message.
pub(in crate::store::sqlite) enum Found<T> {
    Here(T),
    /// Not here, but perhaps in the tables.
    Unknown,
    /// Not in the tables either, or not any more.
    Nowhere,
}

/// A message that is here, as it is now.
#[derive(Clone)]
pub(in crate::store::sqlite) enum Shown {
    AsSaid(Arc<Record>),
    Changed(Arc<State>),
}

/// Messages of the tables that were changed since, by key; `None`: deleted.
#[derive(Default)]
pub(in crate::store::sqlite) struct Overlay(HashMap<i64, Option<Arc<State>>>);

/// A view of a room at one moment.
pub(in crate::store::sqlite) struct Seen {
    pub messages: Vec<Shown>,
    pub changes: Vec<Change>,
    /// The messages of the tables that have changed since.
    pub overlay: Overlay,
    /// Everything before this key is in the tables, and everything else is here.
    pub first: i64,
    /// The tables' part of the room has been forgotten.
    pub is_all: bool,
}

/// A room that has something here.
pub(in crate::store::sqlite) struct RoomThere {
    pub name: RoomName,
    /// The key of its newest entry here.
    pub last: Option<i64>,
    /// The tables' part of it counts as gone.
    pub is_forgotten: bool,
}

impl Room {
    /// Adds a record. Returns how much memory this freed, apart from that of the record.
    pub fn push(&mut self, record: &Arc<Record>) -> u64 {
        match &record.what {
            What::Message(Said { reference, .. }) => {
                if let Some(reference) = reference {
                    self.references.entry(reference.clone()).or_default().push(record.clone());
                }
                self.messages.push_back(record.clone());
            }
            What::Change(_) => self.changes.push_back(record.clone()),
            What::Forget | What::SetAside(_) => {
                let freed = self.changed.values().map(Now::cost).sum();
                *self = Room { forgotten: self.forgotten + 1, ..Room::default() };
                return freed;
            }
        }
        0
    }

    /// Sets the present state of a message. Returns how much memory it takes, and how much the state before it took.
    pub fn set(&mut self, now: Now) -> (u64, u64) {
        let more = now.cost();
        let before = self.changed.insert(ids::key(now.id), now);
        (more, before.map_or(0, |before| before.cost()))
    }

    /// Removes the oldest record. Returns how much memory this freed, apart from that of the record.
    pub fn remove(&mut self, record: &Arc<Record>) -> u64 {
        let is_first = |all: &VecDeque<Arc<Record>>| all.front().is_some_and(|first| Arc::ptr_eq(first, record));
        match &record.what {
            // Otherwise the room was forgotten since.
            What::Message(Said { reference, .. }) if is_first(&self.messages) => {
                self.messages.pop_front();
                if let Some(reference) = reference
                    && let Some(uses) = self.references.get_mut(reference)
                {
                    uses.retain(|other| !Arc::ptr_eq(other, record));
                    if uses.is_empty() {
                        self.references.remove(reference);
                    }
                }
            }
            What::Change(Changed { of, .. }) if is_first(&self.changes) => {
                self.changes.pop_front();
                let key = ids::key(*of);
                if self.changed.get(&key).is_some_and(|now| now.last == record.key) {
                    return self.changed.remove(&key).map_or(0, |now| now.cost());
                }
            }
            What::Message(_) | What::Change(_) => {}
            What::Forget | What::SetAside(_) => self.forgotten -= 1,
        }
        0
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.changes.is_empty() && self.forgotten == 0
    }

    pub fn there(&self, name: RoomName) -> RoomThere {
        RoomThere {
            name,
            last: self.messages.back().into_iter().chain(self.changes.back()).map(|record| record.key).max(),
            is_forgotten: self.is_forgotten(),
        }
    }

    pub fn is_forgotten(&self) -> bool {
        self.forgotten > 0
    }

    pub fn find(&self, id: MessageId) -> Found<Shown> {
        if let Some(now) = self.changed.get(&ids::key(id)) {
            return match &now.state {
                Some(state) if now.id == id => Found::Here(Shown::Changed(state.clone())),
                _ => Found::Nowhere,
            };
        }
        match said_as(&self.messages, id) {
            Some(record) => Found::Here(Shown::AsSaid(record.clone())),
            None => self.elsewhere(),
        }
    }

    /// The message for which this sender used this reference.
    pub fn first_use(&self, sender: &str, reference: &str) -> Found<MessageId> {
        let mut used = self.references.get(reference).into_iter().flatten();
        match used.find(|record| matches!(&record.what, What::Message(said) if *said.sender == *sender)) {
            Some(record) => Found::Here(ids::join(record.key, record.tail)),
            None => self.elsewhere(),
        }
    }

    /// Up to `limit` of the newest messages before the key `before`, newest first. `first`: the tail's first key.
    pub fn newest(&self, before: i64, limit: usize, first: i64) -> Seen {
        let end = self.messages.partition_point(|record| record.key < before);
        let newest = self.messages.range(..end).rev().filter_map(|record| self.shown(record));
        Seen { messages: newest.take(limit).collect(), ..self.seen(first) }
    }

    /// Up to `limit` messages and as many changes after this entry, oldest first, and whether the entry itself is here.
    pub fn after(&self, after: MessageId, limit: usize, first: i64) -> (Seen, bool) {
        let key = ids::key(after);
        let begin = |all: &VecDeque<Arc<Record>>| all.partition_point(|record| record.key <= key);
        let messages = self.messages.range(begin(&self.messages)..).filter_map(|record| self.shown(record));
        let changes = self.changes.range(begin(&self.changes)..).filter_map(|record| self.change(record));
        let is_here = said_as(&self.messages, after).or(said_as(&self.changes, after)).is_some();
        let (messages, changes) = (messages.take(limit).collect(), changes.take(limit).collect());
        (Seen { messages, changes, ..self.seen(first) }, is_here)
    }

    /// Up to `limit` messages after this key, oldest first, with their references.
    pub fn kept(&self, after: i64, limit: usize) -> Vec<Kept> {
        let begin = self.messages.partition_point(|record| record.key <= after);
        let kept = self.messages.range(begin..).filter_map(|record| {
            let What::Message(Said { reference, .. }) = &record.what else { return None };
            Some(Kept { message: self.shown(record)?.message()?, reference: reference.clone() })
        });
        kept.take(limit).collect()
    }

    pub fn holds(&self, id: MessageId) -> Found<()> {
        let is_here = said_as(&self.messages, id).or(said_as(&self.changes, id)).is_some();
        if is_here { Found::Here(()) } else { self.elsewhere() }
    }

    pub fn mark(&self, id: MessageId) -> Found<Option<OwnMark>> {
        match said_as(&self.messages, id).map(|record| &record.what) {
            Some(What::Message(Said { sender, reference, .. })) => {
                Found::Here(reference.clone().map(|reference| (sender.clone(), reference)))
            }
            _ => self.elsewhere(),
        }
    }

    fn seen(&self, first: i64) -> Seen {
        let changed = self.changed.range(..first).map(|(key, now)| (*key, now.state.clone()));
        Seen {
            messages: Vec::new(),
            changes: Vec::new(),
            overlay: Overlay(changed.collect()),
            first,
            is_all: self.is_forgotten(),
        }
    }

    fn elsewhere<T>(&self) -> Found<T> {
        if self.is_forgotten() { Found::Nowhere } else { Found::Unknown }
    }

    fn shown(&self, record: &Arc<Record>) -> Option<Shown> {
        match self.changed.get(&record.key) {
            Some(now) => now.state.clone().map(Shown::Changed),
            None => Some(Shown::AsSaid(record.clone())),
        }
    }

    fn change(&self, record: &Record) -> Option<Change> {
        let What::Change(Changed { of, by, outcome }) = &record.what else { return None };
        let kind = match outcome {
            Outcome::Text(_) => {
                let now = self.changed.get(&ids::key(*of)).and_then(|now| now.state.as_ref());
                ChangeKind::Edited(now.map(|state| state.text().into()))
            }
            Outcome::Nothing => ChangeKind::Deleted,
            Outcome::Reacted { emoji, on } => ChangeKind::Reacted { emoji: (&**emoji).into(), on: *on },
        };
        Some(Change { id: ids::join(record.key, record.tail), of: *of, by: by.clone(), kind })
    }
}

impl Now {
    fn cost(&self) -> u64 {
        OVERHEAD + self.state.as_ref().map_or(0, |state| state.size()) as u64
    }
}

impl Shown {
    pub fn state(self) -> Option<Arc<State>> {
        match self {
            Shown::Changed(state) => Some(state),
            Shown::AsSaid(record) => Some(Arc::new(State::new(said(&record)?, Vec::new()))),
        }
    }

    pub fn message(&self) -> Option<Message> {
        match self {
            Shown::Changed(state) => Some(state.message()),
            Shown::AsSaid(record) => said(record),
        }
    }
}

impl Overlay {
    /// The present state of this message of the tables, if it was changed since; `Some(None)`: it was deleted.
    pub fn get(&self, key: i64) -> Option<&Option<Arc<State>>> {
        self.0.get(&key)
    }
}

impl Seen {
    /// An empty view.
    pub fn nothing(first: i64) -> Seen {
        Room::default().seen(first)
    }
}

/// The memory that a record takes. It takes less on disk.
pub(super) fn cost(record: &Record) -> u64 {
    let optional = |text: Option<&str>| text.map_or(0, str::len);
    let texts = match &record.what {
        What::Message(Said { sender, name, text, extra, reference, .. }) => {
            let optional = optional(name.as_deref()) + optional(extra.as_deref()) + optional(reference.as_deref());
            sender.len() + text.len() + optional
        }
        What::Change(Changed { by, outcome, .. }) => {
            by.len()
                + match outcome {
                    Outcome::Text(text) => text.len(),
                    Outcome::Nothing => 0,
                    Outcome::Reacted { emoji, .. } => emoji.len(),
                }
        }
        What::Forget => 0,
        What::SetAside(to) => to.as_str().len(),
    };
    OVERHEAD + (record.room.as_str().len() + texts) as u64
}

/// The record with this id.
fn said_as(all: &VecDeque<Arc<Record>>, id: MessageId) -> Option<&Arc<Record>> {
    let at = all.binary_search_by_key(&ids::key(id), |record| record.key).ok()?;
    all.get(at).filter(|record| ids::join(record.key, record.tail) == id)
}

/// A message as it was first sent.
fn said(record: &Record) -> Option<Message> {
    let What::Message(Said { sender, name, text, extra, reply_to, .. }) = &record.what else { return None };
    let id = ids::join(record.key, record.tail);
    Some(Message {
        name: name.clone(),
        extra: extra.clone(),
        reply_to: *reply_to,
        ..Message::new(id, sender.clone(), text.clone())
    })
}
