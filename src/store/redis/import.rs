//! Imports what an embedded installation has stored: messages and changes with their ids, and the marks of spent
//! tokens.
//!
//! A room's head names the last imported entry. So an interrupted move goes on where it stopped, and a repeated one
//! finds nothing to do.

use super::{
    became,
    call::Call,
    failure::{Failure, failed},
    id::{EntryId, Tail},
    keys::Keys,
    ledger::{self, RedisLedger},
    log::{self, REMEMBER, RedisLog},
    script, wire,
};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{
        archived::{ChangeRow, Portion, Position, Row},
        error::StoreError,
        log::MessageLog,
        moving::{Kept, KeptChange, Mark, Moved, Trimmed},
    },
};
use redis::{Value, cmd};
use std::time::SystemTime;

/// Rooms read, and marks written, in one round trip.
const BATCH: usize = 500;

/// The state of a room with regard to a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The room has never had a message.
    Untouched,
    /// Entries up to this one were imported. `spoken`: others have followed since.
    TakenOver { last: MessageId, spoken: bool },
    /// The room has messages of its own.
    Taken,
}

impl RedisLog {
    /// The state of each of these rooms.
    pub fn standing(&self, rooms: &[RoomName]) -> Result<Vec<Standing>, StoreError> {
        let mut standing = Vec::with_capacity(rooms.len());
        for rooms in rooms.chunks(BATCH) {
            let ask = |room| {
                let head = Keys(room).head();
                Call::command(&head, cmd("HMGET").arg(&head).arg("last").arg("imported"))
            };
            let answers = self.redis.read(&rooms.iter().map(ask).collect::<Vec<_>>());
            let read =
                |answers: Vec<Result<Value, Failure>>| answers.into_iter().map(|head| read_head(head?)).collect();
            standing.extend(
                answers.and_then(read).map_err(failed(log::STORE, "say what is in a room")).map(Vec::into_iter)?,
            );
        }
        Ok(standing)
    }

    /// Copies all messages of a room, as they are now, to another room, which has none.
    pub(super) fn copy_room(&self, from: &RoomName, to: &RoomName) -> Result<(), StoreError> {
        let (mut after, mut before) = (MessageId::BEFORE_ALL, None);
        loop {
            let entries = self.entries(from, after, BATCH)?;
            let Some(last) = entries.last().map(Entry::id) else { return Ok(()) };
            after = last;
            let page: Vec<Moved> = entries
                .into_iter()
                .filter_map(Entry::into_message)
                .map(|message| Moved::Message(Kept { message, reference: None }))
                .collect();
            if !self.import(to, before, &page, Trimmed::default())? {
                return Err(failed(log::STORE, "set a room's messages aside")(Failure::Unreadable));
            }
            before = page.last().map(Moved::id).or(before);
        }
    }

    /// Imports entries that follow `before`, the last imported one. Returns `false` if the room is not as `before`
    /// says.
    pub fn import(
        &self,
        room: &RoomName,
        before: Option<MessageId>,
        page: &[Moved],
        trimmed: Trimmed,
    ) -> Result<bool, StoreError> {
        match page.last().map(Moved::id) {
            Some(last) => self.import_up_to(room, before, last, page, trimmed),
            None => Ok(true),
        }
    }

    /// Takes it that everything up to `last` was imported, since it is archived. Returns `false` if the room has had
    /// entries.
    pub fn import_after(&self, room: &RoomName, last: MessageId, trimmed: Trimmed) -> Result<bool, StoreError> {
        self.import_up_to(room, None, last, &[], trimmed)
    }

    fn import_up_to(
        &self,
        room: &RoomName,
        before: Option<MessageId>,
        last: MessageId,
        page: &[Moved],
        trimmed: Trimmed,
    ) -> Result<bool, StoreError> {
        let keys = Keys(room);
        let now = SystemTime::now();
        let lives: Vec<u32> = page.iter().map(|entry| remembered_for(entry, now)).collect();
        let references: Vec<String> = page
            .iter()
            .zip(&lives)
            .filter(|(_, life)| **life > 0)
            .filter_map(|(entry, _)| mark(entry))
            .map(|(sender, reference)| keys.reference(&log::reference_digest(sender, reference)))
            .collect();
        let own = [keys.log(), keys.head(), keys.changes(), keys.became(), keys.changed()];
        let all: Vec<&str> = own.iter().chain(&references).map(String::as_str).collect();
        let text = |id: Option<MessageId>| id.map_or_else(String::new, |id| id.to_string());
        let entry = |id: Option<MessageId>| id.map_or_else(String::new, |id| EntryId::of(id).to_string());
        let answer = self.redis.health.ask_again(|fleet| {
            Call::script(&script::IMPORT, &all, |command| {
                command.arg(fleet.deadline(own[0].as_bytes())).arg(text(before)).arg(entry(before));
                command.arg(text(Some(last))).arg(entry(Some(last)));
                command.arg(entry(trimmed.message)).arg(entry(trimmed.change));
                for (moved, life) in page.iter().zip(&lives) {
                    let Written { kind, body, edit, reactions } = Written::of(moved);
                    command.arg(kind).arg(EntryId::of(moved.id()).to_string()).arg(body).arg(*life);
                    command.arg(edit).arg(reactions);
                }
            })
        });
        match answer {
            Ok(Value::Int(taken)) => Ok(taken == 1),
            Ok(_) => Err(Failure::Unreadable),
            Err(failure) => Err(failure),
        }
        .map_err(failed(log::STORE, "take over messages"))
    }
}

impl RedisLog {
    /// Remembers the references of entries that are only archived, for as long as they would be here.
    pub fn import_references(&self, room: &RoomName, page: &[Moved]) -> Result<(), StoreError> {
        let (keys, now) = (Keys(room), SystemTime::now());
        let note = |moved: &Moved| {
            let (sender, reference) = mark(moved)?;
            let life = remembered_for(moved, now);
            let said = match moved {
                Moved::Message(kept) => kept.message.id,
                Moved::Change(kept) => kept.change.of,
            };
            let key = keys.reference(&log::reference_digest(sender, reference));
            let value =
                [format!("{}:", EntryId::of(said)).as_bytes(), &Tail::at_the_end_of(said).to_bytes()[..]].concat();
            (life > 0).then(|| Call::command(&key, cmd("SET").arg(&key).arg(value).arg("NX").arg("EX").arg(life)))
        };
        let notes: Vec<Call> = page.iter().filter_map(note).collect();
        let noted =
            self.redis.read(&notes).and_then(|answers| answers.into_iter().try_for_each(|answer| answer.map(drop)));
        noted.map_err(failed(log::STORE, "take over messages"))
    }
}

/// Entries of another log as the archive keeps them.
pub(in crate::store) fn portion(from: Position, page: &[Moved], trimmed: Trimmed) -> Portion {
    let (mut messages, mut changes) = (Vec::new(), Vec::new());
    for moved in page {
        let Written { body, edit, reactions, .. } = Written::of(moved);
        // The archive has whole ids.
        let body = &body[END_OF_ID..];
        match moved {
            Moved::Message(kept) => {
                let is_edited = !edit.is_empty();
                let body = if is_edited { wire::without_text(body).unwrap_or(body) } else { body };
                messages.push(Row {
                    id: kept.message.id,
                    body: body.to_vec(),
                    edit: is_edited.then_some(edit),
                    reactions: (!reactions.is_empty()).then(|| reactions.into_bytes()),
                });
            }
            Moved::Change(kept) => {
                changes.push(ChangeRow { id: kept.change.id, of: kept.change.of, change: body.to_vec(), edit: None });
            }
        }
    }
    let upto = page.last().map_or(from.upto, Moved::id);
    let gap = [trimmed.message, trimmed.change].into_iter().flatten().fold(from.gap, MessageId::max);
    // Each message is as it is now, so there is nothing that it became.
    Portion { from, upto, gap, messages, changes, became: Vec::new() }
}

/// Bytes of the end of an id before a body or a change.
const END_OF_ID: usize = 8;

/// An entry in the form that the script expects.
struct Written {
    kind: &'static str,
    body: Vec<u8>,
    /// Empty if there is no edit.
    edit: Vec<u8>,
    reactions: String,
}

impl Written {
    fn of(moved: &Moved) -> Written {
        let (mut body, mut edit, mut reactions) = (Vec::new(), Vec::new(), String::new());
        let kind = match moved {
            Moved::Message(Kept { message, .. }) => {
                wire::write_foreign_body(message, &mut body);
                if let Some(id) = message.edited {
                    became::write_edit(id, &message.text, &mut edit);
                }
                if !message.reactions.is_empty() {
                    reactions = became::write_reactions(&message.reactions);
                }
                "message"
            }
            Moved::Change(KeptChange { change, .. }) => {
                wire::write_foreign_change(change, &mut body);
                "change"
            }
        };
        Written { kind, body, edit, reactions }
    }
}

impl RedisLedger {
    /// Notes that these tokens are spent, for as long as they are valid.
    pub fn import(&self, marks: &[Mark]) -> Result<(), StoreError> {
        for marks in marks.chunks(BATCH) {
            let note = |mark: &Mark| {
                let key = ledger::key(&mark.token);
                let mut command = cmd("SET");
                command.arg(&key).arg("moved").arg("NX").arg("EX").arg(ledger::life(mark.until));
                Call::command(&key, &command)
            };
            let answers = self.redis.read(&marks.iter().map(note).collect::<Vec<_>>());
            let noted = answers.and_then(|answers| answers.into_iter().try_for_each(|answer| answer.map(drop)));
            noted.map_err(failed(ledger::STORE, "note spent tokens"))?;
        }
        Ok(())
    }
}

/// Reads `[last, imported]`.
fn read_head(head: Value) -> Result<Standing, Failure> {
    let (last, imported): (Option<String>, Option<String>) =
        redis::from_redis_value(head).map_err(redis::RedisError::from)?;
    Ok(match (last, imported.as_deref().and_then(MessageId::parse)) {
        (None, _) => Standing::Untouched,
        (Some(_), None) => Standing::Taken,
        (Some(last), Some(imported)) => {
            let last_taken = EntryId::of(imported).to_string();
            Standing::TakenOver { last: imported, spoken: last != last_taken }
        }
    })
}

/// The sender and the reference of a message: this one, or the one that this change deleted.
fn mark(entry: &Moved) -> Option<(&str, &str)> {
    match entry {
        Moved::Message(Kept { message, reference }) => Some((&message.sender, reference.as_deref()?)),
        Moved::Change(KeptChange { mark, .. }) => mark.as_ref().map(|(sender, reference)| (&**sender, &**reference)),
    }
}

/// For how many more seconds the reference is remembered; 0 if there is none, or no longer.
fn remembered_for(entry: &Moved, now: SystemTime) -> u32 {
    let said = match entry {
        Moved::Message(kept) => kept.message.id,
        Moved::Change(kept) => kept.change.of,
    };
    let age = now.duration_since(said.time()).unwrap_or_default().as_secs();
    match mark(entry) {
        Some(_) => REMEMBER.saturating_sub(u32::try_from(age).unwrap_or(u32::MAX)),
        None => 0,
    }
}
