//! All open sockets of this process, so that the shutdown can close them.

use super::{close::Close, flusher::Flusher, outbound::Outbound};
use crate::config::Limits;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The pause between two groups of sockets that the shutdown closes.
const CLOSE_STEP: Duration = Duration::from_millis(20);

/// Every open WebSocket.
pub struct Sessions {
    next: AtomicU64,
    /// By number; bounded by `MAX_CONNECTIONS`.
    open: Mutex<HashMap<u64, Arc<Outbound>>>,
    flusher: Arc<Flusher>,
}

impl Sessions {
    /// Starts the flusher. `budget` is how many bytes may wait for all sockets together.
    pub fn start(budget: usize) -> io::Result<Sessions> {
        Ok(Sessions { next: AtomicU64::new(1), open: Mutex::default(), flusher: Flusher::start(budget)? })
    }

    /// How many sockets are open.
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// The flusher of all sockets.
    pub fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    /// Adds a socket. Nothing goes out before its `101`.
    pub fn open(&self, stream: TcpStream, limits: &Limits) -> Arc<Outbound> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let outbound = Outbound::new(id, stream, limits.send_queue, limits.send_stall, self.flusher.clone());
        outbound.hold();
        self.open.lock().insert(id, outbound.clone());
        outbound
    }

    /// Removes a socket.
    pub fn closed(&self, outbound: &Outbound) {
        outbound.retire();
        self.open.lock().remove(&outbound.id());
    }

    /// Sends a close frame to every socket, evenly over `spread`, and returns when all are queued. Calls `settle`
    /// before each group of sockets.
    ///
    /// Spread, because clients that are closed at the same moment all come back at the same moment.
    pub fn close_all(&self, close: Close, spread: Duration, mut settle: impl FnMut()) {
        let started = Instant::now();
        let all = self.all();
        let steps = (spread.as_millis() / CLOSE_STEP.as_millis()).max(1) as usize;
        for (n, some) in (0..).zip(all.chunks(all.len().div_ceil(steps).max(1))) {
            thread::sleep((CLOSE_STEP * n).saturating_sub(started.elapsed()));
            settle();
            for outbound in some {
                outbound.close(close);
            }
        }
    }

    /// Ends every socket at once, without a close frame.
    pub fn cut_all(&self) {
        for outbound in self.all() {
            outbound.cut();
        }
    }

    fn all(&self) -> Vec<Arc<Outbound>> {
        self.open.lock().values().cloned().collect()
    }
}
