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
    /// Whether it has been deleted: then it can't be replied to or changed.
    pub deleted: bool,
}

impl Shown {
    /// The number of a message: its existing one, or a new one.
    pub fn number(&mut self, said: &Said) -> usize {
        if let Some(number) = self.number_of(&said.id) {
            return number;
        }
        let known = Known { id: said.id.clone(), user: said.user.clone(), text: said.text.clone(), deleted: false };
        self.messages.push_back(known);
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
        self.messages.iter().filter(|known| !known.deleted && which(known)).max_by(|a, b| a.id.cmp(&b.id))
    }

    pub fn edited(&mut self, id: &str, text: &str) {
        if let Some(known) = self.messages.iter_mut().find(|known| known.id == id) {
            text.clone_into(&mut known.text);
        }
    }

    pub fn deleted(&mut self, id: &str) {
        if let Some(known) = self.messages.iter_mut().find(|known| known.id == id) {
            known.text.clear();
            known.deleted = true;
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
