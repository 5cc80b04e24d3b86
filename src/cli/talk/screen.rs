//! Shows the conversation: messages, comings and goings, and trouble.

use super::{
    frame::Said,
    harmless::{line, paragraph},
    names::Names,
};
use crate::{cli::failure::Failure, room::mentions::Named};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rustyline::ExternalPrinter;
use std::{
    collections::HashMap,
    io::{self, Write},
    time::{Duration, Instant},
};

/// A user who goes on typing is mentioned again after this time.
const TYPING_AGAIN: Duration = Duration::from_secs(60);

/// What a terminal shows with a message besides its text.
#[derive(Default)]
pub struct Mark {
    /// The number by which the user can name it.
    pub number: Option<usize>,
    /// The message that it replies to, in a few words.
    pub answers: Option<String>,
    /// Whether it names the user.
    pub calls: bool,
    /// Whether it is the one that the user looks for, among others.
    pub sought: bool,
}

/// Where the conversation is shown.
pub enum Output {
    /// A terminal with a line that is being typed at the bottom; output appears above that line.
    Terminal(Box<dyn ExternalPrinter + Send>),
    /// Anything else: one message after the other, and everything else on standard error.
    Plain,
}

pub struct Screen {
    output: Output,
    colours: bool,
    me: String,
    names: Names,
    zone: TimeZone,
    /// The day of the last message that was shown.
    day: Option<Date>,
    /// Users who are typing, and since when that is known.
    typing: HashMap<String, Instant>,
    /// Shown with the next [`Screen::flush`], so that a hundred messages do not redraw the terminal a hundred times.
    pending: String,
}

impl Screen {
    pub fn new(output: Output, colours: bool, me: String, zone: TimeZone) -> Screen {
        let (names, typing) = (Names::default(), HashMap::new());
        Screen { output, colours, me, names, zone, day: None, typing, pending: String::new() }
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self.output, Output::Terminal(_))
    }

    /// Whether this is the user of this program: addresses of accounts are case-insensitive.
    pub fn is_me(&self, user: &str) -> bool {
        user.eq_ignore_ascii_case(&self.me)
    }

    /// Whether a text names the user.
    pub fn calls_me(&self, text: &str) -> bool {
        Named::of(&self.me, self.names.get(&self.me)).is_in(text)
    }

    /// Notes a user's display name, if the server gave one.
    pub fn meet(&mut self, user: &str, name: Option<&str>) {
        if let Some(name) = name {
            self.names.learn(user, name);
        }
    }

    /// Shows a message, with its time in this machine's zone.
    pub fn message(&mut self, said: &Said, mark: &Mark) {
        self.typing.remove(&said.user);
        let when = said.timestamp.parse::<Timestamp>().ok().map(|when| when.to_zoned(self.zone.clone()));
        if !self.is_terminal() {
            let when = when.map_or_else(|| line(&said.timestamp), |when| when.strftime("%F %T").to_string());
            let (when, name) = (self.dim(&when), self.coloured_name(&said.user, &line(&said.user)));
            self.pending += &format!("{when} {name}: {}\n", paragraph(&said.text, "    "));
            return;
        }
        if let Some(when) = &when
            && self.day.replace(when.date()) != Some(when.date())
        {
            self.aside(&when.strftime("%A, %-d %B %Y").to_string());
        }
        let mut head = when.map_or_else(|| "--:--".to_owned(), |when| when.strftime("%H:%M").to_string());
        if let Some(number) = mark.number {
            head += &format!(" {}#{number}", if mark.sought { "▸" } else { "" });
        }
        let (head, name) = (self.dim(&head), self.name(&said.user));
        let answers = mark.answers.as_ref().map_or_else(String::new, |what| self.dim(&format!(" ↳ {}", line(what))));
        let bell = if mark.calls { BELL } else { "" };
        self.pending += &format!("{head} {name}{answers}  {}\n{bell}", paragraph(&said.text, "      "));
    }

    /// A time of the server, as it is in this machine's zone.
    pub fn local(&self, when: &str) -> String {
        let local = when.parse::<Timestamp>().map(|when| when.to_zoned(self.zone.clone()));
        local.map_or_else(|_| line(when), |when| when.strftime("%-d %B, %H:%M").to_string())
    }

    /// Lets the next message begin with its day: it is from a search, or from another day than the last one.
    pub fn forget_day(&mut self) {
        self.day = None;
    }

    /// Shows a change of a message.
    pub fn edited(&mut self, user: &str, which: &str, text: &str) {
        if self.is_terminal() {
            let who = if self.is_me(user) { "you".into() } else { self.plain_name(user) };
            self.aside(&format!("{who} changed {which}: {}", paragraph(text, "      ")));
        }
    }

    pub fn deleted(&mut self, user: &str, which: &str) {
        let who = if self.is_me(user) { "you".into() } else { self.plain_name(user) };
        self.aside(&format!("{who} deleted {which}"));
    }

    pub fn joined(&mut self, user: &str) {
        self.came_or_went(user, "joined");
    }

    pub fn left(&mut self, user: &str) {
        self.typing.remove(user);
        self.came_or_went(user, "left");
    }

    fn came_or_went(&mut self, user: &str, what: &str) {
        if self.is_terminal() && !self.is_me(user) {
            self.aside(&format!("{} {what}", self.plain_name(user)));
        }
    }

    pub fn typing(&mut self, user: &str, now: Instant) {
        self.typing.retain(|_, since| now.duration_since(*since) < TYPING_AGAIN);
        if self.is_terminal() && !self.is_me(user) && !self.typing.contains_key(user) {
            self.typing.insert(user.to_owned(), now);
            self.aside(&format!("{} is writing …", self.plain_name(user)));
        }
    }

    /// The answer to `/who`.
    pub fn people(&mut self, users: &[String]) {
        let name = |user: &String| match self.names.get(user) {
            Some(_) if !self.names.is_doubtful(user) => format!("{} ({})", self.name(user), line(user)),
            _ => self.name(user),
        };
        let names: Vec<_> = users.iter().map(name).collect();
        let here = format!("here ({}): {}", users.len(), names.join(", "));
        self.pending += &format!("{here}\n");
    }

    /// Shows a remark to the user at a terminal; a pipe gets none.
    pub fn aside(&mut self, sentence: &str) {
        if self.is_terminal() {
            let sentence = self.dim(&format!("· {sentence}"));
            self.pending += &format!("{sentence}\n");
        }
    }

    /// Shows trouble or its end; in a pipe on standard error.
    pub fn trouble(&mut self, sentence: &str) {
        let sentence = line(sentence);
        match self.output {
            Output::Terminal(_) => {
                let sentence = self.coloured(YELLOW, &format!("! {sentence}"));
                self.pending += &format!("{sentence}\n");
            }
            Output::Plain => {
                // If this fails, nobody can be told.
                let _ = writeln!(io::stderr(), "propromo-chat: {sentence}");
            }
        }
    }

    /// Prints everything since the last call.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.pending);
        match &mut self.output {
            Output::Terminal(printer) => {
                printer.print(text).map_err(|e| Failure::Failed(format!("the terminal can't be written: {e}")))
            }
            Output::Plain => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| match e.kind() {
                    io::ErrorKind::BrokenPipe => Failure::OutputClosed,
                    _ => Failure::Failed(format!("standard output can't be written: {e}")),
                })
            }
        }
    }

    /// A user's name in their colour.
    fn name(&self, user: &str) -> String {
        self.coloured_name(user, &self.plain_name(user))
    }

    /// A name that other users have too, or that looks like an address, is shown with the address.
    fn plain_name(&self, user: &str) -> String {
        match self.names.get(user) {
            Some(name) if self.names.is_doubtful(user) => format!("{} ({})", line(name), line(user)),
            Some(name) => line(name),
            None => line(user),
        }
    }

    fn coloured_name(&self, user: &str, name: &str) -> String {
        if self.is_me(user) {
            return self.coloured(BOLD, name);
        }
        // Any hash would do (this is FNV-1a), as long as an account keeps its colour.
        let hash = user
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        self.coloured(NAMES[(hash % NAMES.len() as u64) as usize], name)
    }

    fn dim(&self, text: &str) -> String {
        self.coloured(DIM, text)
    }

    fn coloured(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The character that rings a terminal's bell (ECMA-48 §8.3.3).
const BELL: &str = "\x07";

/// Colours by their numbers in ECMA-48 §8.3.117. Names use those that every palette of sixteen colours, dark or light,
/// makes readable. Yellow is only for trouble.
const BOLD: &str = "1";
const DIM: &str = "2";
const YELLOW: &str = "33";
const NAMES: [&str; 8] = ["31", "32", "34", "35", "36", "1;32", "1;35", "1;36"];

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl ExternalPrinter for Nowhere {
        fn print(&mut self, _: String) -> rustyline::Result<()> {
            Ok(())
        }
    }

    fn screen(output: Output, colours: bool) -> Screen {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        Screen::new(output, colours, "me@x".into(), zone)
    }

    fn terminal(colours: bool) -> Screen {
        screen(Output::Terminal(Box::new(Nowhere)), colours)
    }

    fn said(user: &str, timestamp: &str, text: &str) -> Said {
        Said { id: "1".into(), user: user.into(), timestamp: timestamp.into(), text: text.into(), ..Said::default() }
    }

    #[test]
    fn a_pipe_gets_a_line_a_message_with_local_time() {
        let mut screen = screen(Output::Plain, false);
        screen.message(&said("bob@x", "2026-01-02T23:04:05.678Z", "hi\n2026 carol: hello"), &Mark::default());
        assert_eq!(screen.pending, "2026-01-03 01:04:05 bob@x: hi\n    2026 carol: hello\n");
    }

    #[test]
    fn a_pipe_hears_of_nobody_coming_or_writing() {
        let mut screen = screen(Output::Plain, false);
        screen.joined("bob@x");
        screen.typing("bob@x", Instant::now());
        screen.left("bob@x");
        assert_eq!(screen.pending, "");
    }

    #[test]
    fn a_terminal_shows_the_day_once() {
        let mut screen = terminal(false);
        screen.message(&said("bob@x", "2026-01-02T12:04:05Z", "one"), &Mark::default());
        screen.message(&said("bob@x", "2026-01-02T12:05:05Z", "two"), &Mark::default());
        assert_eq!(screen.pending, "· Friday, 2 January 2026\n14:04 bob@x  one\n14:05 bob@x  two\n");
    }

    #[test]
    fn a_terminal_shows_names_numbers_and_answers_and_rings() {
        let mut screen = terminal(false);
        let hello = Said { name: Some("Bob".into()), ..said("bob@x", "", "hello @me") };
        screen.meet("bob@x", hello.name.as_deref());
        let calls = screen.calls_me(&hello.text);
        screen.message(&hello, &Mark { number: Some(12), answers: Some("#7".into()), calls, sought: false });
        screen.edited("bob@x", "#12", "hi\nyou");
        screen.deleted("me@x", "#7");
        let shown = "--:-- #12 Bob ↳ #7  hello @me\n\x07· Bob changed #12: hi\n      you\n· you deleted #7\n";
        assert_eq!(screen.pending, shown);
        assert!(!screen.calls_me("hello Me"));
    }

    #[test]
    fn what_is_sought_stands_out_and_times_are_local() {
        let mut screen = terminal(false);
        screen.message(&said("bob@x", "", "here"), &Mark { number: Some(3), sought: true, ..Mark::default() });
        assert_eq!(screen.pending, "--:-- ▸#3 bob@x  here\n");
        assert_eq!(screen.local("2026-01-02T23:04:05.678Z"), "3 January, 01:04");
        assert_eq!(screen.local("\x1b soon"), line("\x1b soon"));
    }

    #[test]
    fn who_has_anothers_name_or_one_like_an_address_is_told_by_the_address() {
        let mut screen = terminal(false);
        for (user, name) in [("bob@x", "Bob"), ("eve@x", "Вob"), ("mallory@x", "me@x"), ("ann@x", "Ann")] {
            screen.meet(user, Some(name));
        }
        let names = ["bob@x", "eve@x", "mallory@x", "ann@x", "carl@x"].map(|user| screen.plain_name(user));
        assert_eq!(names, ["Bob (bob@x)", "Вob (eve@x)", "me@x (mallory@x)", "Ann", "carl@x"]);
    }

    #[test]
    fn who_goes_on_writing_is_mentioned_once_until_they_have_said_it() {
        let mut screen = terminal(false);
        let now = Instant::now();
        screen.typing("bob@x", now);
        screen.typing("bob@x", now);
        screen.typing("me@x", now);
        assert_eq!(screen.pending, "· bob@x is writing …\n");
        screen.message(&said("bob@x", "", "said"), &Mark::default());
        screen.pending.clear();
        screen.typing("bob@x", now);
        assert_eq!(screen.pending, "· bob@x is writing …\n");
    }

    #[test]
    fn escapes_are_ours_or_shown() {
        let hostile = "\x1b]0;x\x07";
        for (colours, ours) in [(false, 0), (true, 6)] {
            let mut screen = terminal(colours);
            screen.joined(hostile);
            screen.message(&said(hostile, hostile, hostile), &Mark::default());
            assert_eq!(screen.pending.matches('\x1b').count(), ours, "{:?}", screen.pending);
            assert!(!screen.pending.contains('\x07'));
        }
    }
}
