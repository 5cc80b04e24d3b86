//! How much one account may send over all its connections.

use crate::store::accounts::UserId;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

/// An account may send as much as so many connections.
const CONNECTIONS_OF_ONE_ACCOUNT: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// How many seconds' worth may come at once.
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// After this time without a connection an account's quota is full again, so nothing needs to be remembered.
const REFILLED: Duration = Duration::from_secs(BURST.get() as u64);

/// The rates of accounts that have a connection, or had one a moment ago.
pub struct AccountMessages {
    quota: Option<Quota>,
    table: Arc<Mutex<Table>>,
}

/// What a connection shares with the others of its account. A look at it takes no lock.
pub struct AccountShare {
    account: UserId,
    rate: Arc<DefaultDirectRateLimiter>,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    accounts: HashMap<UserId, Rate>,
    /// The number of entries after the last sweep.
    swept: usize,
}

struct Rate {
    rate: Arc<DefaultDirectRateLimiter>,
    connections: usize,
    /// When the last connection ended.
    left: Instant,
}

impl AccountMessages {
    /// `rate` is in messages per second of one connection; `None`: no limit.
    pub fn a_second(rate: Option<NonZeroU32>) -> AccountMessages {
        let quota = |rate: NonZeroU32| {
            let rate = rate.saturating_mul(CONNECTIONS_OF_ONE_ACCOUNT);
            Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST))
        };
        AccountMessages { quota: rate.map(quota), table: Arc::default() }
    }

    /// Counts a connection of this account from now on, until the share is dropped. `None`: there is no limit.
    pub fn share(&self, account: UserId) -> Option<AccountShare> {
        let quota = self.quota?;
        let mut table = self.table.lock();
        table.sweep();
        let made = || Rate { rate: Arc::new(RateLimiter::direct(quota)), connections: 0, left: Instant::now() };
        let known = table.accounts.entry(account).or_insert_with(made);
        known.connections += 1;
        Some(AccountShare { account, rate: known.rate.clone(), table: self.table.clone() })
    }
}

impl AccountShare {
    /// Counts a message, if the account may send one more now.
    pub fn may_send(&self) -> bool {
        self.rate.check().is_ok()
    }
}

impl Drop for AccountShare {
    fn drop(&mut self) {
        if let Some(known) = self.table.lock().accounts.get_mut(&self.account) {
            known.connections -= 1;
            known.left = Instant::now();
        }
    }
}

impl Table {
    /// Forgets accounts without connections, each time that the table has doubled.
    fn sweep(&mut self) {
        if self.accounts.len() > 2 * self.swept + 64 {
            self.accounts.retain(|_, known| known.connections > 0 || known.left.elapsed() < REFILLED);
            self.swept = self.accounts.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(share: &AccountShare, tries: usize) -> usize {
        (0..tries).filter(|_| share.may_send()).count()
    }

    #[test]
    fn all_connections_of_an_account_share_what_ten_may_send() {
        let rates = AccountMessages::a_second(NonZeroU32::new(2));
        let connections: Vec<AccountShare> = (0..20).filter_map(|_| rates.share(UserId(1))).collect();
        let sent_by_all: usize = connections.iter().map(|share| sent(share, 50)).sum();
        assert!((100..120).contains(&sent_by_all), "{sent_by_all}");
        assert_eq!(sent(&rates.share(UserId(2)).unwrap(), 50), 50, "another account");
        // Who comes back finds no full quota.
        drop(connections);
        assert!(sent(&rates.share(UserId(1)).unwrap(), 100) < 20);
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        assert!(AccountMessages::a_second(None).share(UserId(1)).is_none());
    }

    #[test]
    fn who_has_left_long_ago_is_forgotten_and_who_is_here_is_not() {
        let rates = AccountMessages::a_second(NonZeroU32::new(2));
        let here = rates.share(UserId(0));
        (1..200).for_each(|account| drop(rates.share(UserId(account))));
        for known in rates.table.lock().accounts.values_mut() {
            known.left -= REFILLED;
        }
        (200..1000).for_each(|account| drop(rates.share(UserId(account))));
        let table = rates.table.lock();
        assert!(table.accounts.contains_key(&UserId(0)) && !table.accounts.contains_key(&UserId(1)));
        drop(table);
        drop(here);
    }
}
