//! What `migrate` moves from one store to another.

use super::ledger::SignedPart;
use crate::message::Message;
use std::time::SystemTime;

/// A message of a log, with everything that another log needs to keep it as the same message.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    pub message: Message,
    /// The sender's own mark; see [`Draft::reference`](crate::message::Draft::reference).
    pub reference: Option<Box<str>>,
}

/// The mark of a spent token.
pub struct Mark {
    pub token: SignedPart,
    /// When the token expires.
    pub until: SystemTime,
}
