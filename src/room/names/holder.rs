//! A member on this node that has a name.

use crate::{
    likeness::skeleton,
    store::names::{Claim, Named},
};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

pub(super) struct Holder {
    pub(super) key: Arc<str>,
    /// Number of its claim among the nodes.
    pub(super) number: u64,
    pub(super) name: Arc<str>,
    pub(super) color: Mutex<Arc<str>>,
    /// Unix milliseconds.
    pub(super) last_activity: AtomicI64,
    /// The activity that the other nodes were last told.
    pub(super) told: AtomicI64,
    /// The epoch of this node's lease under which the name was taken.
    pub(super) epoch: AtomicU64,
    pub(super) lost: AtomicBool,
    /// Held while the name is given up.
    pub(super) parting: Mutex<()>,
}

impl Holder {
    pub fn new(name: &str, color: &str) -> Holder {
        let now = Timestamp::now().as_millisecond();
        Holder {
            key: key(name).into(),
            number: rand::random(),
            name: name.into(),
            color: Mutex::new(color.into()),
            last_activity: now.into(),
            told: now.into(),
            epoch: AtomicU64::new(u64::MAX),
            lost: AtomicBool::new(false),
            parting: Mutex::default(),
        }
    }

    pub fn named(&self) -> Named {
        Named {
            name: self.name.clone(),
            color: self.color.lock().clone(),
            last_activity: self.last_activity.load(Ordering::Relaxed),
        }
    }

    pub fn claim(&self) -> Claim {
        Claim { key: self.key.clone(), number: self.number, named: self.named() }
    }

    /// Whether the other nodes do not yet know when it was last active. A color changes only with activity.
    pub fn has_changed(&self) -> bool {
        self.last_activity.load(Ordering::Relaxed) != self.told.load(Ordering::Relaxed)
    }

    pub fn was_told(&self, claim: &Claim) {
        self.told.store(claim.named.last_activity, Ordering::Relaxed);
    }

    pub fn stands_under(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    pub fn is_under(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Relaxed) == epoch
    }

    pub fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The key by which names are compared: names that look the same are the same.
pub(super) fn key(name: &str) -> String {
    skeleton(name)
}
