//! The program: what it can do is in `propromo_chat::cli`, one file a command.

use std::process::ExitCode;

fn main() -> ExitCode {
    propromo_chat::cli::run(std::env::args_os())
}
