//! Handles the server's frames.

use super::{
    conversation::TerminalChat,
    doing::beginning,
    frame::{Heard, Said},
    outbox::What,
    phase::Phase,
    seen::Novelty,
};
use std::{sync::atomic::Ordering, time::Instant};

impl TerminalChat {
    pub fn said(&mut self, said: &Said) {
        let on_its_way = self.outbox.on_its_way().filter(|text| self.screen.is_me(&said.user) && *text == said.text);
        let sight = self.seen.see(&said.id, on_its_way.is_some());
        if sight == Novelty::Again {
            return;
        }
        self.looking.noted(&said.id);
        self.screen.meet(&said.user, said.name.as_deref());
        let mut mark = self.mark(said);
        // It was typed there, so it is visible already.
        if sight == Novelty::Echo && self.screen.is_terminal() {
            return;
        }
        // Messages from before the user came in are read with the rest, and call nobody.
        mark.calls = self.entered_before && !self.screen.is_me(&said.user) && self.screen.calls_me(&said.text);
        self.screen.message(said, &mark);
    }

    pub fn told(&mut self, heard: Heard) {
        match heard {
            Heard::Ack { reference, id } => self.confirmed(&reference, id),
            Heard::Join { user, name } => {
                self.screen.meet(&user, name.as_deref());
                self.screen.joined(&user);
            }
            Heard::Leave { user, name } => {
                self.screen.meet(&user, name.as_deref());
                self.screen.left(&user);
            }
            Heard::Typing { user, name } => {
                self.screen.meet(&user, name.as_deref());
                self.screen.typing(&user, Instant::now());
            }
            Heard::Presence { users, names } => {
                for (user, name) in &names {
                    self.screen.meet(user, Some(name));
                }
                self.present(&users);
            }
            Heard::Error { code, message, reference, until } => {
                let ends = until.map(|until| format!(" That ends on {}.", self.screen.local(&until)));
                self.refused(&code, &(message + ends.as_deref().unwrap_or_default()), reference.as_deref());
            }
            Heard::Edited { id, change, user, text } => {
                if self.seen.see(&change, false) != Novelty::Again {
                    self.shown.edited(&id, &text);
                    self.screen.edited(&user, &self.which(&id), &text);
                }
            }
            Heard::Deleted { id, change, user } => {
                if self.seen.see(&change, false) != Novelty::Again {
                    self.screen.deleted(&user, &self.which(&id));
                    self.shown.deleted(&id);
                }
            }
            Heard::History { messages, more } => self.looked(messages, more),
            Heard::Results { messages, more } => self.found(&messages, more),
            Heard::Message(_) | Heard::Other => {}
        }
    }

    fn confirmed(&mut self, reference: &str, id: String) {
        let Some(draft) = self.outbox.confirmed(reference) else { return };
        self.progress = Instant::now();
        self.told.clear();
        if let What::Message { text, .. } = draft.what {
            let said = Said { id, user: self.session.email.clone(), text, ..Said::default() };
            self.mark(&said); // so that it has a number, even if it comes back only after the next line is typed
            self.seen.expect(said.id);
        }
    }

    /// The answer to `/who`, or to the question with which each connection begins; the latter comes behind the history.
    fn present(&mut self, users: &[String]) {
        let Phase::Open(open) = &mut self.phase else { return };
        if !open.ready {
            open.ready = true;
            self.signs.connected.store(true, Ordering::Relaxed);
            if self.came_from.take().is_some() {
                self.signs.obeyed();
            }
            self.greet(users.len());
        }
        if std::mem::take(&mut self.who_is_asked) {
            self.screen.people(users);
        }
    }

    fn greet(&mut self, people: usize) {
        self.told.clear();
        if std::mem::replace(&mut self.entered_before, true) {
            return self.screen.trouble("connected again");
        }
        if self.seen.last().is_some() {
            self.options.nearly = None;
        } else if self.options.nearly.is_some() {
            self.doubtful = true;
        } else {
            self.screen.aside("nothing has been said here yet");
        }
        let who = if people == 1 { "you are alone here".to_owned() } else { format!("{people} people are here") };
        self.screen.aside(&format!("{who}; /help shows what you can do"));
    }

    fn refused(&mut self, code: &str, message: &str, reference: Option<&str>) {
        if reference.is_none() && self.looking.refused(code) {
            return self.screen.trouble(message);
        }
        if matches!(code, "rate_limited" | "unavailable" | "overloaded" | "unknown") {
            self.outbox.back_off(Instant::now());
            return self.tell_once(&format!("{message} It is tried again."));
        }
        match reference.and_then(|reference| self.outbox.take(reference)) {
            Some(draft) => self.not_delivered(message, &draft.what),
            // Typing is refused as well, again and again.
            None if code == "muted" => self.tell_once(message),
            None => self.screen.trouble(message),
        }
    }

    pub fn not_delivered(&mut self, why: &str, what: &What) {
        self.failed += 1;
        self.progress = Instant::now();
        let not_done = match what {
            What::Message { .. } => "not delivered",
            What::Edit { .. } => "not changed",
            What::Delete { .. } => "not deleted",
        };
        self.screen.trouble(&format!("{not_done}: “{}”: {why}", beginning(what.text())));
    }
}
