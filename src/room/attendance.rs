//! Who comes and goes, told to those who are there: bounded, whoever comes and goes however often.
//!
//! - In a room with many users nobody is told of each: a second later all hear how many there are.
//! - Who comes and goes often is told of at most once a second in a room, and only if it made a difference.

use super::{lanes::Lanes, member::Room};
use crate::{
    event::{Event, Person},
    message::RoomName,
    metrics::messages::MessageMetrics,
    store::presence::Presence,
    vital,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::HashMap,
    io, mem,
    num::NonZeroU32,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

/// Seconds' worth of comings and goings that may come in a burst: somebody who comes back is told of in each of its rooms.
const BURST: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// How long it takes until the rest is told.
const LATER: Duration = Duration::from_secs(1);

/// Users whose rate is remembered before those are forgotten who have not used it.
const REMEMBERED: usize = 10_000;

/// What is told one by one.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    /// Users of a room up to which that is so; more are counted.
    pub users: usize,
    /// Comings and goings of one user that are told at once, a second, over all rooms; `None`: any number.
    pub rate: Option<NonZeroU32>,
}

/// The handle by which rooms say who has come or gone.
#[derive(Clone)]
pub(super) struct Attendance {
    lanes: Lanes,
    shared: Arc<Shared>,
}

struct Shared {
    users: usize,
    rates: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    metrics: MessageMetrics,
    later: Mutex<Later>,
    changed: Condvar,
}

/// What is told in a second. As much as has come and gone in one.
#[derive(Default)]
struct Later {
    /// Rooms that hear how many users they have.
    counts: HashMap<RoomName, Arc<Room>>,
    /// Users, by room, whose comings and goings are told now and then.
    often: HashMap<(RoomName, Arc<str>), Often>,
}

struct Often {
    room: Arc<Room>,
    person: Person,
    /// Whether it was told last that they are there.
    was_here: bool,
}

impl Attendance {
    /// Starts the thread that tells later; it ends with the last handle. `presence`: whom the other nodes count.
    pub fn start(
        lanes: Lanes,
        presence: Option<Arc<dyn Presence>>,
        Telling { users, rate }: Telling,
        metrics: MessageMetrics,
    ) -> io::Result<Attendance> {
        let quota = |rate| Quota::per_second(rate).allow_burst(BURST.saturating_mul(rate));
        let rates = rate.map(quota).map(RateLimiter::keyed);
        let shared = Arc::new(Shared { users, rates, metrics, later: Mutex::default(), changed: Condvar::new() });
        let (watched, teller) = (Arc::downgrade(&shared), lanes.clone());
        vital::spawn("attendance", move || tell_later(&watched, &teller, presence.as_deref()))?;
        Ok(Attendance { lanes, shared })
    }

    /// A user's first socket has come to the room, or its last has gone, on this node, which has no others.
    pub fn changed(&self, room: &Arc<Room>, person: &Person, is_here: bool) {
        if self.is_counted(room) {
            return;
        }
        let key = (room.name.clone(), person.user.clone());
        let is_often = self.shared.is_often(&person.user);
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

    /// Another node, or the store of all nodes, says that this has happened.
    pub fn happened(&self, room: &Arc<Room>, event: Event) {
        let is_coming_or_going = matches!(event, Event::Joined(_) | Event::Left(_));
        if !is_coming_or_going || !self.is_counted(room) {
            if is_coming_or_going {
                self.shared.metrics.told_at_once.inc();
            }
            self.lanes.announce(room, event, None);
        }
    }

    /// Whether the room has many users: then they will be counted.
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

impl Shared {
    /// Counts a coming or going of this user, and says whether there are too many to tell each at once.
    fn is_often(&self, user: &Arc<str>) -> bool {
        let Some(rates) = &self.rates else { return false };
        let is_often = rates.check_key(user).is_err();
        if rates.len() > REMEMBERED {
            rates.retain_recent();
        }
        is_often
    }
}

fn tell_later(watched: &Weak<Shared>, lanes: &Lanes, presence: Option<&dyn Presence>) {
    while let Some(shared) = watched.upgrade() {
        vital::may_panic("attendance");
        let is_due = {
            let mut later = shared.later.lock();
            let is_due = |later: &Later| !later.counts.is_empty() || !later.often.is_empty();
            // Looks now and then whether anybody holds a handle still.
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
