//! Turns for reading history: a few readers at a time; the others take turns by account or address.
//!
//! A claimant with very many connections that all want all history has one turn in each round, like everybody else. So
//! a newcomer waits for what is being read now, not for everything that others want to read.

use super::rate::subnet;
use crate::store::accounts::UserId;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque, hash_map},
    net::IpAddr,
};

/// The unit that takes turns: an account, or an address where nobody has an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claimant {
    Account(UserId),
    Address(IpAddr),
}

impl Claimant {
    /// A client without an account.
    pub fn of(client: IpAddr) -> Claimant {
        Claimant::Address(subnet(client))
    }
}

/// Lets a bounded number of readers read at once.
pub struct Turns {
    state: Mutex<State>,
}

/// The right to read a page; dropping it passes it on. Never hold it while waiting for a socket.
pub struct Turn<'a> {
    turns: &'a Turns,
}

struct State {
    /// How many more may start now.
    free: usize,
    /// At most as many wait as there are connections.
    lines: HashMap<Claimant, VecDeque<Sender<()>>>,
    /// The order of the lines; each is in it once.
    next: VecDeque<Claimant>,
}

impl Turns {
    /// `at_once` is how many may read; at least one may.
    pub fn new(at_once: usize) -> Turns {
        Turns { state: Mutex::new(State { free: at_once.max(1), lines: HashMap::new(), next: VecDeque::new() }) }
    }

    /// Waits for a turn.
    pub fn wait(&self, claimant: Claimant) -> Turn<'_> {
        let told = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn { turns: self };
            }
            state.stand(claimant)
        };
        // Never fails: a waiter is taken out of its line when it is told, and each turn that ends is passed on.
        let _ = told.recv();
        Turn { turns: self }
    }

    /// How many readers wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().lines.values().map(VecDeque::len).sum()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state.lock();
        match state.take_next() {
            // Never fails: the receiver waits, and is told only once.
            Some(told) => _ = told.try_send(()),
            None => state.free += 1,
        }
    }
}

impl State {
    fn stand(&mut self, claimant: Claimant) -> Receiver<()> {
        let (told, hears) = bounded(1);
        let line = self.lines.entry(claimant).or_default();
        if line.is_empty() {
            self.next.push_back(claimant);
        }
        line.push_back(told);
        hears
    }

    fn take_next(&mut self) -> Option<Sender<()>> {
        let claimant = self.next.pop_front()?;
        let hash_map::Entry::Occupied(mut line) = self.lines.entry(claimant) else { return None };
        let told = line.get_mut().pop_front();
        if line.get().is_empty() {
            line.remove();
        } else {
            self.next.push_back(claimant);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, thread};

    const GREEDY: Claimant = Claimant::Account(UserId(1));
    const OTHER: Claimant = Claimant::Account(UserId(2));
    const GUEST: Claimant = Claimant::Address(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    /// The order in which readers get their turns. They queue one after the other while a turn is taken.
    fn order(readers: &[Claimant]) -> Vec<Claimant> {
        let turns = Turns::new(1);
        let turn = turns.wait(GREEDY);
        let (served, order) = mpsc::channel();
        thread::scope(|scope| {
            for (n, claimant) in readers.iter().enumerate() {
                let (turns, served) = (&turns, served.clone());
                scope.spawn(move || {
                    let _turn = turns.wait(*claimant);
                    served.send(*claimant).unwrap();
                });
                while turns.waiting() <= n {
                    thread::yield_now();
                }
            }
            drop(turn);
        });
        assert_eq!((turns.waiting(), turns.state.lock().free), (0, 1));
        assert!(turns.state.lock().lines.is_empty());
        drop(served);
        order.iter().collect()
    }

    // Seen to fail with all in one line: the others come last.
    #[test]
    fn who_has_many_connections_has_one_turn_in_each_round() {
        let order = order(&[GREEDY, GREEDY, GREEDY, GREEDY, OTHER, GUEST, OTHER]);
        assert_eq!(order, [GREEDY, OTHER, GUEST, GREEDY, OTHER, GREEDY, GREEDY]);
    }

    #[test]
    fn no_more_read_at_once_than_may_and_nobody_waits_while_there_is_a_turn() {
        let turns = Turns::new(2);
        let held = [turns.wait(GREEDY), turns.wait(GREEDY)];
        thread::scope(|scope| {
            let third = scope.spawn(|| drop(turns.wait(OTHER)));
            while turns.waiting() == 0 {
                thread::yield_now();
            }
            drop(held);
            third.join().unwrap();
        });
        assert_eq!(turns.state.lock().free, 2);
    }

    #[test]
    fn a_panic_while_reading_gives_the_turn_on() {
        let turns = Turns::new(1);
        let reader = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _turn = turns.wait(GREEDY);
                    panic!("while reading");
                })
                .join()
        });
        assert!(reader.is_err());
        drop(turns.wait(OTHER));
    }
}
