//! A line on the terminal that says how far a long command is.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Between two lines.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes its line away when it is dropped. Where standard error is no terminal it says nothing.
pub struct Progress {
    is_terminal: bool,
    /// When there was a line last.
    shown: Option<Instant>,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { is_terminal: io::stderr().is_terminal(), shown: None }
    }

    /// Puts this in place of what was said before, if that is not too short a time ago.
    pub fn show(&mut self, line: impl fmt::Display) {
        if self.is_terminal && self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE) {
            self.shown = Some(Instant::now());
            write(format_args!("\r\x1b[K{line}"));
        }
    }

    /// Takes the line away, so that something else can be said.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            write(format_args!("\r\x1b[K"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Nothing is lost if nobody can read it.
fn write(line: fmt::Arguments<'_>) {
    let mut out = io::stderr().lock();
    let _ = out.write_fmt(line).and_then(|()| out.flush());
}
