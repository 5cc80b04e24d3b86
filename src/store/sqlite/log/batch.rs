//! Records that enter the tail together, and the state of the messages that they change.

use super::{
    change, ids,
    state::State,
    tail::{Found, Now, Shown, Tail},
};
use crate::{
    message::{Draft, MessageId, RoomName},
    store::journal::{Record, Said, What},
};
use rusqlite::{Connection, OptionalExtension};
use std::{collections::HashMap, sync::Arc};

#[derive(Default)]
pub(in crate::store::sqlite) struct Batch {
    /// In ascending order of their keys.
    pub records: Vec<Arc<Record>>,
    /// By room and key.
    pub changed: HashMap<(RoomName, i64), Now>,
}

/// Where older messages are: in the tail, or else in the tables.
pub(in crate::store::sqlite) struct Before<'b> {
    pub tail: &'b Tail,
    pub tables: &'b Connection,
}

impl Batch {
    /// Adds a record. `state`: the message that it changes, if it is there.
    pub fn add(&mut self, record: Record, state: Option<Arc<State>>) {
        if let (What::Change(change), Some(state)) = (&record.what, state) {
            let id = ids::join(record.key, record.tail);
            let key = (record.room.clone(), ids::key(change.of));
            let now = self.changed.entry(key).or_insert(Now { id: change.of, state: None, last: record.key });
            // Dropped first, or the change would be made to a copy.
            now.state = None;
            *now = Now { id: change.of, state: state.changed(id, change), last: record.key };
        }
        self.records.push(Arc::new(record));
    }

    /// Moves everything into the tail.
    pub fn move_to(&mut self, tail: &Tail) {
        let Batch { records, changed } = std::mem::take(self);
        tail.push(records, changed);
    }

    /// A message as it is once this batch is stored; `None` if it is not there.
    pub fn state(&self, before: &Before<'_>, room: &RoomName, id: MessageId) -> rusqlite::Result<Option<Arc<State>>> {
        match self.find(before, room, id) {
            Found::Here(shown) => Ok(shown.state()),
            Found::Nowhere => Ok(None),
            Found::Unknown => Ok(change::state(before.tables, room, id)?.map(Arc::new)),
        }
    }

    /// Whether a message is there once this batch is stored.
    pub fn is_there(&self, before: &Before<'_>, room: &RoomName, id: MessageId) -> rusqlite::Result<bool> {
        match self.find(before, room, id) {
            Found::Here(_) => Ok(true),
            Found::Nowhere => Ok(false),
            Found::Unknown => {
                let tail: Option<i64> = before
                    .tables
                    .prepare_cached(
                        "SELECT tail FROM messages
                         WHERE key = ?1 AND room = (SELECT id FROM rooms WHERE name = ?2) AND deleted IS NULL",
                    )?
                    .query_row((ids::key(id), room.as_str()), |row| row.get(0))
                    .optional()?;
                Ok(tail.is_some_and(|tail| ids::join(ids::key(id), tail) == id))
            }
        }
    }

    /// The message before this batch that has this draft's reference.
    pub fn first_use(before: &Before<'_>, draft: &Draft, reference: &str) -> rusqlite::Result<Option<MessageId>> {
        match before.tail.first_use(&draft.room, &draft.sender, reference) {
            Found::Here(id) => return Ok(Some(id)),
            Found::Nowhere => return Ok(None),
            Found::Unknown => {}
        }
        before
            .tables
            .prepare_cached(
                "SELECT key, tail FROM messages
                 WHERE room = (SELECT id FROM rooms WHERE name = ?1) AND sender = ?2 AND ref = ?3",
            )?
            .query_row((draft.room.as_str(), &*draft.sender, reference), |row| Ok(ids::join(row.get(0)?, row.get(1)?)))
            .optional()
    }

    fn find(&self, before: &Before<'_>, room: &RoomName, id: MessageId) -> Found<Shown> {
        let key = ids::key(id);
        if !self.changed.is_empty()
            && let Some(now) = self.changed.get(&(room.clone(), key))
        {
            return match &now.state {
                Some(state) if now.id == id => Found::Here(Shown::Changed(state.clone())),
                _ => Found::Nowhere,
            };
        }
        if let Ok(at) = self.records.binary_search_by_key(&key, |record| record.key) {
            let record = &self.records[at];
            let is_it = record.room == *room && ids::join(record.key, record.tail) == id;
            return match record.what {
                What::Message(_) if is_it => Found::Here(Shown::AsSaid(record.clone())),
                _ => Found::Nowhere,
            };
        }
        before.tail.find(room, id)
    }
}

/// Puts the records of a journal into the tail.
pub(in crate::store::sqlite) fn replay(records: Vec<Record>, before: &Before<'_>) -> rusqlite::Result<()> {
    let mut batch = Batch::default();
    for record in records {
        let state = match &record.what {
            What::Change(change) => batch.state(before, &record.room, change.of)?,
            What::Message(_) => None,
            What::Forget | What::SetAside(_) => {
                // What was changed before must not be visible after it.
                batch.move_to(before.tail);
                None
            }
        };
        let is_end = record.what.is_end();
        batch.add(record, state);
        if is_end {
            batch.move_to(before.tail);
        }
    }
    batch.move_to(before.tail);
    Ok(())
}

/// A draft as the journal keeps it.
pub(super) fn said(draft: &Draft, alone: bool) -> What {
    What::Message(Said {
        sender: draft.sender.clone(),
        name: draft.name.clone(),
        text: draft.text.clone(),
        extra: draft.extra.clone(),
        reference: draft.reference.clone(),
        reply_to: draft.reply_to.filter(|_| !alone),
    })
}
