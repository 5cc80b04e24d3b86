//! `/api/v1/users/:user/messages`: all that an account has said, to take along or to erase.

use super::call::{Call, account};
use crate::{
    api::route::Params,
    auth::api_keys::Scope,
    chat::Chat,
    door::channel_frame,
    entry::{NewChange, NewChangeKind, NewEntry, Reach},
    http::{reply::Reply, request::Request},
    message::{BOT, Message, MessageId, RoomName},
    refusal::{Reason, Refusal},
    store::log::Appended,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Messages of a page, and bytes of their lines after which it ends.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 512 << 10;

/// How long one call looks for messages, or erases them, before it answers with what it has: what is kept of others may be
/// much.
const PATIENCE: Duration = Duration::from_secs(10);

/// Rooms, and messages of a room, read at a time.
const ROOMS: usize = 100;
const MESSAGES: usize = 500;

/// Messages erased in one go: others wait for no more than these.
const ERASED_AT_A_TIME: usize = 64;

/// Messages as lines of JSON, room by room, newest first; a `Link` leads to those that follow.
pub fn export(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "export messages" }.answer(|_, target| {
        target.push_str(params.get("user"));
        let cursor = request.query_values("cursor")?.into_iter().next().unwrap_or_default();
        let place = Place::parse(&cursor)
            .ok_or_else(|| Refusal::from(Reason::InvalidFields).field("cursor", "must be that of an earlier page"))?;
        let account = account(chat, params.get("user"))?;
        let mut walk = Walk { chat, sender: &account.email, place, until: Instant::now() + PATIENCE };
        let (mut out, mut lines) = (Vec::new(), 0);
        let done = walk.on(|room, message| {
            out.extend_from_slice(&channel_frame::message(room, message));
            out.push(b'\n');
            lines += 1;
            Ok(lines < PAGE && out.len() < PAGE_BYTES)
        })?;
        let reply = Reply::new(200, "application/x-ndjson", out).with("Cache-Control", "no-store");
        if done {
            return Ok(reply);
        }
        let cursor = walk.place.to_string();
        let cursor = utf8_percent_encode(&cursor, NON_ALPHANUMERIC);
        // RFC 8288, as in the list of rooms.
        Ok(reply.with("Link", format!("<{}?cursor={cursor}>; rel=\"next\"", request.path)))
    })
}

/// Erases all messages of an account, for everybody who sees them too; `more` if that takes another call.
pub fn erase(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "erase messages" }.answer(|caller, target| {
        target.push_str(params.get("user"));
        let account = account(chat, params.get("user"))?;
        let by: Arc<str> = format!("{BOT}{}", caller.name).into();
        let mut walk = Walk { chat, sender: &account.email, place: Place::default(), until: Instant::now() + PATIENCE };
        let (mut erased, mut waiting) = (0, Vec::new());
        let done = walk.on(|room, message| {
            let (room, of, by) = (room.clone(), message.id, by.clone());
            let (kind, reach) = (NewChangeKind::Delete, Reach::Any);
            waiting.push(NewEntry::from(NewChange { room, of, by, kind, reach, reference: None }));
            if waiting.len() >= ERASED_AT_A_TIME {
                erased += erase_all(chat, &mut waiting)?;
            }
            Ok(true)
        })?;
        erased += erase_all(chat, &mut waiting)?;
        Ok(Reply::json(200, &json!({ "erased": erased, "more": !done })))
    })
}

/// Has these messages deleted; how many of them were.
fn erase_all(chat: &Chat, waiting: &mut Vec<NewEntry>) -> Result<usize, Refusal> {
    let mut erased = 0;
    for outcome in chat.rooms.submit_all(std::mem::take(waiting)) {
        match outcome {
            Some(Appended::Stored(_) | Appended::StoredAlone(_) | Appended::Repeated(_)) => erased += 1,
            // Somebody else was faster.
            Some(Appended::Refused(_)) => {}
            Some(Appended::NotStored) | None => {
                return Err(Refusal::from(Reason::Unavailable).retry_after(Duration::from_secs(1)));
            }
        }
    }
    Ok(erased)
}

/// Goes through what an account has said.
struct Walk<'a> {
    chat: &'a Chat,
    /// The email address, as rooms show it.
    sender: &'a str,
    place: Place,
    until: Instant,
}

/// How far a walk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    /// In this room all before this message is left.
    Before(RoomName, MessageId),
    /// This room is done, and all before it.
    Behind(RoomName),
}

impl Place {
    fn parse(text: &str) -> Option<Place> {
        if text.is_empty() {
            return Some(Place::Start);
        }
        let (id, room) = text.split_once('|').filter(|(_, room)| room.len() <= RoomName::MAX + 16)?;
        let room = RoomName::from_store(room);
        if id.is_empty() { Some(Place::Behind(room)) } else { Some(Place::Before(room, MessageId::parse(id)?)) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Start => Ok(()),
            Place::Before(room, id) => write!(f, "{id}|{}", room.as_str()),
            Place::Behind(room) => write!(f, "|{}", room.as_str()),
        }
    }
}

impl Walk<'_> {
    /// Gives each message to `take`, until that has enough or the time is over; whether that were all.
    fn on(&mut self, mut take: impl FnMut(&RoomName, &Message) -> Result<bool, Refusal>) -> Result<bool, Refusal> {
        if let Place::Before(room, id) = &self.place
            && !self.through(&room.clone(), Some(*id), &mut take)?
        {
            return Ok(false);
        }
        loop {
            let after = match &self.place {
                Place::Start => None,
                Place::Before(room, _) | Place::Behind(room) => Some(room.clone()),
            };
            let rooms = self.chat.log.rooms(after.as_ref(), ROOMS)?;
            if rooms.is_empty() {
                return Ok(true);
            }
            for room in rooms {
                // Elsewhere anybody may call himself as others' addresses are.
                if room.is_of_accounts() && !self.through(&room, None, &mut take)? {
                    return Ok(false);
                }
                self.place = Place::Behind(room);
            }
        }
    }

    /// The same of one room.
    fn through(
        &mut self,
        room: &RoomName,
        mut before: Option<MessageId>,
        take: &mut impl FnMut(&RoomName, &Message) -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        loop {
            let page = self.chat.log.history(room, before, MESSAGES)?;
            let Some(oldest) = page.first() else { return Ok(true) };
            before = Some(oldest.id);
            for message in page.iter().rev().filter(|message| *message.sender == *self.sender) {
                let go_on = take(room, message)?;
                self.place = Place::Before(room.clone(), message.id);
                if !go_on {
                    return Ok(false);
                }
            }
            if Instant::now() >= self.until {
                self.place = Place::Before(room.clone(), oldest.id);
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_place_is_read_back() {
        let room = RoomName::channel("a|b");
        for place in [Place::Start, Place::Behind(room.clone()), Place::Before(room, MessageId(Uuid::now_v7()))] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        assert_eq!(Place::parse("yesterday|channel:x"), None);
        assert_eq!(Place::parse("channel:x"), None);
    }
}
