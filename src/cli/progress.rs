//! A line on the terminal that shows how far a long command has got.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

/// Shortest time between two lines.
const PAUSE: Duration = Duration::from_millis(100);

/// Columns of a bar.
const BAR: usize = 30;

/// Removes its line when it is dropped. It writes nothing if standard error is no terminal.
pub struct Progress {
    is_terminal: bool,
    /// When the last line was shown.
    shown: Option<Instant>,
}

impl Progress {
    pub fn new() -> Progress {
        Progress { is_terminal: io::stderr().is_terminal(), shown: None }
    }

    /// Whether progress is shown.
    pub fn is_shown(&self) -> bool {
        self.is_terminal
    }

    /// A bar that shows how much is done, and of what: `things done`. `all`: `None` if the total is not known.
    pub fn bar(&mut self, done: u64, all: Option<u64>, what: &str) {
        self.show(bar(done, all, what));
    }

    /// Replaces the line before, unless that was shown only a short time ago.
    pub fn show(&mut self, line: impl fmt::Display) {
        if self.is_terminal && self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE) {
            self.shown = Some(Instant::now());
            write(format_args!("\r\x1b[K{line}"));
        }
    }

    /// Shows at once what begins now and takes a while.
    pub fn begin(&mut self, line: impl fmt::Display) {
        self.shown = None;
        self.show(line);
    }

    /// Removes the line, so that something else can be printed.
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

fn bar(done: u64, all: Option<u64>, what: &str) -> String {
    let Some(all) = all.filter(|all| *all > 0) else { return format!("{done} {what} so far") };
    // There may be more by now than were counted.
    let all = all.max(done);
    let share = |of: usize| (u128::from(done) * of as u128 / u128::from(all)) as usize;
    format!("[{:<BAR$}] {:>3} %, {done} of {all} {what}", "#".repeat(share(BAR)), share(100))
}

/// Errors are ignored: the line matters only to somebody who can read it.
fn write(line: fmt::Arguments<'_>) {
    let mut out = io::stderr().lock();
    let _ = out.write_fmt(line).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_with_what_is_done() {
        let shown = |done, all| bar(done, all, "messages erased");
        assert_eq!(shown(0, Some(4)), format!("[{}]   0 %, 0 of 4 messages erased", " ".repeat(30)));
        assert_eq!(shown(2, Some(4)), format!("[{}{}]  50 %, 2 of 4 messages erased", "#".repeat(15), " ".repeat(15)));
        assert_eq!(shown(4, Some(4)), format!("[{}] 100 %, 4 of 4 messages erased", "#".repeat(30)));
    }

    #[test]
    fn more_than_was_counted_is_no_more_than_all() {
        assert!(bar(u64::MAX, Some(3), "messages erased").contains("] 100 %,"));
        assert_eq!(bar(7, Some(0), "messages erased"), "7 messages erased so far");
        assert_eq!(bar(7, None, "messages erased"), "7 messages erased so far");
    }
}
