//! An entry on its way into the log, and how its author is told the outcome.

use super::{
    command::Reply,
    encoder::Encoder,
    member::{Member, Room},
};
use crate::{entry::NewEntry, socket::frame, store::log::Appended};
use crossbeam_channel::Sender;
use std::sync::Arc;

/// An entry on its way into the log.
pub(super) struct Post {
    pub author: Author,
    pub room: Arc<Room>,
    pub entry: NewEntry,
}

/// Who must be told the outcome of an entry.
pub(super) enum Author {
    /// Hears its own message like everybody else, or that it can't be stored.
    Member(Arc<Member>),
    /// Waits for the outcome.
    Outsider(Sender<Appended>),
}

impl Post {
    /// Tells the author, and nobody else, that the entry is not stored.
    pub fn not_stored(&self) {
        self.tell(Appended::NotStored, |encoder, out| encoder.not_stored(self.entry.reference(), out));
    }

    /// Tells the author, and nobody else, that nobody knows whether the entry is stored.
    pub fn unknown(&self) {
        self.tell(Appended::Unknown, |encoder, out| encoder.unknown(self.entry.reference(), out));
    }

    fn tell(&self, outcome: Appended, say: impl FnOnce(&dyn Encoder, &mut Vec<u8>)) {
        match &self.author {
            Author::Member(member) => {
                let mut out = Vec::new();
                frame::text(&mut out, |out| say(member.encoder, out));
                member.outbound.send(&out.into());
            }
            // Fails if nobody waits any more.
            Author::Outsider(answer) => drop(answer.try_send(outcome)),
        }
    }

    /// Tells an outsider the outcome, or returns the frames for a member: they go out in order with what all members
    /// get.
    pub fn reply(author: &Author, entry: &NewEntry, outcome: Appended) -> Option<Reply> {
        let member = match author {
            Author::Member(member) => member,
            Author::Outsider(answer) => {
                // Fails if nobody waits any more.
                let _ = answer.try_send(outcome);
                return None;
            }
        };
        let mut out = Vec::new();
        match outcome {
            Appended::Refused(why) => {
                frame::text_if_any(&mut out, |out| member.encoder.unchanged(why, entry.reference(), out));
            }
            Appended::Stored(id) | Appended::StoredAlone(id) | Appended::Repeated(id) => {
                let reference = entry.reference()?;
                frame::text(&mut out, |out| member.encoder.ack(reference, id, out));
            }
            Appended::NotStored | Appended::Open(_) | Appended::Unknown => return None,
        }
        Some(Reply { to: member.clone(), frames: out.into() })
    }
}
