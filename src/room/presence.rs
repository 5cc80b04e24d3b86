//! Tells the other nodes who is here, and compares that with what they tell. A thread knows for each room what it has
//! claimed, and which users the room's members believe to be there.
//!
//! The feed announces each join and leave once. An announcement may get lost, and so may this node's claims. So each
//! room is compared with what the store says: all rooms after a break, and otherwise in turn, as often as a [`round`]
//! allows. Members here are then told the differences, and lost claims are made again.
//!
//! [`round`]: super::round

use super::{
    announcer::Announcer,
    member::Room,
    round::{BATCH, Round},
    watched::{Shown, Watched, differences, told_in_parts},
};
use crate::{
    event::{Event, Person},
    message::RoomName,
    metrics::messages::MessageMetrics,
    store::{
        feed::Feed,
        presence::{Presence, PresenceReport, Present, Seen, Standing},
    },
    vital,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often it checks what is due, even if nothing has happened.
const TICK: Duration = Duration::from_millis(250);

/// How long it waits before it retries what could not be announced or read.
const RETRY: Duration = Duration::from_secs(1);

/// How many users the rooms of one comparison may have, if they are many.
const USERS: usize = 20_000;

/// How soon a room is compared again after claims were written in it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Joins and leaves that may wait for this thread. For further ones, the rooms are compared instead.
const HEARD: usize = 10_000;

/// After how long a user counts as gone who is missing without a leave: the user's node may still be writing again what
/// was lost. It hears at once that the user is missed.
const MISSED: Duration = Duration::from_millis(1500);

/// The same shortly after the store has lost claims, since the user's node may notice that a little later.
const MISSED_AFTER_LOSS: Duration = Duration::from_secs(3);
const SHORTLY: Duration = Duration::from_secs(5);

/// The handle by which rooms report changes of their members, and the feed what it has heard.
#[derive(Clone, Default)]
pub(super) struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Rooms whose members may have changed; at most as many as there are rooms.
    rooms: HashMap<RoomName, Arc<Room>>,
    heard: VecDeque<(Arc<Room>, Event)>,
    /// Rooms to compare; only those with members are compared.
    compare: HashSet<RoomName>,
    compare_all: bool,
    stop: Stop,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    Wanted,
    Done,
}

impl Reporter {
    pub fn start(
        presence: Arc<dyn Presence>,
        feed: Arc<dyn Feed>,
        announcer: Announcer,
        metrics: MessageMetrics,
    ) -> io::Result<Reporter> {
        let shared = Arc::new(Shared::default());
        let mut caller = Caller {
            standing: presence.standing(),
            presence,
            feed,
            announcer,
            metrics,
            shared: shared.clone(),
            rooms: HashMap::new(),
            round: Round::default(),
            compare: HashSet::new(),
            later: HashMap::new(),
            looked: Instant::now(),
            lost: None,
            retry: None,
        };
        vital::spawn("presence", move || while caller.step() {})?;
        Ok(Reporter { shared })
    }

    /// Reports that a member of this room has joined or left.
    pub fn changed(&self, room: &Arc<Room>) {
        self.shared.state.lock().rooms.insert(room.name.clone(), room.clone());
        self.shared.changed.notify_all();
    }

    /// Reports that the feed announced a join or leave in this room, from any node.
    pub fn heard(&self, room: Arc<Room>, event: Event) {
        let mut state = self.shared.state.lock();
        if state.heard.len() < HEARD {
            state.heard.push_back((room, event));
        } else {
            state.compare.insert(room.name.clone());
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Reports that another node misses claims that may be this node's.
    pub fn compare(&self, room: &Room) {
        self.shared.state.lock().compare.insert(room.name.clone());
        self.shared.changed.notify_all();
    }

    /// Reports that anything may have happened unheard.
    pub fn missed(&self) {
        self.shared.state.lock().compare_all = true;
        self.shared.changed.notify_all();
    }

    /// Announces the last changes, and nothing more; waits for that for at most `patience`.
    pub fn stop(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.shared.state.lock();
        state.stop = Stop::Wanted;
        self.shared.changed.notify_all();
        while state.stop != Stop::Done && !self.shared.changed.wait_until(&mut state, until).timed_out() {}
    }

    /// Ends the thread if nothing else does; see [`stop`](Self::stop).
    pub fn end(&self) {
        let mut state = self.shared.state.lock();
        if state.stop == Stop::No {
            state.stop = Stop::Wanted;
        }
        self.shared.changed.notify_all();
    }
}

struct Caller {
    presence: Arc<dyn Presence>,
    feed: Arc<dyn Feed>,
    announcer: Announcer,
    metrics: MessageMetrics,
    shared: Arc<Shared>,
    /// The rooms that have members, or had some at the last announcement.
    rooms: HashMap<RoomName, Watched>,
    round: Round<RoomName>,
    /// Rooms to compare as soon as possible.
    compare: HashSet<RoomName>,
    /// Rooms to compare at a later time: those with missing users, or in which claims were written.
    later: HashMap<RoomName, Instant>,
    /// When rooms whose turn it is were last selected.
    looked: Instant,
    standing: Standing,
    /// When it was last noticed that the store may have lost claims.
    lost: Option<Instant>,
    /// When failed calls are tried again.
    retry: Option<Instant>,
}

impl Caller {
    /// Waits for something to do, and does it; `false` at the end.
    fn step(&mut self) -> bool {
        vital::may_panic("presence");
        let State { rooms, heard, stop, .. } = self.wait();
        for (room, event) in heard {
            self.hear(room, event);
        }
        self.look_how_it_stands();
        self.tell_changes(rooms);
        if stop != Stop::No {
            // Claims that could not be withdrawn end with the lease.
            if self.rooms.is_empty() && self.presence.leave().is_err() {
                tracing::debug!("the lease ends by itself");
            }
            self.shared.state.lock().stop = Stop::Done;
            self.shared.changed.notify_all();
            return false;
        }
        self.compare_some();
        true
    }

    fn wait(&mut self) -> State {
        let mut state = self.shared.state.lock();
        let is_idle = |state: &State| {
            let nothing = state.rooms.is_empty() && state.heard.is_empty() && state.compare.is_empty();
            nothing && !state.compare_all && state.stop == Stop::No
        };
        let has_work = !self.compare.is_empty() && self.retry.is_none_or(|retry| retry <= Instant::now());
        if is_idle(&state) && !has_work {
            self.shared.changed.wait_for(&mut state, TICK);
        }
        self.compare.extend(mem::take(&mut state.compare));
        if mem::take(&mut state.compare_all) {
            self.compare.extend(self.rooms.keys().cloned());
            self.retry = None;
        }
        let (rooms, heard, stop) = (mem::take(&mut state.rooms), mem::take(&mut state.heard), state.stop);
        State { rooms, heard, stop, ..State::default() }
    }

    /// Handles an event of the feed.
    fn hear(&mut self, room: Arc<Room>, event: Event) {
        let is_news = match (self.rooms.get_mut(&room.name), &event) {
            (Some(watched), Event::Joined(person)) => watched.comes(person),
            // The user is here: another node took the claim for void. The comparison claims it again.
            (Some(watched), Event::Left(person)) if watched.claims(&person.user) => {
                self.compare.insert(room.name.clone());
                false
            }
            (Some(watched), Event::Left(person)) => watched.goes(&person.user) || !watched.was_compared,
            _ => true,
        };
        if is_news {
            self.announcer.happened(&room, event);
        }
    }

    /// After a break, or if a node is gone, everything is compared; under a new lease everything is claimed again.
    fn look_how_it_stands(&mut self) {
        let standing = self.presence.standing();
        let before = mem::replace(&mut self.standing, standing);
        self.metrics.nodes.set(standing.nodes as i64);
        if standing.epoch != before.epoch {
            self.metrics.leases_lost.inc_by(standing.epoch - before.epoch);
            for watched in self.rooms.values_mut() {
                watched.told.clear();
            }
        }
        if standing.doubts != before.doubts {
            self.lost = Some(Instant::now());
        }
        if standing.epoch != before.epoch || standing.doubts != before.doubts {
            self.compare.extend(self.rooms.keys().cloned());
        }
    }

    /// Announces how rooms differ from what was announced about them.
    fn tell_changes(&mut self, rooms: HashMap<RoomName, Arc<Room>>) {
        let mut reports = Vec::new();
        let mut left = Vec::new();
        for (name, room) in rooms {
            let here = room.everybody();
            if here.is_empty() {
                left.push(name.clone());
            }
            if here.is_empty() && !self.rooms.contains_key(&name) {
                continue;
            }
            let watched = self.rooms.entry(name.clone()).or_insert_with(|| {
                self.round.push(name.clone());
                self.compare.insert(name.clone());
                Watched::new(room)
            });
            reports.extend(told_in_parts(&name, differences(&watched.told, &here), false));
            watched.told = here;
        }
        self.tell(reports);
        left.iter().for_each(|name| self.forget_empty(name));
    }

    /// Forgets a room that is empty, once that is announced.
    fn forget_empty(&mut self, name: &RoomName) {
        let is_empty = |watched: &Watched| watched.told.is_empty() && !watched.is_doubtful && watched.room.count() == 0;
        if self.rooms.get(name).is_some_and(is_empty) {
            self.rooms.remove(name);
        }
    }

    /// Announces in batches. A room for which that fails, or which has void claims, is compared.
    fn tell(&mut self, reports: Vec<PresenceReport>) {
        for batch in reports.chunks(BATCH) {
            for (told, outcome) in batch.iter().zip(self.presence.tell(batch)) {
                let failed = outcome.is_err();
                if outcome.unwrap_or(true) {
                    self.compare.insert(told.room.clone());
                }
                if failed {
                    self.retry = Some(Instant::now() + RETRY);
                    if let Some(watched) = self.rooms.get_mut(&told.room) {
                        watched.is_doubtful = true;
                    }
                }
            }
        }
    }

    /// Compares one batch of what is due with what the store says.
    fn compare_some(&mut self) {
        if self.retry.is_some_and(|retry| Instant::now() < retry) {
            return;
        }
        self.retry = None;
        let rooms = &self.rooms;
        let users = |name: &RoomName| rooms.get(name).map(|watched| watched.shown.len());
        let now = Instant::now();
        let mut due: HashSet<RoomName> = self.later.extract_if(|_, when| *when <= now).map(|(name, _)| name).collect();
        if self.looked.elapsed() >= TICK {
            self.looked = Instant::now();
            due.extend(self.round.next(users));
        }
        let mut users = 0;
        for (name, watched) in self.compare.iter().filter_map(|name| Some((name, self.rooms.get(name)?))) {
            users += watched.shown.len();
            due.insert(name.clone());
            if due.len() >= BATCH || users > USERS {
                break;
            }
        }
        if due.is_empty() {
            self.compare.clear();
            return;
        }
        let due: Vec<RoomName> = due.into_iter().collect();
        let Ok(seen) = self.presence.look(&due) else {
            self.compare.extend(due);
            self.retry = Some(Instant::now() + RETRY);
            return;
        };
        self.metrics.rooms_compared.inc_by(due.len() as u64);
        let mut reports = Vec::new();
        for (name, seen) in due.iter().zip(seen) {
            self.compare.remove(name);
            if seen.epoch != self.standing.epoch {
                // Under another lease everything is claimed again.
                self.compare.insert(name.clone());
                continue;
            }
            let wrong = self.mend(name, &seen);
            if wrong.is_empty() {
                self.show(name, &seen);
                reports.extend(seen.fades.then(|| PresenceReport::of(name)));
            } else {
                // The result is compared again.
                self.later.insert(name.clone(), now + LOOK_AGAIN);
                reports.extend(wrong);
            }
        }
        self.tell(reports);
        due.iter().for_each(|name| self.forget_empty(name));
    }

    /// What to report so that the store knows who is here.
    fn mend(&mut self, name: &RoomName, seen: &Seen) -> Vec<PresenceReport> {
        let Some(watched) = self.rooms.get_mut(name) else { return Vec::new() };
        let here = watched.room.everybody();
        // Each node may know another name of a user; the last one announced is stored.
        let named_as_here = |present: &Present| match here.binary_search_by(|h| h.person.user.cmp(&present.person.user))
        {
            Ok(at) => Present { person: here[at].person.clone(), sockets: present.sockets },
            Err(_) => present.clone(),
        };
        let own: Vec<Present> = seen.own.iter().map(named_as_here).collect();
        let (lost, unknown): (Vec<Present>, Vec<Present>) = differences(&own, &here)
            .into_iter()
            .partition(|present| !watched.is_doubtful && watched.told.contains(present));
        self.metrics.claims_corrected.inc_by(lost.len() as u64);
        if !lost.is_empty() {
            self.lost = Some(Instant::now());
        }
        let mut reports = Vec::new();
        reports.extend(told_in_parts(name, lost, true));
        reports.extend(told_in_parts(name, unknown, false));
        // Void claims are removed only when everything that this node had claimed is claimed again.
        if reports.is_empty() && !seen.over.is_empty() {
            reports.push(PresenceReport { over: seen.over.clone(), ..PresenceReport::of(name) });
        }
        watched.told = here;
        watched.is_doubtful = false;
        reports
    }

    /// Tells the members of a room how what they know differs from what is there.
    fn show(&mut self, name: &RoomName, seen: &Seen) {
        let Some(watched) = self.rooms.get_mut(name) else { return };
        let now = Instant::now();
        let has_lost = self.lost.is_some_and(|lost| now - lost < SHORTLY);
        let missed = if has_lost { MISSED_AFTER_LOSS } else { MISSED };
        let mut events = Vec::new();
        for Present { person, .. } in &seen.users {
            watched.missing.remove(&person.user);
            if watched.shown.contains_key(&person.user) {
                continue;
            }
            let unheard = (!watched.was_compared).then_some(now);
            watched.shown.insert(person.user.clone(), Shown { name: person.name.clone(), unheard });
            if unheard.is_none() {
                events.push(Event::Joined(person.clone()));
            }
        }
        watched.was_compared = true;
        let is_there = |user: &str| seen.users.binary_search_by(|other| (*other.person.user).cmp(user)).is_ok();
        let gone: Vec<Arc<str>> = watched.shown.keys().filter(|user| !is_there(user)).cloned().collect();
        let mut is_news = false;
        for user in gone {
            let since = *watched.missing.entry(user.clone()).or_insert_with(|| {
                is_news = true;
                now
            });
            if now - since >= missed {
                let name = watched.shown.get(&user).and_then(|shown| shown.name.clone());
                watched.goes(&user);
                events.push(Event::Left(Person { user, name }));
            }
        }
        if let Some(first) = watched.missing.values().min() {
            self.later.insert(name.clone(), *first + missed);
        }
        let room = watched.room.clone();
        self.metrics.presence_corrected.inc_by(events.len() as u64);
        for event in events {
            self.announcer.happened(&room, event);
        }
        if is_news && self.round.spend(0) {
            // The node that has claimed the user checks at once whether it has lost something.
            self.feed.announce(Some(name), &Event::Missed);
        }
    }
}
