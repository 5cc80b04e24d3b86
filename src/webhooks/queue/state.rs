//! What the queue holds: rooms with events, when each is due, and the lines of those that are.

use super::{
    super::event::Coming,
    lines::{self, Filler, Lines},
};
use crate::message::{MessageId, RoomName};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How many rooms with events are remembered; others are found in the log later.
pub const MAX_ROOMS: usize = 10_000;

/// How many comings and goings may wait, over all rooms; more are dropped.
pub(super) const MAX_COMINGS: usize = 10_000;

/// How many waiting comings and goings of a room are searched for the counterpart of a new one.
const LOOK_BACK: usize = 64;

/// How long events gather at most before they are sent, and after how long another sender joins those that are at work.
pub(super) const GATHER: Duration = Duration::from_millis(50);

/// The first delay, and the longest; each is twice the previous one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// How many rooms must fail one after the other until the endpoint counts as down.
pub(super) const MANY_FAILURES: u32 = 8;

#[derive(Default)]
pub(super) struct State {
    pub rooms: HashMap<RoomName, Waiting>,
    /// When each room may be tried that may not be yet. The number distinguishes rooms of the same moment.
    pub due: BTreeMap<(Instant, u64), RoomName>,
    /// The rooms that may be tried now.
    pub lines: Lines,
    numbers: u64,
    /// Fills the rooms in which nobody has an account: there anybody may use any name.
    guests: Filler,
    /// When what is reported now is due.
    pub gathered: Option<Instant>,
    /// How many senders have a turn, and when the next one may join them.
    pub working: usize,
    pub joins: Option<Instant>,
    /// Until when one of the waiting senders waits; the others wait until they are woken.
    pub watched: Option<Instant>,
    pub comings: usize,
    pub dropped: u64,
    /// Until when this process sends.
    pub leads_until: Option<Instant>,
    /// Whether more rooms may have events than are here.
    pub more: bool,
    pub gate: Gate,
    /// The newest id that was reported here, and the newest that was sent to the endpoint.
    pub heard: Option<MessageId>,
    pub told: Option<MessageId>,
    pub stopping: bool,
}

/// A room with events.
#[derive(Default)]
pub(super) struct Waiting {
    place: Place,
    /// Those who filled it since it was last sent.
    fillers: Vec<Filler>,
    /// Whether something came in while a sender had it.
    again: bool,
    failures: u32,
    pub failing_since: Option<Instant>,
    /// The time of its oldest waiting event, in Unix milliseconds.
    pub since: u64,
    comings: VecDeque<Coming>,
}

/// Where a room is.
#[derive(Default)]
enum Place {
    /// A sender has it.
    #[default]
    Taken,
    /// In the order of times.
    Later((Instant, u64)),
    /// In lines, with its number in each.
    Ready(Vec<(Filler, u64)>),
}

/// Whether the endpoint may be tried at all.
#[derive(Default)]
pub(super) struct Gate {
    pub failures: u32,
    /// Set while the endpoint is down: it is not tried before this.
    pub opens: Option<Instant>,
    /// Whether a sender is trying it now.
    tried: bool,
    pub gone: bool,
}

/// A room's turn.
pub struct Turn {
    pub room: RoomName,
    /// Comings and goings, oldest first. Those that are left are put back.
    pub comings: VecDeque<Coming>,
    /// Those who filled the room.
    fillers: Vec<Filler>,
}

/// How a turn ended.
pub enum Outcome {
    /// Everything that was read has been sent. `more`: whether there is more to read.
    Told { more: bool },
    /// An event failed. `since` is its time in Unix milliseconds; `pause` is how long the endpoint asks to be left
    /// alone.
    Failed { since: u64, pause: Option<Duration> },
    /// The endpoint has answered that it is gone.
    Gone,
    /// A store failed.
    Later,
}

impl State {
    pub fn leads(&self, now: Instant) -> bool {
        self.leads_until.is_some_and(|until| now < until)
    }

    /// The next turn for a sender that `joins` those at work, or goes on; or when to check again.
    pub fn next_of(&mut self, joins: bool, now: Instant) -> Result<Turn, Option<Instant>> {
        if !joins {
            return self.next(now);
        }
        if self.working > 0
            && let Some(at) = self.joins.filter(|at| now < *at)
        {
            return Err(Some(at));
        }
        let turn = self.next(now)?;
        let end = now + GATHER;
        // What is reported meanwhile is due when the next sender looks.
        (self.joins, self.gathered) = (Some(end), Some(end));
        Ok(turn)
    }

    /// The next turn, or when to check again.
    pub fn next(&mut self, now: Instant) -> Result<Turn, Option<Instant>> {
        if !self.leads(now) || self.gate.gone || (self.gate.opens.is_some() && self.gate.tried) {
            return Err(None);
        }
        self.line_up(now);
        if let Some(opens) = self.gate.opens.filter(|opens| *opens > now && !self.rooms.is_empty()) {
            return Err(Some(opens));
        }
        let Some(room) = self.lines.next() else { return Err(self.due.keys().next().map(|(at, _)| *at)) };
        self.gate.tried = self.gate.opens.is_some();
        let (mut comings, mut fillers) = (VecDeque::new(), Vec::new());
        if let Some(waiting) = self.rooms.get_mut(&room) {
            if let Place::Ready(places) = mem::take(&mut waiting.place) {
                places.iter().for_each(|(filler, number)| self.lines.remove(filler, *number));
            }
            waiting.again = false;
            (comings, fillers) = (mem::take(&mut waiting.comings), mem::take(&mut waiting.fillers));
        }
        self.comings -= comings.len();
        self.working += 1;
        Ok(Turn { room, comings, fillers })
    }

    /// Whether a room that no sender has may be sent now.
    pub fn others_wait(&mut self, now: Instant) -> bool {
        self.line_up(now);
        !self.lines.is_empty()
    }

    /// Puts rooms that are due into the lines of those who filled them.
    fn line_up(&mut self, now: Instant) {
        while let Some(first) = self.due.first_entry().filter(|first| first.key().0 <= now) {
            let room = first.remove();
            if let Some(waiting) = self.rooms.get_mut(&room) {
                let places = waiting.fillers.iter().map(|filler| (filler.clone(), self.lines.push(filler, &room)));
                waiting.place = Place::Ready(places.collect());
            }
        }
    }

    /// Notes that a room has something new by this filler. Returns whether a sender must be woken.
    pub fn news(&mut self, room: &RoomName, by: &Filler) -> bool {
        let by = if room.is_of_accounts() { by.clone() } else { self.guests.clone() };
        self.news_by(room, by)
    }

    fn news_by(&mut self, room: &RoomName, by: Filler) -> bool {
        if let Some(waiting) = self.rooms.get_mut(room) {
            waiting.again = true;
            self.fill(room, by);
            return false;
        }
        if !self.make_place(&by) {
            self.more = true;
            return false;
        }
        self.rooms.insert(room.clone(), Waiting { since: unix_millis(), ..Waiting::default() });
        self.fill(room, by);
        let due = self.gather(Instant::now());
        self.schedule(room, due);
        self.watched.is_none_or(|watched| due < watched)
    }

    /// Notes who filled a room.
    fn fill(&mut self, room: &RoomName, by: Filler) {
        let Some(waiting) = self.rooms.get_mut(room) else { return };
        if waiting.fillers.contains(&by) {
            return;
        }
        if waiting.fillers.len() >= lines::MOST {
            // It leaves the longest of its lines, where it would wait longest.
            let longest = (0..waiting.fillers.len()).max_by_key(|n| self.lines.length(&waiting.fillers[*n]));
            let Some(longest) = longest.filter(|n| self.lines.length(&waiting.fillers[*n]) > self.lines.length(&by))
            else {
                return;
            };
            let left = waiting.fillers.swap_remove(longest);
            if let Place::Ready(places) = &mut waiting.place
                && let Some(place) = places.iter().position(|(filler, _)| *filler == left)
            {
                let (filler, number) = places.swap_remove(place);
                self.lines.remove(&filler, number);
            }
        }
        if let Place::Ready(places) = &mut waiting.place {
            places.push((by.clone(), self.lines.push(&by, room)));
        }
        waiting.fillers.push(by);
    }

    /// Makes place for one more room of this filler, if necessary at the cost of who fills most rooms: what is in these
    /// is found in the log later. Returns whether there is place.
    fn make_place(&mut self, by: &Filler) -> bool {
        if self.rooms.len() < MAX_ROOMS {
            return true;
        }
        self.line_up(Instant::now());
        if self.lines.length(by) > 0 {
            return false;
        }
        // Or what has failed so often that it waits for long.
        let waits_longest = |due: &BTreeMap<_, RoomName>, rooms: &HashMap<RoomName, Waiting>| {
            let last = due.last_key_value().map(|(_, room)| room.clone());
            last.filter(|room| rooms.get(room).is_some_and(|waiting| waiting.failures > 0))
        };
        let last = self.lines.last_of_longest().or_else(|| waits_longest(&self.due, &self.rooms));
        let Some(last) = last else { return false };
        if let Some(waiting) = self.rooms.remove(&last) {
            match &waiting.place {
                Place::Ready(places) => places.iter().for_each(|(filler, number)| self.lines.remove(filler, *number)),
                Place::Later(place) => _ = self.due.remove(place),
                Place::Taken => {}
            }
            self.comings -= waiting.comings.len();
            self.dropped += waiting.comings.len() as u64;
            self.more = true;
        }
        true
    }

    /// When what is reported now is due: together with all that is reported until then.
    fn gather(&mut self, now: Instant) -> Instant {
        self.gathered.take_if(|end| *end <= now);
        *self.gathered.get_or_insert(now + GATHER)
    }

    pub fn came(&mut self, room: &RoomName, user: &Arc<str>, is_here: bool) -> bool {
        if let Some(waiting) = self.rooms.get_mut(room) {
            let before =
                waiting.comings.iter().enumerate().rev().take(LOOK_BACK).find(|(_, coming)| coming.user == *user);
            if let Some((place, coming)) = before
                && coming.is_here != is_here
            {
                // Its counterpart was never sent, so the two cancel out.
                waiting.comings.remove(place);
                self.comings -= 1;
                return false;
            }
        }
        let by = if room.is_of_accounts() { user.clone() } else { self.guests.clone() };
        if self.comings >= MAX_COMINGS || (!self.rooms.contains_key(room) && !self.make_place(&by)) {
            self.dropped += 1;
            return false;
        }
        let is_new = self.news_by(room, by);
        if let Some(waiting) = self.rooms.get_mut(room) {
            waiting.comings.push_back(Coming::now(user, is_here, self.heard));
            self.comings += 1;
        }
        is_new
    }

    fn schedule(&mut self, room: &RoomName, at: Instant) {
        self.numbers += 1;
        let place = (at, self.numbers);
        if let Some(waiting) = self.rooms.get_mut(room) {
            match mem::replace(&mut waiting.place, Place::Later(place)) {
                Place::Later(before) => _ = self.due.remove(&before),
                Place::Ready(places) => {
                    places.iter().for_each(|(filler, number)| self.lines.remove(filler, *number));
                }
                Place::Taken => {}
            }
            self.due.insert(place, room.clone());
        }
    }

    /// Lets all rooms be tried at once.
    pub fn hurry(&mut self, now: Instant) {
        for room in mem::take(&mut self.due).into_values() {
            if let Some(waiting) = self.rooms.get_mut(&room) {
                waiting.place = Place::Taken;
            }
            self.schedule(&room, now);
        }
    }

    /// Forgets everything that waits. The rooms that senders have stay until their turns end: no two senders may have the same room.
    pub fn forget_waiting(&mut self) {
        self.rooms.retain(|_, waiting| matches!(waiting.place, Place::Taken));
        self.rooms.values_mut().for_each(|taken| taken.comings.clear());
        self.due.clear();
        self.lines.clear();
        self.comings = 0;
    }

    pub fn end(&mut self, Turn { room, mut comings, fillers }: Turn, outcome: &Outcome, now: Instant) {
        self.gate.tried = false;
        self.working -= 1;
        if self.leads_until.is_none() {
            // What is left is another process's.
            self.rooms.remove(&room);
        }
        let Some(waiting) = self.rooms.get_mut(&room) else { return };
        self.comings += comings.len();
        comings.append(&mut waiting.comings);
        waiting.comings = comings;
        let delay = match outcome {
            Outcome::Told { more } => {
                (waiting.failures, waiting.failing_since) = (0, None);
                if !more && !waiting.again && waiting.comings.is_empty() {
                    self.rooms.remove(&room);
                    return;
                }
                waiting.since = unix_millis();
                if !more {
                    if waiting.fillers.is_empty() {
                        waiting.fillers = fillers;
                    }
                    let due = self.gather(now);
                    self.schedule(&room, due);
                    return;
                }
                Duration::ZERO
            }
            Outcome::Failed { since, pause } => {
                waiting.failures += 1;
                waiting.failing_since.get_or_insert(now);
                waiting.since = *since;
                let own = delay(waiting.failures);
                if waiting.failures == 1 || self.gate.opens.is_some() {
                    self.gate.failures += 1;
                }
                if self.gate.failures >= MANY_FAILURES {
                    self.gate.opens = Some(now + delay(self.gate.failures - MANY_FAILURES + 1));
                }
                pause.map_or(own, |pause| pause.max(own))
            }
            Outcome::Gone => {
                self.gate.gone = true;
                Duration::ZERO
            }
            Outcome::Later => FIRST_DELAY,
        };
        // What is left is theirs too.
        fillers.into_iter().for_each(|filler| self.fill(&room, filler));
        self.schedule(&room, now + delay);
    }
}

/// The delay after this many failures in a row, with a random part, so that not all come back at the same moment.
pub(super) fn delay(failures: u32) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << (failures - 1).min(16));
    doubled.min(LONGEST_DELAY).mul_f64(rand::random_range(0.8..1.2))
}

pub fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
