//! Errors about settings.

/// A setting that can't be used: which one, where it came from, and what it should be. Never contains a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub String);
