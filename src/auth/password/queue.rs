//! Lets a few work at a time and some more wait, and refuses the rest: nothing grows, and nobody takes everything.
//!
//! The kinds of asker take turns. Within a kind, those with a right password lately, new ones, and those with only
//! wrong passwords take turns; among those, the addresses. When a line is full, the address with most waiters gives a
//! place to an address with fewer.

use crate::refusal::{Reason, Refusal};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    net::IpAddr,
    time::{Duration, Instant},
};

/// The client whose password is to be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub kind: Kind,
    pub standing: Standing,
    /// The unit that takes turns: an address, or an IPv6 network.
    pub address: IpAddr,
}

/// What the password is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Account,
    Room,
}

/// What is known about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gave a right password lately.
    Known,
    New,
    /// It gave only wrong passwords.
    Suspect,
}

const KINDS: usize = 2;
const STANDINGS: usize = 3;

/// How many may wait, by kind and standing. A class of pupils that logs in at the same time is 16 or more, from one
/// address.
const PLACES: [[usize; STANDINGS]; KINDS] = [[24, 24, 8], [8, 8, 4]];

/// How many may wait in all.
pub const WAITING: usize = {
    let (mut sum, mut kind) = (0, 0);
    while kind < KINDS {
        sum += PLACES[kind][0] + PLACES[kind][1] + PLACES[kind][2];
        kind += 1;
    }
    sum
};

/// Lets a bounded number of threads work, and a bounded number wait for a bounded time.
pub struct Queue {
    lines: Mutex<Lines>,
    patience: Duration,
}

/// The right to work, until it is dropped.
pub struct Turn<'a> {
    queue: &'a Queue,
}

struct Lines {
    /// How many more may start now.
    free: usize,
    next_kind: usize,
    kinds: [KindLines; KINDS],
    next_id: u64,
}

#[derive(Default)]
struct KindLines {
    next: usize,
    by_standing: [Line; STANDINGS],
}

/// The waiters with one standing. Addresses take turns: the front one is next.
#[derive(Default)]
struct Line {
    addresses: VecDeque<(IpAddr, VecDeque<Waiter>)>,
}

struct Waiter {
    id: u64,
    /// `true`: the turn has come. `false`: the place went to another.
    told: Sender<bool>,
}

impl Queue {
    /// `at_once` is how many may work; at least one may.
    pub fn new(at_once: usize, patience: Duration) -> Queue {
        let lines = Lines { free: at_once.max(1), next_kind: 0, kinds: Default::default(), next_id: 0 };
        Queue { lines: Mutex::new(lines), patience }
    }

    /// Waits for a turn. Refuses with `unavailable` if too many wait already, or if it takes too long.
    pub fn enter(&self, asker: &Asker) -> Result<Turn<'_>, Refusal> {
        let deadline = Instant::now() + self.patience;
        let (id, told) = {
            let mut lines = self.lines.lock();
            if lines.free > 0 {
                lines.free -= 1;
                return Ok(Turn { queue: self });
            }
            lines.stand(asker).ok_or_else(busy)?
        };
        let turn = told.recv_deadline(deadline).or_else(|_| {
            self.lines.lock().line(asker).leave(asker.address, id);
            // The answer may have come between the deadline and the lock.
            told.try_recv()
        });
        if turn == Ok(true) { Ok(Turn { queue: self }) } else { Err(busy()) }
    }

    /// How many threads wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let lines = self.lines.lock();
        lines.kinds.iter().flat_map(|kind| &kind.by_standing).map(Line::len).sum()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lines = self.queue.lines.lock();
        while let Some(next) = lines.next() {
            // Fails only if that thread has given up.
            if next.told.try_send(true).is_ok() {
                return;
            }
        }
        lines.free += 1;
    }
}

impl Lines {
    fn line(&mut self, asker: &Asker) -> &mut Line {
        &mut self.kinds[asker.kind as usize].by_standing[asker.standing as usize]
    }

    /// Adds a waiter to its line; `None` if the line has no place for it.
    fn stand(&mut self, asker: &Asker) -> Option<(u64, Receiver<bool>)> {
        let id = self.next_id;
        self.next_id += 1;
        let places = PLACES[asker.kind as usize][asker.standing as usize];
        let line = self.line(asker);
        if line.len() >= places {
            line.make_place_for(asker.address)?;
        }
        let (told, hears) = bounded(1);
        line.stand(asker.address, Waiter { id, told });
        Some((id, hears))
    }

    /// Removes the next waiter.
    fn next(&mut self) -> Option<Waiter> {
        for _ in 0..KINDS {
            let kind = &mut self.kinds[self.next_kind];
            self.next_kind = (self.next_kind + 1) % KINDS;
            for _ in 0..STANDINGS {
                let line = &mut kind.by_standing[kind.next];
                kind.next = (kind.next + 1) % STANDINGS;
                if let Some(waiter) = line.next() {
                    return Some(waiter);
                }
            }
        }
        None
    }
}

impl Line {
    fn len(&self) -> usize {
        self.addresses.iter().map(|(_, waiters)| waiters.len()).sum()
    }

    fn of(&mut self, address: IpAddr) -> Option<&mut VecDeque<Waiter>> {
        self.addresses.iter_mut().find(|(known, _)| *known == address).map(|(_, waiters)| waiters)
    }

    fn stand(&mut self, address: IpAddr, waiter: Waiter) {
        match self.of(address) {
            Some(waiters) => waiters.push_back(waiter),
            None => self.addresses.push_back((address, [waiter].into())),
        }
    }

    /// Removes the last waiter of the address with most of them, if that address still has no fewer than this one then
    /// gets.
    fn make_place_for(&mut self, address: IpAddr) -> Option<()> {
        let own = self.of(address).map_or(0, |waiters| waiters.len());
        let (_, most) = self.addresses.iter_mut().max_by_key(|(_, waiters)| waiters.len())?;
        if most.len() <= own + 1 {
            return None;
        }
        if let Some(last) = most.pop_back() {
            // Fails only if that thread has given up.
            let _ = last.told.try_send(false);
        }
        Some(())
    }

    fn leave(&mut self, address: IpAddr, id: u64) {
        if let Some(waiters) = self.of(address) {
            waiters.retain(|waiter| waiter.id != id);
        }
        self.addresses.retain(|(_, waiters)| !waiters.is_empty());
    }

    fn next(&mut self) -> Option<Waiter> {
        let (address, mut waiters) = self.addresses.pop_front()?;
        let next = waiters.pop_front();
        if !waiters.is_empty() {
            self.addresses.push_back((address, waiters));
        }
        next
    }
}

fn busy() -> Refusal {
    Refusal::new(
        Reason::Unavailable,
        "Too many passwords are being checked at the moment; wait a little and try again.",
    )
    .retry_after(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Barrier,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
    };

    const LONG: Duration = Duration::from_secs(60);

    fn asker(kind: Kind, standing: Standing, last: u8) -> Asker {
        Asker { kind, standing, address: [192, 0, 2, last].into() }
    }

    fn anybody() -> Asker {
        asker(Kind::Account, Standing::New, 1)
    }

    /// The order in which askers get their turns. They queue one after the other while a turn is taken.
    fn order(askers: &[Asker]) -> Vec<Asker> {
        let queue = Queue::new(1, LONG);
        let turn = queue.enter(&anybody()).unwrap();
        let (served, order) = mpsc::channel();
        thread::scope(|scope| {
            for (n, asker) in askers.iter().enumerate() {
                let (queue, served) = (&queue, served.clone());
                scope.spawn(move || {
                    let _turn = queue.enter(asker).unwrap();
                    served.send(*asker).unwrap();
                });
                while queue.waiting() <= n {
                    thread::yield_now();
                }
            }
            drop(turn);
        });
        drop(served);
        order.iter().collect()
    }

    #[test]
    fn never_more_work_at_once_than_allowed() {
        let queue = Queue::new(2, LONG);
        let (working, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..50 {
                        let _turn = queue.enter(&anybody()).unwrap();
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
    fn kinds_standings_and_addresses_take_turns() {
        use Kind::{Account, Room};
        use Standing::{Known, New, Suspect};
        let flood = asker(Room, Known, 1);
        let account = asker(Account, New, 2);
        let order = order(&[flood, flood, flood, flood, account, account]);
        assert!(order[..4].iter().filter(|asker| asker.kind == Account).count() >= 2, "{order:?}");

        let (first, second) = (asker(Account, New, 1), asker(Account, New, 2));
        assert_eq!(super::tests::order(&[first, first, first, second]), [first, second, first, first]);

        let suspect = asker(Account, Suspect, 3);
        let order = super::tests::order(&[suspect, suspect, suspect, first]);
        assert!(order[..2].contains(&first), "{order:?}");
    }

    #[test]
    fn in_a_full_line_who_has_most_makes_place_for_who_has_less() {
        let queue = Queue::new(1, LONG);
        let turn = queue.enter(&anybody()).unwrap();
        let places = PLACES[Kind::Account as usize][Standing::New as usize];
        thread::scope(|scope| {
            let greedy: Vec<_> =
                (0..places).map(|_| scope.spawn(|| queue.enter(&anybody()).map(drop).is_ok())).collect();
            while queue.waiting() < places {
                thread::yield_now();
            }
            assert!(queue.enter(&anybody()).is_err(), "the line is full for the one who fills it");
            let other = scope.spawn(|| queue.enter(&asker(Kind::Account, Standing::New, 2)).map(drop).is_ok());
            while !greedy.iter().any(|waiter| waiter.is_finished()) {
                thread::yield_now();
            }
            drop(turn);
            assert!(other.join().unwrap());
            let served = greedy.into_iter().map(|waiter| waiter.join().unwrap());
            assert_eq!(served.filter(|served| *served).count(), places - 1);
        });
    }

    #[test]
    fn who_waits_too_long_is_sent_away_and_leaves_the_place_free() {
        let queue = Queue::new(1, Duration::ZERO);
        let turn = queue.enter(&anybody()).unwrap();
        assert!(queue.enter(&anybody()).is_err());
        assert_eq!(queue.waiting(), 0);
        drop(turn);
        assert!(queue.enter(&anybody()).is_ok());
    }

    #[test]
    fn a_panic_at_work_gives_the_turn_back() {
        let queue = Queue::new(1, Duration::ZERO);
        let worker = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _turn = queue.enter(&anybody()).unwrap();
                    panic!("while hashing");
                })
                .join()
        });
        assert!(worker.is_err() && queue.enter(&anybody()).is_ok());
    }
}
