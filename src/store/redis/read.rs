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
    newest_bounded(redis, room, before, limit, false).map(|(messages, _)| messages)
}

/// The same, and where the archive begins, if there is one.
pub(super) fn newest_bounded(
    redis: &Redis,
    room: &RoomName,
    before: Option<MessageId>,
    limit: usize,
    is_archived: bool,
) -> Result<(Vec<Message>, Bounds), Failure> {
    let older_than = |id: MessageId| format!("({}", EntryId::of(id));
    let mut from = before.map_or("+".to_owned(), older_than);
    let mut page: Vec<Message> = Vec::new();
    let mut known = Bounds::read(&[]);
    while page.len() < limit && !is_full_page(&page) {
        let share = SHARE.min(limit - page.len());
        let way = Way::Back { is_archived };
        let View { messages, last, bounds, .. } = View::read(redis, room, [&from, "-"], share, way)?;
        known = bounds;
        page.extend(messages);
        match last {
            Some(last) => from = format!("({last}"),
            None => break,
        }
    }
    page.truncate(end_of_page(&page).unwrap_or(limit));
    Ok((page, known))
}

/// The message of this id.
pub(super) fn one(redis: &Redis, room: &RoomName, id: MessageId) -> Result<Option<Message>, Failure> {
    let entry = EntryId::of(id).to_string();
    let way = Way::Back { is_archived: false };
    let found = View::read(redis, room, [&entry, &entry], 1, way)?.messages;
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
    match since_bounded(redis, room, after, limit, false)? {
        Since::Followed(followed) => Ok(followed),
        Since::Archived { .. } => Ok(None),
    }
}

/// What is read of what followed an entry.
pub(in crate::store) enum Since {
    /// All that is asked for; `None` as in [`since`].
    Followed(Option<Vec<Entry>>),
    /// Some of it stands in the archive.
    Archived { is_known: bool, bounds: Bounds },
}

/// As [`since`], where there may be an archive.
pub(super) fn since_bounded(
    redis: &Redis,
    room: &RoomName,
    after: MessageId,
    limit: usize,
    is_archived: bool,
) -> Result<Since, Failure> {
    let place = EntryId::of(after);
    let from = place.to_string();
    let share = SHARE.min(limit);
    let way = Way::On { standing: &from, is_archived };
    let View { mut messages, mut changes, standing, bounds, .. } =
        View::read(redis, room, [&from, "+"], share + 1, way)?;
    let Standing { changes_gone, kept_from, deleted } = standing;
    // Trimming takes the oldest first: if that message is still there, so is every message after it.
    let is_message = messages.first().is_some_and(|message| message.id == after);
    let is_change = changes.first().is_some_and(|change| change.id == after);
    let was_message = deleted.is_some_and(|tail| tail.message_id(place) == after);
    let is_whole = changes_gone.is_none_or(|gone| gone <= place) && kept_from.is_none_or(|from| from <= place);
    if is_archived && !bounds.has_all_from(after) {
        return Ok(Since::Archived { is_known: is_message || is_change || was_message, bounds });
    }
    if !(is_message || is_change || was_message) || !is_whole {
        return Ok(Since::Followed(None));
    }
    messages.retain(|message| message.id > after);
    changes.retain(|change| change.id > after);
    let first = in_order(messages, changes, share);
    if is_archived || first.len() < share {
        // With an archive whoever asked goes on, and looks each time where that begins by then.
        return Ok(Since::Followed(Some(first)));
    }
    Ok(Since::Followed(Some(follow(redis, room, after, limit, first)?)))
}

/// Up to `limit` entries after `after`, as far as they are here, and where the archive begins. Not more than are read in
/// one go.
pub(super) fn share_after(
    redis: &Redis,
    room: &RoomName,
    after: MessageId,
    limit: usize,
) -> Result<(Vec<Entry>, Bounds), Failure> {
    let (from, share) = (format!("({}", EntryId::of(after)), SHARE.min(limit));
    let way = Way::On { standing: "", is_archived: true };
    let View { messages, changes, bounds, .. } = View::read(redis, room, [&from, "+"], share, way)?;
    Ok((in_order(messages, changes, share), bounds))
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
        let way = Way::On { standing: "", is_archived: false };
        let View { messages, changes, .. } = View::read(redis, room, [&from, "+"], share, way)?;
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
    bounds: Bounds,
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
    Back { is_archived: bool },
    /// Oldest first, changes too, and how this entry stands.
    On { standing: &'a str, is_archived: bool },
}

impl View {
    fn read(redis: &Redis, room: &RoomName, range: [&str; 2], limit: usize, way: Way<'_>) -> Result<View, Failure> {
        let keys = Keys(room);
        let call =
            Call::script(&script::READ, &[&keys.log(), &keys.head(), &keys.changes(), &keys.became()], |command| {
                command.arg(&range[..]).arg(limit);
                let is_archived = match way {
                    Way::Back { is_archived } => {
                        command.arg("back").arg("0").arg("");
                        is_archived
                    }
                    Way::On { standing, is_archived } => {
                        command.arg("on").arg("1").arg(standing);
                        is_archived
                    }
                };
                command.arg(u8::from(is_archived));
            });
        let Value::Array(parts) = redis.read_one(call)? else { return Err(Failure::Unreadable) };
        let (Some([messages, became, changes, texts]), rest) = (parts.first_chunk(), parts.get(4..)) else {
            return Err(Failure::Unreadable);
        };
        let entry = |value: Option<&Value>| entry_id(value?);
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
            bounds: Bounds::read(rest),
        })
    }
}

/// What a room's head says of the archive behind it.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Bounds {
    /// Nothing is archived that is older than what is here.
    pub is_whole: bool,
    /// From here on all is here; `None`: nothing is.
    pub from: Option<MessageId>,
    /// How often what became of messages was let go of.
    pub trims: u64,
    /// Up to here the room was deleted.
    pub forgotten: MessageId,
    /// The last that was let go of though it is not archived.
    pub lost: MessageId,
}

impl Bounds {
    fn read(rest: &[Value]) -> Bounds {
        let entry = |place: usize| rest.get(place).and_then(entry_id);
        let least = |entry: EntryId| at(entry, Tail::LEAST);
        let (changes_gone, kept_from, archived) = (entry(0), entry(1), entry(4));
        let whole = rest.get(5).and_then(bytes).is_some();
        // Of all that stands in the streams, and stays: what is older was let go of.
        let oldest = [entry(8), entry(9)].into_iter().flatten().min();
        let trimmed = [entry(3), kept_from, changes_gone.map(|gone| EntryId { sequence: gone.sequence + 1, ..gone })];
        let from = oldest.map(|oldest| trimmed.into_iter().flatten().fold(oldest, EntryId::max));
        let lost = |gone: &EntryId| archived.is_none_or(|archived| archived < *gone);
        let lost = [kept_from.map(EntryId::before), changes_gone].into_iter().flatten().filter(lost).max();
        Bounds {
            is_whole: whole,
            from: from.map(least),
            trims: rest.get(6).and_then(bytes).and_then(number).unwrap_or(0),
            forgotten: entry(7).map_or(MessageId::BEFORE_ALL, |entry| at(entry, Tail::GREATEST)),
            lost: lost.map_or(MessageId::BEFORE_ALL, |lost| at(lost, Tail::GREATEST)),
        }
    }

    /// Whether nothing that follows this is in the archive alone.
    pub fn has_all_after(&self, after: MessageId) -> bool {
        self.is_whole || self.from.is_some_and(|from| place_before(from) <= after)
    }

    /// Whether this and nothing that follows it is in the archive alone.
    fn has_all_from(&self, first: MessageId) -> bool {
        self.is_whole || self.from.is_some_and(|from| from <= first)
    }
}

/// More than every id before this one, which is one that [`Bounds`] names.
pub(in crate::store) fn place_before(from: MessageId) -> MessageId {
    Tail::GREATEST.message_id(EntryId::of(from).before())
}

/// The id of an entry with this tail; an entry may be one that no id has, behind the last of its millisecond.
fn at(entry: EntryId, tail: Tail) -> MessageId {
    match entry.sequence {
        ..0x1000 => tail.message_id(entry),
        _ => tail.message_id(EntryId { millis: entry.millis + 1, sequence: 0 }),
    }
}

fn entry_id(value: &Value) -> Option<EntryId> {
    bytes(value).and_then(EntryId::parse)
}

pub(super) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
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
            become_so(&mut message, own, bytes(edit), bytes(reactions));
        }
        Some(message)
    });
    read.collect()
}

/// Lays over a message what it has become.
pub(super) fn become_so(message: &mut Message, own: Tail, edit: Option<&[u8]>, reactions: Option<&[u8]>) {
    if let Some((id, text)) = edit.and_then(became::read_edit)
        && message.edited.is_none_or(|edited| edited < own.message_id(id))
    {
        message.edited = Some(own.message_id(id));
        message.text = text.into();
    }
    if let Some(reactions) = reactions.and_then(became::read_reactions) {
        message.reactions = reactions;
    }
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

pub(super) fn stream_entry(value: &Value) -> Option<(EntryId, &[u8], &[u8])> {
    let Value::Array(entry) = value else { return None };
    let [id, Value::Array(fields)] = &entry[..] else { return None };
    let [name, body] = &fields[..] else { return None };
    Some((EntryId::parse(bytes(id)?)?, bytes(name)?, bytes(body)?))
}

pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn list(value: &Value) -> Result<&[Value], Failure> {
    match value {
        Value::Array(list) => Ok(list),
        _ => Err(Failure::Unreadable),
    }
}
