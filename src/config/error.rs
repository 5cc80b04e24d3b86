//! What is wrong with a setting.

/// A setting that can't be used: which, where it came from, what it should be. Never carries a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub String);
