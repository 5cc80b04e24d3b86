//! The program: what it can do is in `src/cli`, one file a command.

use std::process::ExitCode;

fn main() -> ExitCode {
    propromo_chat::run(std::env::args_os())
}
