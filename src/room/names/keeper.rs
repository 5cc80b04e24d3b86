//! Keeps this node's claims to names alive among the other nodes, and gives back later what could not be given back at
//! once.

use super::{super::round::Round, holder::Holder};
use crate::{
    store::{
        error::StoreError,
        names::{Claim, SharedNames},
        outage::KnownOutage,
        presence::Standing,
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

/// How often the keeper checks what is due.
const TICK: Duration = Duration::from_secs(1);

/// How often the other nodes are told who was active.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Claims that may wait to be given back. Further ones are forgotten, and those names stay taken until this node ends.
const RETURNS: usize = 10_000;

/// Rooms sent in one round trip.
const BATCH: usize = 500;

/// The keeper of one node.
pub(super) struct Keeper {
    store: Arc<dyn SharedNames>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Every claim of this node, by room and number.
    claims: HashMap<i64, HashMap<u64, Arc<Holder>>>,
    returns: Vec<(i64, Claim)>,
    stopping: bool,
}

/// Ends the keeper's thread when it is dropped.
pub(super) struct Running(pub(super) Arc<Keeper>);

/// The state of the thread.
struct Kept {
    standing: Standing,
    round: Round<i64>,
    told: Instant,
}

impl Keeper {
    pub fn start(store: Arc<dyn SharedNames>) -> io::Result<Running> {
        let keeper = Arc::new(Keeper { store, state: Mutex::default(), changed: Condvar::new() });
        let runner = keeper.clone();
        vital::spawn("names", move || runner.run())?;
        Ok(Running(keeper))
    }

    pub fn store(&self) -> &dyn SharedNames {
        &*self.store
    }

    /// Claims a name for a member of this node; `false` if another node has it.
    pub fn claim(&self, room: i64, holder: &Arc<Holder>) -> Result<bool, StoreError> {
        let (claim, epoch) = (holder.claim(), self.store.standing().epoch);
        match self.store.take(&[(room, vec![claim.clone()])]) {
            Ok(taken) if taken == [[true]] => {
                holder.stands_under(epoch);
                self.state.lock().claims.entry(room).or_default().insert(claim.number, holder.clone());
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) => {
                // The store may have taken it nevertheless.
                if !error.source.is::<KnownOutage>() {
                    self.give_back_later(room, claim);
                }
                Err(error)
            }
        }
    }

    /// Ends a claim.
    pub fn give_back(&self, room: i64, holder: &Holder) {
        let claim = holder.claim();
        {
            let mut state = self.state.lock();
            if let Some(claims) = state.claims.get_mut(&room) {
                claims.remove(&claim.number);
                if claims.is_empty() {
                    state.claims.remove(&room);
                }
            }
        }
        if !holder.is_lost() && self.store.give_back(room, &claim).is_err() {
            self.give_back_later(room, claim);
        }
    }

    fn give_back_later(&self, room: i64, claim: Claim) {
        let mut state = self.state.lock();
        if state.returns.len() < RETURNS {
            state.returns.push((room, claim));
            self.changed.notify_all();
        }
    }

    /// Whether no other node can give away this member's name.
    pub fn is_sure(&self, holder: &Holder) -> bool {
        self.store.sure().is_some_and(|epoch| holder.is_under(epoch))
    }

    fn run(&self) {
        let mut kept = Kept { standing: self.store.standing(), round: Round::default(), told: Instant::now() };
        loop {
            let returns = {
                let mut state = self.state.lock();
                let next = Instant::now() + TICK;
                while !state.stopping && !self.changed.wait_until(&mut state, next).timed_out() {}
                if state.stopping {
                    return;
                }
                mem::take(&mut state.returns)
            };
            vital::may_panic("names");
            // In order, and only up to the first failure: the others would fail as well.
            let failed = returns.iter().position(|(room, claim)| self.store.give_back(*room, claim).is_err());
            if let Some(first) = failed {
                self.state.lock().returns.extend_from_slice(&returns[first..]);
            }
            // The cause was logged where it occurred; the next round tries again.
            let _ = self.keep(&mut kept);
        }
    }

    /// Claims again what may be lost, and reports who was active.
    fn keep(&self, kept: &mut Kept) -> Result<(), StoreError> {
        let standing = self.store.standing();
        let rooms: Vec<i64> = self.state.lock().claims.keys().copied().collect();
        rooms.iter().for_each(|room| kept.round.push(*room));
        if (standing.epoch, standing.doubts) != (kept.standing.epoch, kept.standing.doubts) {
            // All at once, however many there are: a member on another node may be as fast.
            for rooms in rooms.chunks(BATCH) {
                self.take_again(rooms, |_, _| true)?;
            }
            kept.standing = standing;
        }
        let due = kept.round.next(|room| self.state.lock().claims.get(room).map(HashMap::len));
        let own: HashMap<i64, Vec<u64>> = due.iter().copied().zip(self.store.own(&due)?).collect();
        self.take_again(&due, |room, holder| own.get(&room).is_none_or(|own| !own.contains(&holder.number)))?;
        if kept.told.elapsed() >= TELL_EVERY {
            kept.told = Instant::now();
            for rooms in rooms.chunks(BATCH) {
                self.take_again(rooms, |_, holder| holder.has_changed())?;
            }
        }
        Ok(())
    }

    /// Claims some of the names in these rooms again.
    fn take_again(&self, rooms: &[i64], which: impl Fn(i64, &Holder) -> bool) -> Result<(), StoreError> {
        let epoch = self.store.standing().epoch;
        let mut holders: Vec<(i64, Vec<Arc<Holder>>)> = Vec::new();
        {
            let state = self.state.lock();
            for room in rooms {
                let held = state.claims.get(room).into_iter().flat_map(HashMap::values);
                let some: Vec<_> = held.filter(|holder| !holder.is_lost() && which(*room, holder)).cloned().collect();
                if !some.is_empty() {
                    holders.push((*room, some));
                }
            }
        }
        if holders.is_empty() {
            return Ok(());
        }
        let claims: Vec<(i64, Vec<Claim>)> = holders
            .iter()
            .map(|(room, holders)| (*room, holders.iter().map(|holder| holder.claim()).collect()))
            .collect();
        let taken = self.store.take(&claims)?;
        for (((room, holders), (_, claims)), taken) in holders.iter().zip(&claims).zip(taken) {
            for ((holder, claim), is_own) in holders.iter().zip(claims).zip(taken) {
                if is_own {
                    holder.stands_under(epoch);
                    holder.was_told(claim);
                } else {
                    // A member on another node was faster.
                    holder.lose();
                }
                // A name that was given back meanwhile must not stay taken.
                let is_here = self.state.lock().claims.get(room).is_some_and(|here| here.contains_key(&holder.number));
                if !is_here {
                    self.give_back_later(*room, claim.clone());
                }
            }
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state.lock().stopping = true;
        self.0.changed.notify_all();
    }
}
