//! The state of the connection, and whether it is alive.

use super::{
    frame,
    line::{Line, Lost},
};
use std::time::{Duration, Instant};

pub enum Phase {
    Offline {
        until: Instant,
    },
    Entering,
    /// Until the user gives the password again.
    LockedOut,
    Open(Open),
}

/// An open connection.
pub struct Open {
    pub line: Line,
    pub since: Instant,
    /// Whether the whole history has arrived.
    pub ready: bool,
    heard: Instant,
    /// When the server was asked for a sign of life, until it answers.
    asked: Option<Instant>,
    told_typing: Option<Instant>,
}

/// After this much silence the server is asked for a sign of life, and it has this long to answer. A network that fails
/// silently is noticed in no other way.
const QUIET: Duration = Duration::from_secs(25);
const ANSWER: Duration = Duration::from_secs(10);

/// How often others are told at most that the user types.
const TYPING_EVERY: Duration = Duration::from_secs(3);

impl Open {
    pub fn new(line: Line, now: Instant) -> Open {
        Open { line, since: now, ready: false, heard: now, asked: None, told_typing: None }
    }

    /// The server has said something.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// Checks whether a silent server is still there.
    pub fn pulse(&mut self, now: Instant) -> Result<(), Lost> {
        match self.asked {
            Some(asked) if now - asked >= ANSWER => {
                Err(Lost { code: None, why: "the server doesn't answer any more".into() })
            }
            None if now - self.heard >= QUIET => {
                self.asked = Some(now);
                self.line.send(frame::PING.into())
            }
            _ => Ok(()),
        }
    }

    /// When [`Open::pulse`] has something to do.
    pub fn next_pulse(&self) -> Instant {
        self.asked.map_or(self.heard + QUIET, |asked| asked + ANSWER)
    }

    /// Whether others may be told again that the user types. If so, counts it as told.
    pub fn may_tell_typing(&mut self, now: Instant) -> bool {
        let may = self.told_typing.is_none_or(|told| now - told >= TYPING_EVERY);
        if may {
            self.told_typing = Some(now);
        }
        may
    }

    /// Sends a message or a change, which ends the sign of typing for others.
    pub fn say(&mut self, frame: String) -> Result<(), Lost> {
        self.told_typing = None;
        self.line.send(frame)
    }
}
