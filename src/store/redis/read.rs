//! Reads a room: messages as they are now, and changes, in one view.

use super::{
    became,
    bounds::{Bounds, at},
    call::Call,
    failure::Failure,
    id::{EntryId, Tail},
    keys::Keys,
    script,
    shared::Redis,
    values::{bytes, entry_id, list, stream_entry},
    wire,
};
use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{Message, MessageId, RoomName},
    store::log::{end_of_page, in_order, is_full_page},
};
use redis::Value;

/// Entries read in one go, since a reply is held in memory as a whole.
const SHARE: usize = 128;

/// Up to `limit` messages, newest first: all, or those before `before`; at most one page of text.
pub(super) fn newest(
    redis: &Redis,
    room: &RoomName,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Vec<Message>, Failure> {
    newest_bounded(redis, room, before, limit, false).map(|(messages, _)| messages)
}

/// The same as [`newest`], and where the archive begins, if there is one.
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
    let mut known = Bounds::read(&[])?;
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

/// Up to `limit` messages after `after`, oldest first, whether or not `after` itself is kept; at most one page of text.
pub(super) fn newer(redis: &Redis, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Message>, Failure> {
    let mut from = EntryId::of(after);
    let mut page: Vec<Message> = Vec::new();
    while page.len() < limit && !is_full_page(&page) {
        let share = SHARE.min(limit - page.len());
        let View { messages, last, .. } =
            View::read(redis, room, [&format!("({from}"), "+"], share, Way::Forth { is_archived: false })?;
        page.extend(messages);
        match last {
            Some(last) => from = last,
            None => break,
        }
    }
    page.truncate(end_of_page(&page).unwrap_or(limit));
    Ok(page)
}

/// Up to `limit` messages after `after` that are here, and where the archive begins. At most as many as are read in one
/// go. Also where to read on, if there may be more.
pub(super) fn share_newer(
    redis: &Redis,
    room: &RoomName,
    after: MessageId,
    limit: usize,
) -> Result<(Vec<Message>, Option<MessageId>, Bounds), Failure> {
    let from = format!("({}", EntryId::of(after));
    let View { messages, last, bounds, .. } =
        View::read(redis, room, [&from, "+"], SHARE.min(limit), Way::Forth { is_archived: true })?;
    Ok((messages, last.map(|last| at(last, Tail::GREATEST)), bounds))
}

/// The message with this id, and where the archive begins, if there is one.
pub(super) fn one(
    redis: &Redis,
    room: &RoomName,
    id: MessageId,
    is_archived: bool,
) -> Result<(Option<Message>, Bounds), Failure> {
    let entry = EntryId::of(id).to_string();
    let View { messages, bounds, .. } = View::read(redis, room, [&entry, &entry], 1, Way::Back { is_archived })?;
    Ok((messages.into_iter().find(|message| message.id == id), bounds))
}

/// Up to `limit` entries after `after`, oldest first, whether or not `after` itself is kept.
pub(super) fn after(redis: &Redis, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, Failure> {
    follow(redis, room, after, limit, Vec::new())
}

/// The same as [`after`]; `None` if not all of them are kept any more, or `after` is no entry of the room.
pub(super) fn since(
    redis: &Redis,
    room: &RoomName,
    after: MessageId,
    limit: usize,
) -> Result<Option<Vec<Entry>>, Failure> {
    match since_bounded(redis, room, after, limit, false)? {
        Since::Followed { page, .. } => Ok(page),
        Since::Archived { .. } => Ok(None),
    }
}

/// What followed an entry.
pub(in crate::store) enum Since {
    /// Everything asked for; `None` as in [`since`].
    Followed { page: Option<Vec<Entry>>, bounds: Bounds },
    /// Some of it is only in the archive.
    Archived { is_known: bool, bounds: Bounds },
}

/// Like [`since`], where there may be an archive.
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
    // Trimming takes the oldest first: if that message is still there, so is every later one.
    let is_message = messages.first().is_some_and(|message| message.id == after);
    let is_change = changes.first().is_some_and(|change| change.id == after);
    let was_message = deleted.is_some_and(|tail| tail.message_id(place) == after);
    let is_whole = changes_gone.is_none_or(|gone| gone <= place) && kept_from.is_none_or(|from| from <= place);
    if is_archived && !bounds.has_all_from(after) {
        return Ok(Since::Archived { is_known: is_message || is_change || was_message, bounds });
    }
    if !(is_message || is_change || was_message) || !is_whole {
        return Ok(Since::Followed { page: None, bounds });
    }
    messages.retain(|message| message.id > after);
    changes.retain(|change| change.id > after);
    let first = in_order(messages, changes, share);
    if is_archived || first.len() < share {
        // With an archive the caller reads on, and checks each time where the archive begins by then.
        return Ok(Since::Followed { page: Some(first), bounds });
    }
    Ok(Since::Followed { page: Some(follow(redis, room, after, limit, first)?), bounds })
}

/// Up to `limit` entries after `after` that are here, and where the archive begins. At most as many as are read in one
/// go.
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

/// Reads on after the first page until there is enough, in number or in text.
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

/// The answer of `read.lua`.
struct View {
    messages: Vec<Message>,
    changes: Vec<Change>,
    standing: Standing,
    bounds: Bounds,
    /// The last entry read from the messages' stream; `None` if no more follow.
    last: Option<EntryId>,
}

/// Whether everything that followed an entry is kept.
#[derive(Default)]
struct Standing {
    /// The newest change that is not kept any more.
    changes_gone: Option<EntryId>,
    /// Messages are kept from here on, if older ones are not.
    kept_from: Option<EntryId>,
    /// The rest of the entry's id, if it was a message that is deleted.
    deleted: Option<Tail>,
}

/// In which direction a room is read, and what with it.
enum Way<'a> {
    /// Messages only, newest first.
    Back { is_archived: bool },
    /// Messages only, oldest first.
    Forth { is_archived: bool },
    /// Oldest first, with changes, and the standing of this entry.
    On { standing: &'a str, is_archived: bool },
}

impl View {
    fn read(redis: &Redis, room: &RoomName, range: [&str; 2], limit: usize, way: Way<'_>) -> Result<View, Failure> {
        let call = call(room, range, limit, |command| {
            let is_archived = match way {
                Way::Back { is_archived } => {
                    command.arg("back").arg("0").arg("");
                    is_archived
                }
                Way::Forth { is_archived } => {
                    command.arg("on").arg("0").arg("");
                    is_archived
                }
                Way::On { standing, is_archived } => {
                    command.arg("on").arg("1").arg(standing);
                    is_archived
                }
            };
            command.arg(if is_archived { "2" } else { "0" });
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
        // The reader may show it to clients.
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
            bounds: Bounds::read(rest)?,
        })
    }
}

/// A call of `read.lua`; `rest` adds what follows the range and the limit.
pub(super) fn call(room: &RoomName, range: [&str; 2], limit: usize, rest: impl FnOnce(&mut redis::Cmd)) -> Call {
    let keys = Keys(room);
    let all = [keys.log(), keys.head(), keys.changes(), keys.became(), keys.changed()];
    Call::script(&script::READ, &all.each_ref().map(String::as_str), |command| {
        command.arg(&range[..]).arg(limit);
        rest(command);
    })
}

/// Reads `[[id, [name, body]]…]`; the name says whether the message came from another log. Skips an entry that this
/// program did not write.
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

/// Applies a message's edit and reactions to it.
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
