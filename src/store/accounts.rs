//! Who has an account, and which monitors it may see.

use super::error::StoreError;
use crate::message::RoomName;

/// An account's key in the Propromo table `users`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A row of the Propromo table `users`, as far as we read it.
#[derive(Clone)]
pub struct Account {
    pub id: UserId,
    pub name: String,
    pub email: String,
    /// The hash as Laravel wrote it; never logged, never sent.
    pub password_hash: String,
}

/// A row of the Propromo table `monitors`, as far as we read it. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    pub monitor_hash: String,
    pub organization_name: Option<String>,
    pub kind: Option<String>,
    pub title: Option<String>,
    pub short_description: Option<String>,
    pub public: bool,
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
    pub project_url: Option<String>,
}

/// Reads accounts and their monitors. In many-node mode these tables are another program's.
pub trait Accounts: Send + Sync {
    /// The account of this email address, whatever its case.
    fn by_email(&self, email: &str) -> Result<Option<Account>, StoreError>;

    /// The account of this number.
    fn by_id(&self, user: UserId) -> Result<Option<Account>, StoreError>;

    /// What each of these accounts calls itself, in the same order; `None` if there is no such account.
    fn display_names(&self, emails: &[&str]) -> Result<Vec<Option<String>>, StoreError>;

    /// Whether there is a monitor of this hash.
    fn is_monitor(&self, monitor_hash: &str) -> Result<bool, StoreError>;

    /// The members of the monitor of this hash with their email addresses, those with the lowest numbers first.
    fn members(&self, monitor_hash: &str, limit: usize) -> Result<Vec<(UserId, String)>, StoreError>;

    /// The monitors whose rooms `user` may enter, oldest first.
    fn monitors_of(&self, user: UserId) -> Result<Vec<Monitor>, StoreError>;

    /// What each of these accounts is to the monitor of this hash, in the same order.
    fn memberships(&self, asked: &[(UserId, &str)]) -> Result<Vec<Membership>, StoreError>;

    /// What `user` is to the monitor of this hash.
    fn membership(&self, user: UserId, monitor_hash: &str) -> Result<Membership, StoreError> {
        Ok(self.memberships(&[(user, monitor_hash)])?.pop().unwrap_or(Membership::NoAccount))
    }

    /// A number that is another one after somebody may have lost access to something.
    fn access_changes(&self) -> Result<i64, StoreError>;

    /// Has every server that uses this store look again at who is connected to it.
    fn announce_access_change(&self) -> Result<(), StoreError>;

    /// Fails if the store can't be reached (for `/readyz` and `check`).
    fn probe(&self) -> Result<(), StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    Member,
    NotAMember,
    NoSuchMonitor,
    /// There is no such account (any more): it may enter nothing.
    NoAccount,
}

impl Membership {
    /// From whether there is the account, and whether it is a member (`None`: there is no such monitor).
    pub(super) fn of(account: bool, member: Option<bool>) -> Membership {
        match (account, member) {
            (false, _) => Membership::NoAccount,
            (true, Some(true)) => Membership::Member,
            (true, Some(false)) => Membership::NotAMember,
            (true, None) => Membership::NoSuchMonitor,
        }
    }

    /// The room behind a channel's name, for an account that is this to the monitor of that name; `None`: it may not
    /// enter.
    pub fn room(self, name: &str) -> Option<RoomName> {
        match self {
            Membership::Member => Some(RoomName::monitor(name)),
            Membership::NoSuchMonitor => Some(RoomName::channel(name)),
            Membership::NotAMember | Membership::NoAccount => None,
        }
    }
}
