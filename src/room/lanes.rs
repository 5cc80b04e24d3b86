//! The lanes as the rest of the server uses them: it hands them messages and events.

use super::{
    audience::Announcement,
    command::{Batch, Command, Reply},
    lane::Lane,
    member::Room,
    run::Run,
};
use crate::{event::Event, socket::close::Close};
use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};
use std::{sync::Arc, time::Instant};

/// A handle to all lanes. Sending waits while a lane's queue is full; a lane waits for nothing but its queue.
#[derive(Clone)]
pub(super) struct Lanes(Arc<[(Sender<Command>, Arc<Lane>)]>);

impl Lanes {
    pub fn new(lanes: Vec<(Sender<Command>, Arc<Lane>)>) -> Lanes {
        Lanes(lanes.into())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn command(&self, lane: usize, command: Command) {
        // Can't fail: a lane lives as long as its senders, and this is one.
        let _ = self.0[lane].0.send(command);
    }

    /// Hands stored messages to the lanes with members of their rooms, and replies to the lanes of their members.
    ///
    /// An `idle` caller delivers by itself where that is less work than waking a lane.
    pub fn deliver(&self, runs: Vec<Run>, replies: Vec<Reply>, idle: bool) {
        let wanted = runs.iter().fold(0, |lanes, run| lanes | run.room.lanes())
            | replies.iter().fold(0, |lanes, reply| lanes | 1 << reply.to.lane);
        let batch = Batch { runs: runs.into(), replies: replies.into() };
        if idle && wanted.is_power_of_two() && self.0[wanted.trailing_zeros() as usize].1.deliver_now(&batch) {
            return;
        }
        for lane in self.those_of(wanted) {
            self.command(lane, Command::Deliver(batch.clone()));
        }
    }

    /// Whether all lanes with members of a room have nothing to do.
    pub fn are_idle(&self, room: &Room) -> bool {
        self.those_of(room.lanes()).all(|lane| self.0[lane].1.is_idle())
    }

    /// Sends an event to all members of the room, except the socket `except`.
    pub fn announce(&self, room: &Arc<Room>, event: Event, except: Option<u64>) {
        let announcement = Arc::new(Announcement::new(room.clone(), event, except));
        for lane in self.those_of(room.lanes()) {
            self.command(lane, Command::Announce(announcement.clone()));
        }
    }

    /// Sends a farewell to all members of the room, and closes their sockets.
    pub fn close(&self, room: &Arc<Room>, farewell: &Bytes, close: Close) {
        for lane in self.those_of(room.lanes()) {
            self.command(lane, Command::Close { room: room.clone(), farewell: farewell.clone(), close });
        }
    }

    /// Waits until every lane has done all that it was given before, at most until `until`. Returns whether they have.
    pub fn settle(&self, until: Instant) -> bool {
        let (told, settled) = bounded(self.count());
        for (lane, _) in self.0.iter() {
            if lane.send_deadline(Command::Settle(told.clone()), until).is_err() {
                return false;
            }
        }
        (0..self.count()).all(|_| settled.recv_deadline(until).is_ok())
    }

    fn those_of(&self, bits: u64) -> impl Iterator<Item = usize> {
        (0..self.count()).filter(move |lane| bits & (1 << lane) != 0)
    }
}
