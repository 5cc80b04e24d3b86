//! What has been seen of the room, so that nothing is shown twice and the user's own messages are recognised.

/// The messages of the room so far. Ids grow in the order of the room.
#[derive(Default)]
pub struct Seen {
    last: Option<String>,
    /// Own messages that are confirmed but have not come back yet.
    expected: Vec<String>,
    /// Whether the message on its way has come back before its confirmation.
    echoed: bool,
}

/// The kinds of arriving messages.
#[derive(Debug, PartialEq, Eq)]
pub enum Novelty {
    New,
    /// Said here; now everybody sees it.
    Echo,
    /// Seen before: after a gap in its history the server may repeat messages.
    Again,
}

impl Seen {
    /// The message after which a new connection continues.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Notes a message. `alike`: it could be the one on its way. (If the same account said the same text elsewhere,
    /// nobody can tell the two apart.)
    pub fn see(&mut self, id: &str, alike: bool) -> Novelty {
        if self.last.as_deref().is_some_and(|last| id <= last) {
            return Novelty::Again;
        }
        self.last = Some(id.to_owned());
        if let Some(at) = self.expected.iter().position(|expected| expected == id) {
            self.expected.remove(at);
            return Novelty::Echo;
        }
        if !alike || self.echoed {
            return Novelty::New;
        }
        self.echoed = true;
        Novelty::Echo
    }

    /// Notes that the message on its way is confirmed with this id.
    pub fn expect(&mut self, id: String) {
        let last = self.last.as_ref();
        self.expected.retain(|id| Some(id) > last);
        if !std::mem::take(&mut self.echoed) && Some(&id) > last {
            self.expected.push(id);
        }
    }

    /// Whether a confirmed message has not come back yet.
    pub fn expects_more(&self) -> bool {
        self.expected.iter().any(|id| Some(id) > self.last.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_may_come_before_or_after_the_confirmation() {
        let mut seen = Seen::default();
        assert_eq!(seen.see("1", true), Novelty::Echo);
        seen.expect("1".into());
        assert!(!seen.expects_more());
        seen.expect("2".into());
        assert!(seen.expects_more());
        assert_eq!(seen.see("2", false), Novelty::Echo);
        assert!(!seen.expects_more());
    }

    #[test]
    fn what_others_say_is_new_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.see("1", false), Novelty::New);
        assert_eq!(seen.see("1", false), Novelty::Again);
        assert_eq!(seen.last(), Some("1"));
    }

    #[test]
    fn the_same_text_said_elsewhere_is_shown_too() {
        let mut seen = Seen::default();
        assert_eq!(seen.see("1", true), Novelty::Echo);
        assert_eq!(seen.see("2", true), Novelty::New);
        seen.expect("2".into());
        assert!(!seen.expects_more());
    }

    #[test]
    fn a_message_stored_before_the_connection_was_lost_is_not_waited_for() {
        let mut seen = Seen::default();
        assert_eq!(seen.see("1", true), Novelty::Echo);
        assert_eq!(seen.see("2", false), Novelty::New);
        seen.expect("1".into());
        assert!(!seen.expects_more());
    }
}
