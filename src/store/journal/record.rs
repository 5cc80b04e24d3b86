//! One record of the journal, as bytes.
//!
//! ```text
//! marker u32 | length u32 | CRC-32C u32 | payload
//! payload    kind u8 | version u8 | key u64 | tail u64 | fields: tag u8, length u32, bytes
//! ```
//!
//! All numbers are little-endian. The checksum is of length and payload, and begins with the segment's marker, a random
//! number: what somebody says in a room can't hold bytes that would pass for a record.
//!
//! A kind or version that is not known here is a newer program's, and refused: to leave it out would be to lose it.

use crate::message::{MessageId, RoomName};
use std::sync::Arc;
use uuid::Uuid;

/// What stands before a payload.
pub(super) const HEAD: usize = 12;

/// Of the kinds below; each kind has its own.
const VERSION: u8 = 1;

/// Leaves no trace: it was only to be seen whether a write succeeds.
const NOTHING: u8 = 0;
const MESSAGE: u8 = 1;
const FORGET: u8 = 2;
const EDIT: u8 = 3;
const DELETE: u8 = 4;
const REACT: u8 = 5;
const UNREACT: u8 = 6;
const SET_ASIDE: u8 = 7;

const ROOM: u8 = 1;
/// Who says it, or changes what was said.
const SENDER: u8 = 2;
const TEXT: u8 = 3;
const EXTRA: u8 = 4;
const REFERENCE: u8 = 5;
const NAME: u8 = 6;
/// Ids, as 16 bytes.
const REPLY_TO: u8 = 7;
const OF: u8 = 8;
const EMOJI: u8 = 9;
/// Another room.
const TO: u8 = 10;

/// Something that happened in a room.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Record {
    /// The two halves of its id; keys only grow.
    pub key: i64,
    pub tail: i64,
    pub room: RoomName,
    pub what: What,
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum What {
    Message(Said),
    Change(Changed),
    /// All entries of the room before this are gone.
    Forget,
    /// They are this other room's, which had none.
    SetAside(RoomName),
}

#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Said {
    pub sender: Arc<str>,
    pub name: Option<Arc<str>>,
    pub text: Box<str>,
    pub extra: Option<Box<str>>,
    pub reference: Option<Box<str>>,
    /// A message that was there when this one was said.
    pub reply_to: Option<MessageId>,
}

/// A change of one of the room's messages. That it may be was decided before it was written.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Changed {
    pub of: MessageId,
    pub by: Arc<str>,
    pub outcome: Outcome,
}

impl What {
    /// Whether the room has nothing any more of what was before this.
    pub fn is_end(&self) -> bool {
        matches!(self, What::Forget | What::SetAside(_))
    }
}

/// What a message is changed into.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum Outcome {
    Text(Box<str>),
    Nothing,
    Reacted { emoji: Arc<str>, on: bool },
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRecord {
    /// The checksum does not fit, or there are too few.
    Damaged,
    /// Its kind or version is not known here.
    Newer,
}

/// Appends the record to `out`.
pub(super) fn write(record: &Record, marker: u32, out: &mut Vec<u8>) {
    framed(marker, out, |out| {
        let kind = match &record.what {
            What::Message(_) => MESSAGE,
            What::Forget => FORGET,
            What::SetAside(_) => SET_ASIDE,
            What::Change(Changed { outcome: Outcome::Text(_), .. }) => EDIT,
            What::Change(Changed { outcome: Outcome::Nothing, .. }) => DELETE,
            What::Change(Changed { outcome: Outcome::Reacted { on: true, .. }, .. }) => REACT,
            What::Change(Changed { outcome: Outcome::Reacted { on: false, .. }, .. }) => UNREACT,
        };
        out.extend([kind, VERSION]);
        out.extend(record.key.to_le_bytes());
        out.extend(record.tail.to_le_bytes());
        text(out, ROOM, record.room.as_str());
        match &record.what {
            What::Message(Said { sender, name, text: said, extra, reference, reply_to }) => {
                text(out, SENDER, sender);
                text(out, TEXT, said);
                name.iter().for_each(|name| text(out, NAME, name));
                extra.iter().for_each(|extra| text(out, EXTRA, extra));
                reference.iter().for_each(|reference| text(out, REFERENCE, reference));
                reply_to.iter().for_each(|id| field(out, REPLY_TO, id.0.as_bytes()));
            }
            What::Change(Changed { of, by, outcome }) => {
                field(out, OF, of.0.as_bytes());
                text(out, SENDER, by);
                match outcome {
                    Outcome::Text(new) => text(out, TEXT, new),
                    Outcome::Nothing => {}
                    Outcome::Reacted { emoji, .. } => text(out, EMOJI, emoji),
                }
            }
            What::Forget => {}
            What::SetAside(to) => text(out, TO, to.as_str()),
        }
    });
}

/// A record that says nothing. None is shorter, so the next one written in its place covers it.
pub(super) fn nothing(marker: u32) -> Vec<u8> {
    let mut out = Vec::new();
    framed(marker, &mut out, |out| {
        out.extend([NOTHING, VERSION]);
        out.extend([0; 16]);
    });
    out
}

/// The record at the beginning of `bytes`, if it is one, and its length. `None`: it says nothing.
pub(super) fn read(bytes: &[u8], marker: u32) -> Result<(Option<Record>, usize), NoRecord> {
    let payload = payload(bytes, marker).ok_or(NoRecord::Damaged)?;
    // The checksum fits, so these bytes are as they were written.
    let record = decoded(payload).ok_or(NoRecord::Newer)?;
    Ok((record, HEAD + payload.len()))
}

fn framed(marker: u32, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend(marker.to_le_bytes());
    out.extend([0; HEAD - 4]);
    payload(out);
    let length = (out.len() - begin - HEAD) as u32;
    out[begin + 4..begin + 8].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(marker, length, &out[begin + HEAD..]);
    out[begin + 8..begin + HEAD].copy_from_slice(&checksum.to_le_bytes());
}

fn text(out: &mut Vec<u8>, tag: u8, text: &str) {
    field(out, tag, text.as_bytes());
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

fn payload(bytes: &[u8], marker: u32) -> Option<&[u8]> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let length = number(4)?;
    let payload = rest.get(..usize::try_from(length).ok()?)?;
    (number(0)? == marker && number(8)? == checksum(marker, length, payload)).then_some(payload)
}

fn checksum(marker: u32, length: u32, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(marker, &length.to_le_bytes()), payload)
}

/// `Some(None)` is a record that says nothing.
fn decoded(payload: &[u8]) -> Option<Option<Record>> {
    let (&[kind, version], rest) = payload.split_first_chunk()?;
    if version != VERSION || kind > SET_ASIDE {
        return None;
    }
    if kind == NOTHING {
        return Some(None);
    }
    let (key, rest) = rest.split_first_chunk()?;
    let (tail, rest) = rest.split_first_chunk()?;
    let fields = Fields::read(rest)?;
    let what = match kind {
        FORGET => What::Forget,
        SET_ASIDE => What::SetAside(RoomName::from_store(fields.text(TO)?)),
        MESSAGE => What::Message(Said {
            sender: fields.text(SENDER)?.into(),
            name: fields.text(NAME).map(From::from),
            text: fields.text(TEXT)?.into(),
            extra: fields.text(EXTRA).map(From::from),
            reference: fields.text(REFERENCE).map(From::from),
            reply_to: fields.id(REPLY_TO),
        }),
        _ => {
            let outcome = match kind {
                EDIT => Outcome::Text(fields.text(TEXT)?.into()),
                DELETE => Outcome::Nothing,
                _ => Outcome::Reacted { emoji: fields.text(EMOJI)?.into(), on: kind == REACT },
            };
            What::Change(Changed { of: fields.id(OF)?, by: fields.text(SENDER)?.into(), outcome })
        }
    };
    let (key, tail) = (i64::from_le_bytes(*key), i64::from_le_bytes(*tail));
    Some(Some(Record { key, tail, room: RoomName::from_store(fields.text(ROOM)?), what }))
}

/// A record's fields, by tag.
#[derive(Default)]
struct Fields<'b>([Option<&'b [u8]>; TO as usize + 1]);

impl<'b> Fields<'b> {
    /// `None` if there is one that is not known here.
    fn read(mut rest: &'b [u8]) -> Option<Fields<'b>> {
        let mut fields = Fields::default();
        while let Some((&tag, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk()?;
            let (bytes, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            *fields.0.get_mut(usize::from(tag))? = Some(bytes);
            rest = after;
        }
        Some(fields)
    }

    fn text(&self, tag: u8) -> Option<&'b str> {
        std::str::from_utf8(self.0[usize::from(tag)]?).ok()
    }

    fn id(&self, tag: u8) -> Option<MessageId> {
        Uuid::from_slice(self.0[usize::from(tag)]?).ok().map(MessageId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_or_a_version_that_is_not_known_is_a_newer_programs() {
        for (at, value) in [(HEAD, SET_ASIDE + 1), (HEAD + 1, 2)] {
            let mut bytes = nothing(7);
            bytes[at] = value;
            let length = (bytes.len() - HEAD) as u32;
            let checksum = checksum(7, length, &bytes[HEAD..]).to_le_bytes();
            bytes[8..HEAD].copy_from_slice(&checksum);
            assert!(matches!(read(&bytes, 7), Err(NoRecord::Newer)));
        }
    }

    #[test]
    fn a_record_of_another_segment_is_none_here() {
        let mut bytes = nothing(7);
        bytes[..4].copy_from_slice(&8u32.to_le_bytes());
        assert!(matches!(read(&bytes, 8), Err(NoRecord::Damaged)));
    }
}
