//! `keys`: runs a copy of `keys.sh` that is inside the program.

use super::failure::{Failure, say};
use crate::auth::api_keys::{self, KeyLineError};
use clap::{Arg, Command, value_parser};
use std::{ffi::OsString, io::Write, process};

pub const NAME: &str = "keys";

/// The argument that holds all of the script's arguments.
pub const ARGUMENTS: &str = "arguments";

const SCRIPT: &str = include_str!("../../keys.sh");

/// Mostly for the help: if `keys` directly follows the program's name, its arguments never reach this parser.
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

const API_USAGE: &str = "usage: propromo-chat keys api NAME SCOPE[,SCOPE…]

Prints a new line for API_KEYS: a key for a backend. NAME is 1 to 32 of a-z, 0-9 and -; the scopes are tokens, publish, read, \
moderate. Keep it in the server's file of keys, and its last part where the backend keeps its secrets.";

/// Runs the script with `arguments` on this terminal. Keys of backends are made here, not by the script.
pub fn run(arguments: &[OsString]) -> Result<(), Failure> {
    if let Some((first, rest)) = arguments.split_first()
        && first == "api"
    {
        return api(rest);
    }
    let cannot = |e: std::io::Error| Failure::Failed(format!("keys.sh can't be run with `sh`: {e}"));
    // A file, because the script reads answers from standard input, and its help from itself.
    let mut file = tempfile::Builder::new().prefix("keys").suffix(".sh").tempfile().map_err(cannot)?;
    file.write_all(SCRIPT.as_bytes()).and_then(|()| file.flush()).map_err(cannot)?;
    let status = process::Command::new("sh").arg(file.path()).args(arguments).status().map_err(cannot)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::Exit(u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::Failed("keys.sh was interrupted".into())),
    }
}

/// Prints a new key for a backend.
fn api(arguments: &[OsString]) -> Result<(), Failure> {
    let arguments: Vec<&str> = arguments.iter().map(|argument| argument.to_str().unwrap_or_default()).collect();
    match arguments[..] {
        ["-h" | "--help"] => say(API_USAGE),
        [name, scopes] => {
            // A name with a space would be read as two parts.
            let generated = if name.contains(char::is_whitespace) {
                Err(KeyLineError::Name)
            } else if scopes.contains(char::is_whitespace) {
                Err(KeyLineError::Scopes)
            } else {
                api_keys::generate(name, scopes)
            };
            say(generated.map_err(|error| Failure::Usage(format!("no key can be made: {error}")))?)
        }
        _ => Err(Failure::Usage(API_USAGE.into())),
    }
}
