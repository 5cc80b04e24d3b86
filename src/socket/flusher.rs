//! One thread that writes what sockets did not take at once, as soon as they take it.
//!
//! It watches only sockets with something waiting, so on a healthy server it sleeps.

use super::{memory, outbound::Outbound};
use crate::vital;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, Timespec, epoll, eventfd},
    fd::OwnedFd,
    io::{Errno, read, write},
};
use std::{
    cmp::Reverse,
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How often stalled members are looked for.
const STALL_CHECK: Duration = Duration::from_millis(250);

/// A member with less waiting than this is not dropped to save memory: it reads, and dropping it would free little.
const WORTH_IT: usize = 4096;

/// The number that tells the flusher that too much waits; no socket has it.
const TOO_MUCH: u64 = 0;

/// Watches sockets that would block.
pub struct Flusher {
    epoll: OwnedFd,
    /// How many bytes the frames that wait for sockets may take.
    budget: usize,
    /// Wakes the flusher when they take more. `said` is true from then until the flusher has looked.
    too_much: OwnedFd,
    said: AtomicBool,
    /// By number; bounded by the number of open sockets.
    watched: Mutex<HashMap<u64, Arc<Outbound>>>,
    /// Members that were dropped because they do not read.
    pub dropped: Counter,
}

impl Flusher {
    /// Starts the flusher's thread, which lives as long as the process. `budget` is how many bytes may wait for all
    /// sockets together.
    pub fn start(budget: usize) -> io::Result<Arc<Flusher>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let too_much = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &too_much, epoll::EventData::new_u64(TOO_MUCH), epoll::EventFlags::IN)?;
        let flusher = Arc::new(Flusher {
            epoll,
            budget,
            too_much,
            said: AtomicBool::new(false),
            watched: Mutex::default(),
            dropped: Counter::default(),
        });
        let runner = flusher.clone();
        vital::spawn("flusher", move || runner.run())?;
        Ok(flusher)
    }

    /// How many bytes wait, and for how many sockets.
    pub fn waiting(&self) -> (usize, usize) {
        // Not under the table's lock: a queue's lock must be taken before it.
        let all: Vec<_> = self.watched.lock().values().cloned().collect();
        let waiting = all.iter().map(|outbound| outbound.waiting()).filter(|bytes| *bytes > 0);
        waiting.fold((0, 0), |(bytes, sockets), more| (bytes + more, sockets + 1))
    }

    /// How many bytes may wait for all sockets together.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Has the flusher drop members if too much waits in all. Called when more waits.
    pub(super) fn look_at_memory(&self) {
        if memory::held() > self.budget && !self.said.swap(true, Ordering::Relaxed) {
            // Never fails: the counter is far from full.
            let _ = write(&self.too_much, &1_u64.to_ne_bytes());
        }
    }

    /// Watches `outbound` until nothing waits for it. Called with its queue's lock held.
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
            // The stall check still finds the socket, and drops the member.
            tracing::warn!(%error, "a socket can't be watched");
        }
    }

    /// Stops watching a socket. Called with its queue's lock held, by a caller that holds another handle to it.
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
                match event.data.u64() {
                    TOO_MUCH => self.relieve(),
                    id => self.flush(id),
                }
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

    /// Drops members, those with most waiting first, until an eighth of the budget is free again.
    fn relieve(&self) {
        let _ = read(&self.too_much, &mut [0; 8]);
        let all: Vec<_> = self.watched.lock().values().cloned().collect();
        let mut slowest: Vec<_> = all.iter().map(|outbound| (Reverse(outbound.waiting()), outbound)).collect();
        slowest.sort_unstable_by_key(|(waiting, outbound)| (*waiting, outbound.id()));
        let mut dropped = 0;
        for (Reverse(waiting), outbound) in slowest {
            if waiting < WORTH_IT || memory::held() <= self.budget / 8 * 7 {
                break;
            }
            outbound.drop_for_memory();
            dropped += 1;
        }
        if dropped > 0 {
            tracing::warn!(
                dropped,
                budget = self.budget,
                "too much waited for members who read slowly (MEMORY_BUDGET)"
            );
        }
        self.said.store(false, Ordering::Relaxed);
        // What came in meanwhile is checked when more waits.
    }

    fn flush(&self, id: u64) {
        let outbound = self.watched.lock().get(&id).cloned();
        if let Some(outbound) = outbound {
            outbound.flush();
        }
    }
}
