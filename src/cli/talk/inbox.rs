//! What other threads hand to the talk, and the bell that wakes it.

use super::{line::Line, rooms::Listed, session::Denied};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::Arc,
};
use zeroize::Zeroizing;

/// What the keyboard's thread hands over.
pub enum Input {
    Line(String),
    /// The line at the foot of the terminal has changed.
    Typing,
    Password(Zeroizing<String>),
    /// The input has ended.
    End,
    /// Whoever sits there wants to leave.
    Enough,
    Broken(String),
}

/// How an attempt ended.
pub enum Entered {
    Opened(Result<Line, Denied>),
    /// The password, given again, did not help.
    NoLogin(Denied),
    /// The account's rooms, or why they are not known.
    Rooms(Result<Vec<Listed>, Denied>),
}

/// Where other threads put what the talk should see; each item wakes it.
pub struct Inbox<T = Input> {
    queue: Sender<T>,
    bell: Arc<UnixStream>,
}

/// Derived, it would ask for items that can be copied.
impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Inbox<T> {
        Inbox { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

impl<T> Inbox<T> {
    /// Waits while the queue is full.
    pub fn send(&self, item: T) {
        // Fails if the talk is over; then nobody wants it any more.
        let _ = self.queue.send(item);
        self.ring();
    }

    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(item)?;
        self.ring();
        Ok(())
    }

    fn ring(&self) {
        // Fails if it has rung often enough to fill the socket: then the talk wakes anyway.
        let _ = (&*self.bell).write(&[1]);
    }
}

/// The talk's ends of all inboxes.
pub struct Inputs {
    pub typed: Receiver<Input>,
    pub entered: Receiver<Entered>,
    /// Readable when something was handed over.
    pub bell: UnixStream,
}

/// Lines of a pipe that may wait in the queue, and as many in the outbox; then the pipe has to wait.
pub const MAX_WAITING: usize = 256;

pub fn inboxes() -> io::Result<(Inbox<Input>, Inbox<Entered>, Inputs)> {
    let (ringing, bell) = UnixStream::pair()?;
    ringing.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    let ringing = Arc::new(ringing);
    let (typing, typed) = bounded(MAX_WAITING);
    // There is one attempt to connect at a time, and one question for rooms.
    let (entering, entered) = bounded(2);
    let (typing, entering) = (Inbox { queue: typing, bell: ringing.clone() }, Inbox { queue: entering, bell: ringing });
    Ok((typing, entering, Inputs { typed, entered, bell }))
}

impl Inputs {
    /// Hears all rings so far. What they announced is taken after this, so that none is missed.
    pub fn silence_bell(&mut self) {
        let mut rings = [0; 64];
        while matches!(self.bell.read(&mut rings), Ok(read) if read == rings.len()) {}
    }
}
