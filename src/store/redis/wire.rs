//! How messages and events are written in stream entries and on the feed channel. The scripts in `lua/` write the same
//! frames. Numbers are big-endian.
//!
//! ```text
//! body      sender length (2) | extra length (4, all ones: none) | sender | extra | text
//! extra     what the door noted; if the message has a name or answers another, this comes before it:
//!           2 | name | 0, or 3 | the other's id (32 hexadecimal digits, all 0: it is gone) | name | 0
//! change    what (1) | entry id of the message (8) | end of its id (8) | length of who (2) | who | text or emoji
//! asked     1 for any message, 0 for one's own (1) | the oldest that may be edited (6) | change
//! stored    1 | room length (2) | room | entry id before (8) | { entry id (8) | body length (4) | body }…
//! entries   4 | room length (2) | room | entry id before (8) | { entry id (8) | 0: message, 1: change (1)
//!             | length (4) | body or change }…
//! event     2 | room length (2) | room (none: all) | what (1) | node (16) | user, or what else there is to say
//! named     the same, what: 8 | user | 0 | name. Goes before an event of this user: nodes that don't know names
//!           skip it, and understand the event
//! noted     5 | room length (2) | room | entry id (8) | { length (2) | who said or changed something }…
//! beat      3
//! ```

use super::id::{EntryId, Tail};
use crate::{
    entry::{Change, ChangeKind, Entry, NewChange, NewChangeKind, NewEntry, Reach},
    event::{Event, Person},
    message::{Draft, Message, MessageId, RoomName},
};
use std::{borrow::Cow, sync::Arc};
use uuid::Uuid;

const STORED: u8 = 1;
const EVENT: u8 = 2;
const ENTRIES: u8 = 4;
const NOTED: u8 = 5;
/// What each node publishes every second, so that a silent feed is known to be broken.
pub(super) const BEAT: &[u8] = &[3];

const NO_EXTRA: u32 = u32::MAX;

/// Length of a node's name in bytes.
pub(super) const NODE_NAME: usize = 16;

/// Appends a draft's body.
pub(super) fn write_body(draft: &Draft, out: &mut Vec<u8>) {
    let extra = noted(draft.name.as_deref(), draft.reply_to, draft.extra.as_deref());
    write_parts(&draft.sender, extra.as_deref(), &draft.text, out);
}

fn write_parts(sender: &str, extra: Option<&str>, said: &str, out: &mut Vec<u8>) {
    let sender = limited(sender);
    out.extend_from_slice(&(sender.len() as u16).to_be_bytes());
    out.extend_from_slice(&extra.map_or(NO_EXTRA, |extra| extra.len() as u32).to_be_bytes());
    out.extend_from_slice(sender);
    out.extend_from_slice(extra.unwrap_or_default().as_bytes());
    out.extend_from_slice(said.as_bytes());
}

/// Of how many authors a `noted` frame tells.
const AUTHORS: usize = 16;

/// The different ones among these authors, as many as a `noted` frame tells of.
pub(super) fn authors<'a>(all: impl Iterator<Item = &'a Arc<str>>) -> Vec<&'a Arc<str>> {
    let mut authors = Vec::new();
    for author in all {
        if authors.len() < AUTHORS && !authors.contains(&author) {
            authors.push(author);
        }
    }
    authors
}

/// Appends who said these entries, for a `noted` frame.
pub(super) fn write_authors(entries: &[&NewEntry], out: &mut Vec<u8>) {
    for author in authors(entries.iter().map(|entry| entry.by())) {
        let author = limited(author);
        out.extend_from_slice(&(author.len() as u16).to_be_bytes());
        out.extend_from_slice(author);
    }
}

fn read_authors(mut rest: &[u8]) -> Option<Vec<Arc<str>>> {
    let mut authors = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
        authors.push(text(split(&mut rest, length)?)?.into());
    }
    Some(authors)
}

/// Senders are email addresses, names or `publisher`; no door accepts a longer one.
fn limited(sender: &str) -> &[u8] {
    &sender.as_bytes()[..sender.len().min(usize::from(u16::MAX))]
}

const NAMED: char = '\u{2}';
const ANSWERS: char = '\u{3}';
const END_OF_NAME: char = '\0';

/// The `extra` of a body. Nodes that don't know names and answers yet still show such messages: their doors for
/// accounts ignore it, and the doors that read it never give a name.
fn noted<'a>(name: Option<&str>, reply_to: Option<MessageId>, extra: Option<&'a str>) -> Option<Cow<'a, str>> {
    // A name is one line of text.
    let name = name.unwrap_or_default().replace(END_OF_NAME, " ");
    let extra_or_none = extra.unwrap_or_default();
    match reply_to {
        None if name.is_empty() => extra.map(Cow::Borrowed),
        None => Some(format!("{NAMED}{name}{END_OF_NAME}{extra_or_none}").into()),
        Some(id) => Some(format!("{ANSWERS}{}{name}{END_OF_NAME}{extra_or_none}", id.0.as_simple()).into()),
    }
}

/// Reads what [`noted`] wrote into the message; `None` if it is something else.
fn read_noted(extra: &str, message: &mut Message) -> Option<()> {
    let mut rest = extra;
    if let Some(answers) = rest.strip_prefix(ANSWERS) {
        let id = answers.get(..32)?;
        message.reply_to = Uuid::try_parse(id).ok().map(MessageId).filter(|id| *id != MessageId::BEFORE_ALL);
        rest = &answers[32..];
    } else if let Some(named) = rest.strip_prefix(NAMED) {
        rest = named;
    } else {
        message.extra = Some(extra.into());
        return Some(());
    }
    let (name, extra) = rest.split_once(END_OF_NAME)?;
    message.name = (!name.is_empty()).then(|| name.into());
    message.extra = (!extra.is_empty()).then(|| extra.into());
    Some(())
}

/// The field of an entry imported from another log. (`m` and `c` are those of our own entries.)
pub(super) const FOREIGN: &[u8] = b"i";

/// Appends a message with the tail of its id.
pub(super) fn write_foreign_body(message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(&Tail::at_the_end_of(message.id).to_bytes());
    let extra = noted(message.name.as_deref(), message.reply_to, message.extra.as_deref());
    write_parts(&message.sender, extra.as_deref(), &message.text, out);
}

/// Appends a change with the tail of its id. The text of an edit is not in it: it is part of the message's state.
pub(super) fn write_foreign_change(change: &Change, out: &mut Vec<u8>) {
    let (what, rest) = match &change.kind {
        ChangeKind::Edited(_) => (EDITED, ""),
        ChangeKind::Deleted => (DELETED, ""),
        ChangeKind::Reacted { emoji, on } => (if *on { REACTED } else { UNREACTED }, &**emoji),
    };
    out.extend_from_slice(&Tail::at_the_end_of(change.id).to_bytes());
    write_what(what, change.of, &change.by, rest, out);
}

/// Removes the tail that [`write_foreign_body`] or [`write_foreign_change`] wrote, and returns it; a body or a change
/// remains.
pub(super) fn read_tail(foreign: &mut &[u8]) -> Option<Tail> {
    take(foreign).map(Tail::from_bytes)
}

/// Reads a body; `None` if this program did not write it.
pub(super) fn read_body(id: MessageId, body: &[u8]) -> Option<Message> {
    let mut rest = body;
    let sender_length = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let extra_length = u32::from_be_bytes(take(&mut rest)?);
    let sender = text(split(&mut rest, sender_length)?)?.into();
    let extra = match extra_length {
        NO_EXTRA => None,
        length => Some(text(split(&mut rest, length as usize)?)?),
    };
    let mut message = Message::new(id, sender, text(rest)?);
    if let Some(extra) = extra {
        read_noted(extra, &mut message)?;
    }
    Some(message)
}

const EDITED: u8 = 0;
const DELETED: u8 = 1;
const REACTED: u8 = 2;
const UNREACTED: u8 = 3;

/// Appends a requested change.
pub(super) fn write_change(change: &NewChange, out: &mut Vec<u8>) {
    let (what, since, rest) = match &change.kind {
        NewChangeKind::Edit { text, since } => (EDITED, *since, &**text),
        NewChangeKind::Delete => (DELETED, 0, ""),
        NewChangeKind::React { emoji, on } => (if *on { REACTED } else { UNREACTED }, 0, &**emoji),
    };
    out.push(u8::from(change.reach == Reach::Any));
    out.extend_from_slice(&since.to_be_bytes()[2..]);
    write_what(what, change.of, &change.by, rest, out);
}

fn write_what(what: u8, of: MessageId, by: &str, rest: &str, out: &mut Vec<u8>) {
    out.push(what);
    out.extend_from_slice(&EntryId::of(of).to_bytes());
    out.extend_from_slice(&Tail::at_the_end_of(of).to_bytes());
    let by = limited(by);
    out.extend_from_slice(&(by.len() as u16).to_be_bytes());
    out.extend_from_slice(by);
    out.extend_from_slice(rest.as_bytes());
}

/// Reads a change. In a stream, the text of an edit is elsewhere.
pub(super) fn read_change(id: MessageId, change: &[u8]) -> Option<Change> {
    let mut rest = change;
    let [what] = take(&mut rest)?;
    let entry = EntryId::from_bytes(take(&mut rest)?);
    let of = Tail::from_bytes(take(&mut rest)?).message_id(entry);
    let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let by = text(split(&mut rest, length)?)?.into();
    let rest = text(rest)?;
    let kind = match what {
        EDITED => ChangeKind::Edited(Some(rest.into())),
        DELETED => ChangeKind::Deleted,
        REACTED | UNREACTED => ChangeKind::Reacted { emoji: rest.into(), on: what == REACTED },
        _ => return None,
    };
    Some(Change { id, of, by, kind })
}

/// A body without its text.
pub(super) fn without_text(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body;
    let sender_length = usize::from(u16::from_be_bytes(take(&mut rest)?));
    let extra_length = match u32::from_be_bytes(take(&mut rest)?) {
        NO_EXTRA => 0,
        length => length as usize,
    };
    body.get(..6 + sender_length + extra_length)
}

/// Whether a change adds or removes a reaction.
pub(super) fn is_reaction(change: &[u8]) -> bool {
    matches!(change.first(), Some(&REACTED | &UNREACTED))
}

/// A frame of the feed channel.
pub(super) enum Frame<'a> {
    Stored {
        room: RoomName,
        frames: StoredFrames<'a>,
    },
    Event {
        room: Option<RoomName>,
        node: &'a [u8],
        event: Event,
    },
    /// Something was stored in this room, up to this entry, by these.
    Noted {
        room: RoomName,
        last: EntryId,
        by: Vec<Arc<str>>,
    },
    /// The name of the next event's user.
    Named {
        room: RoomName,
        person: Person,
    },
    Beat,
}

/// The entries of a frame, not read yet.
pub(super) struct StoredFrames<'a> {
    rest: &'a [u8],
    /// Whether each entry names its kind; otherwise all are messages.
    mixed: bool,
    count: usize,
    /// The id of the last of them; 0 if the frame is broken.
    pub last: EntryId,
}

impl<'a> Frame<'a> {
    /// Reads a frame; `None` if it is broken or of another kind, since a newer node may publish unknown kinds.
    pub fn read(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let mut rest = bytes;
        let [kind] = take(&mut rest)?;
        if bytes == BEAT {
            return Some(Frame::Beat);
        }
        let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let room = RoomName::from_store(text(split(&mut rest, length)?)?);
        match kind {
            STORED | ENTRIES => Some(Frame::Stored { room, frames: StoredFrames::new(rest, kind == ENTRIES) }),
            NOTED => {
                let last = EntryId::from_bytes(take(&mut rest)?);
                Some(Frame::Noted { room, last, by: read_authors(rest)? })
            }
            EVENT => {
                let [what] = take(&mut rest)?;
                let node = split(&mut rest, NODE_NAME)?;
                let user: Arc<str> = text(rest)?.into();
                let event = match what {
                    0 => Event::Joined(Person::unnamed(user)),
                    1 => Event::Left(Person::unnamed(user)),
                    2 => Event::Typing(Person::unnamed(user)),
                    3 => Event::Shut { deleted: false },
                    4 => Event::Shut { deleted: true },
                    5 => {
                        let (at, text) = user.split_once(' ')?;
                        Event::Notice { text: text.into(), at: at.parse().ok()? }
                    }
                    6 => Event::Disconnect { account: user.parse().ok()? },
                    7 => {
                        let (account, rest) = user.split_once(' ')?;
                        let (id, room) = rest.split_once(' ')?;
                        let room = RoomName::from_store(room);
                        Event::Read { account: account.parse().ok()?, room, id: MessageId::parse(id)? }
                    }
                    9 => Event::Missed,
                    NAMED_USER => {
                        let (user, name) = user.split_once(END_OF_USER)?;
                        return Some(Frame::Named {
                            room,
                            person: Person { user: user.into(), name: Some(name.into()) },
                        });
                    }
                    _ => return None,
                };
                let room = Some(room).filter(|room| !room.as_str().is_empty());
                Some(Frame::Event { room, node, event })
            }
            _ => None,
        }
    }
}

impl<'a> StoredFrames<'a> {
    fn new(rest: &'a [u8], mixed: bool) -> StoredFrames<'a> {
        let (count, last) = Self::measure(rest, mixed).unwrap_or((0, EntryId::ZERO));
        StoredFrames { rest, mixed, count, last }
    }

    /// How many entries there are, and the id of the last.
    fn measure(mut rest: &[u8], mixed: bool) -> Option<(usize, EntryId)> {
        let (mut count, mut last) = (0, EntryId::from_bytes(take(&mut rest)?));
        while !rest.is_empty() {
            (count, last) = (count + 1, EntryId::from_bytes(take(&mut rest)?));
            rest = rest.get(usize::from(mixed)..)?;
            let length = u32::from_be_bytes(take(&mut rest)?);
            split(&mut rest, length as usize)?;
        }
        Some((count, last))
    }

    /// The id of the entry before these, and the entries. Skips unreadable ones.
    pub fn read(mut self, room: &RoomName) -> Option<(MessageId, Vec<Entry>)> {
        let tail = Tail::of(room);
        let before = tail.message_id(EntryId::from_bytes(take(&mut self.rest)?));
        let mut entries = Vec::with_capacity(self.count);
        while !self.rest.is_empty() {
            let id = tail.message_id(EntryId::from_bytes(take(&mut self.rest)?));
            let [is_change] = if self.mixed { take(&mut self.rest)? } else { [0] };
            let length = u32::from_be_bytes(take(&mut self.rest)?);
            let body = split(&mut self.rest, length as usize)?;
            match is_change {
                0 => entries.extend(read_body(id, body).map(Entry::Message)),
                _ => entries.extend(read_change(id, body).map(Entry::Change)),
            }
        }
        Some((before, entries))
    }
}

/// The `what` of a frame that names a user.
const NAMED_USER: u8 = 8;
const END_OF_USER: char = '\0';

/// The frames to publish, one after the other, for an event in a room, or in none or all.
pub(super) fn write_event(room: Option<&RoomName>, node: &str, event: &Event) -> Vec<Vec<u8>> {
    let room = room.map_or("", RoomName::as_str);
    let name = match event {
        Event::Joined(Person { user, name })
        | Event::Left(Person { user, name })
        | Event::Typing(Person { user, name }) => name.as_ref().map(|name| format!("{user}{END_OF_USER}{name}")),
        _ => None,
    };
    let (what, said) = match event {
        Event::Joined(Person { user, .. }) => (0, Cow::from(&**user)),
        Event::Left(Person { user, .. }) => (1, Cow::from(&**user)),
        Event::Typing(Person { user, .. }) => (2, Cow::from(&**user)),
        Event::Shut { deleted } => (3 + u8::from(*deleted), Cow::from("")),
        // This is never sent to other nodes, which would not know what to do with it.
        Event::Members { .. } => (u8::MAX, Cow::from("")),
        Event::Missed => (9, Cow::from("")),
        Event::Notice { text, at } => (5, Cow::from(format!("{at} {text}"))),
        Event::Disconnect { account } => (6, Cow::from(account.to_string())),
        Event::Read { account, room, id } => (7, Cow::from(format!("{account} {id} {}", room.as_str()))),
    };
    let named = name.map(|name| event_frame(room, node, NAMED_USER, &name));
    named.into_iter().chain([event_frame(room, node, what, &said)]).collect()
}

fn event_frame(room: &str, node: &str, what: u8, said: &str) -> Vec<u8> {
    let mut out = vec![EVENT];
    out.extend_from_slice(&(room.len() as u16).to_be_bytes());
    out.extend_from_slice(room.as_bytes());
    out.push(what);
    out.extend_from_slice(node.as_bytes());
    out.extend_from_slice(said.as_bytes());
    out
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn split<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: &str = "0123456789abcdef";

    proptest! {
        #[test]
        fn a_body_is_read_as_it_is_written(
            sender in ".{0,300}",
            said in ".*",
            extra in proptest::option::of("[^\u{2}\u{3}].*"),
            name in proptest::option::of("[a-z ü]{1,20}"),
            answers: bool,
        ) {
            let id = Tail::of(&RoomName::channel("r")).message_id(EntryId { millis: 9, sequence: 9 });
            let extra = extra.map(Box::<str>::from);
            let draft = Draft {
                extra,
                name: name.as_deref().map(Into::into),
                reply_to: answers.then_some(id),
                ..Draft::new(RoomName::channel("r"), sender.as_str().into(), said)
            };
            let mut body = Vec::new();
            write_body(&draft, &mut body);
            let read = read_body(id, &body);
            let written = draft.stored(id, false);
            prop_assert!(read.is_some_and(|read| read == written));
        }

        #[test]
        fn a_message_of_another_log_keeps_its_id(id: u128, said in ".*") {
            let entry = EntryId { millis: (id >> 80) as u64 | 1, sequence: (id >> 64) as u16 & 0xfff };
            let id = Tail::at_the_end_of(MessageId(uuid::Uuid::from_u128(id))).message_id(entry);
            let written = Message::new(id, "s".into(), said);
            let mut body = Vec::new();
            write_foreign_body(&written, &mut body);
            let mut rest = &body[..];
            let tail = read_tail(&mut rest).expect("it begins with a tail");
            prop_assert!(read_body(tail.message_id(EntryId::of(id)), rest).is_some_and(|read| read == written));
        }

        #[test]
        fn an_event_is_read_as_it_is_written(room in ".*", user in ".*", deleted: bool) {
            let (room, nowhere) = (RoomName::channel(&room), None);
            let events = [
                Event::Typing(Person::unnamed(user.as_str().into())),
                Event::Shut { deleted },
                Event::Notice { text: user.as_str().into(), at: 7 },
                Event::Disconnect { account: -7 },
                Event::Read { account: 7, room: room.clone(), id: MessageId(uuid::Uuid::now_v7()) },
            ];
            for (event, room) in events.into_iter().flat_map(|event| [(event.clone(), Some(&room)), (event, nowhere)]) {
                let written = write_event(room, NODE, &event);
                prop_assert_eq!(written.len(), 1);
                let read = matches!(
                    Frame::read(&written[0]),
                    Some(Frame::Event { room: r, node, event: e })
                        if r.as_ref() == room && node == NODE.as_bytes() && e == event
                );
                prop_assert!(read);
            }
        }

        #[test]
        fn a_name_goes_before_an_event_that_is_written_as_without_it(room in ".*", user in "[^\0]*", name in ".*") {
            let room = RoomName::channel(&room);
            let person = Person { user: user.as_str().into(), name: Some(name.as_str().into()) };
            for event in [Event::Joined, Event::Left, Event::Typing] {
                let written = write_event(Some(&room), NODE, &event(person.clone()));
                let unnamed = write_event(Some(&room), NODE, &event(Person::unnamed(person.user.clone())));
                prop_assert_eq!(&written[1..], unnamed);
                let read = matches!(
                    Frame::read(&written[0]),
                    Some(Frame::Named { room: r, person: p }) if r == room && p == person
                );
                prop_assert!(read);
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            if let Some(Frame::Stored { room, frames }) = Frame::read(&bytes) {
                let _ = frames.read(&room);
            }
            let _ = read_body(MessageId::BEFORE_ALL, &bytes);
        }
    }

    #[test]
    fn a_beat_is_told_from_the_rest() {
        assert!(matches!(Frame::read(BEAT), Some(Frame::Beat)));
        assert!(Frame::read(&[9, 0, 0]).is_none());
        assert!(Frame::read(&[NOTED, 0, 0, 1]).is_none());
    }

    #[test]
    fn each_author_of_a_batch_is_named_once_and_sixteen_at_most() {
        let said = |sender: String| NewEntry::Message(Draft::new(RoomName::channel("r"), sender.into(), "x"));
        let entries: Vec<NewEntry> = (0..40).map(|n| said(format!("author {}", n / 2))).collect();
        let mut frame = [&[NOTED, 0, 1][..], b"r", &[0; 8]].concat();
        write_authors(&entries.iter().collect::<Vec<_>>(), &mut frame);
        let Some(Frame::Noted { by, .. }) = Frame::read(&frame) else { panic!("it is not read") };
        let first: Vec<Arc<str>> = (0..AUTHORS).map(|n| format!("author {n}").into()).collect();
        assert_eq!(by, first);
        frame.pop();
        assert!(Frame::read(&frame).is_none());
    }
}
