//! What survives a restart: accounts, messages, spent tokens. Traits here, back ends below.
//!
//! Stores know nothing of sockets or JSON. Every call may block and may fail; nothing here is
//! called from a lane.

pub mod chat_rooms;
pub mod feed;
pub mod moving;
pub mod names;
pub mod outage;
pub mod postgres;
pub mod presence;
pub mod redis;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod suite;

use crate::{
    auth::token::SignedPart,
    message::{Draft, Message, MessageId, RoomName},
};
use feed::Feed;
use outage::KnownOutage;
use std::{error::Error, sync::Arc, time::SystemTime};

/// A store did not do what was asked; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("the {store} can't {what}")]
pub struct StoreError {
    /// `account store`, `message log` or `token ledger`.
    pub store: &'static str,
    /// What was tried, as a verb phrase.
    pub what: &'static str,
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// Logs that this had a consequence, unless it follows from an outage that was logged when it began.
    pub fn log(&self, consequence: &'static str) {
        let error: &dyn Error = self;
        if self.source.is::<KnownOutage>() {
            tracing::debug!(error, "{consequence}");
        } else {
            tracing::warn!(error, "{consequence}");
        }
    }
}

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
    fn of(account: bool, member: Option<bool>) -> Membership {
        match (account, member) {
            (false, _) => Membership::NoAccount,
            (true, Some(true)) => Membership::Member,
            (true, Some(false)) => Membership::NotAMember,
            (true, None) => Membership::NoSuchMonitor,
        }
    }
}

/// Marks connection tokens as spent.
///
/// The mark is keyed on the signed part of the token (RFC 7515 §5.1): that is what the signature
/// protects, while the signature's own text can be re-encoded without breaking it.
pub trait Ledger: Send + Sync {
    /// Spends a token, atomically over all nodes; `false` if it was spent before. The mark may be
    /// forgotten after `until`, when the token would be refused as expired anyway.
    ///
    /// Fails if the store can't be reached. The caller must then refuse: an unchecked token lets
    /// nobody in.
    fn spend(&self, token: &SignedPart, until: SystemTime) -> Result<bool, StoreError>;

    /// Fails if the store can't be reached.
    fn probe(&self) -> Result<(), StoreError>;
}

/// The ordered, durable record of every room's messages.
pub trait MessageLog: Send + Sync {
    /// Stores `drafts` in this order, all of a room or none, and gives each its id, in room order. Fails if none is
    /// stored.
    ///
    /// A draft whose `reference` the same sender used before in the room is not stored again: its
    /// place in the answer says so with the first message's id. A draft that isn't to be kept gets
    /// an id like the others and leaves no trace.
    ///
    /// Called from one thread only.
    fn append(&self, drafts: &[Draft]) -> Result<Vec<Appended>, StoreError>;

    /// Up to `limit` messages, oldest first: the newest ones, or those just before `before`.
    fn history(&self, room: &RoomName, before: Option<MessageId>, limit: usize) -> Result<Vec<Message>, StoreError>;

    /// Up to `limit` messages after `after`, oldest first.
    ///
    /// `None` if what follows `after` is no longer wholly kept, or `after` is no message of the
    /// room that we know of: the client must reload.
    fn since(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Option<Vec<Message>>, StoreError>;

    /// Deletes a room's messages, and what is known of the room. A later draft starts it anew.
    fn forget(&self, room: &RoomName) -> Result<(), StoreError>;

    /// Where stored messages are heard, if other processes write to this log too. `None`: whoever appends is the only
    /// one, and delivers.
    fn feed(&self) -> Option<Arc<dyn Feed>> {
        None
    }

    /// Fails if the store can't be reached.
    fn probe(&self) -> Result<(), StoreError>;
}

/// What became of one draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    Stored(MessageId),
    /// The same sender's `reference` had made this message before.
    Repeated(MessageId),
    /// Its room could not be reached, though another's could. If the connection broke it may be stored all the same;
    /// with a `reference` it can be sent again.
    NotStored,
}
