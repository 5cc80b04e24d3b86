//! The socket as tungstenite reads and writes it.

use super::{
    client_frames::Framing,
    close::{Close, GOODBYE},
    frame,
    outbound::Outbound,
};
use crate::config::Limits;
use bytes::Bytes;
use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::{Duration, Instant},
};

/// Reads block in the kernel, writes go to the queue.
pub struct Wire<'a> {
    pub outbound: &'a Arc<Outbound>,
    /// When the client must have done what is required of it, if anything.
    pub deadline: Option<Instant>,
    /// When something was last read.
    pub heard: Instant,
    /// The time-out that is set on the socket.
    timeout: Option<Duration>,
    /// Checks what is read.
    framing: Framing,
    /// How long a socket that another thread has closed may still answer; `None` until that is noticed.
    closing: Option<Instant>,
}

impl<'a> Wire<'a> {
    /// `early` is what came in behind the request head. What must not be read of it is cut off.
    pub fn new(outbound: &'a Arc<Outbound>, deadline: Option<Instant>, early: &mut Vec<u8>) -> Wire<'a> {
        let mut framing = Framing::default();
        early.truncate(framing.check(early));
        Wire { outbound, deadline, heard: Instant::now(), timeout: None, framing, closing: None }
    }

    /// The fault in the input, once a read has failed with [`io::ErrorKind::InvalidData`].
    pub fn fault(&self) -> Option<Close> {
        self.framing.fault()
    }

    /// Whether the deadline has passed.
    pub fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Bounds the wait of the next read by the next thing to do: a ping, a drop, a deadline.
    pub fn wait_at_most(&mut self, limits: &Limits) {
        let silent = self.heard.elapsed();
        let mut wait = limits.ping_interval;
        if silent >= limits.ping_interval {
            wait = wait.min(limits.pong_timeout.saturating_sub(silent));
        }
        if let Some(deadline) = self.deadline {
            wait = wait.min(deadline.saturating_duration_since(Instant::now()));
        }
        // A zero time-out would mean none at all.
        let wait = wait.max(Duration::from_millis(1));
        let set = self.timeout.is_some_and(|set| set.abs_diff(wait) < Duration::from_millis(1));
        if !set && self.outbound.stream().set_read_timeout(Some(wait)).is_ok() {
            self.timeout = Some(wait);
        }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // A client that sends a byte now and then must not outlive its deadline.
        if self.is_overdue() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.fault().is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // Nor may a client that was closed, and answers with anything but its close frame.
        if self.outbound.is_closing() {
            let until = *self.closing.get_or_insert_with(|| Instant::now() + GOODBYE);
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let n = match self.outbound.stream().read(buf) {
            // A stopped process that continues is interrupted here (signal(7)). That counts as a time-out, after which
            // it reads again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(io::ErrorKind::WouldBlock.into()),
            read => read,
        }?;
        self.heard = Instant::now();
        match self.framing.check(&buf[..n]) {
            // Zero bytes would mean the end of the connection.
            0 if n > 0 => Err(io::ErrorKind::InvalidData.into()),
            sound => Ok(sound),
        }
    }
}

impl Write for Wire<'_> {
    /// Takes one whole frame: tungstenite's write buffer is off, so it writes frames one by one.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        let bytes = Bytes::copy_from_slice(frame);
        if frame::is_close(frame) {
            self.outbound.send_close(&bytes);
        } else {
            self.outbound.send(&bytes);
        }
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
