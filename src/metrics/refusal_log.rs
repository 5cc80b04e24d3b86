//! Decides which refusals have a line in the log and which are summed up: strangers must not fill the log.

use crate::limits::rate::subnet;
use parking_lot::Mutex;
use std::{collections::HashMap, mem, net::IpAddr, num::NonZeroU64, time::Duration};

/// How often the sums are logged.
pub const EVERY: Duration = Duration::from_secs(60);

/// How many refusals in all have a line each between two sums.
const IN_ALL: usize = 1_000;

/// How many pairs of reason and address are counted separately between two sums. Further ones are counted by reason
/// alone.
const GROUPS: usize = 1_024;

/// Counts refusals by reason and address (IPv6: by /64). The first ones of each have a line each.
pub(super) struct RefusalLog {
    /// How many of each have a line; `None`: all.
    most: Option<NonZeroU64>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    in_full: usize,
    groups: HashMap<(&'static str, IpAddr), Count>,
    others: HashMap<&'static str, u64>,
}

#[derive(Default)]
struct Count {
    told: u64,
    untold: u64,
}

/// Refusals without a line of their own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub reason: &'static str,
    /// `None`: of many addresses.
    pub client: Option<IpAddr>,
    pub count: u64,
}

impl RefusalLog {
    /// `most` is how many refusals of a reason and an address have a line each; 0: all.
    pub fn new(most: u64) -> RefusalLog {
        RefusalLog { most: NonZeroU64::new(most), counts: Mutex::default() }
    }

    /// Counts a refusal. Returns whether it has a line of its own.
    pub fn in_full(&self, reason: &'static str, client: IpAddr) -> bool {
        let Some(most) = self.most else { return true };
        let counts = &mut *self.counts.lock();
        let group = (reason, subnet(client));
        if counts.groups.len() >= GROUPS && !counts.groups.contains_key(&group) {
            *counts.others.entry(reason).or_default() += 1;
            return false;
        }
        let count = counts.groups.entry(group).or_default();
        if count.told < most.get() && counts.in_full < IN_ALL {
            count.told += 1;
            counts.in_full += 1;
            return true;
        }
        count.untold += 1;
        false
    }

    /// The refusals without a line since the last call.
    pub fn sums(&self) -> Vec<Sum> {
        let Counts { groups, others, .. } = mem::take(&mut *self.counts.lock());
        let groups = groups.into_iter().filter(|(_, count)| count.untold > 0);
        let groups = groups.map(|((reason, client), count)| Sum { reason, client: Some(client), count: count.untold });
        groups.chain(others.into_iter().map(|(reason, count)| Sum { reason, client: None, count })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn the_first_of_a_reason_and_an_address_are_told_and_the_others_summed_up() {
        let told = RefusalLog::new(2);
        let heard = |reason, client| (0..5).filter(|_| told.in_full(reason, client)).count();
        assert_eq!([heard("a", address(1)), heard("b", address(1)), heard("a", address(2))], [2, 2, 2]);
        let mut sums = told.sums();
        sums.sort_by_key(|sum| (sum.reason, sum.client));
        let sum = |reason, client| Sum { reason, client: Some(address(client)), count: 3 };
        assert_eq!(sums, [sum("a", 1), sum("a", 2), sum("b", 1)]);
        assert!(told.sums().is_empty());
        assert!(told.in_full("a", address(1)), "after each sum the first ones are told again");
    }

    #[test]
    fn any_number_of_addresses_fills_neither_log_nor_memory_and_all_are_counted() {
        let told = RefusalLog::new(10);
        let lines = (0..100_000).filter(|n| told.in_full("a", address(*n))).count();
        assert!(lines <= IN_ALL);
        assert!(told.counts.lock().groups.len() <= GROUPS);
        let sums = told.sums();
        assert!(sums.len() <= GROUPS + 1);
        assert_eq!(sums.iter().map(|sum| sum.count).sum::<u64>() + lines as u64, 100_000);
    }

    #[test]
    fn with_0_all_are_told() {
        let told = RefusalLog::new(0);
        assert!((0..1_000).all(|_| told.in_full("a", address(1))));
        assert!(told.sums().is_empty());
    }
}
