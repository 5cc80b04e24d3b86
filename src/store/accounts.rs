//! The accounts, and the monitors that they may see.

pub use super::user_id::UserId;

use super::{
    error::StoreError,
    moderation::{Moderation, Rights},
};
use crate::message::RoomName;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Most bytes of an email address (RFC 5321 §4.5.3.1.3, without the angle brackets).
pub const MAX_EMAIL: usize = 254;

/// A row of the Propromo table `users`: the columns that this server reads.
#[derive(Clone)]
pub struct Account {
    pub id: UserId,
    pub name: String,
    pub email: String,
    /// The hash as Laravel wrote it. Never logged, never sent.
    pub password_hash: String,
}

/// A row of the Propromo table `monitors`: the columns that this server reads. Times are in the form of RFC 3339.
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

/// Reads accounts and their monitors. With PostgreSQL these tables belong to another program.
pub trait Accounts: Moderation {
    /// The account with this email address in any case, as [`same_email`](crate::likeness::same_email) compares.
    fn by_email(&self, email: &str) -> Result<Option<Account>, StoreError>;

    /// The account with this number.
    fn by_id(&self, user: UserId) -> Result<Option<Account>, StoreError>;

    /// The display name of each account, in the same order; `None` if there is no such account.
    fn display_names(&self, emails: &[&str]) -> Result<Vec<Option<String>>, StoreError>;

    /// Whether there is a monitor with this hash.
    fn is_monitor(&self, monitor_hash: &str) -> Result<bool, StoreError>;

    /// Up to `limit` members of the monitor with this hash and their email addresses, lowest numbers first.
    fn members(&self, monitor_hash: &str, limit: usize) -> Result<Vec<(UserId, String)>, StoreError>;

    /// The monitors whose rooms `user` may enter, oldest first.
    fn monitors_of(&self, user: UserId) -> Result<Vec<Monitor>, StoreError>;

    /// The membership of each account in the monitor with this hash, in the same order.
    fn memberships(&self, asked: &[(UserId, &str)]) -> Result<Vec<Membership>, StoreError>;

    /// The membership of `user` in the monitor with this hash.
    fn membership(&self, user: UserId, monitor_hash: &str) -> Result<Membership, StoreError> {
        Ok(self.memberships(&[(user, monitor_hash)])?.pop().unwrap_or(Membership::NoAccount))
    }

    /// The epoch of each account, in the same order; `None` if there is no such account.
    fn epochs(&self, users: &[UserId]) -> Result<Vec<Option<Epoch>>, StoreError>;

    fn epoch(&self, user: UserId) -> Result<Option<Epoch>, StoreError> {
        Ok(self.epochs(&[user])?.pop().flatten())
    }

    /// Begins a new epoch: ends all that the account has open, and all tokens and sessions that it was given.
    fn revoke(&self, user: UserId) -> Result<(), StoreError>;

    /// What an account is in the room of this monitor, or in the channel with this name.
    fn entrant(&self, user: UserId, monitor_hash: &str) -> Result<Entrant, StoreError>;

    /// A number that changes when somebody may have lost access to something.
    fn access_changes(&self) -> Result<i64, StoreError>;

    /// Changes that number by hand, so that every server that uses this store checks access again.
    fn announce_access_change(&self) -> Result<(), StoreError>;

    /// Fails if the store can't be reached (for `/readyz` and `check`).
    fn probe(&self) -> Result<(), StoreError>;
}

/// A period of an account. It ends when the account's password is changed or its access revoked. Tokens that were
/// issued in it, and connections that depend on them, end with it.
///
/// It is a short hash of the password hash and the number of revocations. It reveals nothing about the password: the
/// hash beneath it has a salt that never leaves the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(String);

impl Epoch {
    pub(crate) fn of(password_hash: &str, revocations: i64) -> Epoch {
        let digest = Sha256::new()
            .chain_update("propromo.chat/account\0")
            .chain_update(revocations.to_be_bytes())
            .chain_update(password_hash)
            .finalize();
        Epoch(URL_SAFE_NO_PAD.encode(&digest[..12]))
    }

    /// The form in tokens.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the epoch that a token names has ended. Tokens of earlier versions name none.
    pub fn ended(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| token != self.0)
    }
}

/// An account that wants to enter a room: its membership, its name, and its rights in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    pub membership: Membership,
    /// `None` if it has no name, or if there is no such account.
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
    /// There is no such account (any more); it may enter nothing.
    NoAccount,
}

impl Membership {
    /// Made from whether the account exists, and whether it is a member (`None`: there is no such monitor).
    pub(super) fn of(account: bool, member: Option<bool>) -> Membership {
        match (account, member) {
            (false, _) => Membership::NoAccount,
            (true, Some(true)) => Membership::Member,
            (true, Some(false)) => Membership::NotAMember,
            (true, None) => Membership::NoSuchMonitor,
        }
    }

    /// The room for a channel's name, if the account has this membership in the monitor of that name. `None` if it may
    /// not enter.
    ///
    /// A name in the form of a monitor's hash is never a channel.
    pub fn room(self, name: &str) -> Option<RoomName> {
        match self {
            Membership::Member => Some(RoomName::monitor(name)),
            // Otherwise anybody who knows the hash of a monitor could find out whether it exists.
            Membership::NoSuchMonitor if is_a_hash(name) => None,
            Membership::NoSuchMonitor => Some(RoomName::channel(name)),
            Membership::NotAMember | Membership::NoAccount => None,
        }
    }
}

/// Whether a name is a password hash (`$2y$…`, `$argon2id$…`: crypt(5)), the form of hashes that Propromo gives to
/// monitors.
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
