//! Read marks: how far accounts have read. They are collected, stored in batches, and then sent to the other
//! connections of the same account, on every node.
//!
//! A message never waits for this: a connection's thread leaves its mark here and goes on.

use crate::{
    event::Event,
    message::{MessageId, RoomName},
    socket::{frame, outbound::Outbound},
    store::{
        accounts::UserId,
        feed::Feed,
        outage::Outages,
        reads::{Mark, Reads},
    },
    vital,
};
use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;
use std::{
    collections::HashMap,
    io, mem,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How long marks are collected. A later mark of the same account and room replaces the earlier one.
const COLLECT: Duration = Duration::from_millis(200);

/// How long a failed batch waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How many marks may wait; more are refused.
const WAITING: usize = 65_536;

/// How many marks are stored in one transaction.
const BATCH: usize = 500;

/// What can't be done while the store is away.
const STORE: &str = "keep how far people have read";

/// The handle to all read marks.
pub struct ReadMarks {
    shared: Arc<Shared>,
    store: Arc<dyn Reads>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    listeners: Listeners,
    stored: Counter,
}

type Listeners = Mutex<HashMap<UserId, HashMap<u64, Listener>>>;

/// The account and the room of a mark.
type Place = (UserId, RoomName);

/// The newest mark, and the number of the socket that it came from.
type Newest = (MessageId, u64);

#[derive(Default)]
struct State {
    waiting: HashMap<Place, Newest>,
    stopping: bool,
    stopped: bool,
}

/// Who hears what an account has read elsewhere.
enum Listener {
    /// A socket that is in this room.
    Room { room: RoomName, outbound: Arc<Outbound>, say: Say },
    /// Hears of marks in all rooms.
    Everywhere(Arc<dyn Reading>),
}

/// Hears of what an account has read, in any room.
pub trait Reading: Send + Sync {
    fn read(&self, room: &RoomName, id: MessageId);
}

/// A door's frame for a mark.
pub type Say = fn(&RoomName, MessageId) -> String;

/// Listens to an account's marks until it is dropped.
pub struct Listening {
    shared: Arc<Shared>,
    account: UserId,
    id: u64,
}

impl ReadMarks {
    /// Starts the thread. `feed` is the way to other nodes, `most` bounds the marks of one account, `stored` counts
    /// marks that move.
    pub fn start(
        store: Arc<dyn Reads>,
        feed: Option<Arc<dyn Feed>>,
        most: usize,
        stored: Counter,
    ) -> io::Result<ReadMarks> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), listeners: Mutex::default(), stored });
        let keeper =
            Keeper { shared: shared.clone(), store: store.clone(), feed, most, outages: Outages::new("account store") };
        vital::spawn("reads", move || keeper.run())?;
        Ok(ReadMarks { shared, store })
    }

    /// The store of all marks.
    pub fn store(&self) -> &dyn Reads {
        &*self.store
    }

    /// How many wait to be stored.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting.len()
    }

    /// Notes that an account has read a room up to a message. The mark comes from socket `from`. `false` if too many
    /// marks wait.
    pub fn mark(&self, account: UserId, room: &RoomName, id: MessageId, from: u64) -> bool {
        let mut state = self.shared.state.lock();
        let is_full = state.waiting.len() >= WAITING;
        match state.waiting.get_mut(&(account, room.clone())) {
            Some(waiting) if waiting.0 < id => *waiting = (id, from),
            Some(_) => {}
            None if is_full => return false,
            None => {
                state.waiting.insert((account, room.clone()), (id, from));
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        true
    }

    /// From now on the socket hears of marks that its account sets elsewhere in this room.
    pub fn listen(&self, account: UserId, room: RoomName, outbound: &Arc<Outbound>, say: Say) -> Listening {
        let listener = Listener::Room { room, outbound: outbound.clone(), say };
        self.add(account, outbound.id(), listener)
    }

    /// From now on `reading` hears of marks that the account sets elsewhere in any room. `id` is the socket for which
    /// it listens.
    pub fn listen_everywhere(&self, account: UserId, id: u64, reading: Arc<dyn Reading>) -> Listening {
        self.add(account, id, Listener::Everywhere(reading))
    }

    fn add(&self, account: UserId, id: u64, listener: Listener) -> Listening {
        self.shared.listeners.lock().entry(account).or_default().insert(id, listener);
        Listening { shared: self.shared.clone(), account, id }
    }

    /// Another node reports that this account has read a room up to this message.
    pub fn heard(&self, account: UserId, room: &RoomName, id: MessageId) {
        self.shared.tell(account, room, id, None);
    }

    /// Stores the waiting marks and stops the thread. Waits for that for at most `patience`.
    pub fn stop(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.shared.state.lock();
        state.stopping = true;
        self.shared.changed.notify_all();
        while !state.stopped && !self.shared.changed.wait_until(&mut state, until).timed_out() {}
    }
}

impl Drop for ReadMarks {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = self.shared.listeners.lock();
        if let Some(of_account) = listeners.get_mut(&self.account) {
            of_account.remove(&self.id);
            if of_account.is_empty() {
                listeners.remove(&self.account);
            }
        }
    }
}

impl Shared {
    /// Tells all who listen for the account's marks in this room, except the socket that the mark came from.
    fn tell(&self, account: UserId, room: &RoomName, id: MessageId, except: Option<u64>) {
        let (mut told, mut everywhere) = (Vec::new(), Vec::new());
        if let Some(of_account) = self.listeners.lock().get(&account) {
            for (_, listener) in of_account.iter().filter(|(socket, _)| Some(**socket) != except) {
                match listener {
                    Listener::Room { room: here, outbound, say } if here == room => told.push((outbound.clone(), *say)),
                    Listener::Room { .. } => {}
                    Listener::Everywhere(reading) => everywhere.push(reading.clone()),
                }
            }
        }
        for (outbound, say) in told {
            outbound.send(&frame::text_of(&say(room, id)));
        }
        everywhere.iter().for_each(|reading| reading.read(room, id));
    }
}

struct Keeper {
    shared: Arc<Shared>,
    store: Arc<dyn Reads>,
    feed: Option<Arc<dyn Feed>>,
    most: usize,
    outages: Outages,
}

impl Keeper {
    fn run(self) {
        loop {
            vital::may_panic("reads");
            let stopping = {
                let mut state = self.shared.state.lock();
                while state.waiting.is_empty() && !state.stopping {
                    self.shared.changed.wait(&mut state);
                }
                state.stopping
            };
            if !stopping {
                thread::sleep(COLLECT);
            }
            let waiting: Vec<_> = mem::take(&mut self.shared.state.lock().waiting).into_iter().collect();
            for batch in waiting.chunks(BATCH) {
                self.keep(batch);
            }
            let mut state = self.shared.state.lock();
            if stopping {
                state.stopped = true;
                self.shared.changed.notify_all();
                return;
            }
            if self.outages.is_on(STORE) && !state.stopping {
                self.shared.changed.wait_for(&mut state, RETRY);
            }
        }
    }

    fn keep(&self, batch: &[(Place, Newest)]) {
        let marks: Vec<Mark> = batch
            .iter()
            .map(|((account, room), (id, _))| Mark { account: *account, room: room.clone(), id: *id })
            .collect();
        let moved = match self.store.advance(&marks, self.most) {
            Ok(moved) => moved,
            Err(error) => {
                self.outages.failed(STORE, &error.source);
                let mut state = self.shared.state.lock();
                for (key, mark) in batch {
                    let newer = state.waiting.entry(key.clone()).or_insert(*mark);
                    *newer = (*newer).max(*mark);
                }
                return;
            }
        };
        self.outages.worked(STORE);
        for ((Mark { account, room, id }, (_, (_, from))), _) in
            marks.iter().zip(batch).zip(moved).filter(|(_, moved)| *moved)
        {
            self.shared.stored.inc();
            self.shared.tell(*account, room, *id, Some(*from));
            if let Some(feed) = &self.feed {
                let event = Event::Read { account: account.0, room: room.clone(), id: *id };
                feed.announce(None, &event);
            }
        }
    }
}
