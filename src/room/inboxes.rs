//! Inboxes: they tell an account what is new in its rooms, though it is a member of none of them.
//!
//! A message costs only one look-up for each room of a batch, and only while an inbox is open. A room that an inbox
//! wants to hear of is noted. A thread reads each noted room once for all its inboxes, at most once a second, and sends
//! each inbox the newest message and the number of unread ones.

use super::{
    read_marks::Reading,
    unread::{Reader, last_messages},
};
use crate::{
    limits::turns::{Claimant, Turns},
    message::{Message, MessageId, RoomName},
    metrics::messages::MessageMetrics,
    recheck::Subscription,
    socket::{frame, outbound::Outbound},
    store::{accounts::UserId, error::StoreError, feed::Feed, log::MessageLog, outage::Outages},
    vital,
};
use parking_lot::{Condvar, Mutex, RwLock};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long news is collected before a room is read.
const COLLECT: Duration = Duration::from_millis(50);

/// How often a room may be reported: a flood of messages costs an inbox one frame in this time.
const PACE: Duration = Duration::from_secs(1);

/// What can't be done while the log is away.
const STORE: &str = "tell what is new";

/// A door's frames for what is new.
pub trait InboxEncoder: Sync {
    fn news(&self, room: &RoomName, news: &News) -> String;

    /// The account has read up to `read` (`None`: nothing yet), and `unread` messages are new.
    fn read(&self, room: &RoomName, read: Option<MessageId>, unread: usize) -> String;

    fn notice(&self, text: &str, at: u64) -> String;
}

/// What is new in a room.
pub struct News<'a> {
    /// The newest of the new messages.
    pub message: &'a Message,
    pub unread: usize,
    pub mentions: usize,
    /// Whether a message since the last report names the account.
    pub mention: bool,
}

/// The handle to all inboxes.
pub struct Inboxes {
    shared: Arc<Shared>,
}

/// All inboxes, as seen by the threads that store and receive messages.
pub(super) struct Shared {
    /// Most rooms of one inbox.
    most: usize,
    /// `None` if there are no other nodes.
    feed: Option<Arc<dyn Feed>>,
    metrics: MessageMetrics,
    table: RwLock<Table>,
    /// How many inboxes are in the table.
    open: AtomicUsize,
    news: Mutex<NewsIn>,
    changed: Condvar,
}

/// Locked before the state of an inbox.
#[derive(Default)]
struct Table {
    accounts: HashMap<UserId, Arc<Inbox>>,
    rooms: HashMap<RoomName, HashMap<UserId, Arc<Inbox>>>,
}

/// The rooms in which something is new.
#[derive(Default)]
struct NewsIn {
    /// When each room is to be reported.
    due: HashMap<RoomName, Instant>,
    /// When each room was last reported, as long as that matters.
    told: HashMap<RoomName, Instant>,
    stopping: bool,
}

/// One account's inbox, for all its sockets.
struct Inbox {
    account: UserId,
    reader: Reader,
    encoder: &'static dyn InboxEncoder,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sockets: HashMap<u64, Arc<Outbound>>,
    rooms: HashMap<RoomName, Standing>,
}

/// What an inbox has been sent about a room.
#[derive(Default)]
struct Standing {
    read: Option<MessageId>,
    said_read: Option<MessageId>,
    said_unread: usize,
    /// The last message that it was sent.
    said: Option<MessageId>,
}

/// An inbox to which read marks may add rooms.
struct Handle(Arc<Inbox>);

/// One socket of an inbox, until it is dropped.
pub struct OpenInbox {
    inbox: Arc<Inbox>,
    outbound: Arc<Outbound>,
}

impl Inboxes {
    /// Starts the thread that reports what is new. `most` bounds the rooms of one inbox.
    pub fn start(
        log: Arc<dyn MessageLog>,
        feed: Option<Arc<dyn Feed>>,
        most: usize,
        metrics: MessageMetrics,
    ) -> io::Result<Inboxes> {
        let shared = Arc::new(Shared::new(most, feed, metrics));
        let teller = Teller { shared: shared.clone(), log, outages: Outages::new("message log") };
        vital::spawn("inboxes", move || teller.run())?;
        Ok(Inboxes { shared })
    }

    /// Reports to the socket what is new in these rooms from now on, until the returned value is dropped. Each room
    /// comes with the account's read mark. [`OpenInbox::catch_up`] reports what is unread already.
    pub fn open(
        &self,
        account: UserId,
        reader: Reader,
        encoder: &'static dyn InboxEncoder,
        rooms: Vec<(RoomName, Option<MessageId>)>,
        outbound: &Arc<Outbound>,
    ) -> OpenInbox {
        let mut table = self.shared.table.write();
        let made = || {
            let (shared, state) = (self.shared.clone(), Mutex::default());
            Arc::new(Inbox { account, reader, encoder, shared, state })
        };
        let inbox = table.accounts.entry(account).or_insert_with(made).clone();
        self.shared.open.store(table.accounts.len(), Ordering::Relaxed);
        let mut state = inbox.state.lock();
        state.sockets.insert(outbound.id(), outbound.clone());
        for (room, read) in rooms {
            table.add(&inbox, &mut state, room, read);
        }
        drop(state);
        OpenInbox { inbox, outbound: outbound.clone() }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }
}

impl Drop for Inboxes {
    fn drop(&mut self) {
        self.shared.news.lock().stopping = true;
        self.shared.changed.notify_all();
    }
}

impl OpenInbox {
    /// Hears of access that the account loses.
    pub fn subscription(&self) -> Arc<dyn Subscription> {
        self.inbox.clone()
    }

    /// Hears of the account's read marks.
    pub fn reading(&self) -> Arc<dyn Reading> {
        Arc::new(Handle(self.inbox.clone()))
    }

    /// Reports to this socket what is unread, room by room. Each room takes a turn with other readers of history.
    pub fn catch_up(&self, log: &dyn MessageLog, turns: &Turns) -> Result<(), StoreError> {
        for room in self.inbox.rooms() {
            // Redis may take seconds for this: nobody else should wait for the turn meanwhile.
            self.inbox.shared.wait_for(&room)?;
            let _turn = turns.wait(Claimant::Account(self.inbox.account));
            let Some(read) = self.inbox.state.lock().rooms.get(&room).map(|standing| standing.read) else { continue };
            // Where everything is read, one message is enough to see it.
            let newest = log.history(&room, None, 1)?.pop().map(|message| message.id);
            if newest.is_none() || newest <= read {
                continue;
            }
            let messages = last_messages(log, &room, read)?;
            self.inbox.tell_alone(&room, &messages, &self.outbound);
        }
        Ok(())
    }
}

impl Drop for OpenInbox {
    fn drop(&mut self) {
        let shared = &self.inbox.shared;
        let mut table = shared.table.write();
        let mut state = self.inbox.state.lock();
        state.sockets.remove(&self.outbound.id());
        if state.sockets.is_empty() {
            table.accounts.remove(&self.inbox.account);
            for room in state.rooms.drain().map(|(room, _)| room) {
                table.remove(shared, self.inbox.account, &room);
            }
            shared.open.store(table.accounts.len(), Ordering::Relaxed);
        }
    }
}

impl Table {
    fn add(&mut self, inbox: &Arc<Inbox>, state: &mut State, room: RoomName, read: Option<MessageId>) {
        if state.rooms.contains_key(&room) {
            return;
        }
        if state.rooms.len() >= inbox.shared.most {
            inbox.shared.metrics.inbox_rooms_left_out.inc();
        } else {
            let inboxes = self.rooms.entry(room.clone()).or_default();
            if let Some(feed) = inbox.shared.feed.as_ref().filter(|_| inboxes.is_empty()) {
                feed.want(&room);
            }
            inboxes.insert(inbox.account, inbox.clone());
            state.rooms.insert(room, Standing { read, said_read: read, ..Standing::default() });
        }
    }

    fn remove(&mut self, shared: &Shared, account: UserId, room: &RoomName) {
        if let Some(inboxes) = self.rooms.get_mut(room) {
            inboxes.remove(&account);
            if inboxes.is_empty() {
                self.rooms.remove(room);
                if let Some(feed) = &shared.feed {
                    feed.unwant(room);
                }
            }
        }
    }
}

impl Shared {
    pub(super) fn new(most: usize, feed: Option<Arc<dyn Feed>>, metrics: MessageMetrics) -> Shared {
        let (table, open, news, changed) = Default::default();
        Shared { most, feed, metrics, table, open, news, changed }
    }

    /// Waits until what other nodes store in the room is heard.
    fn wait_for(&self, room: &RoomName) -> Result<(), StoreError> {
        self.feed.as_ref().map_or(Ok(()), |feed| feed.wait_for(room))
    }

    /// Whether an inbox wants to hear of this room.
    pub(super) fn wants(&self, room: &RoomName) -> bool {
        self.open.load(Ordering::Relaxed) > 0 && self.table.read().rooms.contains_key(room)
    }

    /// Something was stored in a room.
    pub(super) fn stored(&self, room: &RoomName) {
        if self.wants(room) {
            self.note(room);
        }
    }

    /// Other nodes may have stored anything.
    pub(super) fn missed(&self) {
        let rooms: Vec<RoomName> = self.table.read().rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| self.note(room));
    }

    /// Sends a notice of the operators to the inboxes that have this room, or to all.
    pub(super) fn notice(&self, room: Option<&RoomName>, text: &str, at: u64) {
        let inboxes: Vec<Arc<Inbox>> = {
            let table = self.table.read();
            let of_room = |room| table.rooms.get(room).into_iter().flat_map(HashMap::values).cloned().collect();
            room.map_or_else(|| table.accounts.values().cloned().collect(), of_room)
        };
        for inbox in inboxes {
            inbox.state.lock().say(&inbox.encoder.notice(text, at));
        }
    }

    /// Has a room reported as soon as its pace allows.
    fn note(&self, room: &RoomName) {
        let mut news = self.news.lock();
        if news.due.contains_key(room) {
            self.metrics.news_later.inc();
            return;
        }
        let told = news.told.get(room).copied();
        let count = if told.is_some() { &self.metrics.news_later } else { &self.metrics.news_at_once };
        count.inc();
        news.due.insert(room.clone(), told.map_or_else(Instant::now, |told| told + PACE));
        self.changed.notify_all();
    }

    /// Waits for rooms that are due; `None` when it is time to stop.
    fn due(&self) -> Option<Vec<RoomName>> {
        let mut news = self.news.lock();
        loop {
            if news.stopping {
                return None;
            }
            let now = Instant::now();
            news.told.retain(|_, told| *told + PACE > now);
            let due: Vec<RoomName> =
                news.due.iter().filter(|(_, at)| **at <= now).map(|(room, _)| room.clone()).collect();
            if !due.is_empty() {
                for room in &due {
                    news.due.remove(room);
                    news.told.insert(room.clone(), now);
                }
                return Some(due);
            }
            match news.due.values().min().copied() {
                Some(next) => _ = self.changed.wait_until(&mut news, next),
                None => self.changed.wait(&mut news),
            }
        }
    }
}

impl Inbox {
    /// Reports to all sockets what has changed in a room. `messages` are its newest.
    fn tell(&self, room: &RoomName, messages: &[Message]) {
        let mut state = self.state.lock();
        let Some(standing) = state.rooms.get_mut(room) else { return };
        let unread = self.reader.unread(messages, standing.read);
        let news = unread.newest.filter(|message| standing.said.is_none_or(|said| said < message.id));
        let mut frames = Vec::new();
        if standing.said_read != standing.read || (news.is_none() && standing.said_unread != unread.count) {
            frames.push(self.encoder.read(room, standing.read, unread.count));
        }
        if let Some(message) = news {
            let mention = self.reader.unread(messages, standing.said.max(standing.read)).mentions > 0;
            let (count, mentions) = (unread.count, unread.mentions);
            frames.push(self.encoder.news(room, &News { message, unread: count, mentions, mention }));
            standing.said = Some(message.id);
        }
        standing.said_read = standing.read;
        standing.said_unread = unread.count;
        frames.iter().for_each(|frame| state.say(frame));
    }

    /// Reports to a new socket what is unread in a room, unless it has heard of later messages meanwhile. `messages`
    /// are the room's newest.
    fn tell_alone(&self, room: &RoomName, messages: &[Message], outbound: &Arc<Outbound>) {
        let mut state = self.state.lock();
        let Some(standing) = state.rooms.get_mut(room) else { return };
        let unread = self.reader.unread(messages, standing.read);
        let Some(message) = unread.newest.filter(|message| standing.said.is_none_or(|said| said <= message.id)) else {
            return;
        };
        let (count, mentions) = (unread.count, unread.mentions);
        let frame = self.encoder.news(room, &News { message, unread: count, mentions, mention: mentions > 0 });
        if standing.said.is_none() {
            (standing.said, standing.said_unread) = (Some(message.id), count);
        }
        outbound.send(&frame::text_of(&frame));
    }
}

impl State {
    fn say(&self, text: &str) {
        let frames = frame::text_of(text);
        self.sockets.values().for_each(|outbound| outbound.send(&frames));
    }
}

impl Reading for Handle {
    /// If the account reads something in a channel, the channel becomes one of its rooms.
    fn read(&self, room: &RoomName, id: MessageId) {
        let mut table = self.0.shared.table.write();
        let mut state = self.0.state.lock();
        if !state.rooms.contains_key(room) && !room.is_monitor() && !state.sockets.is_empty() {
            table.add(&self.0, &mut state, room.clone(), None);
        }
        let Some(standing) = state.rooms.get_mut(room) else { return };
        standing.read = standing.read.max(Some(id));
        drop((state, table));
        self.0.shared.note(room);
    }
}

impl Subscription for Inbox {
    fn rooms(&self) -> Vec<RoomName> {
        let mut rooms: Vec<RoomName> = self.state.lock().rooms.keys().cloned().collect();
        rooms.sort_unstable();
        rooms
    }

    fn lose(&self, room: &RoomName) {
        let mut table = self.shared.table.write();
        if self.state.lock().rooms.remove(room).is_some() {
            table.remove(&self.shared, self.account, room);
        }
    }
}

/// The thread that reads rooms for inboxes.
struct Teller {
    shared: Arc<Shared>,
    log: Arc<dyn MessageLog>,
    outages: Outages,
}

impl Teller {
    fn run(self) {
        while let Some(due) = self.shared.due() {
            vital::may_panic("inboxes");
            thread::sleep(COLLECT);
            for room in due {
                match self.tell(&room) {
                    Ok(()) => self.outages.worked(STORE),
                    Err(error) => {
                        self.outages.failed(STORE, &error.source);
                        self.shared.note(&room);
                    }
                }
            }
        }
    }

    fn tell(&self, room: &RoomName) -> Result<(), StoreError> {
        let inboxes: Vec<Arc<Inbox>> = {
            let table = self.shared.table.read();
            table.rooms.get(room).into_iter().flat_map(HashMap::values).cloned().collect()
        };
        let read = |inbox: &Arc<Inbox>| inbox.state.lock().rooms.get(room).and_then(|standing| standing.read);
        let Some(least) = inboxes.iter().map(read).min() else { return Ok(()) };
        self.shared.wait_for(room)?;
        let messages = last_messages(&*self.log, room, least)?;
        inboxes.iter().for_each(|inbox| inbox.tell(room, &messages));
        Ok(())
    }
}
