//! Who stays logged in: a session outlives its access tokens, and is shown by a cookie that changes with each use.
//!
//! What a cookie holds is never kept, only hashes of it: whoever reads the store can't go on with anybody's session.

use super::{accounts::UserId, error::StoreError};

/// SHA-256 of something that a browser keeps.
pub type Digest = [u8; 32];

/// Bytes of a salt.
pub const SALT: usize = 16;

/// One browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Of the part of its cookies that stays.
    pub id: Digest,
    pub account: UserId,
    /// The account's epoch in which it began: it ends with that.
    pub epoch: String,
    /// Unix seconds.
    pub begun: i64,
    /// When it was renewed last.
    pub used: i64,
    /// Of the secret in the cookie that is good now.
    pub current: Digest,
    /// The cookies that were used a moment ago, in their order: another tab may have sent one of them at the same time.
    pub spent: Vec<Spent>,
}

/// A cookie that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Of its secret.
    pub secret: Digest,
    /// From that secret and this the next cookie's was made.
    pub salt: [u8; SALT],
    /// Unix seconds.
    pub at: i64,
}

/// The sessions of all accounts.
pub trait Sessions: Send + Sync {
    /// Keeps a new session. Of its account's, only the `most` that were used last stay; of all accounts', only those
    /// that were used after `since`. Says how many of the account's own had to give way.
    fn begin(&self, session: &Session, most: usize, since: i64) -> Result<usize, StoreError>;

    fn find(&self, id: &Digest) -> Result<Option<Session>, StoreError>;

    /// Puts `to` in place of the session as it was with the cookie `from`; `false` if that is not its cookie any more.
    fn advance(&self, from: &Digest, to: &Session) -> Result<bool, StoreError>;

    /// Ends one session; `false` if there is none.
    fn end(&self, id: &Digest) -> Result<bool, StoreError>;

    /// Ends all sessions of an account, and says how many there were.
    fn end_all(&self, account: UserId) -> Result<usize, StoreError>;

    /// The sessions of an account, the one that was used last first.
    fn of_account(&self, account: UserId) -> Result<Vec<Session>, StoreError>;
}

impl Spent {
    const BYTES: usize = 32 + SALT + 8;

    /// A list, as stores keep it.
    pub(super) fn encode(spent: &[Spent]) -> Vec<u8> {
        spent.iter().flat_map(|one| one.secret.into_iter().chain(one.salt).chain(one.at.to_be_bytes())).collect()
    }

    /// What [`encode`](Self::encode) made.
    pub(super) fn decode(bytes: &[u8]) -> Vec<Spent> {
        let read = |bytes: &[u8]| {
            let (secret, rest) = bytes.split_first_chunk()?;
            let (salt, rest) = rest.split_first_chunk()?;
            Some(Spent { secret: *secret, salt: *salt, at: i64::from_be_bytes(rest.try_into().ok()?) })
        };
        bytes.chunks_exact(Spent::BYTES).filter_map(read).collect()
    }
}
