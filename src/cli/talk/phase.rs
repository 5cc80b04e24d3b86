//! Whether there is a connection, and whether it is alive.

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
    /// Until the password is given again.
    LockedOut,
    Open(Open),
}

/// An open connection.
pub struct Open {
    pub line: Line,
    pub since: Instant,
    /// All that was said before has arrived.
    pub ready: bool,
    heard: Instant,
    /// When the server was asked for a sign of life that has not come yet.
    asked: Option<Instant>,
    told_typing: Option<Instant>,
}

/// Silence after which the server is asked for a sign of life, and how long it has for that. A network that went
/// away without a word is found in no other way.
const QUIET: Duration = Duration::from_secs(25);
const ANSWER: Duration = Duration::from_secs(10);

/// Others are told at most so often that somebody writes.
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

    /// Finds out whether the server is still there, where it is silent.
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

    /// Whether it is time again to tell others that somebody writes; then it counts as told.
    pub fn may_tell_typing(&mut self, now: Instant) -> bool {
        let may = self.told_typing.is_none_or(|told| now - told >= TYPING_EVERY);
        if may {
            self.told_typing = Some(now);
        }
        may
    }

    /// Sends something that was said or changed, which ends the sign of typing for those who see it.
    pub fn say(&mut self, frame: String) -> Result<(), Lost> {
        self.told_typing = None;
        self.line.send(frame)
    }
}
