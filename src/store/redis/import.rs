//! Taking over what an embedded installation has stored: messages with their ids, and the marks of spent tokens.
//!
//! A room's head names the last message that was taken over. So a move that was interrupted goes on where it was, and one
//! that is done again finds nothing to do.

use super::{
    call::Call,
    failure::{Failure, failed},
    id::EntryId,
    keys::Keys,
    ledger::{self, RedisLedger},
    log::{self, REMEMBER, RedisLog},
    script, wire,
};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        log::MessageLog,
        moving::{Kept, Mark},
    },
};
use redis::{Value, cmd};
use std::time::SystemTime;

/// Rooms that are asked about, and marks that are noted, in one round trip.
const BATCH: usize = 500;

/// What a room has to do with a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was ever said there.
    Untouched,
    /// Messages were taken over up to this one. `spoken`: others have been said since.
    TakenOver { last: MessageId, spoken: bool },
    /// It has messages of its own.
    Taken,
}

impl RedisLog {
    /// How each of these rooms stands.
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

    /// Copies all messages of a room to another, which has none.
    pub(super) fn copy_room(&self, from: &RoomName, to: &RoomName) -> Result<(), StoreError> {
        let (mut after, mut before) = (MessageId::BEFORE_ALL, None);
        loop {
            let entries = self.entries(from, after, BATCH)?;
            let Some(last) = entries.last().map(Entry::id) else { return Ok(()) };
            after = last;
            let page: Vec<Kept> = entries
                .into_iter()
                .filter_map(Entry::into_message)
                .map(|message| Kept { message, reference: None })
                .collect();
            if !self.import(to, before, &page)? {
                return Err(failed(log::STORE, "set a room's messages aside")(Failure::Unreadable));
            }
            before = page.last().map(|kept| kept.message.id).or(before);
        }
    }

    /// Takes over messages that follow `before`, the last one taken over so far; `false` if the room is not as
    /// `before` says.
    pub fn import(&self, room: &RoomName, before: Option<MessageId>, page: &[Kept]) -> Result<bool, StoreError> {
        let Some(last) = page.last().map(|kept| kept.message.id) else { return Ok(true) };
        let keys = Keys(room);
        let (stream, head) = (keys.log(), keys.head());
        let lives: Vec<u32> = page.iter().map(|kept| remembered_for(kept, SystemTime::now())).collect();
        let references: Vec<String> = page
            .iter()
            .zip(&lives)
            .filter(|(_, life)| **life > 0)
            .filter_map(|(Kept { message, reference }, _)| {
                Some(keys.reference(&log::reference_digest(&message.sender, reference.as_deref()?)))
            })
            .collect();
        let all: Vec<&str> =
            [stream.as_str(), &head].into_iter().chain(references.iter().map(String::as_str)).collect();
        let text = |id: Option<MessageId>| id.map_or_else(String::new, |id| id.to_string());
        let entry = |id: Option<MessageId>| id.map_or_else(String::new, |id| EntryId::of(id).to_string());
        let answer = self.redis.health.ask_again(|fleet| {
            Call::script(&script::IMPORT, &all, |command| {
                command.arg(fleet.deadline(stream.as_bytes())).arg(text(before)).arg(entry(before));
                command.arg(text(Some(last))).arg(entry(Some(last)));
                let mut body = Vec::new();
                for (Kept { message, .. }, life) in page.iter().zip(&lives) {
                    body.clear();
                    wire::write_foreign_body(message, &mut body);
                    command.arg(EntryId::of(message.id).to_string()).arg(&body[..]).arg(*life);
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

/// Seconds for which a message's reference is still to be remembered; 0 if it has none, or not any longer.
fn remembered_for(kept: &Kept, now: SystemTime) -> u32 {
    let age = now.duration_since(kept.message.id.time()).unwrap_or_default().as_secs();
    match kept.reference {
        Some(_) => REMEMBER.saturating_sub(u32::try_from(age).unwrap_or(u32::MAX)),
        None => 0,
    }
}
