//! What other threads hand to the conversation, and the bell that wakes it.

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
    /// The line that is being typed has changed.
    Typing,
    Password(Zeroizing<String>),
    /// The input has ended.
    End,
    /// The user wants to leave.
    Enough,
    Broken(String),
}

/// How an attempt ended.
pub enum Entered {
    Opened(Result<Line, Denied>),
    /// Logging in with the new password failed.
    NoLogin(Denied),
    /// The account's rooms, or why they are not known.
    Rooms(Result<Vec<Listed>, Denied>),
}

/// Takes items from other threads for the conversation; each item wakes it.
pub struct Inbox<T = Input> {
    queue: Sender<T>,
    bell: Arc<UnixStream>,
}

/// Written by hand, because a derived one would require items that can be cloned.
impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Inbox<T> {
        Inbox { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

impl<T> Inbox<T> {
    /// Waits while the queue is full.
    pub fn send(&self, item: T) {
        // Fails if the conversation is over: then the item does not matter.
        let _ = self.queue.send(item);
        self.ring();
    }

    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(item)?;
        self.ring();
        Ok(())
    }

    fn ring(&self) {
        // Fails if enough rings wait to fill the socket: then the conversation wakes anyway.
        let _ = (&*self.bell).write(&[1]);
    }
}

/// The conversation's ends of all inboxes.
pub struct Inputs {
    pub typed: Receiver<Input>,
    pub entered: Receiver<Entered>,
    /// Readable when something was handed over.
    pub bell: UnixStream,
}

/// How many lines of a pipe may wait in the queue, and as many again in the outbox; then the pipe has to wait.
pub const MAX_WAITING: usize = 256;

pub fn inboxes() -> io::Result<(Inbox<Input>, Inbox<Entered>, Inputs)> {
    let (ringing, bell) = UnixStream::pair()?;
    ringing.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    let ringing = Arc::new(ringing);
    let (typing, typed) = bounded(MAX_WAITING);
    // At most one attempt to connect, and one request for rooms, run at a time.
    let (entering, entered) = bounded(2);
    let (typing, entering) = (Inbox { queue: typing, bell: ringing.clone() }, Inbox { queue: entering, bell: ringing });
    Ok((typing, entering, Inputs { typed, entered, bell }))
}

impl Inputs {
    /// Takes all rings so far. What they announced must be taken after this, so that nothing is missed.
    pub fn silence_bell(&mut self) {
        let mut rings = [0; 64];
        while matches!(self.bell.read(&mut rings), Ok(read) if read == rings.len()) {}
    }
}
