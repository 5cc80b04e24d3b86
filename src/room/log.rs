//! The log thread: the only place where a room's order is decided.
//!
//! It takes what waits, stores it in one transaction, and hands it to the lanes: stored before
//! shown, so an echo is a receipt. It never waits for more to come.

use super::{
    lane::Whisper,
    lanes::Lanes,
    member::{Member, Room},
    message::{Draft, Message, RoomName},
    run::Run,
};
use crate::{
    socket::frame,
    store::{Appended, MessageLog, outage::Outages},
};
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;

/// What the log can't do during an outage; its senders are told.
const STORE: &str = "store messages";

/// The most messages stored in one transaction. Larger batches would not overlap storing and sending.
const BATCH: usize = 256;

/// What the log thread is given.
pub(super) enum Entry {
    Post(Post),
    /// Delete a room's messages, those too that were posted before.
    Forget(RoomName),
    /// Store what was posted before, and end.
    Stop,
}

/// A message on its way into the log.
pub(super) struct Post {
    pub author: Author,
    pub room: Arc<Room>,
    pub draft: Draft,
}

/// Who has to know what became of a message.
pub(super) enum Author {
    /// Hears its own message as everybody does; if it can't be stored, that instead.
    Member(Arc<Member>),
    /// Waits for the answer: whether it is stored.
    Outsider(Sender<bool>),
}

impl Post {
    /// Tells the author, and nobody else.
    pub fn not_stored(&self) {
        match &self.author {
            Author::Member(member) => {
                let mut out = Vec::new();
                frame::text(&mut out, |out| member.voice.not_stored(self.draft.reference.as_deref(), out));
                member.outbound.send(&out.into());
            }
            // Fails if nobody waits any more.
            Author::Outsider(answer) => drop(answer.try_send(false)),
        }
    }
}

pub(super) struct LogThread {
    store: Arc<dyn MessageLog>,
    entries: Receiver<Entry>,
    lanes: Lanes,
    /// Whether it hands what is stored to the lanes. If not, the log's feed does.
    delivers: bool,
    outages: Outages,
}

impl LogThread {
    pub fn new(store: Arc<dyn MessageLog>, entries: Receiver<Entry>, lanes: Lanes, delivers: bool) -> LogThread {
        LogThread { store, entries, lanes, delivers, outages: Outages::new("message log") }
    }

    /// Runs until it is stopped.
    pub fn run(self) {
        let mut drafts = Vec::with_capacity(BATCH);
        let mut senders = Vec::with_capacity(BATCH);
        let mut running = true;
        let mut forgotten = None;
        while running && let Ok(first) = self.entries.recv() {
            for entry in std::iter::once(first).chain(self.entries.try_iter()).take(BATCH) {
                match entry {
                    Entry::Post(Post { author, room, draft }) => {
                        senders.push((author, room));
                        drafts.push(draft);
                    }
                    Entry::Forget(room) => {
                        forgotten = Some(room);
                        break;
                    }
                    Entry::Stop => running = false,
                }
            }
            if !drafts.is_empty() {
                self.store(&mut drafts, &mut senders);
            }
            if let Some(room) = forgotten.take()
                && let Err(error) = self.store.forget(&room)
            {
                tracing::warn!(error = &error as &dyn std::error::Error, room = room.as_str(), "messages not deleted");
            }
        }
    }

    /// Stores a batch, of which the drafts are apart so that the store sees nothing else.
    fn store(&self, drafts: &mut Vec<Draft>, senders: &mut Vec<(Author, Arc<Room>)>) {
        let stored = self.store.append(drafts);
        let posts = senders.drain(..).zip(drafts.drain(..));
        let posts = posts.map(|((author, room), draft)| Post { author, room, draft });
        match stored {
            Ok(outcomes) => {
                self.outages.worked(STORE);
                self.deliver(posts.zip(outcomes));
            }
            Err(error) => {
                self.outages.failed(STORE, &error.source);
                posts.for_each(|post| post.not_stored());
            }
        }
    }

    /// Tells the authors, and unless the feed does so, sorts the batch by room and gives it to the lanes.
    fn deliver(&self, stored: impl Iterator<Item = (Post, Appended)>) {
        let mut runs: Vec<Run> = Vec::new();
        let mut whispers = Vec::new();
        for (Post { author, room, draft }, outcome) in stored {
            let (Appended::Stored(id) | Appended::Repeated(id)) = outcome else {
                Post { author, room, draft }.not_stored();
                continue;
            };
            match author {
                Author::Member(member) => {
                    if let Some(reference) = &draft.reference {
                        let mut out = Vec::new();
                        frame::text(&mut out, |out| member.voice.ack(reference, id, out));
                        whispers.push(Whisper { to: member, frames: out.into() });
                    }
                }
                // Fails if nobody waits any more.
                Author::Outsider(answer) => drop(answer.try_send(true)),
            }
            if self.delivers && matches!(outcome, Appended::Stored(_)) {
                let message = Message { id, sender: draft.sender, text: draft.text, extra: draft.extra };
                match runs.iter_mut().rev().find(|run| Arc::ptr_eq(&run.room, &room)) {
                    Some(run) => run.messages.push(message),
                    None => runs.push(Run::new(room, message)),
                }
            }
        }
        if !runs.is_empty() || !whispers.is_empty() {
            // With nothing else to store, this thread may as well deliver.
            self.lanes.deliver(runs, whispers, self.entries.is_empty());
        }
    }
}
