//! A few at a time, some more waiting, everybody else sent away: nothing grows.

use crate::refusal::{Reason, Refusal};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Lets a bounded number of threads work at once, and a bounded number wait for a bounded time, first come
/// first served.
pub struct Queue {
    /// Holds one unit for each that may start now.
    free: Receiver<()>,
    give_back: Sender<()>,
    waiting: AtomicUsize,
    most_waiting: usize,
    patience: Duration,
}

/// The right to work; given back when dropped.
pub struct Turn<'a> {
    queue: &'a Queue,
}

impl Queue {
    /// At least one may work, whatever `at_once` says.
    pub fn new(at_once: usize, most_waiting: usize, patience: Duration) -> Queue {
        let at_once = at_once.max(1);
        let (give_back, free) = bounded(at_once);
        for _ in 0..at_once {
            give_back.try_send(()).expect("the channel has room for as many");
        }
        Queue { free, give_back, waiting: AtomicUsize::new(0), most_waiting, patience }
    }

    /// Waits for a turn. Refuses with `unavailable` if too many wait already, or if it takes too long.
    pub fn enter(&self) -> Result<Turn<'_>, Refusal> {
        if self.free.try_recv().is_ok() {
            return Ok(Turn { queue: self });
        }
        let place = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.most_waiting).then_some(n + 1));
        if place.is_err() {
            return Err(busy());
        }
        let turn = self.free.recv_timeout(self.patience);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        turn.map(|()| Turn { queue: self }).map_err(|_| busy())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Never full: each turn gives back the unit it took.
        let _ = self.queue.give_back.try_send(());
    }
}

fn busy() -> Refusal {
    Refusal::new(Reason::Unavailable, "Too many logins at the moment; wait a little and try again.")
        .retry_after(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Barrier, thread};

    #[test]
    fn never_more_work_at_once_than_allowed() {
        let queue = Queue::new(2, 100, Duration::from_secs(60));
        let (working, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..50 {
                        let _turn = queue.enter().unwrap();
                        most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        working.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn who_finds_the_waiting_room_full_is_sent_away_at_once() {
        let queue = Queue::new(1, 0, Duration::from_secs(3600));
        let _turn = queue.enter().unwrap();
        assert_eq!(queue.enter().err().unwrap().reason, Reason::Unavailable);
    }

    #[test]
    fn who_waits_too_long_is_sent_away_and_leaves_the_place_free() {
        let queue = Queue::new(1, 1, Duration::ZERO);
        let turn = queue.enter().unwrap();
        assert!(queue.enter().is_err());
        assert!(queue.enter().is_err());
        drop(turn);
        assert!(queue.enter().is_ok());
    }

    #[test]
    fn who_waits_gets_the_turn_that_is_given_back() {
        let queue = Queue::new(1, 1, Duration::from_secs(60));
        let turn = queue.enter().unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.enter().is_ok());
            drop(turn);
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn a_panic_at_work_gives_the_turn_back() {
        let queue = Queue::new(1, 0, Duration::ZERO);
        let worker = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _turn = queue.enter().unwrap();
                    panic!("while hashing");
                })
                .join()
        });
        assert!(worker.is_err() && queue.enter().is_ok());
    }
}
