//! Why the server can't start.

/// Why the server can't start, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl StartError {
    pub fn new(sentence: impl ToString) -> StartError {
        StartError(sentence.to_string())
    }
}
