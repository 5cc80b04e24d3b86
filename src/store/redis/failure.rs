//! Reasons why a command has no answer.

use crate::store::{
    error::{ClockSkew, StoreError},
    outage::KnownOutage,
};
use redis::{RedisError, Value};
use std::{error::Error, sync::Arc};

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Refused at once, since Redis is known to be unavailable.
    #[error("Redis is away: {0}")]
    Away(Arc<str>),
    #[error("no connection to Redis is free: {0}")]
    NoConnection(#[from] r2d2::Error),
    #[error("{}", sentence(.0))]
    Redis(#[from] RedisError),
    /// Another command on the same connection met this error.
    #[error("the connection to Redis broke: {0}")]
    Broken(Arc<str>),
    #[error("Redis answered something that can't be read")]
    Unreadable,
    #[error("{0}")]
    Skewed(ClockSkew),
}

pub(super) type Answer = Result<Value, Failure>;

impl Failure {
    /// Whether the command may have run, or may still run: only its answer is missing. A refusal is an answer.
    pub fn leaves_open(&self) -> bool {
        match self {
            Failure::Redis(error) => error.code().is_none(),
            Failure::Broken(_) | Failure::Unreadable => true,
            Failure::Away(_) | Failure::NoConnection(_) | Failure::Skewed(_) => false,
        }
    }

    /// Whether a cluster is moving the keys: the command did nothing, and works once they are on one server again.
    pub fn is_moving(&self) -> bool {
        matches!(self, Failure::Redis(error) if error.code() == Some("TRYAGAIN"))
    }

    /// Whether another try over a new connection may help at once.
    pub fn is_broken_connection(&self) -> bool {
        match self {
            Failure::Redis(error) => error.is_io_error() && !error.is_timeout(),
            Failure::Broken(_) => true,
            Failure::Away(_) | Failure::NoConnection(_) | Failure::Unreadable | Failure::Skewed(_) => false,
        }
    }
}

/// Whether the user in the URL lacks the right to this command.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    // Redis 7.0 and later words it differently within scripts.
    let in_a_script = |said: &str| said.contains("executing the script can't") || said.contains("NOPERM");
    error.code() == Some("NOPERM") || error.detail().is_some_and(in_a_script)
}

/// Whether the server's memory is full. Such a command has done nothing: what is refused is the first one of a script
/// that writes.
pub(super) fn is_full(error: &RedisError) -> bool {
    // Redis 6.2 words it differently within scripts.
    error.code() == Some("OOM") || error.detail().is_some_and(|said| said.contains("OOM command not allowed"))
}

/// What went wrong. The system's own words for a time-out are `Resource temporarily unavailable`.
pub(super) fn sentence(error: &RedisError) -> String {
    if error.is_timeout() { "Redis does not answer".to_owned() } else { error.to_string() }
}

/// Turns a failure into a [`StoreError`] that names this store and what it tried.
pub(super) fn failed(store: &'static str, what: &'static str) -> impl FnOnce(Failure) -> StoreError {
    move |failure| {
        let source: Box<dyn Error + Send + Sync> = match failure {
            Failure::Away(_) => Box::new(KnownOutage(failure.to_string())),
            Failure::Skewed(skew) => Box::new(skew),
            failure => Box::new(failure),
        };
        StoreError { store, what, source }
    }
}
