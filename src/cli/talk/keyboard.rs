//! Reads typed lines, or lines of a pipe, on a thread of its own, and hands them on one by one.

use super::{
    command,
    inbox::{Inbox, Input},
};
use crate::cli::ask;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{
    Config, Context, Editor, completion::Completer, config::ColorMode, error::ReadlineError, highlight::Highlighter,
    hint::Hinter, history::MemHistory, validate::Validator,
};
use std::{
    borrow::Cow,
    io::{self, BufRead, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use zeroize::Zeroizing;

/// A longer line is not a chat message with any setting.
const MAX_LINE: u64 = 1 << 20;

/// How many lines the up arrow brings back.
const REMEMBERED: usize = 100;

/// What the conversation tells the keyboard.
pub struct Signs {
    pub connected: AtomicBool,
    /// The password is needed again.
    pub password_wanted: AtomicBool,
    /// The title of the present room.
    pub room: Mutex<String>,
    /// The names of rooms, for completion.
    pub rooms: Mutex<Vec<String>>,
    /// A line that leads to another room has been carried out, so the next prompt can name that room.
    obeyed: (Sender<()>, Receiver<()>),
}

impl Signs {
    pub fn new(room: String, rooms: Vec<String>) -> Signs {
        Signs {
            connected: AtomicBool::new(false),
            password_wanted: AtomicBool::new(false),
            room: Mutex::new(room),
            rooms: Mutex::new(rooms),
            obeyed: bounded(1),
        }
    }

    /// Reports that a line which may lead to another room has been carried out.
    pub fn obeyed(&self) {
        // Fails if nobody waits; then nobody has to be told.
        let _ = self.obeyed.0.try_send(());
    }

    /// Waits, but not for long, until the last line has been carried out: the name of the room may change with it.
    fn wait(&self) {
        let _ = self.obeyed.1.recv_timeout(PROMPT);
    }
}

/// How long the next prompt waits for the name of the room.
const PROMPT: Duration = Duration::from_secs(5);

pub type Terminal = Editor<Helper, MemHistory>;

/// A line editor for the terminal that is standard input and output.
pub fn terminal(inbox: Inbox, signs: Arc<Signs>, colours: bool) -> rustyline::Result<Terminal> {
    let config = Config::builder()
        .auto_add_history(true)
        .max_history_size(REMEMBERED)?
        // The prompt's highlighter shows the state of the connection, also without colours.
        .color_mode(ColorMode::Forced)
        .bracketed_paste(true)
        .build();
    let mut editor = Editor::with_history(config.clone(), MemHistory::with_config(&config))?;
    editor.set_helper(Some(Helper { inbox, signs, colours }));
    Ok(editor)
}

/// Reads lines from a terminal until the user leaves (Ctrl-C, Ctrl-D) or the conversation is over.
pub fn read_terminal(mut editor: Terminal, inbox: &Inbox, signs: &Signs) {
    loop {
        let prompt = format!("{CONNECTED} {}> ", signs.room.lock());
        if signs.password_wanted.swap(false, Ordering::Relaxed) {
            match ask::hidden("Password: ") {
                Ok(password) => inbox.send(Input::Password(Zeroizing::new(password))),
                Err(e) => return inbox.send(Input::Broken(format!("the password can't be read: {e}"))),
            }
            continue;
        }
        match editor.readline(&prompt) {
            Ok(text) => {
                inbox.send(Input::Line(text));
                signs.wait();
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => return inbox.send(Input::Enough),
            Err(e) => return inbox.send(Input::Broken(format!("the terminal can't be read: {e}"))),
        }
    }
}

/// Reads lines until the end of standard input.
pub fn read_pipe(inbox: &Inbox) {
    loop {
        match read_line(&mut io::stdin().lock()) {
            Ok(Some(text)) => inbox.send(Input::Line(text)),
            Ok(None) => return inbox.send(Input::End),
            Err(e) => return inbox.send(Input::Broken(format!("standard input can't be read: {e}"))),
        }
    }
}

/// The next line without its end; `None` at the end of the input. Bytes that are not UTF-8 become U+FFFD.
pub fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if input.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        return Err(io::Error::other("a line is longer than 1 MiB"));
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

/// Restores a terminal's settings at the end: the conversation may end while the line editor uses the terminal.
pub struct Restored(Option<Termios>);

impl Restored {
    pub fn at_the_end() -> Restored {
        Restored(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        let Some(settings) = &self.0 else { return };
        let now = tcgetattr(io::stdin());
        if now.is_ok_and(|now| now.local_modes == settings.local_modes) {
            return;
        }
        // The editor was active: leaves its line, and its mode for pasting (DEC private mode 2004).
        let _ = io::stdout().write_all(b"\x1b[?2004l\r\n").and_then(|()| io::stdout().flush());
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, settings);
    }
}

/// The marks at the start of the prompt, one column wide.
const CONNECTED: char = '●';
const OFFLINE: char = '○';

/// Shows the state of the connection in the prompt, and reports that the user types.
pub struct Helper {
    inbox: Inbox,
    signs: Arc<Signs>,
    colours: bool,
}

impl Hinter for Helper {
    type Hint = String;

    /// Called on every change of the line; there are no hints.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        if !line.trim().is_empty() && !line.starts_with('/') {
            self.inbox.typing();
        }
        None
    }
}

impl Highlighter for Helper {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        let Some(rest) = prompt.strip_prefix(CONNECTED).filter(|_| default) else { return Cow::Borrowed(prompt) };
        let (mark, colour) = match self.signs.connected.load(Ordering::Relaxed) {
            true => (CONNECTED, "32"),
            false => (OFFLINE, "33"),
        };
        Cow::Owned(match self.colours {
            true => format!("\x1b[{colour}m{mark}\x1b[0m{rest}"),
            false => format!("{mark}{rest}"),
        })
    }
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = &line[..position];
        if let Some(room) = begun.strip_prefix(TO_ROOM) {
            let wanted = room.to_lowercase();
            let rooms = self.signs.rooms.lock();
            let fitting = rooms.iter().filter(|name| name.to_lowercase().starts_with(&wanted));
            return Ok((TO_ROOM.len(), fitting.cloned().collect()));
        }
        if begun.is_empty() {
            return Ok((0, Vec::new()));
        }
        Ok((0, command::beginning(begun).map(str::to_owned).collect()))
    }
}

/// After this, names of rooms are completed.
const TO_ROOM: &str = "/room ";

impl Validator for Helper {}

impl rustyline::Helper for Helper {}

impl Inbox {
    /// Reports a change of the line. Never waits: the editor calls it while the conversation may wait for the editor.
    fn typing(&self) {
        match self.try_send(Input::Typing) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_unix_and_windows_end_them() {
        let mut input = &b"one\r\ntwo\n\nb\xffd"[..];
        for expected in ["one", "two", "", "b\u{fffd}d"] {
            assert_eq!(read_line(&mut input).unwrap().as_deref(), Some(expected));
        }
        assert_eq!(read_line(&mut input).unwrap(), None);
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let endless = io::repeat(b'x');
        assert!(read_line(&mut io::BufReader::new(endless)).is_err());
    }
}
