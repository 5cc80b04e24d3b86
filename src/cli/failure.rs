//! Failures of commands, and what they print.

use crate::{
    config::error::SettingError,
    start_error::StartError,
    store::{
        error::StoreError,
        postgres::error::OpenError,
        sqlite::{admin::AdminError, error::StoreOpenError},
    },
};
use std::{
    error::Error,
    fmt,
    io::{self, Write},
};

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The command line or a setting is wrong.
    Usage(String),
    Failed(String),
    /// Another program ran, and has reported the error itself.
    Exit(u8),
    /// The reader of our output is gone, such as `head`: this is not an error.
    OutputClosed,
}

/// Writes one line to standard output, for people or scripts to read.
pub fn say(line: impl fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("standard output can't be written: {e}")),
    })
}

/// A failure with all its causes, in one line.
pub fn failed(error: impl Error) -> Failure {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    Failure::Failed(sentence)
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Failure {
        failed(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        failed(error)
    }
}

impl From<StoreOpenError> for Failure {
    fn from(error: StoreOpenError) -> Failure {
        failed(error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        failed(error)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Failure {
        failed(error)
    }
}
