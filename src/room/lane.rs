//! A lane: one thread that delivers to its share of all members. The holder of the writer (`writer`) delivers in its place
//! when that is less work than waking it.
//!
//! The contract, to be kept by changes of this file, [`audiences`](super::audiences) and [`audience`](super::audience):
//!
//! 1. A lane never blocks except on its own channel, and while the writer delivers a few messages in its place. It
//!    reads no store and waits for no socket.
//! 2. A member gets a room's messages in the log's order, each once.
//! 3. What waits is joined: each member gets one send with all that the lane has for it at that moment.
//! 4. Joins, releases and leaves keep their place among the messages of their room.
//! 5. What is held for a newcomer is bounded like its socket's queue, and so is what is taken from the channel.

use super::{
    audiences::Audiences,
    command::{Batch, Command},
};
use crate::{metrics::messages::MessageMetrics, vital};
use crossbeam_channel::{Receiver, Select, TryRecvError};
use parking_lot::Mutex;

/// How many commands are taken at a time: sending must not wait for all of a flood.
const TAKEN: usize = 64;

/// To how many members the writer delivers by itself at most. That takes about a quarter of a millisecond, for which
/// the next messages wait to be stored.
const AT_ONCE: usize = 128;

pub(super) struct Lane {
    commands: Receiver<Command>,
    /// Commands are taken from the channel only under this lock, and carried out before it is released. So if its
    /// holder finds the channel empty, all earlier commands have been carried out.
    audiences: Mutex<Audiences>,
}

impl Lane {
    pub fn new(index: usize, commands: Receiver<Command>, metrics: MessageMetrics) -> Lane {
        Lane { commands, audiences: Mutex::new(Audiences::new(index, metrics)) }
    }

    /// Runs until all senders are gone.
    pub fn run(&self) {
        let mut told = true;
        while told {
            self.wait();
            vital::may_panic("lane");
            let mut audiences = self.audiences.lock();
            // What comes in while some members are served goes to the others with the same send.
            loop {
                told &= self.take(&mut audiences);
                if !audiences.serve() {
                    break;
                }
            }
        }
    }

    /// Takes waiting commands, as long as more may be on their way. `false` if all senders are gone.
    fn take(&self, audiences: &mut Audiences) -> bool {
        for _ in 0..TAKEN {
            if audiences.is_full() {
                break;
            }
            match self.commands.try_recv() {
                Ok(command) => audiences.handle(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// Waits for a command, and leaves it in the channel.
    fn wait(&self) {
        let mut select = Select::new();
        select.recv(&self.commands);
        select.ready();
    }

    /// Whether it has nothing to do at this moment.
    pub fn is_idle(&self) -> bool {
        self.commands.is_empty() && !self.audiences.is_locked()
    }

    /// Delivers on the caller's thread, which saves waking the lane's. Returns `false`, and does nothing, if the lane
    /// is busy or the batch is for many members: then use [`Command::Deliver`].
    pub fn deliver_now(&self, batch: &Batch) -> bool {
        let Some(mut audiences) = self.audiences.try_lock() else { return false };
        if !self.commands.is_empty() || audiences.members_of(batch) > AT_ONCE {
            return false;
        }
        audiences.handle(Command::Deliver(batch.clone()));
        while audiences.serve() {}
        true
    }
}
