//! Receives what all nodes store and passes it to the lanes: every message once, in the room's order.
//!
//! A room has a *position*: the last message that this node's members of it have been given. Messages come with the id
//! before them. If that is not the position, something was missed, and is read from the log before anything later is
//! delivered. If nothing later ever comes, the next check of the room's newest id finds it. After each subscription all
//! rooms are checked, and otherwise all in [`turns`].
//!
//! A log may go back: after a failover it may lack what was already shown ([`set_back`]).

mod set_back;
mod turns;

use super::{
    directory::Directory, inboxes, lanes::Lanes, member::Room, observer::SharedObserver, presence::Reporter, run::Run,
};
use crate::{
    entry::Entry,
    event::Event,
    message::{MessageId, RoomName},
    metrics::messages::MessageMetrics,
    store::{
        error::StoreError,
        feed::{Feed, FeedItem, FeedListener, Stored},
        log::is_full_page,
    },
    vital,
};
use parking_lot::Mutex;
use set_back::SetBack;
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use turns::Turns;

/// How long it is remembered up to where rooms were read.
const READ_KEPT: Duration = Duration::from_secs(10);

/// Rooms whose newest ids are read at a time.
const ROOMS: usize = 500;

/// Missed messages read at a time.
const PAGE: usize = 1000;

/// The thread that follows the feed.
pub(super) struct FeedThread {
    pub feed: Arc<dyn Feed>,
    pub directory: Arc<Mutex<Directory>>,
    pub lanes: Lanes,
    pub presence: Reporter,
    pub stopping: Arc<AtomicBool>,
    pub shut: Arc<OnceLock<Shut>>,
    pub disconnect: Arc<OnceLock<Disconnect>>,
    pub read: Arc<OnceLock<Read>>,
    pub observer: SharedObserver,
    pub inboxes: Arc<inboxes::Shared>,
    pub metrics: MessageMetrics,
}

/// Ends a room that another node has shut, for the members on this one. The flag says whether it was deleted.
pub(super) type Shut = Box<dyn Fn(&RoomName, bool) + Send + Sync>;

/// Closes everything that an account has open on this node.
pub(super) type Disconnect = Box<dyn Fn(i64) + Send + Sync>;

/// Tells an account's sockets on this node how far it has read a room elsewhere.
pub(super) type Read = Box<dyn Fn(i64, &RoomName, MessageId) + Send + Sync>;

/// What is left to check.
struct Look {
    /// Something may have been missed in any room.
    due: bool,
    turns: Turns,
    /// Rooms that were behind at the last check. What they lack may be on its way; if it is not delivered when the feed
    /// is next heard, it was missed.
    behind: Vec<(Arc<Room>, MessageId)>,
    /// Up to where rooms were read from the log a moment ago. Entries up to there have been delivered.
    read: HashMap<RoomName, MessageId>,
    read_since: Instant,
    set_back: SetBack,
}

impl Look {
    fn new() -> Look {
        let (read, read_since, set_back) = (HashMap::new(), Instant::now(), SetBack::default());
        Look { due: false, turns: Turns::new(), behind: Vec::new(), read, read_since, set_back }
    }
}

impl FeedThread {
    /// Runs until it is told to stop.
    pub fn run(self) {
        let mut listener = self.feed.listen();
        let mut look = Look::new();
        while !self.stopping.load(Ordering::Acquire) {
            vital::may_panic("feed");
            self.step(&mut *listener, &mut look);
        }
    }

    fn step(&self, listener: &mut dyn FeedListener, look: &mut Look) {
        let observer = self.observer.get();
        let wanted = |room: &RoomName| self.directory.lock().find(room).is_some() || self.inboxes.wants(room);
        match listener.next(&wanted, observer.is_some_and(|observer| observer.is_curious())) {
            FeedItem::Stored(stored) => {
                if let Some(observer) = observer {
                    // Once for each who said something.
                    for said in stored.entries.chunk_by(|one, next| one.by() == next.by()) {
                        said.last().into_iter().for_each(|last| observer.stored(&stored.room, last.id(), last.by()));
                    }
                }
                self.inboxes.stored(&stored.room);
                if let Err(error) = self.stored(stored, look) {
                    // The cause was logged where it occurred. The room catches up as soon as that is over.
                    tracing::debug!(error = &error as &dyn std::error::Error, "missed messages can't be read yet");
                    look.due = true;
                }
            }
            FeedItem::Noted { room, last, by } => {
                if let Some(observer) = observer {
                    by.iter().for_each(|by| observer.stored(&room, last, by));
                }
            }
            FeedItem::Back(room) => {
                self.inboxes.stored(&room);
                if self.back(&room, look).is_err() {
                    look.due = true;
                }
            }
            FeedItem::Event { room: Some(room), event: Event::Shut { deleted } } => {
                if let Some(shut) = self.shut.get() {
                    shut(&room, deleted);
                }
            }
            FeedItem::Event { event: Event::Disconnect { account }, .. } => {
                if let Some(disconnect) = self.disconnect.get() {
                    disconnect(account);
                }
            }
            FeedItem::Event { event: Event::Read { account, room, id }, .. } => {
                if let Some(read) = self.read.get() {
                    read(account, &room, id);
                }
            }
            FeedItem::Event { room: None, event } => {
                self.tell_inboxes(None, &event);
                let rooms = self.directory.lock().all();
                for room in rooms {
                    self.lanes.announce(&room, event.clone(), None);
                }
            }
            FeedItem::Event { room: Some(room), event } => {
                self.tell_inboxes(Some(&room), &event);
                if let (Some(observer), Event::Joined(person) | Event::Left(person)) = (observer, &event) {
                    observer.came(&room, &person.user, matches!(event, Event::Joined(_)));
                }
                let room = self.directory.lock().find(&room);
                match (room, event) {
                    (Some(room), Event::Missed) => self.presence.compare(&room),
                    (Some(room), event @ (Event::Joined(_) | Event::Left(_))) => self.presence.heard(room, event),
                    (Some(room), event) => self.lanes.announce(&room, event, None),
                    (None, _) => {}
                }
            }
            FeedItem::Subscribed => {
                self.presence.missed();
                self.inboxes.missed();
                if let Some(observer) = observer {
                    observer.missed();
                }
                look.due = true;
                // It may be another server, which lacks what was read from the one before.
                look.read.clear();
                self.look(look);
            }
            FeedItem::Ended(room) => {
                look.read.remove(&room);
                if let Some(room) = self.directory.lock().find(&room) {
                    // What is said there from now on is not heard, so nobody may go on from here. Whoever is there
                    // already has come since, and finds what is missing by the position before.
                    let mut position = room.position.lock();
                    if room.count() == 0 {
                        *position = None;
                    }
                }
            }
            FeedItem::OfAll => {
                if let Some(observer) = observer {
                    observer.missed();
                }
            }
            FeedItem::Nothing => self.look(look),
        }
    }

    fn tell_inboxes(&self, room: Option<&RoomName>, event: &Event) {
        if let Event::Notice { text, at } = event {
            self.inboxes.notice(room, text, *at);
        }
    }

    /// Delivers new entries, after those that were missed before them.
    fn stored(&self, Stored { room, before, mut entries }: Stored, look: &mut Look) -> Result<(), StoreError> {
        let Some(room) = self.directory.lock().find(&room) else { return Ok(()) };
        let (Some(first), Some(last)) = (entries.first().map(Entry::id), entries.last().map(Entry::id)) else {
            return Ok(());
        };
        // Set before delivery: a reader that sees a position and then reads history finds everything up to it there.
        let position = *room.position.lock().get_or_insert(before);
        if before > position {
            self.catch_up(&room, position, look)?;
        } else if before < position && position < first {
            look.set_back.note(&room.name, position, before, &self.metrics);
        } else if last <= position && look.read.get(&room.name).is_none_or(|read| last > *read) {
            // Either it was delivered before, or the log gives out these ids again.
            if self.newest(&room)? < position {
                look.set_back.note(&room.name, position, before, &self.metrics);
                self.deliver(&room, entries, last);
                self.raise(look);
                return Ok(());
            }
        }
        let position = room.position.lock().unwrap_or(before);
        entries.retain(|entry| entry.id() > position);
        if !entries.is_empty() {
            self.deliver(&room, entries, last);
        }
        Ok(())
    }

    /// Catches up with a room that was not heard for a moment.
    fn back(&self, room: &RoomName, look: &mut Look) -> Result<(), StoreError> {
        let Some(room) = self.directory.lock().find(room) else { return Ok(()) };
        let newest = self.newest(&room)?;
        let position = *room.position.lock();
        if let Some(position) = position.filter(|position| *position < newest) {
            self.catch_up(&room, position, look)?;
            advance(&room, newest);
        }
        Ok(())
    }

    fn newest(&self, room: &Room) -> Result<MessageId, StoreError> {
        let newest = self.feed.newest(std::slice::from_ref(&room.name))?;
        Ok(newest.first().copied().unwrap_or(MessageId::BEFORE_ALL))
    }

    /// Delivers what is in the log after `position`.
    fn catch_up(&self, room: &Arc<Room>, mut position: MessageId, look: &mut Look) -> Result<(), StoreError> {
        loop {
            let entries = self.feed.missed(&room.name, position, PAGE)?;
            let is_last = entries.len() < PAGE && !is_full_page(&entries);
            if let Some(last) = entries.last().map(Entry::id) {
                self.deliver(room, entries, last);
                look.read.insert(room.name.clone(), last);
                position = last;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Makes rooms that were set back continue above what was shown.
    fn raise(&self, look: &mut Look) {
        look.set_back.shown.retain(|room, shown| match self.feed.raise(room, *shown) {
            Ok(()) => false,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a room's ids can't be raised yet");
                look.due = true;
                true
            }
        });
    }

    fn deliver(&self, room: &Arc<Room>, entries: Vec<Entry>, last: MessageId) {
        *room.position.lock() = Some(last);
        self.lanes.deliver(vec![Run::of(room.clone(), entries)], Vec::new(), false);
    }

    /// Finds rooms that are behind, and catches up with them.
    fn look(&self, look: &mut Look) {
        self.metrics.rooms_heard.set(self.feed.rooms() as i64);
        let mut behind = std::mem::take(&mut look.behind);
        if look.due || look.read_since.elapsed() >= READ_KEPT {
            look.read.clear();
            look.read_since = Instant::now();
        }
        let rooms = self.rooms_to_check(look);
        if !rooms.is_empty() {
            match self.behind(&rooms, look) {
                Ok(found) if look.due => behind.extend(found),
                Ok(found) => look.behind = found,
                // It is due when the feed is next heard.
                Err(_) => {
                    look.due = true;
                    return;
                }
            }
        }
        look.due = false;
        for (room, newest) in behind {
            let position = *room.position.lock();
            if let Some(position) = position.filter(|position| *position < newest) {
                match self.catch_up(&room, position, look) {
                    // What it still lacks was not meant to be kept.
                    Ok(()) => advance(&room, newest),
                    Err(_) => look.due = true,
                }
            }
        }
        self.raise(look);
        look.set_back.tell();
    }

    /// All rooms if something may have been missed in any; otherwise those whose turn it is.
    fn rooms_to_check(&self, look: &mut Look) -> Vec<Arc<Room>> {
        // In a room without a position nothing was delivered yet, so nothing can be missing.
        let all = || {
            let mut rooms = self.directory.lock().all();
            rooms.retain(|room| room.position.lock().is_some());
            rooms
        };
        if look.due {
            return all();
        }
        let due = look.turns.next(|| all().iter().map(|room| room.name.clone()).collect());
        if due.is_empty() {
            return Vec::new();
        }
        let directory = self.directory.lock();
        due.iter().filter_map(|name| directory.find(name)).collect()
    }

    /// Those of these rooms whose newest id has not been delivered, with that id. Notes those whose log went back.
    fn behind(&self, rooms: &[Arc<Room>], look: &mut Look) -> Result<Vec<(Arc<Room>, MessageId)>, StoreError> {
        let mut behind = Vec::new();
        for rooms in rooms.chunks(ROOMS) {
            let positions: Vec<Option<MessageId>> = rooms.iter().map(|room| *room.position.lock()).collect();
            let names: Vec<RoomName> = rooms.iter().map(|room| room.name.clone()).collect();
            let found = rooms.iter().zip(positions).zip(self.feed.newest(&names)?);
            for ((room, position), newest) in found {
                match position {
                    Some(position) if position < newest => behind.push((room.clone(), newest)),
                    // The position was read before the log was asked.
                    Some(position) if position > newest => {
                        look.set_back.note(&room.name, position, newest, &self.metrics);
                    }
                    _ => {}
                }
            }
        }
        Ok(behind)
    }
}

/// Notes that everything up to here has been delivered.
fn advance(room: &Room, to: MessageId) {
    let mut position = room.position.lock();
    *position = position.map(|position| position.max(to));
}

#[cfg(test)]
mod tests;
