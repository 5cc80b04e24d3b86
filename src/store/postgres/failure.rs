//! Why PostgreSQL did not do what was asked, as a sentence, and what follows from it.

use postgres::error::SqlState;
use std::{error::Error, io, time::Duration};

/// Why a call failed. Its sentence holds no password: PostgreSQL's messages never do, and the URL is left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("PostgreSQL did not answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("no connection to PostgreSQL: {0}")]
    NoConnection(r2d2::Error),
    #[error("{}", sentence(.0))]
    Postgres(#[from] postgres::Error),
    #[error("{} connections to PostgreSQL wait for an answer already", .0)]
    Crowded(usize),
    #[error("can't start a thread: {0}")]
    Thread(io::Error),
    #[error("the connection to PostgreSQL has ended")]
    Ended,
}

impl Failure {
    /// Whether the connection failed, not the statement.
    pub fn is_of_the_connection(&self) -> bool {
        match self {
            Failure::Postgres(error) => is_lost(error),
            _ => true,
        }
    }

    /// Whether the connection had ended, perhaps long ago. Another one may work at once.
    pub fn is_lost(&self) -> bool {
        matches!(self, Failure::Ended) || matches!(self, Failure::Postgres(error) if is_lost(error))
    }

    /// Whether the server, the database or the role allows no further connection.
    pub fn is_limit(&self) -> bool {
        matches!(self, Failure::Postgres(error) if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS))
    }

    /// Whether the server may be available in a moment: it is starting, busy, or its name is not known yet.
    pub fn is_worth_waiting_for(&self) -> bool {
        let Failure::Postgres(error) = self else { return true };
        match error.code() {
            Some(code) => is_lost(error) || *code == SqlState::TOO_MANY_CONNECTIONS,
            None => has_io_cause(error),
        }
    }
}

/// Whether the connection is useless now, because the server or the network closed it.
fn is_lost(error: &postgres::Error) -> bool {
    const ENDING: [SqlState; 4] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    match error.code() {
        // Class 08: connection exceptions.
        Some(code) => ENDING.contains(code) || code.code().starts_with("08"),
        None => error.is_closed() || has_io_cause(error),
    }
}

/// TLS failures are I/O errors too, but of kinds that the network never causes.
fn has_io_cause(error: &postgres::Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|io| !matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
}

/// A failure with all its causes, and with what to do where that is known.
fn sentence(error: &postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        let mut sentence = format!("PostgreSQL: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            sentence = format!("{sentence}: {error}");
            cause = error.source();
        }
        return sentence;
    };
    // The detail may quote rows, so only the message is shown.
    let said = format!("PostgreSQL says: {} ({})", db.message(), db.code().code());
    match *db.code() {
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => {
            format!("{said}; is this Propromo's database, and is its schema in the role's search_path?")
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            format!("{said}; all nodes together open DATABASE_POOL times their number: lower it, or raise the limit")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            format!(
                "{said}; the chat's role needs SELECT on users, monitors and monitor_user, \
                 and to own the schema chat and what is in it"
            )
        }
        _ => said,
    }
}
