//! Messages and changes that the server has not confirmed yet.
//!
//! Only one is on its way at a time, and the next is sent when the server has confirmed it. So their order is kept,
//! whatever happens in between. A message keeps its `ref`, so if it is sent again, because the connection was lost or
//! the server could not store it, it is stored only once.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Less than a server allows by default (20 per second, bursts of 100).
const PACE: Duration = Duration::from_millis(1000 / 15);
const BURST: u32 = 60;

/// A message that is not confirmed for this long is sent again.
const CONFIRMATION: Duration = Duration::from_secs(10);

/// How long to wait until a message is sent again that the server could not take; doubled each time.
const HESITATION: Duration = Duration::from_secs(1);
const LONGEST_HESITATION: Duration = Duration::from_secs(30);

pub struct Outbox {
    waiting: VecDeque<Draft>,
    /// When the first in the queue was sent on the present connection.
    sent: Option<Instant>,
    /// Nothing is sent before this.
    not_before: Instant,
    hesitation: Duration,
    /// When the pace allows a full burst again.
    rested: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub what: What,
    pub reference: String,
}

/// What a draft asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A new message, perhaps a reply.
    Message {
        text: String,
        reply_to: Option<String>,
    },
    /// Another text for a message. Without an id it is the user's last message at the time of sending.
    Edit {
        id: Option<String>,
        text: String,
    },
    Delete {
        id: String,
        text: String,
    },
}

impl What {
    /// The text that it is about.
    pub fn text(&self) -> &str {
        match self {
            What::Message { text, .. } | What::Edit { text, .. } | What::Delete { text, .. } => text,
        }
    }

    pub fn is_message(&self) -> bool {
        matches!(self, What::Message { .. })
    }
}

impl Outbox {
    pub fn new(now: Instant) -> Outbox {
        Outbox { waiting: VecDeque::new(), sent: None, not_before: now, hesitation: HESITATION, rested: now }
    }

    pub fn push(&mut self, what: What) {
        self.waiting.push_back(Draft { what, reference: Uuid::now_v7().simple().to_string() });
    }

    /// Whether a message waits, which will then be the user's last one.
    pub fn has_message(&self) -> bool {
        self.waiting.iter().any(|draft| draft.what.is_message())
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The draft to send now, if it is due.
    pub fn next(&mut self, now: Instant) -> Option<&Draft> {
        if self.due()? > now {
            return None;
        }
        let draft = self.waiting.front()?;
        self.sent = Some(now);
        self.rested = self.rested.max(now) + PACE;
        Some(draft)
    }

    /// When the next draft is due.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.front()?;
        Some(match self.sent {
            Some(sent) => sent + CONFIRMATION,
            None => self.rested.checked_sub(PACE * BURST).map_or(self.not_before, |paced| paced.max(self.not_before)),
        })
    }

    /// The text of the message that is on its way.
    pub fn on_its_way(&self) -> Option<&str> {
        let draft = self.sent.and(self.waiting.front())?;
        draft.what.is_message().then(|| draft.what.text())
    }

    /// The server has stored this draft. Returns it, if it is the one on its way.
    pub fn confirmed(&mut self, reference: &str) -> Option<Draft> {
        self.hesitation = HESITATION;
        self.take(reference)
    }

    /// The server refuses this draft. Returns it, if it is the one on its way.
    pub fn take(&mut self, reference: &str) -> Option<Draft> {
        self.waiting.pop_front_if(|draft| draft.reference == reference).inspect(|_| self.sent = None)
    }

    /// The draft on its way broke the connection, for example because it is too long. Returns it.
    pub fn take_sent(&mut self) -> Option<Draft> {
        self.sent.take().and_then(|_| self.waiting.pop_front())
    }

    /// The server can't take messages at the moment.
    pub fn back_off(&mut self, now: Instant) {
        self.sent = None;
        self.not_before = now + self.hesitation;
        self.hesitation = (self.hesitation * 2).min(LONGEST_HESITATION);
    }

    /// The connection is lost. The draft on its way will be sent again on the next one.
    pub fn disconnected(&mut self) {
        self.sent = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(outbox: &mut Outbox, now: Instant) -> Option<(String, String)> {
        outbox.next(now).map(|draft| (draft.what.text().to_owned(), draft.reference.clone()))
    }

    fn message(text: &str) -> What {
        What::Message { text: text.to_owned(), reply_to: None }
    }

    fn with(texts: &[&str], now: Instant) -> Outbox {
        let mut outbox = Outbox::new(now);
        texts.iter().for_each(|text| outbox.push(message(text)));
        outbox
    }

    #[test]
    fn the_next_message_leaves_when_the_one_before_is_confirmed() {
        let now = Instant::now();
        let mut outbox = with(&["one", "two"], now);
        let (text, reference) = sent(&mut outbox, now).unwrap();
        assert_eq!(text, "one");
        assert_eq!(sent(&mut outbox, now), None);
        assert_eq!(outbox.confirmed(&reference).unwrap().what, message("one"));
        assert_eq!(sent(&mut outbox, now).unwrap().0, "two");
    }

    #[test]
    fn a_lost_connection_sends_it_again_under_the_same_reference() {
        let now = Instant::now();
        let mut outbox = with(&["one"], now);
        let first = sent(&mut outbox, now);
        outbox.disconnected();
        assert_eq!(sent(&mut outbox, now), first);
    }

    #[test]
    fn a_message_without_confirmation_is_sent_again() {
        let now = Instant::now();
        let mut outbox = with(&["one"], now);
        let first = sent(&mut outbox, now);
        assert_eq!(sent(&mut outbox, now + CONFIRMATION), first);
    }

    #[test]
    fn a_server_that_cannot_store_is_given_time() {
        let now = Instant::now();
        let mut outbox = with(&["one"], now);
        sent(&mut outbox, now);
        outbox.back_off(now);
        assert_eq!(sent(&mut outbox, now), None);
        assert!(sent(&mut outbox, now + HESITATION).is_some());
    }

    #[test]
    fn a_confirmation_of_something_else_changes_nothing() {
        let now = Instant::now();
        let mut outbox = with(&["one"], now);
        sent(&mut outbox, now);
        assert_eq!(outbox.confirmed("something else"), None);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn many_messages_keep_the_pace_after_a_burst() {
        let start = Instant::now();
        let mut outbox = with(&["x"; 200], start);
        let (mut now, mut count) = (start, 0);
        while let Some(due) = outbox.due() {
            now = now.max(due);
            let (_, reference) = sent(&mut outbox, now).unwrap();
            outbox.confirmed(&reference);
            count += 1;
            let allowed = BURST + 1 + ((now - start).as_millis() / PACE.as_millis()) as u32;
            assert!(count <= allowed, "{count} messages after {:?}", now - start);
        }
        assert_eq!(count, 200);
    }
}
