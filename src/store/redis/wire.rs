//! How messages and events are written in stream entries and on the feed channel. The scripts in `lua/` write the
//! same frames; numbers are big-endian.
//!
//! ```text
//! body      sender length (2) | extra length (4, all ones: none) | sender | extra | text
//! stored    1 | room length (2) | room | entry id before (8) | { entry id (8) | body length (4) | body }…
//! event     2 | room length (2) | room (none: all) | what (1) | node (16) | user, or what else there is to say
//! beat      3
//! ```

use super::{
    failure::Failure,
    id::{EntryId, Tail},
};
use crate::{
    event::Event,
    message::{Draft, Message, MessageId, RoomName},
};
use redis::Value;
use std::{borrow::Cow, sync::Arc};

const STORED: u8 = 1;
const EVENT: u8 = 2;
/// What each node publishes every second, so that a feed that has gone silent is known to be broken.
pub(super) const BEAT: &[u8] = &[3];

const NO_EXTRA: u32 = u32::MAX;

/// Bytes of a node's name.
pub(super) const NODE_NAME: usize = 16;

/// Appends a draft's body.
pub(super) fn write_body(draft: &Draft, out: &mut Vec<u8>) {
    write_parts(&draft.sender, draft.extra.as_deref(), &draft.text, out);
}

fn write_parts(sender: &str, extra: Option<&str>, said: &str, out: &mut Vec<u8>) {
    // Senders are email addresses, names or `publisher`; a longer one could not have come through a door.
    let sender = &sender.as_bytes()[..sender.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(sender.len() as u16).to_be_bytes());
    out.extend_from_slice(&extra.map_or(NO_EXTRA, |extra| extra.len() as u32).to_be_bytes());
    out.extend_from_slice(sender);
    out.extend_from_slice(extra.unwrap_or_default().as_bytes());
    out.extend_from_slice(said.as_bytes());
}

/// The field of a stream entry that was taken over from another log. (`m` is that of one of our own.)
pub(super) const FOREIGN: &[u8] = b"i";

/// Appends a message with the tail of its id.
pub(super) fn write_foreign_body(message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(&Tail::at_the_end_of(message.id).to_bytes());
    write_parts(&message.sender, message.extra.as_deref(), &message.text, out);
}

/// Takes the tail from what [`write_foreign_body`] wrote; the rest is a body.
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
        length => Some(text(split(&mut rest, length as usize)?)?.into()),
    };
    Some(Message { id, sender, text: text(rest)?.into(), extra })
}

/// A frame of the feed channel.
pub(super) enum Frame<'a> {
    Stored { room: RoomName, frames: StoredFrames<'a> },
    Event { room: RoomName, node: &'a [u8], event: Event },
    Beat,
}

/// The messages of a frame, not read yet.
pub(super) struct StoredFrames<'a> {
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame; `None` if it is of another kind or broken. A newer node may publish what this one doesn't know.
    pub fn read(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let mut rest = bytes;
        let [kind] = take(&mut rest)?;
        if bytes == BEAT {
            return Some(Frame::Beat);
        }
        let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let room = RoomName::from_store(text(split(&mut rest, length)?)?);
        match kind {
            STORED => Some(Frame::Stored { room, frames: StoredFrames { rest } }),
            EVENT => {
                let [what] = take(&mut rest)?;
                let node = split(&mut rest, NODE_NAME)?;
                let user: Arc<str> = text(rest)?.into();
                let event = match what {
                    0 => Event::Joined { user },
                    1 => Event::Left { user },
                    2 => Event::Typing { user },
                    3 => Event::Shut { deleted: false },
                    4 => Event::Shut { deleted: true },
                    5 => {
                        let (at, text) = user.split_once(' ')?;
                        Event::Notice { text: text.into(), at: at.parse().ok()? }
                    }
                    6 => Event::Disconnect { account: user.parse().ok()? },
                    _ => return None,
                };
                Some(Frame::Event { room, node, event })
            }
            _ => None,
        }
    }
}

impl StoredFrames<'_> {
    /// The id of the message before these, and these; a body that can't be read is left out.
    pub fn read(mut self, room: &RoomName) -> Option<(MessageId, Vec<Message>)> {
        let tail = Tail::of(room);
        let before = tail.message_id(EntryId::from_bytes(take(&mut self.rest)?));
        let mut messages = Vec::new();
        while !self.rest.is_empty() {
            let id = tail.message_id(EntryId::from_bytes(take(&mut self.rest)?));
            let length = u32::from_be_bytes(take(&mut self.rest)?);
            messages.extend(read_body(id, split(&mut self.rest, length as usize)?));
        }
        Some((before, messages))
    }
}

/// A frame that tells what happens in a room.
pub(super) fn write_event(room: &RoomName, node: &str, event: &Event) -> Vec<u8> {
    let (what, user) = match event {
        Event::Joined { user } => (0, Cow::from(&**user)),
        Event::Left { user } => (1, Cow::from(&**user)),
        Event::Typing { user } => (2, Cow::from(&**user)),
        Event::Shut { deleted } => (3 + u8::from(*deleted), Cow::from("")),
        // Never told to others, who would not know what to do with it.
        Event::Members { .. } => (u8::MAX, Cow::from("")),
        Event::Notice { text, at } => (5, Cow::from(format!("{at} {text}"))),
        Event::Disconnect { account } => (6, Cow::from(account.to_string())),
    };
    let mut out = vec![EVENT];
    out.extend_from_slice(&(room.as_str().len() as u16).to_be_bytes());
    out.extend_from_slice(room.as_str().as_bytes());
    out.push(what);
    out.extend_from_slice(node.as_bytes());
    out.extend_from_slice(user.as_bytes());
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

/// Reads `[[id, [name, body]]…]`; the name says whether the message was taken over from another log. An entry that this program did not write is left out.
pub(super) fn read_entries(room: &RoomName, answer: Value) -> Result<Vec<Message>, Failure> {
    let Value::Array(entries) = answer else { return Err(Failure::Unreadable) };
    let tail = Tail::of(room);
    let messages = entries.iter().filter_map(|entry| {
        let Value::Array(entry) = entry else { return None };
        let [Value::BulkString(id), Value::Array(fields)] = &entry[..] else { return None };
        let [Value::BulkString(name), Value::BulkString(body)] = &fields[..] else { return None };
        let (entry, mut body) = (EntryId::parse(id)?, &body[..]);
        let tail = if name == FOREIGN { read_tail(&mut body)? } else { tail };
        read_body(tail.message_id(entry), body)
    });
    Ok(messages.collect())
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
            extra in proptest::option::of(".*"),
        ) {
            let id = Tail::of(&RoomName::channel("r")).message_id(EntryId { millis: 9, sequence: 9 });
            let extra = extra.map(Box::<str>::from);
            let draft = Draft {
                room: RoomName::channel("r"),
                sender: sender.as_str().into(),
                text: said.as_str().into(),
                extra: extra.clone(),
                kept: true,
                reference: None,
            };
            let mut body = Vec::new();
            write_body(&draft, &mut body);
            let read = read_body(id, &body);
            let written = Message { id, sender: draft.sender, text: draft.text, extra };
            prop_assert!(read.is_some_and(|read| read == written));
        }

        #[test]
        fn a_message_of_another_log_keeps_its_id(id: u128, said in ".*") {
            let entry = EntryId { millis: (id >> 80) as u64 | 1, sequence: (id >> 64) as u16 & 0xfff };
            let id = Tail::at_the_end_of(MessageId(uuid::Uuid::from_u128(id))).message_id(entry);
            let written = Message { id, sender: "s".into(), text: said.as_str().into(), extra: None };
            let mut body = Vec::new();
            write_foreign_body(&written, &mut body);
            let mut rest = &body[..];
            let tail = read_tail(&mut rest).expect("it begins with a tail");
            prop_assert!(read_body(tail.message_id(EntryId::of(id)), rest).is_some_and(|read| read == written));
        }

        #[test]
        fn an_event_is_read_as_it_is_written(room in ".*", user in ".*", deleted: bool) {
            let room = RoomName::channel(&room);
            let events = [
                Event::Typing { user: user.as_str().into() },
                Event::Shut { deleted },
                Event::Notice { text: user.as_str().into(), at: 7 },
                Event::Disconnect { account: -7 },
            ];
            for event in events {
                let written = write_event(&room, NODE, &event);
                let read = matches!(
                    Frame::read(&written),
                    Some(Frame::Event { room: r, node, event: e }) if r == room && node == NODE.as_bytes() && e == event
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
    }
}
