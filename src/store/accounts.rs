//! Who has an account, and which monitors it may see.

pub use super::user_id::UserId;

use super::{
    error::StoreError,
    moderation::{Moderation, Rights},
};
use crate::message::RoomName;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Bytes of the longest email address (RFC 5321 §4.5.3.1.3, less the angle brackets).
pub const MAX_EMAIL: usize = 254;

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
pub trait Accounts: Moderation {
    /// The account of this email address, whatever its case; compared by [`same_email`](crate::likeness::same_email).
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

    /// The epoch of each of these accounts, in the same order; `None`: there is no such account.
    fn epochs(&self, users: &[UserId]) -> Result<Vec<Option<Epoch>>, StoreError>;

    fn epoch(&self, user: UserId) -> Result<Option<Epoch>, StoreError> {
        Ok(self.epochs(&[user])?.pop().flatten())
    }

    /// Begins a new epoch: all that this account has open and may open with what it was given ends.
    fn revoke(&self, user: UserId) -> Result<(), StoreError>;

    /// Who wants to enter the room of this monitor, or of this name.
    fn entrant(&self, user: UserId, monitor_hash: &str) -> Result<Entrant, StoreError>;

    /// A number that is another one after somebody may have lost access to something.
    fn access_changes(&self) -> Result<i64, StoreError>;

    /// Has every server that uses this store look again at who is connected to it.
    fn announce_access_change(&self) -> Result<(), StoreError>;

    /// Fails if the store can't be reached (for `/readyz` and `check`).
    fn probe(&self) -> Result<(), StoreError>;
}

/// A time of an account, which ends when its password is changed or its access revoked; and with it the tokens that were
/// issued in it, and what is open because of them.
///
/// A short hash of the password's hash and the number of revocations: it gives nothing away about the password, since the
/// hash below it has a salt that never leaves the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(String);

impl Epoch {
    pub(super) fn of(password_hash: &str, revocations: i64) -> Epoch {
        let digest = Sha256::new()
            .chain_update("propromo.chat/account\0")
            .chain_update(revocations.to_be_bytes())
            .chain_update(password_hash)
            .finalize();
        Epoch(URL_SAFE_NO_PAD.encode(&digest[..12]))
    }

    /// As it stands in tokens.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what was issued in the epoch that a token names is over. A token of an earlier version names none.
    pub fn ended(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| token != self.0)
    }
}

/// What an account is to a monitor, what it is called, and what it may do in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    pub membership: Membership,
    /// `None`: it has no name, or there is no such account.
    pub name: Option<Arc<str>>,
    pub rights: Rights,
}

impl Entrant {
    pub(super) fn of(name: Option<&str>, member: Option<bool>, rights: Rights) -> Entrant {
        let membership = Membership::of(name.is_some(), member);
        Entrant { membership, name: name.filter(|name| !name.trim().is_empty()).map(Into::into), rights }
    }
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
    ///
    /// What is named as Propromo names monitors is never anybody's channel.
    pub fn room(self, name: &str) -> Option<RoomName> {
        match self {
            Membership::Member => Some(RoomName::monitor(name)),
            // Or who knows the hash of a monitor could find out whether it is there.
            Membership::NoSuchMonitor if is_a_hash(name) => None,
            Membership::NoSuchMonitor => Some(RoomName::channel(name)),
            Membership::NotAMember | Membership::NoAccount => None,
        }
    }
}

/// Whether a name is a password hash (`$2y$…`, `$argon2id$…`: crypt(5)), as those are that Propromo gives to monitors.
fn is_a_hash(name: &str) -> bool {
    let parts = name.strip_prefix('$').and_then(|rest| rest.split_once('$'));
    parts.is_some_and(|(method, rest)| {
        !method.is_empty() && method.bytes().all(|b| b.is_ascii_alphanumeric()) && !rest.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_entered_by_any_account_unless_it_is_named_as_monitors_are() {
        let room = |membership: Membership, name| membership.room(name);
        assert_eq!(room(Membership::NoSuchMonitor, "lobby"), Some(RoomName::channel("lobby")));
        assert_eq!(room(Membership::NoSuchMonitor, "$5 a day"), Some(RoomName::channel("$5 a day")));
        for hash in ["$2y$12$abc", "$argon2id$v=19$m=65536"] {
            assert_eq!(room(Membership::NoSuchMonitor, hash), None, "{hash}");
            assert_eq!(room(Membership::Member, hash), Some(RoomName::monitor(hash)), "{hash}");
        }
    }
}
