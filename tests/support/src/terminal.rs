//! Somebody who sits at a terminal: a command of the server on a pseudo-terminal.

use crate::{machine::PATIENCE, server::Setup};
use rexpect::{
    process::WaitStatus,
    session::{PtySession, spawn_command},
};
use std::process::Stdio;

pub struct Terminal(PtySession);

impl Terminal {
    #[track_caller]
    pub fn run(setup: &Setup, arguments: &[&str]) -> Terminal {
        let mut command = setup.command(arguments);
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        Terminal(spawn_command(command, Some(PATIENCE.as_millis() as u64)).expect("a pseudo-terminal"))
    }

    /// Waits until this is shown; what was shown before it.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        self.0.exp_string(text).unwrap_or_else(|error| panic!("{text:?} is not shown: {error}"))
    }

    #[track_caller]
    pub fn answer(&mut self, text: &str) {
        self.0.send_line(text).expect("the terminal takes input");
    }

    /// Waits for the end, and answers with which code.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        self.0.exp_eof().expect("the command ends");
        match self.0.process_mut().wait().expect("the command can be waited for") {
            WaitStatus::Exited(_, code) => code,
            other => panic!("{other:?}"),
        }
    }
}
