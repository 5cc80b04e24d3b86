//! What the stores of one node share.

use super::{
    address::Deployment,
    call::Call,
    channels::{Channels, Reach},
    failure::{Answer, Failure},
    fleet::Fleet,
    floors::Floors,
    health::{Health, Watch},
    interests::Interests,
    lease::Lease,
    server,
    wire::BEAT,
};
use crate::{message::RoomName, store::presence::Standing};
use redis::cmd;
use std::{io, sync::Arc};

pub(super) struct Redis {
    pub(super) health: Arc<Health>,
    pub(super) channels: Arc<Channels>,
    pub(super) interests: Arc<Interests>,
    /// This process's name among the nodes: 16 hexadecimal digits.
    pub(super) node: String,
    pub(super) floors: Floors,
    pub(super) lease: Arc<Lease>,
    pub(super) _watch: Watch,
}

impl Redis {
    pub fn new(deployment: Deployment) -> io::Result<Redis> {
        let channels = Arc::new(Channels::of(&deployment));
        let node = format!("{:016x}", rand::random::<u64>());
        let (health, watch) = Health::watch(deployment, channels.clone(), node.clone())?;
        let lease = Arc::new(Lease::new());
        Lease::keep(&lease, &health)?;
        let interests = Arc::new(Interests::new(channels.clone()));
        Ok(Redis { health, channels, interests, node, floors: Floors::default(), lease, _watch: watch })
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

    /// Where to publish: for the members of a room, or for everybody; the command and the channel. While a node is there
    /// that listens to one channel only, everything goes there.
    pub fn way(&self, fleet: &Fleet, room: Option<&RoomName>) -> (&'static str, String) {
        let to_everybody = fleet.reach == Reach::Everybody || self.health.audience().earlier;
        match room.filter(|_| !to_everybody) {
            Some(room) => (fleet.reach.publish(), self.channels.room(room)),
            None => ("PUBLISH", self.channels.everybody.clone()),
        }
    }

    /// The channel on which to tell that something was stored; empty if no node wants to know that of all rooms.
    pub fn news_channel(&self) -> &str {
        let wants = self.health.audience().wants_news || self.interests.hears_of_all();
        if wants { &self.channels.news } else { "" }
    }

    /// Wakes a line by its channel. If that fails, the next beat does it.
    pub fn wake(&self, fleet: &Fleet, channel: &str) {
        let call = Call::command(channel, cmd(fleet.reach.publish()).arg(channel).arg(BEAT));
        drop(self.health.run(fleet, &[call]));
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
