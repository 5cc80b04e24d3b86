//! The messages that the user can name by a number, such as `#12`.

use super::frame::Said;
use std::collections::VecDeque;

/// How many messages can be named; earlier ones are no longer of interest.
const MOST: usize = 1000;

/// The latest messages, by the numbers with which they were shown. A number is never used twice.
#[derive(Default)]
pub struct Shown {
    messages: VecDeque<Known>,
    /// How many have been forgotten: the first number is one more.
    forgotten: usize,
}

/// What is kept of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: String,
    pub user: String,
    pub text: String,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Shown,
    /// Only a reply to it was shown.
    Mentioned,
    /// It can't be replied to or changed.
    Deleted,
}

impl Shown {
    /// The number of a message: its existing one, or a new one.
    pub fn number(&mut self, said: &Said) -> usize {
        let number = self.mention(&said.id);
        if let Some(known) = self.messages.get_mut(number - self.forgotten - 1)
            && known.state == State::Mentioned
        {
            (known.user, known.text, known.state) = (said.user.clone(), said.text.clone(), State::Shown);
        }
        number
    }

    /// The number of a message to which another one replies: its existing one, or a new one.
    pub fn mention(&mut self, id: &str) -> usize {
        if let Some(number) = self.number_of(id) {
            return number;
        }
        let state = State::Mentioned;
        self.messages.push_back(Known { id: id.to_owned(), user: String::new(), text: String::new(), state });
        if self.messages.len() > MOST {
            self.messages.pop_front();
            self.forgotten += 1;
        }
        self.forgotten + self.messages.len()
    }

    pub fn number_of(&self, id: &str) -> Option<usize> {
        self.messages.iter().position(|known| known.id == id).map(|at| self.forgotten + at + 1)
    }

    pub fn by_number(&self, number: usize) -> Option<&Known> {
        self.messages.get(number.checked_sub(self.forgotten + 1)?)
    }

    /// The newest message for which `which` holds, by its id: a search shows old messages late.
    pub fn last(&self, which: impl Fn(&Known) -> bool) -> Option<&Known> {
        self.messages.iter().filter(|known| known.state == State::Shown && which(known)).max_by(|a, b| a.id.cmp(&b.id))
    }

    pub fn edited(&mut self, id: &str, text: &str) {
        if let Some(known) = self.messages.iter_mut().find(|known| known.id == id) {
            text.clone_into(&mut known.text);
        }
    }

    pub fn deleted(&mut self, id: &str) {
        if let Some(known) = self.messages.iter_mut().find(|known| known.id == id) {
            known.text.clear();
            known.state = State::Deleted;
        }
    }

    /// Forgets all messages: they can't be named in another room.
    pub fn forget(&mut self) {
        self.forgotten += self.messages.len();
        self.messages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: usize, user: &str) -> Said {
        Said { id: format!("{id:04}"), user: user.into(), text: format!("text {id}"), ..Said::default() }
    }

    #[test]
    fn a_number_stays_a_messages_own() {
        let mut shown = Shown::default();
        assert_eq!(shown.number(&said(1, "a")), 1);
        assert_eq!(shown.number(&said(2, "a")), 2);
        assert_eq!(shown.number(&said(1, "a")), 1);
        for id in 3..=MOST + 10 {
            assert_eq!(shown.number(&said(id, "a")), id);
        }
        assert_eq!(shown.by_number(10), None);
        assert_eq!(shown.by_number(11).unwrap().id, "0011");
        shown.forget();
        assert_eq!(shown.by_number(MOST), None);
        assert_eq!(shown.number(&said(1, "a")), MOST + 11);
    }

    #[test]
    fn a_message_keeps_the_number_with_which_it_was_mentioned() {
        let mut shown = Shown::default();
        assert_eq!(shown.mention("0009"), 1);
        assert_eq!(shown.number(&said(12, "a")), 2);
        assert_eq!(shown.last(|known| known.id == "0009"), None);
        assert_eq!(shown.number(&said(9, "b")), 1);
        assert_eq!(shown.last(|known| known.id == "0009").unwrap().text, "text 9");
        assert_eq!(shown.mention("0012"), 2);
        assert_eq!(shown.by_number(2).unwrap().text, "text 12");
    }

    #[test]
    fn the_last_is_the_last_that_was_said() {
        let mut shown = Shown::default();
        for id in [5, 7, 3] {
            shown.number(&said(id, if id == 7 { "b" } else { "a" }));
        }
        assert_eq!(shown.last(|known| known.user == "a").unwrap().id, "0005");
        shown.edited("0005", "changed");
        assert_eq!(shown.by_number(1).unwrap().text, "changed");
        shown.deleted("0005");
        assert_eq!(shown.last(|known| known.user == "a").unwrap().id, "0003");
        assert_eq!(shown.by_number(1).unwrap().text, "");
    }
}
