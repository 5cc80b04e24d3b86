//! What all nodes store comes in here and goes to the lanes: every message once, in the room's order.
//!
//! A room has a *position*: the last message that this node's members of it have been given. Messages come with the id
//! before them. If that is not the position, something was missed, and is read from the log before anything later is
//! delivered. If nothing later ever comes, the next look at the rooms' newest ids finds it: after each subscription, and
//! every few seconds.

use super::{
    attendance::Attendance, directory::Directory, inboxes, lanes::Lanes, member::Room, run::Run, witness::Witnessed,
};
use crate::{
    entry::Entry,
    event::Event,
    message::{MessageId, RoomName},
    store::{
        error::StoreError,
        feed::{Ear, Feed, Heard, Stored},
    },
    vital,
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How often the rooms' newest ids are looked at though nothing seems to be missing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Rooms whose newest ids are asked for at a time.
const ROOMS: usize = 500;

/// Missed messages read at a time.
const PAGE: usize = 1000;

/// The thread that follows the feed.
pub(super) struct FeedThread {
    pub feed: Arc<dyn Feed>,
    pub directory: Arc<Mutex<Directory>>,
    pub lanes: Lanes,
    pub attendance: Attendance,
    pub stopping: Arc<AtomicBool>,
    pub shut: Arc<OnceLock<Shut>>,
    pub disconnect: Arc<OnceLock<Disconnect>>,
    pub read: Arc<OnceLock<Read>>,
    pub witness: Witnessed,
    pub inboxes: Arc<inboxes::Shared>,
}

/// Ends a room, which another node has shut, for the members on this one; whether it was deleted.
pub(super) type Shut = Box<dyn Fn(&RoomName, bool) + Send + Sync>;

/// Closes all that an account has open on this node.
pub(super) type Disconnect = Box<dyn Fn(i64) + Send + Sync>;

/// Tells an account's sockets on this node how far it has read a room elsewhere.
pub(super) type Read = Box<dyn Fn(i64, &RoomName, MessageId) + Send + Sync>;

/// What is left to look for.
struct Look {
    /// Something may have been missed in any room.
    due: bool,
    last: Instant,
    /// Rooms that were behind at the last look. What they lack may just be on its way; if it is not delivered at the
    /// next sign of life, it was missed.
    behind: Vec<(Arc<Room>, MessageId)>,
}

impl FeedThread {
    /// Runs until it is told to stop.
    pub fn run(self) {
        let mut ear = self.feed.listen();
        let mut look = Look { due: false, last: Instant::now(), behind: Vec::new() };
        while !self.stopping.load(Ordering::Acquire) {
            vital::may_panic("feed");
            self.step(&mut *ear, &mut look);
        }
    }

    fn step(&self, ear: &mut dyn Ear, look: &mut Look) {
        let witness = self.witness.get();
        let wanted = |room: &RoomName| {
            witness.is_some_and(|witness| witness.is_curious())
                || self.directory.lock().find(room).is_some()
                || self.inboxes.wants(room)
        };
        match ear.next(&wanted) {
            Heard::Stored(stored) => {
                if let (Some(witness), Some(last)) = (witness, stored.entries.last()) {
                    witness.stored(&stored.room, last.id());
                }
                self.inboxes.stored(&stored.room);
                if let Err(error) = self.stored(stored) {
                    // Its cause is logged where it was found; the room is caught up with as soon as that is over.
                    tracing::debug!(error = &error as &dyn std::error::Error, "missed messages can't be read yet");
                    look.due = true;
                }
            }
            Heard::Event { room, event: Event::Shut { deleted } } => {
                if let Some(shut) = self.shut.get() {
                    shut(&room, deleted);
                }
            }
            Heard::Event { event: Event::Disconnect { account }, .. } => {
                if let Some(disconnect) = self.disconnect.get() {
                    disconnect(account);
                }
            }
            Heard::Event { event: Event::Read { account, room, id }, .. } => {
                if let Some(read) = self.read.get() {
                    read(account, &room, id);
                }
            }
            Heard::Event { room, event } if room.as_str().is_empty() => {
                self.tell_inboxes(None, &event);
                let rooms = self.directory.lock().all();
                for room in rooms {
                    self.lanes.announce(&room, event.clone(), None);
                }
            }
            Heard::Event { room, event } => {
                self.tell_inboxes(Some(&room), &event);
                if let (Some(witness), Event::Joined(person) | Event::Left(person)) = (witness, &event) {
                    witness.came(&room, &person.user, matches!(event, Event::Joined(_)));
                }
                let room = self.directory.lock().find(&room);
                if let Some(room) = room {
                    self.attendance.happened(&room, event);
                }
            }
            Heard::Subscribed => {
                self.inboxes.missed();
                if let Some(witness) = witness {
                    witness.missed();
                }
                look.due = true;
                self.look(look);
            }
            Heard::Nothing => self.look(look),
        }
    }

    fn tell_inboxes(&self, room: Option<&RoomName>, event: &Event) {
        if let Event::Notice { text, at } = event {
            self.inboxes.notice(room, text, *at);
        }
    }

    /// Delivers what is new, after what was missed before it.
    fn stored(&self, Stored { room, before, mut entries }: Stored) -> Result<(), StoreError> {
        let Some(room) = self.directory.lock().find(&room) else { return Ok(()) };
        let Some(last) = entries.last().map(Entry::id) else { return Ok(()) };
        // Set before it is delivered: who finds a position and then reads history, finds all up to it there.
        let position = *room.position.lock().get_or_insert(before);
        // A room's first messages may also have been caught up with before they came in here; then the log knows the position.
        let log_was_lost = before == MessageId::BEFORE_ALL
            && position != before
            && self.feed.newest(std::slice::from_ref(&room.name))?.first().is_some_and(|newest| *newest < position);
        if before > position {
            self.catch_up(&room, position)?;
        }
        if !log_was_lost {
            let position = room.position.lock().unwrap_or(before);
            entries.retain(|entry| entry.id() > position);
        }
        if !entries.is_empty() {
            self.deliver(&room, entries, last);
        }
        Ok(())
    }

    /// Delivers what is in the log after `position`.
    fn catch_up(&self, room: &Arc<Room>, mut position: MessageId) -> Result<(), StoreError> {
        loop {
            let entries = self.feed.missed(&room.name, position, PAGE)?;
            let full = entries.len() == PAGE;
            if let Some(last) = entries.last().map(Entry::id) {
                self.deliver(room, entries, last);
                position = last;
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn deliver(&self, room: &Arc<Room>, entries: Vec<Entry>, last: MessageId) {
        *room.position.lock() = Some(last);
        self.lanes.deliver(vec![Run::of(room.clone(), entries)], Vec::new(), false);
    }

    /// Finds rooms that are behind, and catches up with them.
    fn look(&self, look: &mut Look) {
        let mut behind = std::mem::take(&mut look.behind);
        if look.due || look.last.elapsed() >= LOOK_EVERY {
            match self.behind() {
                Ok(found) if look.due => behind.extend(found),
                Ok(found) => look.behind = found,
                // It is due at the next sign of life.
                Err(_) => {
                    look.due = true;
                    return;
                }
            }
            look.due = false;
            look.last = Instant::now();
        }
        for (room, newest) in behind {
            let position = *room.position.lock();
            if let Some(position) = position.filter(|position| *position < newest) {
                look.due |= self.catch_up(&room, position).is_err();
            }
        }
    }

    /// The rooms whose newest id has not been delivered, with that id.
    fn behind(&self) -> Result<Vec<(Arc<Room>, MessageId)>, StoreError> {
        let rooms = self.directory.lock().all();
        let mut behind = Vec::new();
        for rooms in rooms.chunks(ROOMS) {
            let names: Vec<RoomName> = rooms.iter().map(|room| room.name.clone()).collect();
            for (room, newest) in rooms.iter().zip(self.feed.newest(&names)?) {
                if room.position.lock().is_some_and(|position| position < newest) {
                    behind.push((room.clone(), newest));
                }
            }
        }
        Ok(behind)
    }
}

#[cfg(test)]
mod tests;
