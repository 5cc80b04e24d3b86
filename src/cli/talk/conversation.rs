//! The conversation: one loop that waits for the keyboard, the server and the clock.
//!
//! Only this thread changes state. The threads of the keyboard and of connecting hand over what they have, and wake it.

use super::{
    command::{self, Asked},
    connect::{Backoff, connect},
    frame::{self, Heard},
    inbox::{Entered, Inbox, Input, Inputs, MAX_WAITING},
    keyboard::Signs,
    line::Lost,
    outbox::{Outbox, What},
    phase::{Open, Phase},
    questions::Looking,
    rooms::Listed,
    screen::Screen,
    seen::Seen,
    session::{Denied, Session},
    shown::Shown,
};
use crate::cli::failure::Failure;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How many frames are read before the keyboard has its turn again, so that a busy room can be left.
const AT_ONCE: usize = 256;

/// How long the end waits for the echo of a confirmed message.
const ECHO: Duration = Duration::from_secs(2);

/// The request on the command line.
pub struct TalkOptions {
    pub room: String,
    /// The room that was perhaps meant, if nothing was ever said in the named one.
    pub nearly: Option<Listed>,
    /// Continue after the end of the input.
    pub follow: bool,
    /// How long the end waits without any progress.
    pub patience: Duration,
}

pub struct TerminalChat {
    pub(super) session: Arc<Session>,
    pub(super) options: TalkOptions,
    pub(super) screen: Screen,
    pub(super) signs: Arc<Signs>,
    inputs: Inputs,
    pub(super) entering: Inbox<Entered>,
    pub(super) phase: Phase,
    pub(super) backoff: Backoff,
    pub(super) outbox: Outbox,
    pub(super) seen: Seen,
    pub(super) shown: Shown,
    pub(super) looking: Looking,
    /// The account's rooms, as far as the server has listed them.
    pub(super) rooms: Vec<Listed>,
    /// The previous room and its title, in case this one can't be entered.
    pub(super) came_from: Option<(String, String)>,
    /// The user is being asked whether another room was meant. Nothing is sent until the answer.
    pub(super) asking: bool,
    /// That question must still be asked.
    pub(super) doubtful: bool,
    /// The message that is deleted if the user asks again.
    pub(super) deleting: Option<String>,
    pub(super) entered_before: bool,
    pub(super) who_is_asked: bool,
    /// How many messages the server has refused.
    pub(super) failed: usize,
    ending: bool,
    /// When the end began, or when something was last confirmed.
    pub(super) progress: Instant,
    /// The last trouble that was shown, so that it is shown only once.
    pub(super) told: String,
}

impl TerminalChat {
    pub fn new(
        session: Session,
        options: TalkOptions,
        screen: Screen,
        signs: Arc<Signs>,
        entering: Inbox<Entered>,
        inputs: Inputs,
        rooms: Vec<Listed>,
    ) -> TerminalChat {
        let now = Instant::now();
        TerminalChat {
            session: Arc::new(session),
            options,
            screen,
            signs,
            inputs,
            entering,
            phase: Phase::Offline { until: now },
            backoff: Backoff::new(),
            outbox: Outbox::new(now),
            seen: Seen::default(),
            shown: Shown::default(),
            looking: Looking::default(),
            rooms,
            came_from: None,
            asking: false,
            doubtful: false,
            deleting: None,
            entered_before: false,
            who_is_asked: false,
            failed: 0,
            ending: false,
            progress: now,
            told: String::new(),
        }
    }

    /// Runs until the end of the input, or until the user leaves.
    pub fn run(mut self) -> Result<(), Failure> {
        loop {
            self.inputs.silence_bell();
            self.take_inputs()?;
            self.take_entry()?;
            let more = self.converse().unwrap_or_else(|lost| {
                self.lost(&lost);
                false
            });
            if std::mem::take(&mut self.doubtful) {
                self.ask_about_slip()?;
            }
            self.screen.flush()?;
            if let Some(outcome) = self.outcome() {
                if let Phase::Open(open) = self.phase {
                    open.line.close();
                }
                return outcome;
            }
            self.go_in_if_due();
            // Input that was read already and is in a buffer would not end the wait.
            if !more {
                self.wait()?;
            }
        }
    }

    fn take_inputs(&mut self) -> Result<(), Failure> {
        while self.screen.is_terminal() || self.outbox.len() < MAX_WAITING {
            let Ok(input) = self.inputs.typed.try_recv() else { break };
            match input {
                Input::Line(_) if self.ending => {}
                Input::Line(line) if self.screen.is_terminal() => {
                    let was_moving = self.came_from.is_some();
                    self.handle(&line);
                    // After a move to another room, the next prompt comes there.
                    if was_moving || self.came_from.is_none() {
                        self.signs.obeyed();
                    }
                }
                Input::Line(line) if line.trim().is_empty() => {}
                Input::Line(line) => self.queue(What::Message { text: line, reply_to: None }),
                Input::Typing => self.tell_typing(),
                Input::Password(password) => self.go_in(Some(password)),
                Input::End if self.options.follow => {}
                Input::End => self.end(),
                Input::Enough if self.ending => return Err(Failure::Failed(self.unfinished())),
                Input::Enough => self.end(),
                Input::Broken(why) => return Err(Failure::Failed(why)),
            }
        }
        Ok(())
    }

    /// Does what a line at a terminal asks for. In a pipe, every line is a message.
    fn handle(&mut self, line: &str) {
        if self.answered(line) {
            return;
        }
        let asked = Asked::read(line);
        if !matches!(asked, Asked::Delete(_) | Asked::Nothing) {
            self.deleting = None;
        }
        match asked {
            Asked::Nothing => {}
            Asked::Say(text) => self.queue(What::Message { text: text.to_owned(), reply_to: None }),
            Asked::Reply(number, text) => self.reply(number, text),
            Asked::Edit(number, text) => self.edit(number, text),
            Asked::Delete(number) => self.delete(number),
            Asked::Search(query) => self.search(query),
            Asked::Show(number) => self.show(number),
            Asked::Earlier => self.earlier(),
            Asked::Later => self.later(),
            Asked::Rooms => self.list_rooms(),
            Asked::Room(name) => self.go_to(name),
            Asked::Who => self.who(),
            Asked::Quit => self.end(),
            Asked::Help => command::HELP.lines().for_each(|line| self.screen.aside(line)),
            Asked::Misused(name) => {
                let help = command::HELP.lines().filter(|line| line.contains(name));
                help.for_each(|line| self.screen.aside(line));
            }
            Asked::Unknown(word) => {
                let nearest = command::nearest(word).map_or_else(String::new, |name| format!("did you mean {name}? "));
                self.screen.aside(&format!("there is no command {word}; {nearest}to say it, write /{word}"));
            }
        }
    }

    pub(super) fn queue(&mut self, what: What) {
        self.outbox.push(what);
        if !matches!(self.phase, Phase::Open(_)) {
            self.screen.aside("kept, and sent as soon as there is a connection");
        }
    }

    fn who(&mut self) {
        self.who_is_asked = true;
        match &mut self.phase {
            // A lost connection is noticed by reading from it; the next connection asks again.
            Phase::Open(open) => drop(open.line.send(frame::PRESENCE.into())),
            _ => self.screen.aside("there is no connection at the moment; the answer comes when it is back"),
        }
    }

    fn tell_typing(&mut self) {
        let now = Instant::now();
        if let Phase::Open(open) = &mut self.phase
            && open.may_tell_typing(now)
        {
            // A lost connection is noticed by reading from it.
            drop(open.line.send(frame::TYPING.into()));
        }
    }

    fn end(&mut self) {
        self.ending = true;
        self.progress = Instant::now();
        if self.screen.is_terminal() && !self.outbox.is_empty() {
            let waiting = messages(self.outbox.len());
            self.screen.aside(&format!("waiting for the server to confirm {waiting}; Ctrl-C leaves at once"));
        }
    }

    /// Reads what has arrived, and sends what is due. Returns whether more may have arrived.
    fn converse(&mut self) -> Result<bool, Lost> {
        let Phase::Open(open) = &mut self.phase else { return Ok(false) };
        open.line.flush()?;
        let mut more = true;
        for _ in 0..AT_ONCE {
            let Phase::Open(open) = &mut self.phase else { return Ok(false) };
            let Some(text) = open.line.hear()? else {
                more = false;
                break;
            };
            open.heard(Instant::now());
            match Heard::parse(&text) {
                Heard::Message(said) => self.said(&said),
                heard => self.told(heard),
            }
        }
        let Phase::Open(open) = &mut self.phase else { return Ok(false) };
        let now = Instant::now();
        open.pulse(now)?;
        if open.ready
            && self.options.nearly.is_none()
            && let Some(draft) = self.outbox.next(now)
        {
            let reference = &draft.reference;
            let frame = match &draft.what {
                What::Message { text, reply_to } => frame::message(text, reply_to.as_deref(), reference),
                What::Delete { id, .. } => frame::delete(id, reference),
                What::Edit { id: Some(id), text } => frame::edit(id, text, reference),
                What::Edit { id: None, text } => {
                    let last = self.shown.last(|known| self.screen.is_me(&known.user));
                    frame::edit(last.map_or("", |known| &known.id), text, reference)
                }
            };
            open.say(frame)?;
        }
        Ok(more)
    }

    fn lost(&mut self, lost: &Lost) {
        /// A message was too big (RFC 6455 §7.4.1).
        const TOO_BIG: u16 = 1009;

        let Phase::Open(open) = &self.phase else { return };
        let was_ready = open.ready;
        self.backoff.was_open_for(open.since.elapsed());
        self.phase = Phase::Offline { until: Instant::now() + self.backoff.next(Duration::ZERO) };
        self.signs.connected.store(false, Ordering::Relaxed);
        if lost.code == Some(TOO_BIG)
            && let Some(draft) = self.outbox.take_sent()
        {
            let why = format!("the server takes no message as long as this one of {} bytes", draft.what.text().len());
            return self.not_delivered(&why, &draft.what);
        }
        self.outbox.disconnected();
        let why = if lost.why.is_empty() { "the server closed the connection" } else { &lost.why };
        let sentence = format!("offline: {why}; connecting again, what you write is kept");
        match was_ready {
            true => self.screen.trouble(&sentence),
            false => self.tell_once(&sentence),
        }
        if self.looking.disconnected() {
            self.screen.aside("what you asked for has no answer; ask again when the connection is back");
        }
    }

    fn take_entry(&mut self) -> Result<(), Failure> {
        let Ok(entered) = self.inputs.entered.try_recv() else { return Ok(()) };
        let denied = match entered {
            Entered::Opened(Ok(mut line)) => {
                // If it is lost at once, reading will notice that.
                drop(line.send(frame::PRESENCE.into()));
                self.phase = Phase::Open(Open::new(line, Instant::now()));
                return Ok(());
            }
            Entered::Opened(Err(denied)) => denied,
            Entered::NoLogin(Denied::ForGood(why)) => {
                self.screen.trouble(&why);
                Denied::Expired
            }
            Entered::NoLogin(denied) => denied,
            Entered::Rooms(rooms) => {
                self.rooms_came(rooms);
                return Ok(());
            }
        };
        match denied {
            Denied::ForNow { why, wait } => {
                self.tell_once(&format!("offline: {why}"));
                self.phase = Phase::Offline { until: Instant::now() + self.backoff.next(wait) };
            }
            Denied::Expired if self.screen.is_terminal() => {
                self.phase = Phase::LockedOut;
                self.signs.password_wanted.store(true, Ordering::Relaxed);
                self.screen.trouble("your login has expired; press Enter to give your password again");
            }
            Denied::Expired => return Err(Failure::Failed(format!("the login has expired; {}", self.unfinished()))),
            Denied::ForGood(why) => return self.go_back(why),
        }
        Ok(())
    }

    pub(super) fn tell_once(&mut self, sentence: &str) {
        if self.told != sentence {
            self.screen.trouble(sentence);
            sentence.clone_into(&mut self.told);
        }
    }

    fn go_in_if_due(&mut self) {
        if matches!(self.phase, Phase::Offline { until } if until <= Instant::now()) {
            self.go_in(None);
        }
    }

    fn go_in(&mut self, password: Option<Zeroizing<String>>) {
        self.phase = Phase::Entering;
        connect(
            self.session.clone(),
            &self.options.room,
            self.seen.last().map(str::to_owned),
            password,
            self.entering.clone(),
        );
    }

    /// The result, if the conversation has ended.
    fn outcome(&self) -> Option<Result<(), Failure>> {
        if !self.ending {
            return None;
        }
        let waited = self.progress.elapsed();
        // A pipe's reader wants the room's messages and the user's own. On a terminal both are visible already.
        let to_read = !self.screen.is_terminal()
            && (!self.entered_before
                || ((self.who_is_asked || self.seen.expects_more()) && waited < ECHO.min(self.options.patience)));
        if self.outbox.is_empty() && !to_read {
            return Some(match self.failed {
                0 => Ok(()),
                failed => Err(Failure::Failed(format!("not delivered: {}", messages(failed)))),
            });
        }
        (waited >= self.options.patience).then(|| Err(Failure::Failed(self.unfinished())))
    }

    fn unfinished(&self) -> String {
        match self.outbox.len() {
            0 => format!("the room {} could not be entered", self.options.room),
            waiting => format!("the server has not confirmed {}", messages(waiting)),
        }
    }

    /// Sleeps until another thread rings, the server sends something, or something is due.
    fn wait(&self) -> Result<(), Failure> {
        let mut until = match &self.phase {
            Phase::Offline { until } => Some(*until),
            Phase::Entering | Phase::LockedOut => None,
            Phase::Open(open) => {
                let due = if open.ready { self.outbox.due() } else { None };
                Some(due.map_or(open.next_pulse(), |due| due.min(open.next_pulse())))
            }
        };
        if self.ending {
            let patience = if self.outbox.is_empty() { ECHO.min(self.options.patience) } else { self.options.patience };
            let end = [self.progress + patience, self.progress + self.options.patience];
            // When the first has passed without ending the conversation, the second counts.
            let end = end.into_iter().find(|end| *end > Instant::now()).unwrap_or(self.progress);
            until = Some(until.map_or(end, |until| until.min(end)));
        }
        // Rounded up; otherwise the last millisecond would be spent on waking up.
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout =
            timeout.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let mut sources = vec![PollFd::new(&self.inputs.bell, PollFlags::IN)];
        if let Phase::Open(open) = &self.phase {
            let (socket, interest) = open.line.interest();
            sources.push(PollFd::from_borrowed_fd(socket, interest));
        }
        match poll(&mut sources, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(Failure::Failed(format!("the system can't wait for the connection: {e}"))),
        }
    }
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}
