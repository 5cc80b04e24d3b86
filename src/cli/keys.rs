//! `keys`: what `keys.sh` does, from a copy of it inside the program.

use super::Failure;
use clap::{Arg, Command, value_parser};
use std::{ffi::OsString, io::Write, process};

pub const NAME: &str = "keys";

/// The argument that holds all of the script's.
pub const ARGUMENTS: &str = "arguments";

const SCRIPT: &str = include_str!("../../keys.sh");

/// For the help, mostly: directly behind the program's name, `keys` gets its arguments before they are parsed.
pub fn command() -> Command {
    Command::new(NAME)
        .about("Make and inspect the keys that sign tokens (keys.sh); `keys --help` says more")
        .disable_help_flag(true)
        .arg(
            Arg::new(ARGUMENTS)
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString)),
        )
}

/// Runs the script with `arguments`, on this terminal.
pub fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::Failed(format!("keys.sh can't be run with `sh`: {e}"));
    // A file, because the script reads its questions' answers from standard input and its help from itself.
    let mut file = tempfile::Builder::new().prefix("keys").suffix(".sh").tempfile().map_err(cannot)?;
    file.write_all(SCRIPT.as_bytes()).and_then(|()| file.flush()).map_err(cannot)?;
    let status = process::Command::new("sh").arg(file.path()).args(arguments).status().map_err(cannot)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Exit(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::Failed("keys.sh was interrupted".into())),
    }
}
