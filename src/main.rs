//! The program. Its commands are in `src/cli`, one file each.

use std::process::ExitCode;

fn main() -> ExitCode {
    propromo_chat::run(std::env::args_os())
}
