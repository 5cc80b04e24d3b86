//! Who is here, told to the other nodes: a thread that compares each room with what it has told about it.

use super::member::Room;
use crate::{
    message::RoomName,
    store::{
        error::StoreError,
        presence::{Known, Presence, Present},
    },
    vital,
};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::HashMap,
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

/// How often what was told is renewed, so that it doesn't expire.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// How long it waits before it tries again what could not be told.
const RETRY: Duration = Duration::from_secs(1);

/// Changes told at a time.
const CHANGES: usize = 1000;

/// The handle by which rooms say that their members have changed.
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
    /// Rooms whose members may have changed; as many as there are rooms at most.
    rooms: HashMap<RoomName, Arc<Room>>,
    stop: Stop,
}

#[derive(Default, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    Wanted,
    Done,
}

impl Reporter {
    /// Starts the thread.
    pub fn start(presence: Arc<dyn Presence>) -> io::Result<Reporter> {
        let shared = Arc::new(Shared::default());
        let caller = Caller { presence, shared: shared.clone(), told: HashMap::new() };
        vital::spawn("presence", move || caller.run())?;
        Ok(Reporter { shared })
    }

    /// Somebody has come to or gone from this room.
    pub fn changed(&self, room: &Arc<Room>) {
        self.shared.state.lock().rooms.insert(room.name.clone(), room.clone());
        self.shared.changed.notify_all();
    }

    /// Tells what changed last, and no more; waits for that for `patience` at most.
    pub fn stop(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.shared.state.lock();
        state.stop = Stop::Wanted;
        self.shared.changed.notify_all();
        while state.stop != Stop::Done && !self.shared.changed.wait_until(&mut state, until).timed_out() {}
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if state.stop == Stop::No {
            state.stop = Stop::Wanted;
        }
        self.shared.changed.notify_all();
    }
}

struct Caller {
    presence: Arc<dyn Presence>,
    shared: Arc<Shared>,
    /// What the other nodes know: who is here, in alphabetical order.
    told: HashMap<RoomName, Vec<Present>>,
}

impl Caller {
    fn run(mut self) {
        let mut renewed = Instant::now();
        loop {
            vital::may_panic("presence");
            let (rooms, stop) = {
                let mut state = self.shared.state.lock();
                if state.rooms.is_empty() && state.stop == Stop::No {
                    self.shared.changed.wait_until(&mut state, renewed + RENEW_EVERY);
                }
                (mem::take(&mut state.rooms), state.stop != Stop::No)
            };
            let failed: Vec<_> =
                rooms.into_values().filter(|room| self.tell(&room.name, &room.everybody()).is_err()).collect();
            if stop {
                self.shared.state.lock().stop = Stop::Done;
                self.shared.changed.notify_all();
                return;
            }
            if renewed.elapsed() >= RENEW_EVERY {
                renewed = Instant::now();
                self.renew();
            }
            if !failed.is_empty() {
                let mut state = self.shared.state.lock();
                for room in failed {
                    state.rooms.entry(room.name.clone()).or_insert(room);
                }
                if state.stop == Stop::No {
                    self.shared.changed.wait_for(&mut state, RETRY);
                }
            }
        }
    }

    /// Tells how a room differs from what was told of it.
    fn tell(&mut self, room: &RoomName, here: &[Present]) -> Result<(), StoreError> {
        let told = self.told.get(room).map_or(&[][..], Vec::as_slice);
        let known = self.presence.tell_all(room, &differences(told, here))?;
        if known == Known::Anew && !told.is_empty() {
            // Those that had not changed were not told.
            self.presence.tell_all(room, &differences(&[], here))?;
        }
        if here.is_empty() {
            self.told.remove(room);
        } else {
            self.told.insert(room.clone(), here.to_vec());
        }
        Ok(())
    }

    fn renew(&mut self) {
        let rooms: Vec<RoomName> = self.told.keys().cloned().collect();
        for room in rooms {
            let here = self.told.get(&room).cloned().unwrap_or_default();
            if self.tell(&room, &here).is_err() {
                // The others fail as well; what was told holds long enough for two more tries.
                return;
            }
        }
    }
}

/// What has to be told for `told` to become `here`.
fn differences(told: &[Present], here: &[Present]) -> Vec<Present> {
    let by_user = |users: &[Present], user: &str| users.binary_search_by(|other| (*other.person.user).cmp(user)).ok();
    let gone = told.iter().filter(|present| by_user(here, &present.person.user).is_none());
    let gone = gone.map(|present| Present { sockets: 0, ..present.clone() });
    let new = here.iter().filter(|present| by_user(told, &present.person.user).map(|at| &told[at]) != Some(*present));
    gone.chain(new.cloned()).collect()
}

impl dyn Presence {
    /// [`Presence::tell`], in parts of a size that no other caller has to wait long for.
    fn tell_all(&self, room: &RoomName, changes: &[Present]) -> Result<Known, StoreError> {
        let (first, rest) = changes.split_at(changes.len().min(CHANGES));
        let known = self.tell(room, first)?;
        for part in rest.chunks(CHANGES) {
            self.tell(room, part)?;
        }
        Ok(known)
    }
}
