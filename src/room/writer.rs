//! The log's writer: the only place on this node where a room's order is decided, by one thread at a time. With Redis,
//! `append.lua` decides among nodes.
//!
//! Usually that is the log thread. It takes what waits, stores it with one write, and hands it to the lanes.
//! Storing comes before showing, so an echo means that the message is stored.
//! When nobody holds the writer and nothing waits, the thread of a small room's member does this itself: when a few
//! people talk, no other thread has to be woken. While many rooms talk at once, members leave it to the log thread, and
//! the log thread waits a moment so that more comes together; with Redis it does so whenever people talk at once.

use super::{
    inboxes,
    lanes::Lanes,
    member::Room,
    observer::SharedObserver,
    outcomes::Outcomes,
    post::{Author, Post},
    run::Run,
};
use crate::{
    entry::NewEntry,
    message::RoomName,
    metrics::messages::MessageMetrics,
    store::{
        log::{Appended, MessageLog},
        outage::Outages,
    },
    vital,
};
use crossbeam_channel::{Receiver, Select, Sender, TryRecvError, bounded};
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What the log can't do during an outage. The senders are told.
const STORE: &str = "store messages";

/// How many messages may wait for the log thread; with more, their senders wait.
const LOG_QUEUE: usize = 1024;

/// How many messages are stored with one write at most. With larger batches storing and sending would not overlap.
const BATCH: usize = 256;

/// The same for a log whose feed delivers: that shows the first messages while the last are still being stored, and a
/// room's share of a batch costs Redis most, however small it is.
const BATCH_FOR_FEED: usize = LOG_QUEUE;

/// A batch ends with the message that makes it so many bytes of text: half of what may wait for one socket by default,
/// as all of a batch may be for the same members. A server of Redis, too, cuts off whoever is sent more than it may hold
/// back for them.
const BATCH_BYTES: usize = 512 << 10;

/// A batch for this many rooms is for many rooms; one or two busy large rooms are not many.
const MANY_ROOMS: usize = 4;

/// How long the log thread lets messages gather while batches are for many rooms. The journal answers so soon that
/// batches would stay small, and each message would wake this thread, a lane and the receivers on its own.
const GATHER: Duration = Duration::from_micros(100);

/// The same for a log whose feed delivers, also in one room while more than one message comes at a time: each batch
/// costs Redis a script, and each member a send.
const GATHER_FOR_FEED: Duration = Duration::from_micros(150);

/// With this many waiting, the log thread no longer lets them gather.
const GATHERED: usize = BATCH / 4;

/// A task of the log thread.
pub(super) enum Task {
    Post(Post),
    /// Delete a room's messages, also those that were posted before.
    Forget(RoomName),
    /// Notify the sender when what was posted before is stored and handed to the lanes.
    Settle(Sender<()>),
    /// Store what was posted before, and stop.
    Stop,
}

/// Those who hear what is stored, besides the members.
pub(super) struct Listeners {
    pub observer: SharedObserver,
    pub inboxes: Arc<inboxes::Shared>,
}

/// The way to the writer.
pub(super) struct Log {
    tasks: Sender<Task>,
    writer: Arc<Mutex<Writer>>,
    pulse: Arc<Pulse>,
    outcomes: Outcomes,
}

impl Log {
    /// Starts the log thread. If it `delivers`, it hands what is stored to the lanes; otherwise the log's feed does.
    pub fn start(
        store: Arc<dyn MessageLog>,
        lanes: Lanes,
        delivers: bool,
        metrics: MessageMetrics,
        listeners: Listeners,
        patience: Duration,
    ) -> io::Result<(Log, thread::JoinHandle<()>)> {
        let (tasks, waiting) = bounded(LOG_QUEUE);
        let outages = Outages::new("message log");
        let most = if delivers { BATCH } else { BATCH_FOR_FEED };
        let pulse = Arc::<Pulse>::default();
        let outcomes = Outcomes::start(store.clone(), lanes.clone(), metrics.clone(), patience)?;
        let writer = Writer {
            store,
            lanes,
            delivers,
            outages,
            metrics,
            listeners,
            outcomes: outcomes.clone(),
            pulse: pulse.clone(),
            entries: Vec::with_capacity(most),
            senders: Vec::with_capacity(most),
            most,
            open: true,
        };
        let writer = Arc::new(Mutex::new(writer));
        let log = Log { tasks, writer: writer.clone(), pulse: pulse.clone(), outcomes };
        Ok((log, vital::spawn("log", move || run(&writer, &waiting, &pulse, delivers))?))
    }

    /// Has a message stored and delivered, or its author told that it can't be stored. Waits while the queue is full.
    pub fn post(&self, post: Post) {
        if let Some(post) = self.post_at_once(post) {
            self.post_with_others(post);
        }
    }

    /// The same for one of many messages: the log thread stores them together.
    pub fn post_with_others(&self, post: Post) {
        if let Some(Task::Post(post)) = self.send(Task::Post(post)) {
            post.not_stored();
        }
    }

    /// Queues a task; returns it if the log thread has stopped.
    pub fn send(&self, task: Task) -> Option<Task> {
        self.tasks.send(task).err().map(|refused| refused.0)
    }

    /// Waits until what was posted before is stored and handed to the lanes; `false` if that takes until after `until`.
    pub fn settle(&self, until: Instant) -> bool {
        let (told, stored) = bounded(1);
        let is_settled = |()| self.outcomes.settle(until);
        self.tasks.send_deadline(Task::Settle(told), until).is_ok() && stored.recv_deadline(until).is_ok_and(is_settled)
    }

    /// How many messages wait to be stored.
    pub fn waiting(&self) -> usize {
        self.tasks.len()
    }

    /// The number of the batch in work, if any: if it stays the same for long, the writer hangs.
    pub fn batch_in_work(&self) -> Option<u64> {
        Some(self.pulse.beats.load(Ordering::Relaxed)).filter(|count| count % 2 == 1)
    }

    /// Whether batches are for many rooms at present.
    pub fn is_for_many_rooms(&self) -> bool {
        self.pulse.is_for_many_rooms()
    }

    /// Stores on this thread. Returns the post if that would have to wait, or would not pay.
    fn post_at_once(&self, post: Post) -> Option<Post> {
        if !self.tasks.is_empty() || !post.room.is_small() || self.is_for_many_rooms() {
            return Some(post);
        }
        let Some(mut writer) = self.writer.try_lock() else { return Some(post) };
        // Only the holder of the writer takes tasks from the queue, so all earlier ones are done now. While nothing can
        // be stored, which may take seconds to find out, messages should wait together rather than one after the other.
        // So they should while the room's lane is busy, since it would not deliver this one any sooner.
        if !writer.open || writer.outages.is_on(STORE) || !self.tasks.is_empty() || !writer.lanes.are_idle(&post.room) {
            return Some(post);
        }
        writer.take(post);
        vital::run(|| {
            vital::may_panic("writer");
            writer.at_work(|writer| writer.store(|| self.tasks.is_empty()));
        });
        None
    }
}

/// What other threads can see while the writer is held.
#[derive(Default)]
struct Pulse {
    /// Counts up at the start and at the end of each batch.
    beats: AtomicU64,
    /// How many rooms recent batches were for: the maximum, less a quarter with each batch.
    rooms: AtomicUsize,
}

impl Pulse {
    fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    fn batch_for(&self, rooms: usize) {
        let faded = self.rooms.load(Ordering::Relaxed) * 3 / 4;
        self.rooms.store(rooms.max(faded), Ordering::Relaxed);
    }

    fn is_for_many_rooms(&self) -> bool {
        self.rooms.load(Ordering::Relaxed) >= MANY_ROOMS
    }
}

struct Writer {
    store: Arc<dyn MessageLog>,
    lanes: Lanes,
    delivers: bool,
    outages: Outages,
    metrics: MessageMetrics,
    listeners: Listeners,
    outcomes: Outcomes,
    pulse: Arc<Pulse>,
    /// The batch. Entries are kept apart because the store gets only them. Empty while nobody holds the writer.
    entries: Vec<NewEntry>,
    senders: Vec<(Author, Arc<Room>)>,
    /// How many entries a batch has at most.
    most: usize,
    /// `false` once it was stopped.
    open: bool,
}

/// The log thread. Runs until it is stopped.
fn run(writer: &Mutex<Writer>, waiting: &Receiver<Task>, pulse: &Pulse, delivers: bool) {
    let gather = if delivers { GATHER } else { GATHER_FOR_FEED };
    // How many messages the last batch had.
    let mut last = 0;
    loop {
        let mut select = Select::new();
        select.recv(waiting);
        // Leaves the task in the queue until this thread holds the writer.
        select.ready();
        let more_may_come = pulse.is_for_many_rooms() || (!delivers && last > 1);
        if more_may_come && waiting.len() < GATHERED {
            thread::sleep(gather);
        }
        vital::may_panic("log");
        let mut writer = writer.lock();
        last = writer.at_work(|writer| writer.clear(waiting));
        if !writer.open {
            return;
        }
    }
}

impl Writer {
    fn at_work<T>(&mut self, work: impl FnOnce(&mut Writer) -> T) -> T {
        self.pulse.beat();
        let result = work(self);
        self.pulse.beat();
        result
    }

    /// Takes a batch of the waiting tasks, and carries it out. Returns how many messages it had.
    fn clear(&mut self, waiting: &Receiver<Task>) -> usize {
        let mut settled = Vec::new();
        let mut forgotten = None;
        let mut bytes = 0;
        while self.entries.len() < self.most && bytes < BATCH_BYTES {
            match waiting.try_recv() {
                Ok(Task::Post(post)) => {
                    bytes += post.entry.text().map_or(0, str::len);
                    self.take(post);
                }
                Ok(Task::Forget(room)) => {
                    forgotten = Some(room);
                    break;
                }
                Ok(Task::Settle(told)) => settled.push(told),
                Ok(Task::Stop) | Err(TryRecvError::Disconnected) => {
                    self.open = false;
                    break;
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        let count = self.entries.len();
        self.store(|| waiting.is_empty());
        for told in settled {
            // Fails if nobody waits any more.
            let _ = told.try_send(());
        }
        if let Some(room) = forgotten
            && let Err(error) = self.store.forget(&room)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, room = room.as_str(), "messages not deleted");
        }
        count
    }

    /// How many rooms the batch is for.
    fn rooms(&self) -> usize {
        let mut rooms: Vec<_> = self.senders.iter().map(|(_, room)| Arc::as_ptr(room)).collect();
        rooms.sort_unstable();
        rooms.dedup();
        rooms.len()
    }

    fn take(&mut self, Post { author, room, entry }: Post) {
        self.senders.push((author, room));
        self.entries.push(entry);
    }

    /// Stores and delivers the batch. `idle` returns whether nothing more waits.
    fn store(&mut self, idle: impl Fn() -> bool) {
        if self.entries.is_empty() {
            return;
        }
        self.pulse.batch_for(self.rooms());
        let stored = self.metrics.append.time(|| self.store.append(&self.entries));
        let (mut senders, mut entries) = (std::mem::take(&mut self.senders), std::mem::take(&mut self.entries));
        let posts = senders.drain(..).zip(entries.drain(..));
        let posts = posts.map(|((author, room), entry)| Post { author, room, entry });
        match stored {
            Ok(outcomes) => {
                match outcomes.iter().any(|outcome| matches!(outcome, Appended::Open(open) if !open.waits)) {
                    true => self.outages.failed(STORE, &"its answer was lost"),
                    false => self.outages.worked(STORE),
                }
                self.deliver(posts.zip(outcomes), idle);
            }
            Err(error) => {
                self.outages.failed(STORE, &error.source);
                self.metrics.not_stored.inc_by(posts.len() as u64);
                posts.for_each(|post| post.not_stored());
            }
        }
        (self.senders, self.entries) = (senders, entries);
    }

    /// Tells the authors. Unless the feed delivers, also sorts the batch by room and hands it to the lanes.
    fn deliver(&self, stored: impl Iterator<Item = (Post, Appended)>, idle: impl Fn() -> bool) {
        let mut runs: Vec<Run> = Vec::new();
        let (mut replies, mut open) = (Vec::new(), Vec::new());
        let (mut new, mut repeated, mut not_stored) = (0, 0, 0);
        for (Post { author, room, entry }, outcome) in stored {
            let (id, is_new) = match outcome {
                Appended::Stored(id) | Appended::StoredAlone(id) => (id, true),
                Appended::Repeated(id) => (id, false),
                Appended::NotStored => {
                    Post { author, room, entry }.not_stored();
                    not_stored += 1;
                    continue;
                }
                Appended::Unknown => {
                    Post { author, room, entry }.unknown();
                    self.metrics.unknown.inc();
                    continue;
                }
                Appended::Open(place) => {
                    open.push((place, Post { author, room, entry }));
                    continue;
                }
                Appended::Refused(_) => {
                    replies.extend(Post::reply(&author, &entry, outcome));
                    continue;
                }
            };
            if is_new {
                new += 1
            } else {
                repeated += 1
            }
            replies.extend(Post::reply(&author, &entry, outcome));
            if self.delivers && is_new {
                if let Some(observer) = self.listeners.observer.get().filter(|_| entry.is_kept()) {
                    observer.stored(&room.name, id, entry.by());
                }
                let entry = entry.stored(id, matches!(outcome, Appended::StoredAlone(_)));
                match runs.iter_mut().rev().find(|run| Arc::ptr_eq(&run.room, &room)) {
                    Some(run) => run.entries.push(entry),
                    None => runs.push(Run::new(room, entry)),
                }
            }
        }
        runs.iter().for_each(|run| self.listeners.inboxes.stored(&run.room.name));
        self.metrics.stored.inc_by(new);
        self.metrics.repeated.inc_by(repeated);
        self.metrics.not_stored.inc_by(not_stored);
        if !open.is_empty() {
            self.outcomes.find_out(open);
        }
        if !runs.is_empty() || !replies.is_empty() {
            // With nothing else to store, this thread can deliver too.
            self.lanes.deliver(runs, replies, idle());
        }
    }
}
