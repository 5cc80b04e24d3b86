//! What is wrong with a key.

/// A key that can't be used, and what to do about it. Never carries key material.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);
