//! Moves bytes between the encrypted socket and the plain one behind it, on a thread of its own.
//!
//! The contract, to be kept by changes of this file:
//!
//! 1. Nothing is read from one side while earlier bytes from it wait for the other. So at most one read's worth is
//!    held in each direction, and a client that does not read is noticed where queues are bounded.
//! 2. It never waits with something to do, and never runs with nothing to do. A side without interest, or one that has
//!    hung up, is not polled.
//! 3. The end of one side becomes the end of the other, after everything before it.
//! 4. It ends when both sides have ended. After the server has hung up, it also ends when the client takes nothing for
//!    the stall time, or has taken everything and does not hang up for [`LINGER`].

use crate::vital;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use rustls::ServerConnection;
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many bytes are read from the server at a time.
const CHUNK: usize = 8 * 1024;
/// How many chunks are encrypted before they are sent. rustls takes 64 KiB.
const CHUNKS: usize = 4;
/// How long a client may take to hang up after it has been sent everything.
const LINGER: Duration = Duration::from_secs(1);

pub struct Pump {
    /// The client's socket, non-blocking.
    outside: TcpStream,
    /// The server's socket, non-blocking.
    inside: Arc<UnixStream>,
    tls: ServerConnection,
    /// Bytes of the client that the server has not taken yet.
    inward: Vec<u8>,
    /// How much of `inward` the server has taken.
    taken: usize,
    /// Whether the client will send no more.
    outside_ended: bool,
    /// Whether the server takes no more.
    inside_deaf: bool,
    /// Whether the server will send no more.
    inside_ended: bool,
    /// Whether the server has hung up in both directions; it is not polled any more.
    inside_gone: bool,
    /// Whether the client has been sent everything, the end included.
    said_all: bool,
    stall: Duration,
    /// When the client last took something, or when the server hung up.
    progress: Instant,
}

impl Pump {
    /// `stall` is how long a client may take nothing after the server has hung up.
    pub fn new(outside: TcpStream, inside: Arc<UnixStream>, mut tls: ServerConnection, stall: Duration) -> Pump {
        // The client's end may have come with the end of the handshake, like a first request.
        let outside_ended = tls.process_new_packets().is_ok_and(|state| state.peer_has_closed());
        Pump {
            outside,
            inside,
            tls,
            inward: Vec::new(),
            taken: 0,
            outside_ended,
            inside_deaf: false,
            inside_ended: false,
            inside_gone: false,
            said_all: false,
            stall,
            progress: Instant::now(),
        }
    }

    /// Runs until the connection ends. Calls `said_all` when nothing is left to send.
    pub fn run(mut self, said_all: impl FnOnce()) {
        let mut said_all = Some(said_all);
        // A failure of one side ends both: dropping the sockets closes them.
        while self.send().is_ok() {
            vital::may_panic("tls");
            if self.said_all
                && let Some(said_all) = said_all.take()
            {
                said_all();
            }
            if (self.said_all && self.outside_ended) || !self.receive().is_ok_and(|in_time| in_time) {
                return;
            }
        }
    }

    /// Passes on everything that the other sides take now.
    fn send(&mut self) -> io::Result<()> {
        self.decrypted()?;
        self.write_inside();
        self.write_outside()
    }

    /// Waits for more bytes, and takes them; `false` if the client's time is over.
    fn receive(&mut self) -> io::Result<bool> {
        let Some(ready) = self.wait()? else { return Ok(false) };
        if ready.outside {
            self.read_outside()?;
        }
        if ready.inside {
            self.read_inside()?;
        }
        Ok(true)
    }

    /// Waits until a side is ready; `None` if that takes too long.
    fn wait(&mut self) -> io::Result<Option<Ready>> {
        let sending = self.tls.wants_write();
        let (mut outer, mut inner) = (PollFlags::empty(), PollFlags::empty());
        outer.set(PollFlags::IN, !self.outside_ended && self.inward.is_empty());
        outer.set(PollFlags::OUT, sending);
        inner.set(PollFlags::IN, !self.inside_ended && !sending);
        inner.set(PollFlags::OUT, !self.inward.is_empty());
        let patience = self.patience();
        // A wait that is too long for a Timespec counts as endless.
        let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let mut fds = [PollFd::new(&self.outside, outer), PollFd::new(&*self.inside, inner)];
        // `poll` always reports a hang-up. Once it is known, and nothing is to be read, it would end every wait at
        // once.
        let polled = if self.inside_gone && inner.is_empty() { &mut fds[..1] } else { &mut fds[..] };
        match poll(polled, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let (outer_is, inner_is) = (fds[0].revents(), fds[1].revents());
        let over = PollFlags::ERR | PollFlags::NVAL;
        let hung_up = PollFlags::HUP | over;
        if outer_is.intersects(over) || (outer_is.contains(PollFlags::HUP) && !outer.contains(PollFlags::IN)) {
            // Reset, or closed in both directions with nothing left to read.
            return Err(ErrorKind::ConnectionReset.into());
        }
        if inner_is.intersects(hung_up) && !self.inside_gone {
            self.inside_gone = true;
            self.progress = Instant::now();
        }
        if patience.is_some_and(|_| self.patience().is_some_and(|left| left.is_zero())) {
            return Ok(None);
        }
        let readable = PollFlags::IN | PollFlags::HUP;
        Ok(Some(Ready {
            outside: outer.contains(PollFlags::IN) && outer_is.intersects(readable),
            inside: inner.contains(PollFlags::IN) && inner_is.intersects(readable | over),
        }))
    }

    /// How long the client may still take; `None` while the server bounds that itself.
    fn patience(&self) -> Option<Duration> {
        let patience = if self.said_all { LINGER } else { self.stall };
        self.inside_gone.then(|| patience.saturating_sub(self.progress.elapsed()))
    }

    fn read_outside(&mut self) -> io::Result<()> {
        match self.tls.read_tls(&mut &self.outside) {
            // Most clients end without the alert that RFC 8446 §6.1 requires. HTTP and WebSocket have ends of their
            // own.
            Ok(0) => self.outside_ended = true,
            Ok(_) => {}
            Err(error) if is_later(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        match self.tls.process_new_packets() {
            Ok(state) => self.outside_ended |= state.peer_has_closed(),
            Err(error) => {
                // Sends the alert, if the socket takes it.
                let _ = self.tls.write_tls(&mut &self.outside);
                return Err(io::Error::other(error));
            }
        }
        Ok(())
    }

    /// Takes decrypted bytes, if all earlier ones are passed on.
    fn decrypted(&mut self) -> io::Result<()> {
        if !self.inward.is_empty() {
            return Ok(());
        }
        let mut chunk = [0; CHUNK];
        loop {
            match self.tls.reader().read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(_) if self.inside_deaf => {}
                Ok(length) => self.inward.extend_from_slice(&chunk[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::UnexpectedEof) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn write_inside(&mut self) {
        while self.taken < self.inward.len() && !self.inside_deaf {
            match (&*self.inside).write(&self.inward[self.taken..]) {
                Ok(length) => self.taken += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The server has ended its reading side, but may still send.
                Err(_) => self.inside_deaf = true,
            }
        }
        // The memory is released: a waiting connection should cost next to nothing.
        self.inward = Vec::new();
        self.taken = 0;
        if self.outside_ended && !self.inside_deaf {
            self.inside_deaf = true;
            let _ = self.inside.shutdown(Shutdown::Write);
        }
    }

    fn read_inside(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        for _ in 0..CHUNKS {
            match (&*self.inside).read(&mut chunk) {
                Ok(0) => return self.end_of_inside(),
                Ok(length) => self.tls.writer().write_all(&chunk[..length])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The server closed its end with unread bytes.
                Err(_) => return self.end_of_inside(),
            }
        }
        Ok(())
    }

    fn end_of_inside(&mut self) -> io::Result<()> {
        self.inside_ended = true;
        self.tls.send_close_notify();
        Ok(())
    }

    fn write_outside(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &self.outside) {
                Ok(_) => self.progress = Instant::now(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.inside_ended && !self.said_all {
            self.said_all = true;
            self.progress = Instant::now();
            self.outside.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

struct Ready {
    outside: bool,
    inside: bool,
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
