//! How an entry is stored: it gets an id, and is added to the journal and to the tail. The tables are only read, for
//! messages that an entry refers to.

use super::{
    batch::{Batch, Before, said},
    ids::{Ids, join, unix_millis},
    tail::Tail,
};
use crate::{
    entry::{NewChange, NewChangeKind, NewEntry, Unchangeable},
    message::{Draft, MessageId, RoomName},
    store::{
        journal::{Changed, Journal, NotWritten, Outcome, Record, What},
        log::{Appended, FoundOut, Open},
    },
};
use rusqlite::Connection;
use std::{
    collections::HashMap,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a successful test write is taken as proof that others succeed.
const PROBE: Duration = Duration::from_secs(1);

pub(super) struct Front {
    pub journal: Journal,
    ids: Ids,
    tail: Arc<Tail>,
    /// Reads what entries refer to.
    tables: Connection,
    probed: Option<Instant>,
    /// Counts the batches that failed and left something in the journal.
    failures: u64,
}

type Failure = Box<dyn Error + Send + Sync>;

/// References within a batch: by room, sender and reference, the message.
type Marks<'e> = HashMap<(&'e RoomName, &'e str, &'e str), MessageId>;

impl Front {
    pub fn new(journal: Journal, ids: Ids, tail: Arc<Tail>, tables: Connection) -> Front {
        Front { journal, ids, tail, tables, probed: None, failures: 0 }
    }

    /// Journals entries, all or none, and puts them into the tail.
    pub fn append(&mut self, entries: &[NewEntry]) -> Result<Vec<Appended>, Failure> {
        let now = unix_millis();
        let mut batch = Batch { records: Vec::with_capacity(entries.len()), ..Batch::default() };
        let mut marks = Marks::new();
        let mut appended = Vec::with_capacity(entries.len());
        for entry in entries {
            appended.push(match entry {
                NewEntry::Message(draft) => self.say(draft, now, &mut batch, &mut marks)?,
                NewEntry::Change(change) => match self.change(change, now, &mut batch)? {
                    Ok(id) => Appended::Stored(id),
                    Err(why) => Appended::Refused(why),
                },
            });
        }
        if !batch.records.is_empty() {
            if let Err(failed) = self.journal.append(batch.records.iter().map(|record| &**record)) {
                return self.failed(failed, entries.len());
            }
            let is_deleting = batch.changed.values().any(|now| now.state.is_none());
            batch.move_to(&self.tail);
            // Deleted text must not stay in segments for longer than necessary.
            if is_deleting {
                self.tail.settle_soon();
            }
        }
        Ok(appended)
    }

    /// Decides about a batch of so many entries that was not written completely. All of them are open: whether one is
    /// a repetition, or refused, may depend on others.
    fn failed(&mut self, NotWritten { cause, is_left }: NotWritten, entries: usize) -> Result<Vec<Appended>, Failure> {
        if !is_left {
            return Err(cause.into());
        }
        let error = &cause as &dyn Error;
        tracing::warn!(error, "a batch of messages failed, and can't be taken out of the journal yet");
        self.failures += 1;
        let batch = self.failures;
        Ok((0..entries).map(|place| Appended::Open(Open { batch, place, waits: false })).collect())
    }

    /// The outcome of a failed batch: nothing is stored, once its remains are cut off.
    pub fn find_out(&mut self) -> Result<FoundOut, Failure> {
        self.journal.tidy()?;
        Ok(FoundOut::Nothing)
    }

    pub fn forget(&mut self, room: &RoomName) -> Result<(), Failure> {
        self.end(room, What::Forget)
    }

    pub fn set_aside(&mut self, room: &RoomName, to: &RoomName) -> Result<(), Failure> {
        self.end(room, What::SetAside(to.clone()))
    }

    /// Whether entries could be stored now. Frequent calls cause no more writes.
    pub fn probe(&mut self) -> Result<(), Failure> {
        if self.probed.is_none_or(|probed| probed.elapsed() >= PROBE) {
            self.probed = None;
            self.journal.probe()?;
            self.probed = Some(Instant::now());
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn set_last_key(&mut self, key: i64) {
        self.ids = Ids::after(key);
    }

    fn end(&mut self, room: &RoomName, what: What) -> Result<(), Failure> {
        let (key, half) = self.ids.next(unix_millis());
        let mut batch = Batch::default();
        batch.add(Record { key, tail: half, room: room.clone(), what }, None);
        self.journal.append(batch.records.iter().map(|record| &**record)).map_err(|failed| failed.cause)?;
        batch.move_to(&self.tail);
        self.tail.settle_soon();
        Ok(())
    }

    fn say<'e>(
        &mut self,
        draft: &'e Draft,
        now: i64,
        batch: &mut Batch,
        marks: &mut Marks<'e>,
    ) -> rusqlite::Result<Appended> {
        let Front { tail, tables, ids, .. } = self;
        let before = Before { tail, tables };
        let mark = draft.reference.as_deref().filter(|_| draft.kept);
        let mark = mark.map(|reference| (&draft.room, &*draft.sender, reference));
        if let Some(mark) = mark {
            let first = match marks.get(&mark) {
                Some(first) => Some(*first),
                None => Batch::first_use(&before, draft, mark.2)?,
            };
            if let Some(first) = first {
                return Ok(Appended::Repeated(first));
            }
        }
        let is_alone = match draft.reply_to.filter(|_| draft.kept) {
            Some(id) => !batch.is_there(&before, &draft.room, id)?,
            None => false,
        };
        let (key, half) = ids.next(now);
        let id = join(key, half);
        if draft.kept {
            marks.extend(mark.map(|mark| (mark, id)));
            batch.add(Record { key, tail: half, room: draft.room.clone(), what: said(draft, is_alone) }, None);
        }
        Ok(if is_alone { Appended::StoredAlone(id) } else { Appended::Stored(id) })
    }

    fn change(
        &mut self,
        change: &NewChange,
        now: i64,
        batch: &mut Batch,
    ) -> rusqlite::Result<Result<MessageId, Unchangeable>> {
        let before = Before { tail: &self.tail, tables: &self.tables };
        let Some(state) = batch.state(&before, &change.room, change.of)? else {
            return Ok(Err(Unchangeable::NoSuchMessage));
        };
        if let Err(why) = state.judge(change) {
            return Ok(Err(why));
        }
        let (key, half) = self.ids.next(now);
        let outcome = match &change.kind {
            NewChangeKind::Edit { text, .. } => Outcome::Text(text.clone()),
            NewChangeKind::Delete => Outcome::Nothing,
            NewChangeKind::React { emoji, on } => Outcome::Reacted { emoji: (&**emoji).into(), on: *on },
        };
        let what = What::Change(Changed { of: change.of, by: change.by.clone(), outcome });
        batch.add(Record { key, tail: half, room: change.room.clone(), what }, Some(state));
        Ok(Ok(join(key, half)))
    }
}
