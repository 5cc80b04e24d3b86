//! Decides which rooms are compared next with what the store says: all in turn, as often as a bounded rate allows.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

/// Cost that may be spent per second: a room costs [`ROOM`], and one for each of its users. For rooms of ten that is 66
/// rooms a second, so 10,000 such rooms take two and a half minutes.
const RATE: f64 = 2_000.0;
const ROOM: usize = 20;

/// The shortest time between two comparisons of a room.
pub(super) const AGAIN: Duration = Duration::from_secs(3);

/// Rooms compared in one round trip.
pub(super) const BATCH: usize = 500;

pub(super) struct Round<K> {
    turns: VecDeque<(K, Instant)>,
    /// The rooms in `turns`: each has one turn, however often it becomes empty and comes again before that.
    known: HashSet<K>,
    /// The cost that may be spent now.
    purse: f64,
    filled: Instant,
}

impl<K> Default for Round<K> {
    fn default() -> Self {
        Round { turns: VecDeque::new(), known: HashSet::new(), purse: 0.0, filled: Instant::now() }
    }
}

impl<K: Clone + Eq + Hash> Round<K> {
    /// Adds a room at the end, unless it has a turn already.
    pub fn push(&mut self, room: K) {
        if self.known.insert(room.clone()) {
            self.turns.push_back((room, Instant::now()));
        }
    }

    /// Takes the rooms whose turn it is, at most a batch, and adds them at the end again. `users`: how many users a
    /// room has; `None` if the room is gone.
    pub fn next(&mut self, users: impl Fn(&K) -> Option<usize>) -> Vec<K> {
        let now = Instant::now();
        self.purse = (self.purse + RATE * (now - self.filled).as_secs_f64()).min(RATE);
        self.filled = now;
        let mut due = Vec::new();
        while self.purse > 0.0
            && due.len() < BATCH
            && let Some((room, _)) = self.turns.pop_front_if(|(_, since)| now - *since >= AGAIN)
        {
            if let Some(users) = users(&room) {
                self.spend(users);
                self.turns.push_back((room.clone(), now));
                due.push(room);
            } else {
                self.known.remove(&room);
            }
        }
        due
    }

    /// Spends on a room out of turn; `false` if nothing is left to spend.
    pub fn spend(&mut self, users: usize) -> bool {
        let may = self.purse > 0.0;
        self.purse -= (ROOM + users) as f64;
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of this many rooms, all of which are due.
    fn round(rooms: usize) -> Round<usize> {
        let before = Instant::now() - AGAIN;
        let turns = (0..rooms).map(|room| (room, before)).collect();
        Round { turns, known: (0..rooms).collect(), purse: RATE, filled: Instant::now() }
    }

    #[test]
    fn each_has_its_turn_and_not_again_at_once() {
        let mut round = round(3);
        assert_eq!(round.next(|_| Some(1)), [0, 1, 2]);
        assert!(round.next(|_| Some(1)).is_empty());
        assert_eq!(round.turns.len(), 3);
    }

    #[test]
    fn those_that_are_no_more_are_taken_out() {
        let mut round = round(3);
        assert_eq!(round.next(|room| (*room != 1).then_some(1)), [0, 2]);
        assert_eq!((round.turns.len(), round.known.len()), (2, 2));
    }

    // Seen to fail without `known`: whoever enters and leaves a room again and again made it as many turns.
    #[test]
    fn a_room_that_comes_again_before_its_turn_has_one() {
        let mut round = round(1);
        for _ in 0..1000 {
            round.push(0);
        }
        assert_eq!(round.next(|_| Some(1)), [0]);
        assert_eq!(round.turns.len(), 1);
        round.turns[0].1 -= AGAIN;
        assert!(round.next(|_| None).is_empty());
        round.push(0);
        assert_eq!(round.turns.len(), 1, "it was gone, and is here again");
    }

    #[test]
    fn no_more_are_compared_than_the_rate_allows_and_a_large_room_costs_more() {
        let mut many = round(10_000);
        let rooms = many.next(|_| Some(10)).len();
        assert!((60..80).contains(&rooms), "{rooms}");
        let mut large = round(10);
        assert_eq!(large.next(|_| Some(100_000)).len(), 1);
        assert!(!large.spend(1), "nothing is left");
    }
}
