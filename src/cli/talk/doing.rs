//! Carries out the commands at a terminal, except for the simplest.

use super::{
    connect::{Backoff, ask_for_rooms},
    conversation::TerminalChat,
    frame::Said,
    harmless::line,
    looking::NO_CONNECTION,
    outbox::What,
    phase::Phase,
    questions::Looking,
    rooms::{Listed, Meant, meant},
    screen::Mark,
    seen::Seen,
    session::Denied,
    shown::{Known, State},
};
use crate::cli::failure::Failure;
use std::{sync::atomic::Ordering, time::Instant};

/// How many letters of a message are quoted to identify it.
const BEGINNING: usize = 40;

const UNCONFIRMED: &str = "your last message is not confirmed yet; try again in a moment";

impl TerminalChat {
    pub fn reply(&mut self, number: Option<usize>, text: &str) {
        let Some(known) = self.named(number, false) else { return };
        self.queue(What::Message { text: text.to_owned(), reply_to: Some(known.id) });
    }

    pub fn edit(&mut self, number: Option<usize>, text: &str) {
        let id = match number {
            // The user's last message is on its way. It will have an id when this edit is sent.
            None if self.outbox.has_message() => None,
            _ => match self.named(number, true) {
                Some(known) => Some(known.id),
                None => return,
            },
        };
        self.queue(What::Edit { id, text: text.to_owned() });
    }

    /// Deletes a message when the user asks for it twice.
    pub fn delete(&mut self, number: Option<usize>) {
        if number.is_none() && self.outbox.has_message() {
            return self.screen.aside(UNCONFIRMED);
        }
        let Some(known) = self.named(number, true) else { return };
        if self.deleting.take().as_ref() == Some(&known.id) {
            return self.queue(What::Delete { id: known.id, text: known.text });
        }
        self.screen.aside(&format!("this deletes “{}” for everybody; the same again does it", beginning(&known.text)));
        self.deleting = Some(known.id);
    }

    pub fn list_rooms(&mut self) {
        ask_for_rooms(self.session.clone(), self.entering.clone());
    }

    pub fn rooms_came(&mut self, rooms: Result<Vec<Listed>, Denied>) {
        let rooms = match rooms {
            Ok(rooms) => rooms,
            Err(Denied::Expired) => return self.screen.trouble("your login has expired"),
            Err(Denied::ForNow { why, .. } | Denied::ForGood(why)) => return self.screen.trouble(&why),
        };
        if rooms.is_empty() {
            self.screen.aside("you have no rooms; /room NAME enters any channel");
        }
        for room in &rooms {
            let here = if room.name == self.options.room { ", where you are" } else { "" };
            let unread = if room.unread > 0 { format!(", {} unread", room.unread) } else { String::new() };
            self.screen.aside(&format!("{}{here}{unread}", line(&room.title)));
        }
        *self.signs.rooms.lock() = rooms.iter().map(|room| room.title.clone()).collect();
        self.rooms = rooms;
    }

    /// Goes to the room with this name.
    pub fn go_to(&mut self, name: &str) {
        if !self.outbox.is_empty() {
            return self.screen.aside("what you said here is not confirmed yet; try again in a moment");
        }
        if !matches!(self.phase, Phase::Open(_) | Phase::Offline { .. }) {
            return self.screen.aside(NO_CONNECTION);
        }
        let (room, title, nearly) = match meant(name, &self.rooms) {
            Meant::Room(room) => (room.name.clone(), room.title.clone(), None),
            Meant::Nearly(room) => (name.to_owned(), name.to_owned(), Some(room.clone())),
            Meant::Another => (name.to_owned(), name.to_owned(), None),
        };
        if room == self.options.room {
            return self.screen.aside("you are there");
        }
        self.enter(room, &title, nearly);
    }

    fn enter(&mut self, room: String, title: &str, nearly: Option<Listed>) {
        let before = std::mem::replace(&mut self.options.room, room);
        let title = std::mem::replace(&mut *self.signs.room.lock(), super::short(title));
        self.came_from = Some((before, title));
        self.options.nearly = nearly;
        self.leave_room();
    }

    /// Goes back to the previous room if this one can't be entered; fails if there is none.
    pub fn go_back(&mut self, why: String) -> Result<(), Failure> {
        let Some((room, title)) = self.came_from.take() else { return Err(Failure::Failed(why)) };
        self.screen.trouble(&why);
        self.screen.aside(&format!("back in {}", line(&title)));
        self.options.room = room;
        self.options.nearly = None;
        *self.signs.room.lock() = title;
        self.signs.obeyed();
        self.leave_room();
        Ok(())
    }

    /// Forgets everything about the room, and connects to the one that is wanted now.
    fn leave_room(&mut self) {
        let left = std::mem::replace(&mut self.phase, Phase::Offline { until: Instant::now() });
        if let Phase::Open(open) = left {
            open.line.close();
        }
        self.signs.connected.store(false, Ordering::Relaxed);
        self.backoff = Backoff::new();
        self.seen = Seen::default();
        self.shown.forget();
        self.looking = Looking::default();
        self.screen.forget_day();
        (self.entered_before, self.who_is_asked, self.deleting) = (false, false, None);
    }

    /// The room is empty, and its name could be a misspelling of another's: asks the user, or in a pipe fails.
    pub fn ask_about_slip(&mut self) -> Result<(), Failure> {
        let Some(nearly) = &self.options.nearly else { return Ok(()) };
        let (typed, other) = (line(&self.options.room), line(&nearly.title));
        if !self.screen.is_terminal() {
            let way = "name that one, or say --new to begin a room";
            return Err(Failure::Usage(format!(
                "nothing was ever said in a room “{typed}”; did you mean “{other}”? {way}"
            )));
        }
        self.asking = true;
        self.screen.aside(&format!("nothing was ever said in a room “{typed}”. Did you mean “{other}”? yes or no"));
        Ok(())
    }

    /// Whether a line was the answer to that question.
    pub fn answered(&mut self, answer: &str) -> bool {
        if !self.asking {
            return false;
        }
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => {
                self.asking = false;
                if let Some(room) = self.options.nearly.take() {
                    // What was typed before the question was meant for that room too.
                    self.enter(room.name, &room.title, None);
                }
            }
            "n" | "no" => {
                self.asking = false;
                self.options.nearly = None;
                self.screen.aside("it begins with your first message");
            }
            "/quit" => return false,
            _ => self.screen.aside("nothing is said before you answer yes or no"),
        }
        true
    }

    /// How a message is marked on a terminal.
    pub fn mark(&mut self, said: &Said) -> Mark {
        if !self.screen.is_terminal() {
            return Mark::default();
        }
        let answers = said.reply_to.as_ref().map(|id| match self.shown.number_of(id) {
            Some(number) => format!("#{number}"),
            None => format!("earlier #{}", self.shown.mention(id)),
        });
        Mark { number: Some(self.shown.number(said)), answers, ..Mark::default() }
    }

    /// A reference to a message, for sentences.
    pub fn which(&self, id: &str) -> String {
        self.shown.number_of(id).map_or_else(|| "an earlier message".to_owned(), |number| format!("#{number}"))
    }

    /// The message with this number, or else the user's own last one or the last one of others. Reports if there is
    /// none.
    fn named(&mut self, number: Option<usize>, own: bool) -> Option<Known> {
        let known = match number {
            Some(number) => self.shown.by_number(number).filter(|known| known.state != State::Deleted),
            None => self.shown.last(|known| self.screen.is_me(&known.user) == own),
        };
        let known = known.cloned();
        if let (Some(number), Some(State::Mentioned)) = (number, known.as_ref().map(|known| known.state)) {
            self.screen.aside(&format!("you have not seen #{number} yet; /show #{number} shows it"));
            return None;
        }
        if known.is_none() {
            self.screen.aside(&match number {
                Some(number) => format!("there is no message #{number} here"),
                None if own => "you have said nothing here yet".into(),
                None => "nobody else has said anything here yet".into(),
            });
        }
        known
    }
}

/// The first words of a text.
pub fn beginning(text: &str) -> String {
    let begins: String = line(text).chars().take(BEGINNING).collect();
    if begins.len() < line(text).len() { format!("{begins} …") } else { begins }
}
