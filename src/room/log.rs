//! The log thread: the only place where a room's order is decided.
//!
//! It takes what waits, stores it in one transaction, and hands it to the lanes: stored before
//! shown, so an echo is a receipt. It never waits for more to come.

use super::{
    lane::{Batch, Command, Lane, Whisper},
    member::{Member, Room},
    message::{Draft, Message, RoomName},
    run::Run,
};
use crate::{
    socket::frame,
    store::{Appended, MessageLog},
};
use crossbeam_channel::{Receiver, Sender};
use std::sync::Arc;

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
    lanes: Vec<(Sender<Command>, Arc<Lane>)>,
}

impl LogThread {
    pub fn new(
        store: Arc<dyn MessageLog>,
        entries: Receiver<Entry>,
        lanes: Vec<(Sender<Command>, Arc<Lane>)>,
    ) -> LogThread {
        LogThread { store, entries, lanes }
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
            let posts = senders.drain(..);
            match self.store.append(&drafts) {
                Ok(outcomes) => {
                    let posts = posts.zip(drafts.drain(..)).map(|((author, room), draft)| Post { author, room, draft });
                    self.deliver(posts.zip(outcomes));
                }
                Err(error) => {
                    let messages = drafts.len();
                    tracing::warn!(error = &error as &dyn std::error::Error, messages, "messages not stored");
                    for ((author, room), draft) in posts.zip(drafts.drain(..)) {
                        Post { author, room, draft }.not_stored();
                    }
                }
            }
            if let Some(room) = forgotten.take()
                && let Err(error) = self.store.forget(&room)
            {
                tracing::warn!(error = &error as &dyn std::error::Error, room = room.as_str(), "messages not deleted");
            }
        }
    }

    /// Sorts a stored batch by room and gives it to the lanes that have members there.
    fn deliver(&self, stored: impl Iterator<Item = (Post, Appended)>) {
        let mut runs: Vec<Run> = Vec::new();
        let mut whispers = Vec::new();
        for (Post { author, room, draft }, outcome) in stored {
            let (Appended::Stored(id) | Appended::Repeated(id)) = outcome;
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
            if matches!(outcome, Appended::Stored(_)) {
                let message = Message { id, sender: draft.sender, text: draft.text, extra: draft.extra };
                match runs.iter_mut().rev().find(|run| Arc::ptr_eq(&run.room, &room)) {
                    Some(run) => run.messages.push(message),
                    None => runs.push(Run::new(room, message)),
                }
            }
        }
        let wanted = runs.iter().fold(0, |lanes, run| lanes | run.room.lanes())
            | whispers.iter().fold(0, |lanes, whisper| lanes | 1 << whisper.to.lane);
        let batch = Batch { runs: runs.into(), whispers: whispers.into() };
        // With nothing else to store, this thread may as well deliver.
        if self.entries.is_empty()
            && wanted.is_power_of_two()
            && self.lanes[wanted.trailing_zeros() as usize].1.deliver_now(&batch)
        {
            return;
        }
        for (index, (lane, _)) in self.lanes.iter().enumerate() {
            if wanted & (1 << index) != 0 {
                // A lane lives as long as its senders; this one is such a sender.
                let _ = lane.send(Command::Deliver(batch.clone()));
            }
        }
    }
}
