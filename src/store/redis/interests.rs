//! Which rooms this node hears, and which it is about to.
//!
//! A room is *wanted* by each member and each inbox that has it. The thread of a [`Line`](super::line) subscribes to
//! the channels of wanted rooms. When nobody wants a room any more, the subscription stays for a while: whoever has left
//! often comes back at once.

use super::{
    channels::{Channels, Reach},
    fleet::Fleet,
};
use crate::message::RoomName;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a room is heard after nobody wants it any more.
const LINGER: Duration = Duration::from_secs(15);

/// How often a room's channel is looked for at once. While two servers each name the other, they are asked again with
/// the next beat.
const MOVES_AT_ONCE: u32 = 3;

pub(super) struct Interests {
    channels: Arc<Channels>,
    state: Mutex<State>,
    /// Whether this node wants to know of everything that is stored, in any room.
    all: AtomicBool,
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomName, Interest>,
    /// Rooms that nobody wanted at that time.
    idle: VecDeque<(Instant, RoomName)>,
    /// The servers that the lines are connected to; `None` while there are no lines.
    fleet: Option<Arc<Fleet>>,
    lines: Vec<Todo>,
}

struct Interest {
    /// How many want it.
    wanted: usize,
    /// Since when nobody does.
    idle_since: Instant,
    stage: Stage,
    line: usize,
    /// How often its channel was elsewhere since it was last heard. Something may have been missed meanwhile.
    moves: u32,
    /// Who waits until it is heard: each room has its own, since thousands may be waited for at a time.
    waiting: Option<Arc<Condvar>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// No line knows of it, or it is among what a line is to do.
    Waiting,
    Asked,
    Heard,
    Ending,
}

/// What a line is to do.
#[derive(Default)]
struct Todo {
    tasks: VecDeque<Task>,
    /// Whether somebody is waking it.
    is_woken: bool,
    /// The channel on which it is woken.
    wake: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Task {
    Hear(RoomName),
    End(RoomName),
}

/// How it stands with a room.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Progress {
    Heard,
    Waiting,
    /// The caller must publish something on this channel, so that the room's line sees what it is to do.
    Wake(String),
}

impl Interests {
    pub fn new(channels: Arc<Channels>) -> Interests {
        Interests { channels, state: Mutex::default(), all: AtomicBool::new(false) }
    }

    pub fn want(&self, room: &RoomName) {
        let mut state = self.state.lock();
        if let Some(interest) = state.rooms.get_mut(room) {
            interest.wanted += 1;
            return;
        }
        let (idle_since, stage) = (Instant::now(), Stage::Waiting);
        state.rooms.insert(room.clone(), Interest { wanted: 1, idle_since, stage, line: 0, moves: 0, waiting: None });
        state.queue(&self.channels, room);
    }

    /// Takes one [`want`](Self::want) back.
    pub fn unwant(&self, room: &RoomName) {
        let mut state = self.state.lock();
        let Some(interest) = state.rooms.get_mut(room) else { return };
        interest.wanted = interest.wanted.saturating_sub(1);
        if interest.wanted == 0 {
            interest.idle_since = Instant::now();
            let since = interest.idle_since;
            state.idle.push_back((since, room.clone()));
        }
    }

    pub fn is_heard(&self, room: &RoomName) -> bool {
        self.state.lock().rooms.get(room).is_some_and(|interest| interest.stage == Stage::Heard)
    }

    /// How many rooms are heard, or are about to be.
    pub fn count(&self) -> usize {
        self.state.lock().rooms.len()
    }

    /// How it stands with a wanted room.
    pub fn progress(&self, room: &RoomName) -> Progress {
        let mut state = self.state.lock();
        let Some(interest) = state.rooms.get(room) else { return Progress::Heard };
        let (stage, line) = (interest.stage, interest.line);
        if stage == Stage::Heard {
            return Progress::Heard;
        }
        let Some(todo) = state.lines.get_mut(line).filter(|_| stage == Stage::Waiting) else {
            return Progress::Waiting;
        };
        if mem::replace(&mut todo.is_woken, true) { Progress::Waiting } else { Progress::Wake(todo.wake.clone()) }
    }

    /// Waits until a room is heard, at most until then.
    pub fn wait(&self, room: &RoomName, until: Instant) {
        let mut state = self.state.lock();
        let interest = state.rooms.get_mut(room).filter(|interest| interest.stage != Stage::Heard);
        if let Some(interest) = interest {
            let heard = interest.waiting.get_or_insert_default().clone();
            heard.wait_until(&mut state, until);
        }
    }

    pub fn hear_of_all(&self, wants: bool) {
        if self.all.load(Ordering::Relaxed) != wants {
            self.all.store(wants, Ordering::Relaxed);
        }
    }

    pub fn hears_of_all(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }
}

/// What lines call. Each says to which fleet it belongs: it may still read what comes when all lines are new already.
impl Interests {
    /// Begins with lines to these servers, which are woken on these channels. Returns the rooms that are not heard any
    /// more.
    pub fn begin(&self, fleet: Arc<Fleet>, wakes: Vec<String>) -> Vec<RoomName> {
        let mut state = self.state.lock();
        state.lines = wakes.into_iter().map(|wake| Todo { wake, ..Todo::default() }).collect();
        state.fleet = Some(fleet);
        state.idle.clear();
        let ended: Vec<RoomName> =
            state.rooms.extract_if(|_, interest| interest.wanted == 0).map(|(room, _)| room).collect();
        let rooms: Vec<RoomName> = state.rooms.keys().cloned().collect();
        rooms.iter().for_each(|room| state.queue(&self.channels, room));
        ended
    }

    /// All lines are broken.
    pub fn lost(&self) {
        let mut state = self.state.lock();
        state.fleet = None;
        state.lines.clear();
        state.rooms.values_mut().for_each(|interest| interest.stage = Stage::Waiting);
    }

    /// What a line is to do now, at most so much, and how much more there is.
    pub fn take(&self, fleet: &Fleet, line: usize, most: usize) -> (Vec<Task>, usize) {
        let mut state = self.state.lock();
        if !state.is_of(fleet) {
            return (Vec::new(), 0);
        }
        state.end_idle(Instant::now());
        let Some(todo) = state.lines.get_mut(line) else { return (Vec::new(), 0) };
        todo.is_woken = false;
        let count = most.min(todo.tasks.len());
        let mut tasks: Vec<Task> = todo.tasks.drain(..count).collect();
        let left = todo.tasks.len();
        // What was to be heard may have moved on since, or be wanted by nobody.
        tasks.retain(|task| match task {
            Task::End(_) => true,
            Task::Hear(room) => state.rooms.get_mut(room).is_some_and(|interest| {
                let is_due = interest.stage == Stage::Waiting && interest.line == line;
                if is_due {
                    interest.stage = Stage::Asked;
                }
                is_due
            }),
        });
        (tasks, left)
    }

    /// A room is heard from now on. Returns whether something in it may have been missed.
    pub fn heard(&self, fleet: &Fleet, room: &RoomName) -> bool {
        let mut state = self.state.lock();
        if !state.is_of(fleet) {
            return false;
        }
        let Some(interest) = state.rooms.get_mut(room) else { return false };
        interest.stage = Stage::Heard;
        let moved = mem::take(&mut interest.moves) > 0;
        if let Some(waiting) = interest.waiting.take() {
            waiting.notify_all();
        }
        if interest.wanted == 0 {
            let since = interest.idle_since;
            state.idle.push_back((since, room.clone()));
        }
        moved
    }

    /// A subscription has ended, as it should.
    pub fn ended(&self, fleet: &Fleet, room: &RoomName) {
        let mut state = self.state.lock();
        if !state.is_of(fleet) {
            return;
        }
        match state.rooms.get_mut(room) {
            Some(interest) if interest.wanted > 0 => {
                interest.stage = Stage::Waiting;
                state.queue(&self.channels, room);
            }
            _ => drop(state.rooms.remove(room)),
        }
    }

    /// A cluster has ended a subscription, or refused it, since the room's slot is elsewhere; at `line`, if that is
    /// known. Returns the channel to wake that line.
    pub fn moved(&self, fleet: &Fleet, room: &RoomName, line: Option<usize>) -> Option<String> {
        let mut state = self.state.lock();
        if !state.is_of(fleet) {
            return None;
        }
        let interest = state.rooms.get_mut(room)?;
        interest.moves += 1;
        let is_lost = interest.moves > MOVES_AT_ONCE;
        interest.stage = Stage::Waiting;
        let line = line.unwrap_or(interest.line);
        interest.line = line;
        let todo = state.lines.get_mut(line)?;
        todo.tasks.push_back(Task::Hear(room.clone()));
        (!is_lost).then(|| todo.wake.clone())
    }
}

impl State {
    fn queue(&mut self, channels: &Channels, room: &RoomName) {
        let Some(fleet) = &self.fleet else { return };
        let everywhere = fleet.reach == Reach::Everybody;
        let line = if everywhere { 0 } else { fleet.place(channels.room(room).as_bytes()) };
        if let (Some(interest), Some(todo)) = (self.rooms.get_mut(room), self.lines.get_mut(line)) {
            interest.stage = Stage::Waiting;
            interest.line = line;
            todo.tasks.push_back(Task::Hear(room.clone()));
        }
    }

    /// Whether the lines are those to this fleet.
    fn is_of(&self, fleet: &Fleet) -> bool {
        self.fleet.as_ref().is_some_and(|own| own.generation == fleet.generation)
    }

    /// Ends the subscriptions that nobody has wanted for long.
    fn end_idle(&mut self, now: Instant) {
        while self.idle.front().is_some_and(|(since, _)| now.duration_since(*since) >= LINGER) {
            let Some((since, room)) = self.idle.pop_front() else { return };
            let Some(interest) = self.rooms.get_mut(&room) else { continue };
            // Whoever is not heard yet comes here again.
            let is_idle = interest.wanted == 0 && interest.stage == Stage::Heard && interest.idle_since == since;
            if is_idle && let Some(todo) = self.lines.get_mut(interest.line) {
                interest.stage = Stage::Ending;
                todo.tasks.push_back(Task::End(room));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::address::Deployment;

    /// Interests with one line, and a room.
    struct Bench {
        interests: Interests,
        fleet: Arc<Fleet>,
        room: RoomName,
    }

    impl Bench {
        fn new() -> Bench {
            let interests = Interests::new(Arc::new(Channels::of(&Deployment::parse("redis://localhost").unwrap())));
            let mut bench = Bench { interests, fleet: Arc::new(Fleet::nowhere(0)), room: RoomName::channel("r") };
            bench.begin(0);
            bench
        }

        fn begin(&mut self, generation: u64) -> Vec<RoomName> {
            self.fleet = Arc::new(Fleet::nowhere(generation));
            self.interests.begin(self.fleet.clone(), vec!["wake".into()])
        }

        fn take(&self) -> Vec<Task> {
            self.interests.take(&self.fleet, 0, usize::MAX).0
        }

        fn heard(&self, room: &RoomName) -> bool {
            self.interests.heard(&self.fleet, room)
        }

        /// Lets the room be heard.
        fn hear(&self, room: &RoomName) {
            self.interests.want(room);
            assert_eq!(self.take(), [Task::Hear(room.clone())]);
            assert!(!self.heard(room));
        }

        /// Lets that much time pass for rooms that nobody wants.
        fn age(&self, by: Duration) {
            let state = &mut *self.interests.state.lock();
            state.idle.iter_mut().for_each(|(since, _)| *since -= by);
            state.rooms.values_mut().for_each(|interest| interest.idle_since -= by);
        }
    }

    #[test]
    fn a_room_is_heard_once_it_is_confirmed_and_one_caller_wakes_the_line() {
        let bench = Bench::new();
        let (interests, room) = (&bench.interests, &bench.room);
        interests.want(room);
        interests.want(room);
        assert_eq!(interests.progress(room), Progress::Wake("wake".into()));
        assert_eq!(interests.progress(room), Progress::Waiting);
        assert_eq!(bench.take(), [Task::Hear(room.clone())]);
        assert_eq!(interests.progress(room), Progress::Waiting);
        assert!(!bench.heard(room) && interests.is_heard(room));
        assert_eq!(interests.progress(room), Progress::Heard);
    }

    #[test]
    fn a_room_that_nobody_wants_is_heard_for_a_while() {
        let bench = Bench::new();
        let (interests, room) = (&bench.interests, &bench.room);
        bench.hear(room);
        interests.unwant(room);
        bench.age(LINGER / 2);
        assert_eq!(bench.take(), []);
        // Somebody comes and goes: it counts from then on.
        interests.want(room);
        interests.unwant(room);
        bench.age(LINGER / 2);
        assert_eq!(bench.take(), []);
        bench.age(LINGER);
        assert_eq!(bench.take(), [Task::End(room.clone())]);
        assert!(!interests.is_heard(room));
        interests.ended(&bench.fleet, room);
        assert_eq!(interests.count(), 0);
    }

    #[test]
    fn a_room_that_is_entered_and_left_again_and_again_is_asked_for_once() {
        let bench = Bench::new();
        bench.hear(&bench.room);
        for _ in 0..1000 {
            bench.interests.unwant(&bench.room);
            bench.age(LINGER / 2);
            bench.interests.want(&bench.room);
            assert_eq!(bench.take(), []);
        }
        assert!(bench.interests.is_heard(&bench.room));
    }

    #[test]
    fn whoever_comes_while_a_subscription_ends_waits_for_another() {
        let bench = Bench::new();
        let (interests, room) = (&bench.interests, &bench.room);
        bench.hear(room);
        interests.unwant(room);
        bench.age(LINGER);
        assert_eq!(bench.take(), [Task::End(room.clone())]);
        interests.want(room);
        assert_eq!(interests.progress(room), Progress::Waiting);
        interests.ended(&bench.fleet, room);
        assert_eq!(bench.take(), [Task::Hear(room.clone())]);
        assert!(!interests.is_heard(room));
    }

    #[test]
    fn new_lines_get_what_is_wanted_and_the_rest_is_told() {
        let mut bench = Bench::new();
        let (room, other) = (bench.room.clone(), RoomName::channel("other"));
        bench.hear(&room);
        bench.hear(&other);
        bench.interests.unwant(&other);
        bench.interests.lost();
        assert!(!bench.interests.is_heard(&room));
        assert_eq!(bench.begin(1), [other]);
        assert_eq!(bench.take(), [Task::Hear(room.clone())]);
    }

    // Seen to fail without `State::is_of`.
    #[test]
    fn what_an_earlier_line_still_reads_changes_nothing() {
        let mut bench = Bench::new();
        let room = bench.room.clone();
        bench.interests.want(&room);
        assert_eq!(bench.take(), [Task::Hear(room.clone())]);
        let before = bench.fleet.clone();
        bench.interests.lost();
        bench.begin(1);
        assert!(!bench.interests.heard(&before, &room) && !bench.interests.is_heard(&room));
        bench.interests.ended(&before, &room);
        assert_eq!(bench.interests.moved(&before, &room, None), None);
        assert_eq!(bench.interests.take(&before, 0, usize::MAX), (vec![], 0));
        assert_eq!(bench.take(), [Task::Hear(room)]);
    }

    #[test]
    fn a_room_that_moved_is_asked_for_again_and_something_may_be_missed() {
        let bench = Bench::new();
        let (interests, room) = (&bench.interests, &bench.room);
        bench.hear(room);
        assert_eq!(interests.moved(&bench.fleet, room, None), Some("wake".into()));
        assert_eq!(interests.moved(&bench.fleet, room, Some(0)), Some("wake".into()));
        assert!(!interests.is_heard(room));
        assert_eq!(bench.take(), [Task::Hear(room.clone())], "once is enough");
        assert!(bench.heard(room));
        assert!(!bench.heard(room), "that is told once");
    }

    #[test]
    fn many_rooms_are_asked_for_some_at_a_time_and_whoever_waits_for_one_is_woken_by_it() {
        let bench = Bench::new();
        let rooms: Vec<RoomName> = (0..10).map(|n| RoomName::channel(&n.to_string())).collect();
        rooms.iter().for_each(|room| bench.interests.want(room));
        let (mut tasks, left) = bench.interests.take(&bench.fleet, 0, 4);
        assert_eq!((tasks.len(), left), (4, 6));
        tasks.extend(bench.take());
        assert!(tasks.into_iter().eq(rooms.iter().cloned().map(Task::Hear)));
        std::thread::scope(|scope| {
            let waits = |room: &RoomName| {
                while !bench.interests.is_heard(room) {
                    bench.interests.wait(room, Instant::now() + Duration::from_secs(600));
                }
            };
            let waiting: Vec<_> = rooms.iter().map(|room| scope.spawn(move || waits(room))).collect();
            for (room, waiting) in rooms.iter().zip(waiting) {
                bench.heard(room);
                waiting.join().unwrap();
            }
        });
    }
}
