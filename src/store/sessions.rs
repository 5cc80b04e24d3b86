//! Sessions of browsers that stay logged in. A session outlives its access tokens; its cookie changes with each use.
//!
//! Only hashes of cookies are stored, so nobody who reads the store can continue a session.

use super::{accounts::UserId, error::StoreError};

/// SHA-256 of something that a browser keeps.
pub type Digest = [u8; 32];

/// Bytes of a salt.
pub const SALT: usize = 16;

/// One browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Hash of the part of its cookies that stays.
    pub id: Digest,
    pub account: UserId,
    /// The account's epoch in which it began. It ends with that epoch.
    pub epoch: String,
    /// In Unix seconds.
    pub begun: i64,
    /// When it was last renewed, in Unix seconds.
    pub used: i64,
    /// Hash of the secret in the cookie that is valid now.
    pub current: Digest,
    /// Cookies that were used a moment ago, in their order: another tab may send one of them at the same time.
    pub spent: Vec<Spent>,
}

/// A cookie that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Hash of its secret.
    pub secret: Digest,
    /// The secret of the next cookie was derived from that secret and this salt.
    pub salt: [u8; SALT],
    /// In Unix seconds.
    pub at: i64,
}

/// The sessions of all accounts.
pub trait Sessions: Send + Sync {
    /// Stores a new session. Of this account only the `most` sessions stay that were used last, and of all accounts
    /// only those that were used after `since`. Returns how many of this account were removed.
    fn begin(&self, session: &Session, most: usize, since: i64) -> Result<usize, StoreError>;

    fn find(&self, id: &Digest) -> Result<Option<Session>, StoreError>;

    /// Replaces the session by `to`, if its cookie is still `from`; `false` if it is not.
    fn advance(&self, from: &Digest, to: &Session) -> Result<bool, StoreError>;

    /// Ends one session; `false` if there is none.
    fn end(&self, id: &Digest) -> Result<bool, StoreError>;

    /// Ends all sessions of an account. Returns how many there were.
    fn end_all(&self, account: UserId) -> Result<usize, StoreError>;

    /// The sessions of an account, last used first.
    fn of_account(&self, account: UserId) -> Result<Vec<Session>, StoreError>;
}

impl Spent {
    const BYTES: usize = 32 + SALT + 8;

    /// A list in the form in which stores keep it.
    pub(super) fn encode(spent: &[Spent]) -> Vec<u8> {
        spent.iter().flat_map(|one| one.secret.into_iter().chain(one.salt).chain(one.at.to_be_bytes())).collect()
    }

    /// Reads the form that [`encode`](Self::encode) writes.
    pub(super) fn decode(bytes: &[u8]) -> Vec<Spent> {
        let read = |bytes: &[u8]| {
            let (secret, rest) = bytes.split_first_chunk()?;
            let (salt, rest) = rest.split_first_chunk()?;
            Some(Spent { secret: *secret, salt: *salt, at: i64::from_be_bytes(rest.try_into().ok()?) })
        };
        bytes.chunks_exact(Spent::BYTES).filter_map(read).collect()
    }
}
