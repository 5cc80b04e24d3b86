//! Single use: a connection token opens one socket and never another.

use super::error::StoreError;
use sha2::{Digest, Sha256};
use std::{fmt, time::SystemTime};

/// Records which connection tokens are spent.
///
/// The mark is keyed on the signed part of the token (RFC 7515 §5.1), because the signature protects that part, while
/// the text of the signature itself can be re-encoded.
pub trait Ledger: Send + Sync {
    /// Spends a token, atomically over all nodes; `false` if it was spent before. The mark may be forgotten after
    /// `until`, when the token would be refused as expired anyway.
    ///
    /// Fails if the store can't be reached. Then the caller must refuse: an unchecked token lets nobody in.
    fn spend(&self, token: &SignedPart, until: SystemTime) -> Result<bool, StoreError>;

    /// Fails if the store can't be reached.
    fn probe(&self) -> Result<(), StoreError>;
}

/// SHA-256 of a token's signed part, `header.payload` (RFC 7515 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignedPart(pub [u8; 32]);

impl SignedPart {
    /// What a token spends that opens each room once, instead of one room: this token in this room.
    pub fn within(&self, room: &str) -> SignedPart {
        let digest =
            Sha256::new().chain_update("propromo.chat/once-per-chat\0").chain_update(self.0).chain_update(room);
        SignedPart(digest.finalize().into())
    }
}

impl fmt::Debug for SignedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedPart(…)")
    }
}
