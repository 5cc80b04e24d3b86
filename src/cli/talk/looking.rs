//! Looks back: shows a message far back amid what was said around it, and what was said before and after that.

use super::{
    conversation::TerminalChat,
    frame::{self, Said},
    phase::Phase,
    questions::{Question, Stretch},
    shown::State,
};

/// How many messages before a message, and after it, are shown with it.
const AROUND: usize = 5;

/// How many more `/earlier` and `/later` show.
const FURTHER: usize = 20;

/// How many messages a search shows.
const FOUND: usize = 10;

/// An id before those of all messages.
const BEFORE_ALL: &str = "00000000-0000-7000-8000-000000000000";

pub const NO_CONNECTION: &str = "there is no connection at the moment; try again when it is back";

impl TerminalChat {
    pub fn search(&mut self, query: &str) {
        self.ask(frame::search(query, FOUND), Question::Search);
    }

    /// The results of a search come newest first, and are shown oldest first, like a room.
    pub fn found(&mut self, messages: &[Said], more: bool) {
        self.looking.asked.pop_front_if(|question| matches!(question, Question::Search));
        self.screen.aside(match (messages.len(), more) {
            (0, _) => "no message has all of these words",
            (_, false) => "found:",
            (_, true) => "found, and more before these:",
        });
        self.screen.forget_day();
        messages.iter().rev().for_each(|said| self.look_at(said, None));
        if let Some(newest) = messages.first() {
            let which = self.which(&newest.id);
            self.screen.aside(&format!("that was all that is shown of it; /show {which} shows it amid what was said"));
            self.screen.forget_day();
        }
    }

    /// Shows the message with this number, and what was said around it.
    pub fn show(&mut self, number: usize) {
        match self.shown.by_number(number) {
            None => self.screen.aside(&format!("there is no message #{number} here")),
            Some(known) if known.state == State::Deleted => self.screen.aside(&format!("#{number} was deleted")),
            Some(known) => {
                let id = known.id.clone();
                self.ask(frame::before(&id, AROUND), Question::Before(id));
            }
        }
    }

    /// Shows what was said before that, or before everything that was shown of the room.
    pub fn earlier(&mut self) {
        if self.must_wait() {
            return;
        }
        match &self.looking.at {
            Some(stretch) => self.ask(frame::before(&stretch.first, FURTHER), Question::Earlier),
            None => self.screen.aside("nothing has been said here yet"),
        }
    }

    pub fn later(&mut self) {
        if self.must_wait() {
            return;
        }
        match self.looking.at.as_ref().and_then(|stretch| stretch.last.as_ref()) {
            Some(last) => self.ask(frame::after(last, FURTHER), Question::Later),
            None => self.screen.aside("you have seen the latest messages"),
        }
    }

    /// Where to go on is known when the last answer has come.
    fn must_wait(&mut self) -> bool {
        let waits = !self.looking.asked.is_empty();
        if waits {
            self.screen.aside("the answer to your last question is still to come; try again in a moment");
        }
        waits
    }

    /// A page of history has come.
    pub fn looked(&mut self, messages: Vec<Said>, more: bool) {
        match self.looking.asked.pop_front() {
            Some(Question::Before(id)) => {
                let from = messages.last().map_or(BEFORE_ALL, |said| &said.id);
                let frame = frame::after(from, AROUND + 1);
                self.ask(frame, Question::From { id, before: messages, earlier: more });
            }
            Some(Question::From { id, before, earlier }) => {
                let around = [before, messages].concat();
                let which = self.which(&id);
                self.screen.aside(&match around.iter().any(|said| said.id == id) {
                    true => format!("around {which}:"),
                    false => format!("{which} is gone; around it was said:"),
                });
                if let (Some(first), Some(last)) = (around.first(), around.last()) {
                    let last = more.then(|| last.id.clone());
                    self.looking.at = Some(Stretch { first: first.id.clone(), last });
                }
                self.show_all(&around, Some(&id));
                self.screen.aside(match (earlier, more) {
                    (true, true) => "/earlier and /later show more",
                    (false, true) => "that is how it began; /later shows more",
                    (true, false) => "that is up to now; /earlier shows more",
                    (false, false) => "that is all that was said",
                });
            }
            Some(Question::Earlier) => {
                if let (Some(stretch), Some(said)) = (&mut self.looking.at, messages.first()) {
                    stretch.first.clone_from(&said.id);
                }
                self.show_all(&messages, None);
                self.screen.aside(if more { "/earlier shows more" } else { "that is how it began" });
            }
            Some(Question::Later) => {
                if let (Some(stretch), Some(said)) = (&mut self.looking.at, messages.last()) {
                    stretch.last = more.then(|| said.id.clone());
                }
                self.show_all(&messages, None);
                self.screen.aside(if more { "/later shows more" } else { "that is up to now" });
            }
            Some(Question::Search) | None => {}
        }
    }

    /// Shows messages that follow each other.
    fn show_all(&mut self, messages: &[Said], sought: Option<&str>) {
        self.screen.forget_day();
        messages.iter().for_each(|said| self.look_at(said, sought));
        self.screen.forget_day();
    }

    fn look_at(&mut self, said: &Said, sought: Option<&str>) {
        self.screen.meet(&said.user, said.name.as_deref());
        let mut mark = self.mark(said);
        mark.sought = sought == Some(said.id.as_str());
        self.screen.message(said, &mark);
    }

    /// Asks the server something that it answers with a frame of its own.
    fn ask(&mut self, frame: String, question: Question) {
        let Phase::Open(open) = &mut self.phase else { return self.screen.aside(NO_CONNECTION) };
        self.looking.asked.push_back(question);
        // A lost connection is noticed by reading from it.
        drop(open.line.send(frame));
    }
}
