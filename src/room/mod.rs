//! Rooms: where messages get their order, are stored, and go out to every member.
//!
//! ```text
//! Rooms::post ─▶ log (order, one write a batch) ─▶ lanes ─▶ Outbound of each member
//! ```
//!
//! Joining leaves no gap and repeats nothing. [`Rooms::join`] puts the newcomer into its lane, which holds live frames
//! for it. The connection's thread reads and writes history. Then [`Rooms::release`] names the last id that was
//! written, and the lane sends what is newer.
//!
//! If other nodes write to the log too, the log thread only stores. What it stored comes back through the log's feed,
//! between the other nodes' messages, and [`feed`] hands it to the lanes.

pub mod announcer;
mod audience;
mod audiences;
mod command;
mod directory;
pub mod encoder;
mod feed;
pub mod history_age;
pub mod inboxes;
pub mod lane;
mod lanes;
pub mod member;
pub mod mentions;
pub mod names;
pub mod observer;
mod outcomes;
mod post;
mod presence;
pub mod read_marks;
mod round;
pub mod run;
#[cfg(test)]
mod tests;
pub mod unread;
mod watched;
mod weak_table;
pub mod writer;

use crate::{
    entry::NewEntry,
    event::{Event, Person},
    message::{MessageId, RoomName},
    metrics::messages::MessageMetrics,
    refusal::Reason,
    socket::{close::Close, frame, outbound::Outbound},
    store::{
        error::StoreError,
        feed::Feed,
        log::{Appended, MessageLog},
        presence::{Presence, Present},
    },
    vital,
};
use announcer::{AnnouncePolicy, Announcer};
use command::Command;
use crossbeam_channel::bounded;
use directory::Directory;
use encoder::Encoder;
use feed::{Disconnect, FeedThread, Read, Shut};
use inboxes::Inboxes;
use lanes::Lanes;
use member::{Member, Room};
use observer::{Observer, SharedObserver};
use parking_lot::Mutex;
use post::{Author, Post};
use presence::Reporter;
use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use writer::{Listeners, Log, Task};

/// How many commands (batches of messages, joins, leaves) may wait for a lane.
const LANE_QUEUE: usize = 1024;

/// How long a publisher waits for its message to be stored.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);

/// How long the shutdown waits until the other nodes know who has left.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// How often `settle` checks whether what was stored has come back.
const HEAR_BACK: Duration = Duration::from_millis(5);

/// The most lanes: a room keeps one bit for each.
const MAX_LANES: usize = 64;

/// The handle to all rooms.
pub struct Rooms {
    log: Log,
    log_thread: Mutex<Option<thread::JoinHandle<()>>>,
    lanes: Lanes,
    announcer: Announcer,
    directory: Arc<Mutex<Directory>>,
    hasher: RandomState,
    metrics: MessageMetrics,
    observer: SharedObserver,
    /// The inboxes, which hear of rooms without being in them.
    pub inboxes: Inboxes,
    /// `None` if there are no other nodes.
    others: Option<Others>,
}

/// Bounds of what is reported about rooms, and of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub announce: AnnouncePolicy,
    /// Most rooms of one inbox.
    pub inbox_rooms: usize,
    /// For how long the store is asked for the outcome of messages whose answer was lost.
    pub patience: Duration,
}

/// What a node needs if it is one of several.
struct Others {
    feed: Arc<dyn Feed>,
    presence: Arc<dyn Presence>,
    presence_reports: Reporter,
    stopping: Arc<AtomicBool>,
    shut: Arc<OnceLock<Shut>>,
    disconnect: Arc<OnceLock<Disconnect>>,
    read: Arc<OnceLock<Read>>,
}

impl Rooms {
    /// Starts the log thread and `lanes` lanes, and, if the log has a feed, the threads that follow it.
    pub fn start(store: Arc<dyn MessageLog>, lanes: usize, bounds: Bounds) -> io::Result<Rooms> {
        let (metrics, observer) = (MessageMetrics::default(), SharedObserver::default());
        let lanes: io::Result<Vec<_>> = (0..lanes.clamp(1, MAX_LANES))
            .map(|index| {
                let (sender, commands) = bounded(LANE_QUEUE);
                let lane = Arc::new(lane::Lane::new(index, commands, metrics.clone()));
                let runner = lane.clone();
                vital::spawn(format!("lane-{index}"), move || runner.run())?;
                Ok((sender, lane))
            })
            .collect();
        let lanes = Lanes::new(lanes?);
        let directory = Arc::new(Mutex::new(Directory::default()));
        let feed = store.feed();
        let inboxes = Inboxes::start(store.clone(), feed.clone(), bounds.inbox_rooms, metrics.clone())?;
        let presence = feed.as_ref().map(|feed| feed.presence());
        let announcer = Announcer::start(lanes.clone(), presence, bounds.announce, metrics.clone())?;
        let others = match feed {
            Some(feed) => {
                let (lanes, inboxes) = (lanes.clone(), inboxes.shared());
                let (announcer, observer) = (announcer.clone(), observer.clone());
                Some(Others::start(feed, directory.clone(), lanes, announcer, observer, inboxes, metrics.clone())?)
            }
            None => None,
        };
        let listeners = Listeners { observer: observer.clone(), inboxes: inboxes.shared() };
        let delivers = others.is_none();
        let (log, log_thread) =
            Log::start(store, lanes.clone(), delivers, metrics.clone(), listeners, bounds.patience)?;
        Ok(Rooms {
            log,
            log_thread: Mutex::new(Some(log_thread)),
            lanes,
            announcer,
            directory,
            hasher: RandomState::new(),
            metrics,
            observer,
            inboxes,
            others,
        })
    }

    /// The number of the batch that is being stored, if any: if it stays the same for long, storing hangs.
    pub fn batch_in_work(&self) -> Option<u64> {
        self.log.batch_in_work()
    }

    /// The counts since the start.
    pub fn metrics(&self) -> &MessageMetrics {
        &self.metrics
    }

    /// How many messages wait to be stored.
    pub fn waiting(&self) -> usize {
        self.log.waiting()
    }

    /// Puts a socket into a room. From now on its lane holds the room's messages for it.
    ///
    /// The caller then calls [`follow`](Self::follow), replays history, calls [`release`](Self::release), and in the
    /// end [`leave`](Self::leave).
    pub fn join(
        &self,
        name: &RoomName,
        person: Person,
        encoder: &'static dyn Encoder,
        outbound: Arc<Outbound>,
    ) -> Arc<Member> {
        if let Some(others) = &self.others {
            others.feed.want(name);
        }
        let home = self.hasher.hash_one(name) as usize % self.lanes.count();
        let room = self.directory.lock().room(name, self.lanes.count());
        let (lane, first) = room.enter(&person, home);
        let member = Arc::new(Member { room, lane, person, encoder, outbound });
        self.lanes.command(lane, Command::Join(member.clone()));
        match &self.others {
            Some(others) => others.presence_reports.changed(&member.room),
            None if first => self.came_or_went(&member.room, &member.person, true),
            None => {}
        }
        member
    }

    /// Makes sure that what other nodes store from now on is delivered. Call it between joining and reading history, so
    /// that the history has what was stored before.
    pub fn follow(&self, room: &Room) -> Result<(), StoreError> {
        let Some(others) = &self.others else { return Ok(()) };
        others.feed.wait_for(&room.name)?;
        if room.position.lock().is_none() {
            let newest = others.feed.newest(std::slice::from_ref(&room.name))?;
            // The feed thread or another newcomer may have set it meanwhile.
            room.position.lock().get_or_insert(newest.first().copied().unwrap_or(MessageId::BEFORE_ALL));
        }
        Ok(())
    }

    /// Sends what was held for the member. History was written up to `last` (`None`: the room had none).
    pub fn release(&self, member: &Arc<Member>, last: Option<MessageId>) {
        self.lanes.command(member.lane, Command::Release(member.clone(), last));
    }

    /// Removes a socket from its room.
    pub fn leave(&self, member: &Arc<Member>) {
        self.lanes.command(member.lane, Command::Leave(member.clone()));
        let last = member.room.exit(&member.person.user, member.lane);
        match &self.others {
            Some(others) => {
                others.presence_reports.changed(&member.room);
                others.feed.unwant(&member.room.name);
            }
            None if last => self.came_or_went(&member.room, &member.person, false),
            None => {}
        }
    }

    /// A user's first socket has come to a room, or its last has gone.
    fn came_or_went(&self, room: &Arc<Room>, person: &Person, is_here: bool) {
        self.announcer.changed(room, person, is_here);
        if let Some(observer) = self.observer.get() {
            observer.came(&room.name, &person.user, is_here);
        }
    }

    /// Has `observer` hear of all that is stored, and of who comes and goes. Call it once.
    pub fn on_news(&self, observer: Arc<dyn Observer>) {
        // Fails on a second call: the first observer stays.
        let _ = self.observer.set(observer);
    }

    /// Hands a member's message or change to the log. The member hears it like everybody else, or is told that it is
    /// not stored. Waits while the log's queue is full.
    pub fn post(&self, author: &Arc<Member>, entry: impl Into<NewEntry>) {
        let entry = entry.into();
        self.log.post(Post { author: Author::Member(author.clone()), room: author.room.clone(), entry });
    }

    /// Whether the thread that reads for a member of this room may take its time. That is so if few wait for a message,
    /// and so many rooms are busy that it will wait for others anyway.
    pub fn is_patient(&self, room: &Room) -> bool {
        room.is_small() && self.log.is_for_many_rooms()
    }

    /// Publishes an entry in a room from outside. Returns how many members hear it once it is stored; fails if it is
    /// not stored, or if that is not known.
    pub fn publish(&self, entry: impl Into<NewEntry>) -> Result<usize, Reason> {
        let entry = entry.into();
        let room = self.directory.lock().room(entry.room(), self.lanes.count());
        let members = self.members(&room);
        match self.submit(entry) {
            Appended::NotStored | Appended::Refused(_) => Err(Reason::Unavailable),
            Appended::Open(_) | Appended::Unknown => Err(Reason::Unknown),
            Appended::Stored(_) | Appended::StoredAlone(_) | Appended::Repeated(_) => Ok(members),
        }
    }

    /// Appends an entry from outside, and returns the outcome. Waits for it as long as a publisher waits.
    pub fn submit(&self, entry: impl Into<NewEntry>) -> Appended {
        let entry = entry.into();
        let room = self.directory.lock().room(entry.room(), self.lanes.count());
        let (answer, appended) = bounded(1);
        self.log.post(Post { author: Author::Outsider(answer), room, entry });
        appended.recv_timeout(PUBLISH_WAIT).unwrap_or(Appended::Unknown)
    }

    /// Appends entries from outside, one after the other, and returns the outcome of each.
    pub fn submit_all(&self, entries: Vec<NewEntry>) -> Vec<Appended> {
        let answers: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                let room = self.directory.lock().room(entry.room(), self.lanes.count());
                let (answer, appended) = bounded(1);
                self.log.post_with_others(Post { author: Author::Outsider(answer), room, entry });
                appended
            })
            .collect();
        let until = Instant::now() + PUBLISH_WAIT;
        answers.into_iter().map(|appended| appended.recv_deadline(until).unwrap_or(Appended::Unknown)).collect()
    }

    /// The rooms that have members on this node.
    pub fn occupied(&self) -> Vec<RoomName> {
        let rooms = self.directory.lock().all();
        rooms.into_iter().filter(|room| room.count() > 0).map(|room| room.name.clone()).collect()
    }

    /// Sends a notice of the operators to all members and inboxes of this room, or of all rooms, on every node.
    pub fn notify(&self, room: Option<&RoomName>, text: Arc<str>, at: u64) {
        self.inboxes.shared().notice(room, &text, at);
        let event = Event::Notice { text, at };
        if let Some(others) = &self.others {
            others.feed.announce(room, &event);
        }
        let rooms = match room {
            Some(room) => self.find(room).into_iter().collect(),
            None => self.directory.lock().all(),
        };
        for room in rooms {
            self.lanes.announce(&room, event.clone(), None);
        }
    }

    /// Has the other nodes close all that an account has open; see [`on_disconnect`](Self::on_disconnect).
    pub fn tell_disconnect(&self, account: i64) {
        if let Some(others) = &self.others {
            others.feed.announce(None, &Event::Disconnect { account });
        }
    }

    /// Sets what to do when another node has all connections of an account closed. Call it once.
    pub fn on_disconnect(&self, disconnect: impl Fn(i64) + Send + Sync + 'static) {
        if let Some(others) = &self.others {
            // Fails on a second call: the first stays.
            let _ = others.disconnect.set(Box::new(disconnect));
        }
    }

    /// Sets what to do when an account has read something on another node. Call it once.
    pub fn on_read(&self, read: impl Fn(i64, &RoomName, MessageId) + Send + Sync + 'static) {
        if let Some(others) = &self.others {
            // Fails on a second call: the first stays.
            let _ = others.read.set(Box::new(read));
        }
    }

    /// The users in a room, each with the number of their sockets, on every node, in alphabetical order.
    pub fn connections(&self, name: &RoomName) -> Result<Vec<Present>, StoreError> {
        match &self.others {
            Some(others) => others.presence.everybody(name),
            None => Ok(self.find(name).map_or_else(Vec::new, |room| room.everybody())),
        }
    }

    /// Sends an event to all members of the room, on every node, except the socket `except`.
    pub fn announce(&self, room: &Arc<Room>, event: Event, except: Option<u64>) {
        if let Some(others) = &self.others {
            others.feed.announce(Some(&room.name), &event);
        }
        self.lanes.announce(room, event, except);
    }

    /// The users in the room, on every node, in alphabetical order. If the other nodes can't be asked, the users on
    /// this one.
    pub fn everybody(&self, room: &Room) -> Vec<Present> {
        let everywhere = self.others.as_ref().and_then(|others| others.presence.everybody(&room.name).ok());
        everywhere.unwrap_or_else(|| room.everybody())
    }

    /// How many sockets are in the room, on every node. If the other nodes can't be asked, how many are here.
    fn members(&self, room: &Room) -> usize {
        let everywhere = self.others.as_ref().and_then(|others| others.presence.sockets(&room.name).ok());
        everywhere.unwrap_or_else(|| room.count())
    }

    /// Closes the sockets of all members of a room, after a farewell that says why.
    ///
    /// A newcomer whose [`join`](Self::join) comes later is not closed: it must check by itself whether it still may
    /// enter.
    pub fn close(&self, name: &RoomName, farewell: &str, close: Close) {
        let Some(room) = self.find(name) else { return };
        self.lanes.close(&room, &frame::text_of(farewell), close);
    }

    /// Tells the other nodes that a room has ended, so that each closes its own members; see
    /// [`on_shut`](Self::on_shut).
    pub fn tell_shut(&self, name: &RoomName, deleted: bool) {
        if let Some(others) = &self.others {
            others.feed.announce(Some(name), &Event::Shut { deleted });
        }
    }

    /// Sets what to do when another node has shut a room: `shut` gets the room, and whether it was deleted. Call it
    /// once.
    pub fn on_shut(&self, shut: impl Fn(&RoomName, bool) + Send + Sync + 'static) {
        if let Some(others) = &self.others {
            // Fails on a second call: the first stays.
            let _ = others.shut.set(Box::new(shut));
        }
    }

    /// Whether other nodes store messages in the same log.
    pub fn are_shared(&self) -> bool {
        self.others.is_some()
    }

    /// Deletes a room's messages, after what was posted before is stored.
    pub fn forget(&self, name: &RoomName) {
        // Fails only if the log thread has stopped; the messages are then never shown.
        let _ = self.log.send(Task::Forget(name.clone()));
    }

    /// The room of this name, if it has members or had some a moment ago.
    pub fn find(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.directory.lock().find(name)
    }

    /// Waits until everything that was posted before (in this room, if one is given) is stored or refused, and sent to
    /// its members; at most until `until`. So a close frame does not overtake the echoes, which acknowledge messages.
    ///
    /// Returns whether that is done.
    pub fn settle(&self, room: Option<&Arc<Room>>, until: Instant) -> bool {
        self.log.settle(until) && self.has_heard_back(room, until) && self.lanes.settle(until)
    }

    /// Waits until what is stored has come back through the feed. Returns whether it has.
    fn has_heard_back(&self, room: Option<&Arc<Room>>, until: Instant) -> bool {
        let Some(others) = &self.others else { return true };
        let rooms = room.map_or_else(|| self.directory.lock().all(), |room| vec![room.clone()]);
        let names: Vec<RoomName> = rooms.iter().map(|room| room.name.clone()).collect();
        let Ok(newest) = others.feed.newest(&names) else { return false };
        let is_behind =
            |(room, newest): (&Arc<Room>, &MessageId)| room.position.lock().is_some_and(|position| position < *newest);
        let mut behind = true;
        while behind {
            if Instant::now() >= until {
                return false;
            }
            behind = rooms.iter().zip(&newest).any(is_behind);
            // Also when no room is behind: a position is set a moment before the lanes get the messages.
            thread::sleep(HEAR_BACK);
        }
        true
    }

    /// Stores what waits, then stops the log thread.
    pub fn stop(&self) {
        // Fails only if the log thread has stopped already.
        let _ = self.log.send(Task::Stop);
        let thread = self.log_thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log thread had failed");
        }
        if let Some(others) = &self.others {
            others.presence_reports.stop(LEAVE_WAIT);
        }
    }
}

impl Others {
    fn start(
        feed: Arc<dyn Feed>,
        directory: Arc<Mutex<Directory>>,
        lanes: Lanes,
        announcer: Announcer,
        observer: SharedObserver,
        inboxes: Arc<inboxes::Shared>,
        metrics: MessageMetrics,
    ) -> io::Result<Others> {
        let presence = feed.presence();
        let presence_reports = Reporter::start(presence.clone(), feed.clone(), announcer, metrics.clone())?;
        let (stopping, shut) = (Arc::new(AtomicBool::new(false)), Arc::new(OnceLock::new()));
        let (disconnect, read) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let follower = FeedThread {
            feed: feed.clone(),
            directory,
            lanes,
            presence: presence_reports.clone(),
            stopping: stopping.clone(),
            shut: shut.clone(),
            disconnect: disconnect.clone(),
            read: read.clone(),
            observer,
            inboxes,
            metrics,
        };
        vital::spawn("feed", move || follower.run())?;
        Ok(Others { feed, presence_reports, presence, stopping, shut, disconnect, read })
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.presence_reports.end();
    }
}
