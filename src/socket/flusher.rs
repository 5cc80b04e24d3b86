//! One thread that writes out what sockets did not take at once, when they take it.
//!
//! Only sockets with something waiting are watched, so a healthy server's flusher sleeps.

use super::outbound::Outbound;
use crate::vital;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::OwnedFd,
    io::Errno,
};
use std::{collections::HashMap, io, sync::Arc, thread, time::Duration};

/// How often stalled members are looked for.
const STALL_CHECK: Duration = Duration::from_millis(250);

/// Watches sockets that would block.
pub struct Flusher {
    epoll: OwnedFd,
    /// Bounded by the number of open sockets.
    watched: Mutex<HashMap<u64, Arc<Outbound>>>,
    /// Members that were dropped because they don't read.
    pub dropped: Counter,
}

impl Flusher {
    /// Starts the flusher's thread, which lives as long as the process.
    pub fn start() -> io::Result<Arc<Flusher>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flusher = Arc::new(Flusher { epoll, watched: Mutex::default(), dropped: Counter::default() });
        let runner = flusher.clone();
        vital::spawn("flusher", move || runner.run())?;
        Ok(flusher)
    }

    /// How many bytes wait, and for how many sockets.
    pub fn waiting(&self) -> (usize, usize) {
        // Not under the table's lock, which comes after a queue's.
        let all: Vec<_> = self.watched.lock().values().cloned().collect();
        let waiting = all.iter().map(|outbound| outbound.waiting()).filter(|bytes| *bytes > 0);
        waiting.fold((0, 0), |(bytes, sockets), more| (bytes + more, sockets + 1))
    }

    /// Watches `outbound` until it has nothing waiting. Called with its queue's lock held.
    pub(super) fn watch(&self, outbound: &Arc<Outbound>) {
        let flags = epoll::EventFlags::OUT | epoll::EventFlags::ONESHOT;
        let data = epoll::EventData::new_u64(outbound.id());
        self.watched.lock().insert(outbound.id(), outbound.clone());
        let stream = outbound.stream();
        let watched = match epoll::add(&self.epoll, stream, data, flags) {
            Err(Errno::EXIST) => epoll::modify(&self.epoll, stream, data, flags),
            other => other,
        };
        if let Err(error) = watched {
            // The stall check still finds it, and drops it.
            tracing::warn!(%error, "a socket can't be watched");
        }
    }

    /// Lets go of a socket. Called with its queue's lock held, by one who holds another handle to it.
    pub(super) fn forget(&self, id: u64) {
        self.watched.lock().remove(&id);
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(256);
        let wait = Timespec { tv_sec: 0, tv_nsec: STALL_CHECK.subsec_nanos().into() };
        let mut checked = std::time::Instant::now();
        loop {
            vital::may_panic("flusher");
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the flusher can't wait for sockets");
                    thread::sleep(STALL_CHECK);
                }
            }
            for event in events.drain(..) {
                self.flush(event.data.u64());
            }
            if checked.elapsed() >= STALL_CHECK {
                checked = std::time::Instant::now();
                let all: Vec<_> = self.watched.lock().values().cloned().collect();
                for outbound in all {
                    outbound.drop_if_stalled();
                }
            }
        }
    }

    fn flush(&self, id: u64) {
        let outbound = self.watched.lock().get(&id).cloned();
        if let Some(outbound) = outbound {
            outbound.flush();
        }
    }
}
