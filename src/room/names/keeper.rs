//! Keeps this node's claims to names alive among the other nodes, and gives back what could not be given back at once.

use super::holder::Holder;
use crate::{
    store::{
        error::StoreError,
        names::{Claim, LIFE, SharedNames},
        outage::KnownOutage,
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

/// How often claims are renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// How long it waits before it tries again what the store could not do.
const RETRY: Duration = Duration::from_secs(1);

/// A claim is not relied upon so long before it expires: what is said under a name may be on its way for a while.
const MARGIN: Duration = Duration::from_secs(5);

/// Claims that may wait to be given back; more are forgotten, and those names stay taken until this node ends.
const RETURNS: usize = 10_000;

/// The handle of one node.
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

    /// Claims a name for a member of this node; `false` if it is another node's.
    pub fn claim(&self, room: i64, holder: &Arc<Holder>) -> Result<bool, StoreError> {
        let asked = Instant::now();
        let claim = holder.claim();
        match self.store.take(room, &claim) {
            Ok(true) => {
                holder.sure_until(asked + LIFE - MARGIN);
                self.state.lock().claims.entry(room).or_default().insert(claim.number, holder.clone());
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                // It may have been taken all the same.
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

    fn run(&self) {
        let mut renewed = Instant::now();
        loop {
            let returns = {
                let mut state = self.state.lock();
                let next = if state.returns.is_empty() { renewed + RENEW_EVERY } else { Instant::now() + RETRY };
                while !state.stopping && !self.changed.wait_until(&mut state, next).timed_out() {}
                if state.stopping {
                    return;
                }
                mem::take(&mut state.returns)
            };
            vital::may_panic("names");
            // In order, and no further than the first that fails: the others would fail as well.
            let failed = returns.iter().position(|(room, claim)| self.store.give_back(*room, claim).is_err());
            if let Some(first) = failed {
                self.state.lock().returns.extend_from_slice(&returns[first..]);
            }
            if renewed.elapsed() >= RENEW_EVERY {
                renewed = Instant::now();
                self.renew();
            }
        }
    }

    fn renew(&self) {
        let rooms: Vec<i64> = self.state.lock().claims.keys().copied().collect();
        for room in rooms {
            let holders: Vec<Arc<Holder>> = match self.state.lock().claims.get(&room) {
                Some(claims) => claims.values().cloned().collect(),
                None => continue,
            };
            // The other rooms fail as well; claims hold long enough for two more tries.
            if self.renew_in(room, &holders).is_err() {
                return;
            }
        }
    }

    fn renew_in(&self, room: i64, holders: &[Arc<Holder>]) -> Result<(), StoreError> {
        let asked = Instant::now();
        let all = || holders.iter().map(|holder| holder.claim()).collect::<Vec<_>>();
        let changed: Vec<Claim> = holders.iter().filter(|holder| holder.has_changed()).map(|h| h.claim()).collect();
        let lost = match self.store.renew(room, &changed)? {
            Some(lost) => lost,
            // The store has forgotten them, or they had expired: another node's member may have been faster.
            None => self.store.renew(room, &all())?.unwrap_or_default(),
        };
        for holder in holders {
            if lost.iter().any(|claim| claim.number == holder.number) {
                holder.lose();
            } else {
                holder.sure_until(asked + LIFE - MARGIN);
            }
        }
        for claim in &changed {
            if let Some(holder) = holders.iter().find(|holder| holder.number == claim.number) {
                holder.was_told(claim);
            }
        }
        // Who gave its name back meanwhile has not told of it in vain.
        let gone: Vec<Claim> = {
            let state = self.state.lock();
            let here = state.claims.get(&room);
            let is_gone = |holder: &&Arc<Holder>| !here.is_some_and(|claims| claims.contains_key(&holder.number));
            holders.iter().filter(is_gone).map(|holder| holder.claim()).collect()
        };
        for claim in gone {
            self.give_back_later(room, claim);
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
