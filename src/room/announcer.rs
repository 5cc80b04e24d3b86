//! Reports who comes and goes to those who are there. The cost is bounded, however often users come and go.
//!
//! - In a room with many users nobody hears of each: a second later all hear how many there are.
//! - A user who comes and goes often is reported at most once a second in a room, and only if something has changed.

use super::{lanes::Lanes, member::Room};
use crate::{
    event::{Event, Person},
    limits::rate::KeyedRate,
    message::RoomName,
    metrics::messages::MessageMetrics,
    store::presence::Presence,
    vital,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::HashMap,
    io, mem,
    num::NonZeroU32,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

/// How many seconds' worth of comings and goings may be reported in a burst: a user who comes back is reported in each
/// of their rooms.
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// How long the rest is collected before it is reported.
const LATER: Duration = Duration::from_secs(1);

/// Which comings and goings are reported one by one.
#[derive(Clone, Copy, Debug)]
pub struct AnnouncePolicy {
    /// Rooms with more users than this are reported as a count.
    pub users: usize,
    /// How many comings and goings of one user are reported at once, per second over all rooms; `None`: any number.
    pub rate: Option<NonZeroU32>,
}

/// The handle by which rooms report who has come or gone.
#[derive(Clone)]
pub(super) struct Announcer {
    lanes: Lanes,
    shared: Arc<Shared>,
}

struct Shared {
    users: usize,
    rates: KeyedRate,
    metrics: MessageMetrics,
    later: Mutex<Later>,
    changed: Condvar,
}

/// What is reported a second later: at most what has come and gone within a second.
#[derive(Default)]
struct Later {
    /// Rooms that will hear how many users they have.
    counts: HashMap<RoomName, Arc<Room>>,
    /// Users, by room, whose comings and goings are collected.
    often: HashMap<(RoomName, Arc<str>), Often>,
}

struct Often {
    room: Arc<Room>,
    person: Person,
    /// Whether the last report said that the user is here.
    was_here: bool,
}

impl Announcer {
    /// Starts the thread that reports later; it ends with the last handle. `presence` counts the users of all nodes.
    pub fn start(
        lanes: Lanes,
        presence: Option<Arc<dyn Presence>>,
        AnnouncePolicy { users, rate }: AnnouncePolicy,
        metrics: MessageMetrics,
    ) -> io::Result<Announcer> {
        let rates = KeyedRate::a_second(rate, BURST);
        let shared = Arc::new(Shared { users, rates, metrics, later: Mutex::default(), changed: Condvar::new() });
        let (watched, teller) = (Arc::downgrade(&shared), lanes.clone());
        vital::spawn("attendance", move || tell_later(&watched, &teller, presence.as_deref()))?;
        Ok(Announcer { lanes, shared })
    }

    /// A user's first socket has come to the room, or the last has gone. Only for a node that has no others.
    pub fn changed(&self, room: &Arc<Room>, person: &Person, is_here: bool) {
        if self.is_counted(room) {
            return;
        }
        let key = (room.name.clone(), person.user.clone());
        let is_often = self.shared.rates.check(&person.user).is_err();
        let mut later = self.shared.later.lock();
        if is_often || later.often.contains_key(&key) {
            let often = || Often { room: room.clone(), person: person.clone(), was_here: !is_here };
            later.often.entry(key).or_insert_with(often);
            drop(later);
            self.shared.metrics.told_later.inc();
            self.shared.changed.notify_all();
        } else {
            drop(later);
            self.shared.metrics.told_at_once.inc();
            self.lanes.announce(room, event(person.clone(), is_here), None);
        }
    }

    /// Reports a coming or going over all nodes.
    pub fn happened(&self, room: &Arc<Room>, event: Event) {
        if !self.is_counted(room) {
            self.shared.metrics.told_at_once.inc();
            self.lanes.announce(room, event, None);
        }
    }

    /// Whether the room has many users. If so, has them counted.
    fn is_counted(&self, room: &Arc<Room>) -> bool {
        let many = room.user_count() > self.shared.users;
        if many {
            self.shared.metrics.told_as_count.inc();
            self.shared.later.lock().counts.insert(room.name.clone(), room.clone());
            self.shared.changed.notify_all();
        }
        many
    }
}

fn tell_later(watched: &Weak<Shared>, lanes: &Lanes, presence: Option<&dyn Presence>) {
    while let Some(shared) = watched.upgrade() {
        vital::may_panic("attendance");
        let is_due = {
            let mut later = shared.later.lock();
            let is_due = |later: &Later| !later.counts.is_empty() || !later.often.is_empty();
            // The time-out lets the thread notice when nobody holds a handle any more.
            is_due(&later) || (!shared.changed.wait_for(&mut later, LATER).timed_out() && is_due(&later))
        };
        drop(shared);
        if !is_due {
            continue;
        }
        thread::sleep(LATER);
        let Some(shared) = watched.upgrade() else { return };
        let Later { counts, often } = mem::take(&mut *shared.later.lock());
        for Often { room, person, was_here } in often.into_values() {
            let is_here = room.has(&person.user);
            if is_here != was_here {
                lanes.announce(&room, event(person, is_here), None);
            }
        }
        for room in counts.into_values() {
            let everywhere = presence.and_then(|presence| presence.everybody(&room.name).ok()).map(|users| users.len());
            let users = everywhere.unwrap_or_else(|| room.user_count());
            lanes.announce(&room, Event::Members { users }, None);
        }
    }
}

fn event(person: Person, is_here: bool) -> Event {
    if is_here { Event::Joined(person) } else { Event::Left(person) }
}
