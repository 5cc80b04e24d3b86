//! Passwords and passphrases: from the terminal without echo, or from standard input. Never from a flag.

use super::failure::Failure;
use crate::auth::keys::error::KeyError;
use clap::{Arg, ArgAction};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    fs::File,
    io::{self, BufRead, IsTerminal, Read},
};
use zeroize::Zeroizing;

/// The flag `--password-stdin`.
pub fn password_stdin() -> Arg {
    Arg::new("password-stdin")
        .long("password-stdin")
        .action(ArgAction::SetTrue)
        .help("Read the password from standard input instead of asking for it")
}

/// Asks once, for an existing password.
pub fn password(from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
    if from_stdin { piped(io::stdin().lock()) } else { on_terminal("Password: ") }
}

/// The first line of standard input; the rest is for something else.
pub fn password_line() -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    let read = io::stdin().lock().take(MAX_PASSWORD + 1).read_line(&mut line);
    read.map_err(|e| Failure::Failed(format!("the password can't be read from standard input: {e}")))?;
    password_in(&line)
}

/// Asks twice, for a new password.
pub fn new_password(from_stdin: bool) -> Result<Zeroizing<String>, Failure> {
    if from_stdin {
        return piped(io::stdin().lock());
    }
    let password = on_terminal("Password: ")?;
    if *password != *on_terminal("The same again: ")? {
        return Err(Failure::Failed("the two passwords differ; nothing was changed".into()));
    }
    Ok(password)
}

/// Asks for the passphrase of an encrypted key.
pub fn passphrase() -> Result<String, KeyError> {
    if !io::stdin().is_terminal() {
        return Err(KeyError(
            "it is encrypted, and there is no terminal to ask for its passphrase; set JWT_PASSPHRASE or JWT_PASSPHRASE_FILE"
                .into(),
        ));
    }
    hidden("Passphrase of JWT_PRIVATE_KEY: ")
        .map_err(|e| KeyError(format!("its passphrase can't be read from the terminal: {e}")))
}

/// Asks on the process's terminal, whatever standard input is: that may be a pipe of messages.
fn on_terminal(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if File::open(TERMINAL).is_err() {
        return Err(Failure::Usage(
            "there is no terminal to ask for the password; give it with --password-stdin".into(),
        ));
    }
    let password =
        hidden(prompt).map_err(|e| Failure::Failed(format!("the password can't be read from the terminal: {e}")))?;
    usable(Zeroizing::new(password))
}

/// Asks on the process's terminal, which shows nothing that is typed from the question on.
pub fn hidden(question: &str) -> io::Result<String> {
    // rpassword asks before it turns the echo off: whoever answers at once would see the password.
    let _silent = Silent::terminal();
    rpassword::prompt_password(question)
}

/// A terminal without echo, until this is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    /// `None` if the process has no terminal.
    fn terminal() -> Option<Silent> {
        let terminal = File::open(TERMINAL).ok()?;
        let before = tcgetattr(&terminal).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &silent).ok()?;
        Some(Silent { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // If this fails, the terminal is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// The controlling terminal of the process (POSIX.1-2024 XBD §10.1). Opening it fails if there is none.
const TERMINAL: &str = "/dev/tty";

/// Most bytes of a password. A longer one is a file that was piped in by mistake.
const MAX_PASSWORD: u64 = 4096;

fn piped(input: impl Read) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    input
        .take(MAX_PASSWORD + 1)
        .read_to_string(&mut text)
        .map_err(|e| Failure::Failed(format!("the password can't be read from standard input: {e}")))?;
    password_in(&text)
}

/// The password in a text, without its line end.
fn password_in(text: &str) -> Result<Zeroizing<String>, Failure> {
    if text.len() as u64 > MAX_PASSWORD {
        return Err(Failure::Failed("what came in on standard input is too long to be a password".into()));
    }
    let password = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    usable(Zeroizing::new(password.to_owned()))
}

fn usable(password: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    if password.is_empty() {
        return Err(Failure::Failed("the password is empty".into()));
    }
    if password.contains(['\n', '\0']) {
        return Err(Failure::Failed("the password is more than one line".into()));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Option<String> {
        piped(input.as_bytes()).ok().map(|password| password.to_string())
    }

    #[test]
    fn a_piped_password_loses_its_line_end_only() {
        assert_eq!(read(" pass word \n").as_deref(), Some(" pass word "));
        assert_eq!(read("päss\r\n").as_deref(), Some("päss"));
        assert_eq!(read("pass").as_deref(), Some("pass"));
    }

    #[test]
    fn what_is_no_password_is_refused() {
        assert_eq!(read("\n"), None);
        assert_eq!(read("one\ntwo\n"), None);
        assert_eq!(read(&"x".repeat(5000)), None);
    }
}
