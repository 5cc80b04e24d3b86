//! Errors about keys.

/// Why a key can't be used, and what to do about it. Never contains key material.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub String);
