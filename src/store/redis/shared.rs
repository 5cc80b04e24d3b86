//! What the stores of one node share.

use super::{
    address::Deployment,
    call::Call,
    failure::{Answer, Failure},
    fleet::Fleet,
    floors::Floors,
    health::{Health, Watch},
    lease::Lease,
    server,
};
use crate::store::presence::Standing;
use std::{io, sync::Arc};

pub(super) struct Redis {
    pub(super) health: Arc<Health>,
    pub(super) channel: String,
    /// This process's name among the nodes: 16 hexadecimal digits.
    pub(super) node: String,
    pub(super) floors: Floors,
    pub(super) lease: Arc<Lease>,
    pub(super) _watch: Watch,
}

impl Redis {
    pub fn new(deployment: Deployment) -> io::Result<Redis> {
        let channel = feed_channel(&deployment);
        let node = format!("{:016x}", rand::random::<u64>());
        let (health, watch) = Health::watch(deployment, channel.clone(), node.clone())?;
        let lease = Arc::new(Lease::new());
        Lease::keep(&lease, &health)?;
        Ok(Redis { health, channel, node, floors: Floors::default(), lease, _watch: watch })
    }

    pub fn fleet(&self) -> Result<Arc<Fleet>, Failure> {
        self.health.fleet().map_err(Failure::Away)
    }

    /// The state of this node's claims.
    pub fn standing(&self) -> Standing {
        let mut standing = self.lease.standing();
        standing.doubts += self.health.losses();
        standing
    }

    /// Runs commands that may run twice, in one round trip.
    pub fn read(&self, calls: &[Call]) -> Result<Vec<Answer>, Failure> {
        let fleet = self.fleet()?;
        let answers = self.health.run(&fleet, calls);
        let broken = answers.iter().any(|answer| answer.as_ref().is_err_and(Failure::is_broken_connection));
        if broken && let Some(other) = self.health.wait_for_other(Some(fleet.generation), server::CONNECT) {
            return Ok(self.health.run(&other, calls));
        }
        Ok(answers)
    }

    pub fn read_one(&self, call: Call) -> Answer {
        self.read(&[call])?.pop().unwrap_or(Err(Failure::Unreadable))
    }

    /// Fails if Redis does not take commands that write.
    pub fn probe(&self) -> Result<(), Failure> {
        // The watch has written after the last outage, and asks each server every second.
        self.fleet()?;
        if self.health.is_full() {
            return Err(Failure::Away("its memory is full".into()));
        }
        Ok(())
    }
}

/// The channel on which every stored entry is published. Channels are not separate per database, so the name has its
/// number.
pub(super) fn feed_channel(deployment: &Deployment) -> String {
    format!("propromo:feed:{}", deployment.db())
}
