//! Reading a room: messages as they are now, and changes, in one view.

use super::{
    became,
    call::Call,
    failure::Failure,
    id::{EntryId, Tail},
    keys::Keys,
    script,
    shared::Redis,
    wire,
};
use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{Message, MessageId, RoomName},
    store::log::{end_of_page, in_order, is_full_page},
};
use redis::Value;

/// Entries read in one go: a reply is held as a whole.
const SHARE: usize = 128;

/// Up to `limit` messages, newest first: all, or those before `before`; a page's worth of text at most.
pub(super) fn newest(
    redis: &Redis,
    room: &RoomName,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Vec<Message>, Failure> {
    let older_than = |id: MessageId| format!("({}", EntryId::of(id));
    let mut from = before.map_or("+".to_owned(), older_than);
    let mut page: Vec<Message> = Vec::new();
    while page.len() < limit && !is_full_page(&page) {
        let share = SHARE.min(limit - page.len());
        let View { messages, last, .. } = View::read(redis, room, [&from, "-"], share, Way::Back)?;
        page.extend(messages);
        match last {
            Some(last) => from = format!("({last}"),
            None => break,
        }
    }
    page.truncate(end_of_page(&page).unwrap_or(limit));
    Ok(page)
}

/// The message of this id.
pub(super) fn one(redis: &Redis, room: &RoomName, id: MessageId) -> Result<Option<Message>, Failure> {
    let entry = EntryId::of(id).to_string();
    let found = View::read(redis, room, [&entry, &entry], 1, Way::Back)?.messages;
    Ok(found.into_iter().find(|message| message.id == id))
}

/// Up to `limit` entries after `after`, oldest first, whether or not `after` itself is kept.
pub(super) fn after(redis: &Redis, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, Failure> {
    follow(redis, room, after, limit, Vec::new())
}

/// The same; `None` if not all of them are kept any more, or `after` was no entry of the room.
pub(super) fn since(
    redis: &Redis,
    room: &RoomName,
    after: MessageId,
    limit: usize,
) -> Result<Option<Vec<Entry>>, Failure> {
    let place = EntryId::of(after);
    let from = place.to_string();
    let share = SHARE.min(limit);
    let way = Way::On { standing: &from };
    let View { mut messages, mut changes, standing, .. } = View::read(redis, room, [&from, "+"], share + 1, way)?;
    let Standing { changes_gone, kept_from, deleted } = standing;
    // Trimming takes the oldest first: if that message is still there, so is every message after it.
    let is_message = messages.first().is_some_and(|message| message.id == after);
    let is_change = changes.first().is_some_and(|change| change.id == after);
    let was_message = deleted.is_some_and(|tail| tail.message_id(place) == after);
    let is_whole = changes_gone.is_none_or(|gone| gone <= place) && kept_from.is_none_or(|from| from <= place);
    if !(is_message || is_change || was_message) || !is_whole {
        return Ok(None);
    }
    messages.retain(|message| message.id > after);
    changes.retain(|change| change.id > after);
    let first = in_order(messages, changes, share);
    if first.len() < share {
        return Ok(Some(first));
    }
    follow(redis, room, after, limit, first).map(Some)
}

/// Goes on behind what was read of what follows `after`, until it is enough, in number or in text.
fn follow(
    redis: &Redis,
    room: &RoomName,
    after: MessageId,
    limit: usize,
    mut page: Vec<Entry>,
) -> Result<Vec<Entry>, Failure> {
    while page.len() < limit && !is_full_page(&page) {
        let from = format!("({}", EntryId::of(page.last().map_or(after, Entry::id)));
        let share = SHARE.min(limit - page.len());
        let View { messages, changes, .. } = View::read(redis, room, [&from, "+"], share, Way::On { standing: "" })?;
        let next = in_order(messages, changes, share);
        if next.is_empty() {
            break;
        }
        page.extend(next);
    }
    Ok(page)
}

/// What the script `read.lua` answers.
struct View {
    messages: Vec<Message>,
    changes: Vec<Change>,
    standing: Standing,
    /// The last entry of the messages' stream that was read; none if there are no more behind it.
    last: Option<EntryId>,
}

/// Whether what followed an entry is wholly kept.
#[derive(Default)]
struct Standing {
    /// The newest change that is not kept any more.
    changes_gone: Option<EntryId>,
    /// From where on messages are kept, if older ones are not.
    kept_from: Option<EntryId>,
    /// The rest of the entry's id, if it was a message that is deleted.
    deleted: Option<Tail>,
}

/// How a room is read.
enum Way<'a> {
    /// Messages only, newest first.
    Back,
    /// Oldest first, changes too, and how this entry stands.
    On { standing: &'a str },
}

impl View {
    fn read(redis: &Redis, room: &RoomName, range: [&str; 2], limit: usize, way: Way<'_>) -> Result<View, Failure> {
        let keys = Keys(room);
        let call =
            Call::script(&script::READ, &[&keys.log(), &keys.head(), &keys.changes(), &keys.became()], |command| {
                command.arg(&range[..]).arg(limit);
                match way {
                    Way::Back => command.arg("back").arg("0").arg(""),
                    Way::On { standing } => command.arg("on").arg("1").arg(standing),
                };
            });
        let Value::Array(parts) = redis.read_one(call)? else { return Err(Failure::Unreadable) };
        let (Some([messages, became, changes, texts]), rest) = (parts.first_chunk(), parts.get(4..)) else {
            return Err(Failure::Unreadable);
        };
        let entry = |value: Option<&Value>| bytes(value?).and_then(EntryId::parse);
        let rest = rest.unwrap_or_default();
        let tail = |value: Option<&Value>| Some(Tail::from_bytes(bytes(value?)?.try_into().ok()?));
        let read = list(messages)?;
        let last = read.last().filter(|_| read.len() == limit).and_then(stream_entry).map(|(id, ..)| id);
        let messages = read_messages(room, read, list(became)?);
        let changes = read_changes(room, list(changes)?, list(texts)?);
        // Whoever asked for it may show it.
        let seen = messages.iter().map(|message| message.id).chain(changes.iter().map(|change| change.id)).max();
        redis.floors.raise(room, seen.map_or(EntryId::ZERO, EntryId::of));
        Ok(View {
            last,
            messages,
            changes,
            standing: Standing {
                changes_gone: entry(rest.first()),
                kept_from: entry(rest.get(1)),
                deleted: tail(rest.get(2)),
            },
        })
    }
}

/// Reads `[[id, [name, body]]…]`; the name says whether the message was taken over from another log. An entry that this
/// program did not write is left out.
fn read_messages(room: &RoomName, entries: &[Value], became: &[Value]) -> Vec<Message> {
    let own = Tail::of(room);
    let read = entries.iter().enumerate().filter_map(|(place, value)| {
        let (entry, name, mut body) = stream_entry(value)?;
        let tail = if name == wire::FOREIGN { wire::read_tail(&mut body)? } else { own };
        let mut message = wire::read_body(tail.message_id(entry), body)?;
        if let Some(Value::Array(became)) = became.get(place)
            && let [edit, reactions] = &became[..]
        {
            if let Some((id, text)) = bytes(edit).and_then(became::read_edit) {
                message.edited = Some(own.message_id(id));
                message.text = text.into();
            }
            message.reactions = bytes(reactions).and_then(became::read_reactions).unwrap_or_default();
        }
        Some(message)
    });
    read.collect()
}

fn read_changes(room: &RoomName, entries: &[Value], texts: &[Value]) -> Vec<Change> {
    let own = Tail::of(room);
    let read = entries.iter().enumerate().filter_map(|(place, value)| {
        let (entry, name, mut body) = stream_entry(value)?;
        let tail = if name == wire::FOREIGN { wire::read_tail(&mut body)? } else { own };
        let mut change = wire::read_change(tail.message_id(entry), body)?;
        if let ChangeKind::Edited(text) = &mut change.kind {
            *text = texts.get(place).and_then(bytes).and_then(became::read_edit).map(|(_, text)| text.into());
        }
        Some(change)
    });
    read.collect()
}

fn stream_entry(value: &Value) -> Option<(EntryId, &[u8], &[u8])> {
    let Value::Array(entry) = value else { return None };
    let [id, Value::Array(fields)] = &entry[..] else { return None };
    let [name, body] = &fields[..] else { return None };
    Some((EntryId::parse(bytes(id)?)?, bytes(name)?, bytes(body)?))
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn list(value: &Value) -> Result<&[Value], Failure> {
    match value {
        Value::Array(list) => Ok(list),
        _ => Err(Failure::Unreadable),
    }
}
