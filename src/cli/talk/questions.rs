//! What the user has asked the server about the room's past, and where they look.

use super::frame::Said;
use std::collections::VecDeque;

#[derive(Default)]
pub struct Looking {
    /// What the server has not answered yet. It answers in order.
    pub asked: VecDeque<Question>,
    /// What the user looks at; `None` before anything of the room was shown.
    pub at: Option<Stretch>,
}

/// Messages that follow each other, by the ids of the first and the last.
pub struct Stretch {
    pub first: String,
    /// `None`: it reaches to the present.
    pub last: Option<String>,
}

pub enum Question {
    Search,
    /// What was said before this message.
    Before(String),
    /// This message and what was said after it.
    From {
        id: String,
        before: Vec<Said>,
        earlier: bool,
    },
    Earlier,
    Later,
}

impl Looking {
    /// Notes a message of the present.
    pub fn noted(&mut self, id: &str) {
        self.at.get_or_insert_with(|| Stretch { first: id.to_owned(), last: None });
    }

    /// Whether an error with this code, about nothing that was sent with a mark, refuses a question.
    pub fn refused(&mut self, code: &str) -> bool {
        let refuses = match self.asked.front() {
            Some(Question::Search) => matches!(code, "unavailable" | "bad_query" | "too_many_searches"),
            Some(_) => code == "unavailable",
            None => false,
        };
        refuses && self.asked.pop_front().is_some()
    }

    /// The connection is lost. Returns whether questions were lost with it.
    pub fn disconnected(&mut self) -> bool {
        !std::mem::take(&mut self.asked).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_refuses_the_question_that_is_next() {
        let mut looking = Looking { asked: [Question::Search, Question::Earlier].into(), at: None };
        assert!(!looking.refused("muted"));
        assert!(looking.refused("bad_query"));
        assert!(!looking.refused("bad_query"), "no page of history has a query");
        assert!(looking.refused("unavailable"));
        assert!(!looking.refused("unavailable"), "nothing is asked any more");
        assert!(!looking.disconnected());
    }

    #[test]
    fn the_first_message_of_the_present_is_where_one_looks_back_from() {
        let mut looking = Looking::default();
        looking.noted("1");
        looking.noted("2");
        let at = looking.at.expect("a stretch");
        assert_eq!((&*at.first, at.last), ("1", None));
    }
}
