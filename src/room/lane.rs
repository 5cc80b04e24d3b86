//! A lane: one thread that delivers to its share of all members; whoever holds the writer (`log`) helps out when that
//! is less work than waking it.
//!
//! The contract, for whoever changes this file, [`audiences`](super::audiences) or [`audience`](super::audience):
//!
//! 1. A lane never blocks except on its own channel, and while the writer delivers a few messages in its place: no
//!    store, no waiting send.
//! 2. A member gets a room's messages in the log's order, each once.
//! 3. What waits is joined: one send a member for all that the lane knows of when it comes to that member.
//! 4. Joins, releases and leaves keep their place among the messages of their room.
//! 5. What is held for a newcomer is bounded as its socket's queue is, and so is what is taken from the channel.

use super::{
    audiences::Audiences,
    command::{Batch, Command},
};
use crate::{metrics::messages::MessageMetrics, vital};
use crossbeam_channel::{Receiver, Select, TryRecvError};
use parking_lot::Mutex;

/// The most commands that are taken at a time: what is to be sent must not wait for all of a flood.
const TAKEN: usize = 64;

/// The most members to whom the writer delivers by itself: about a quarter of a millisecond, for which the
/// next messages wait to be stored.
const AT_ONCE: usize = 128;

pub(super) struct Lane {
    commands: Receiver<Command>,
    /// Commands are taken from the channel under this lock only, and whoever has it does all that they ask for: who
    /// holds it and finds the channel empty knows that all earlier ones are done.
    audiences: Mutex<Audiences>,
}

impl Lane {
    pub fn new(index: usize, commands: Receiver<Command>, metrics: MessageMetrics) -> Lane {
        Lane { commands, audiences: Mutex::new(Audiences::new(index, metrics)) }
    }

    /// Runs until no sender is left.
    pub fn run(&self) {
        let mut told = true;
        while told {
            self.wait();
            vital::may_panic("lane");
            let mut audiences = self.audiences.lock();
            // What comes in while some members are served is taken to the others with the same send.
            loop {
                told &= self.take(&mut audiences);
                if !audiences.serve() {
                    break;
                }
            }
        }
    }

    /// Takes what waits, as much as may be on its way. `false` if no sender is left.
    fn take(&self, audiences: &mut Audiences) -> bool {
        for _ in 0..TAKEN {
            if audiences.is_full() {
                break;
            }
            match self.commands.try_recv() {
                Ok(command) => audiences.obey(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// Waits until there is a command, and leaves it where it is.
    fn wait(&self) {
        let mut select = Select::new();
        select.recv(&self.commands);
        select.ready();
    }

    /// Whether it has nothing to do, at this moment.
    pub fn is_idle(&self) -> bool {
        self.commands.is_empty() && !self.audiences.is_locked()
    }

    /// Delivers on the caller's thread, which saves the time that it takes to wake the lane's. Answers `false`, and
    /// does nothing, if the lane is at work already or there are many to deliver to: that is for
    /// [`Command::Deliver`].
    pub fn deliver_now(&self, batch: &Batch) -> bool {
        let Some(mut audiences) = self.audiences.try_lock() else { return false };
        if !self.commands.is_empty() || audiences.members_of(batch) > AT_ONCE {
            return false;
        }
        audiences.obey(Command::Deliver(batch.clone()));
        while audiences.serve() {}
        true
    }
}
