//! How much memory large answers take while they are made, before their clients are sent anything.

use super::turns::Claimant;
use crate::refusal::{Reason, Refusal};
use parking_lot::Mutex;
use std::{collections::HashMap, time::Duration};

/// All of them may take this part of `MEMORY_BUDGET`: an eighth.
const SHARE: usize = 8;

/// One claimant may cause this part of that: a quarter.
const SHARE_OF_CLAIMANT: usize = 4;

/// One that is no longer is never refused: no more are made at a time than there are workers.
const SMALL: usize = 64 << 10;

/// When to come back: others are made by then.
const LATER: Duration = Duration::from_secs(1);

/// Bounds the answers that are being made. One that is made alone is never refused, nor is one of a claimant that has no
/// other, unless there is no memory left.
pub struct Making {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_claimant: HashMap<Claimant, usize>,
}

/// What one answer takes so far; dropping this returns it.
pub struct Made<'a> {
    making: &'a Making,
    claimant: Claimant,
    bytes: usize,
}

impl Making {
    /// `budget`: how many bytes may wait for all clients together.
    pub fn new(budget: usize) -> Making {
        Making { most: budget / SHARE, held: Mutex::default() }
    }

    /// Begins an answer, which takes nothing yet.
    pub fn begin(&self, claimant: Claimant) -> Made<'_> {
        Made { making: self, claimant, bytes: 0 }
    }

    /// How many bytes all of them take.
    pub fn held(&self) -> usize {
        self.held.lock().all
    }
}

impl Made<'_> {
    /// Notes that the answer has grown to so many bytes, or refuses it.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let most = self.making.most;
        let mut held = self.making.held.lock();
        let own = held.by_claimant.get(&self.claimant).copied().unwrap_or(0);
        let is_alone = held.all == self.bytes;
        let is_own_first = own == self.bytes;
        let fits = held.all + more <= most && (is_own_first || own + more <= most / SHARE_OF_CLAIMANT);
        if bytes > SMALL && !is_alone && !fits {
            let sentence = "Too many large answers are being made at the moment; try again.";
            return Err(Refusal::new(Reason::Overloaded, sentence).retry_after(LATER));
        }
        held.all += more;
        held.by_claimant.insert(self.claimant, own + more);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let mut held = self.making.held.lock();
        held.all -= self.bytes;
        if let Some(own) = held.by_claimant.get_mut(&self.claimant) {
            *own -= self.bytes;
            if *own == 0 {
                held.by_claimant.remove(&self.claimant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::accounts::UserId;

    const MIB: usize = 1 << 20;

    fn claimant(n: i64) -> Claimant {
        Claimant::Account(UserId(n))
    }

    // Seen to fail where nothing is counted.
    #[test]
    fn all_together_stay_within_their_part_and_give_it_back() {
        let making = Making::new(64 * MIB);
        let mut made: Vec<Made<'_>> = (0..20).map(|n| making.begin(claimant(n))).collect();
        let fit = made.iter_mut().filter_map(|made| made.grow_to(MIB).ok()).count();
        assert_eq!((fit, making.held()), (8, 8 * MIB));
        assert_eq!(made[9].grow_to(MIB).unwrap_err().reason, Reason::Overloaded);
        drop(made);
        assert_eq!(making.held(), 0);
        assert!(making.held.lock().by_claimant.is_empty());
    }

    #[test]
    fn one_account_leaves_most_to_others() {
        let making = Making::new(64 * MIB);
        let mut made: Vec<Made<'_>> = (0..20).map(|_| making.begin(claimant(1))).collect();
        let fit = made.iter_mut().filter_map(|made| made.grow_to(MIB).ok()).count();
        assert_eq!(fit, 2);
        let mut other = making.begin(claimant(2));
        assert!(other.grow_to(4 * MIB).is_ok(), "its first one may have more than a quarter");
    }

    #[test]
    fn an_answer_of_any_length_can_be_made_alone() {
        let making = Making::new(0);
        let mut alone = making.begin(claimant(1));
        alone.grow_to(MIB).unwrap();
        alone.grow_to(50 * MIB).unwrap();
        let mut other = making.begin(claimant(2));
        assert!(other.grow_to(SMALL).is_ok() && other.grow_to(MIB).is_err());
        drop(alone);
        assert!(other.grow_to(MIB).is_ok());
    }
}
