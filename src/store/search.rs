//! Finds messages by their words.

use super::{error::StoreError, log::MessageLog};
use crate::message::{Message, MessageId, RoomName};
use std::{sync::Arc, time::Instant};

/// Most bytes of a query, and most words in it.
pub const MAX_QUERY: usize = 256;
pub const MAX_WORDS: usize = 16;

/// From this many characters on, the last word of a query also finds words that begin with it. With fewer, it would
/// find too many.
const MIN_PREFIX: usize = 3;

/// A page of results ends after this many bytes of text.
const PAGE_BYTES: usize = 256 << 10;

/// Searches the messages of a room.
pub trait Search: Send + Sync {
    /// Up to `limit` messages of a room that have all words of the query, newest first, and before `before` if it is
    /// given. A message can be found within seconds after it was said, or later when much is said everywhere. Looks on
    /// until `until`, and a step further: a search that goes on gets somewhere, however slow it is.
    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        before: Option<MessageId>,
        limit: usize,
        until: Instant,
    ) -> Result<Found, StoreError>;

    /// Waits until messages that were deleted, edited or trimmed can't be found as they were, and are gone from the index.
    fn catch_up(&self) -> Result<(), StoreError>;
}

/// A page of results.
#[derive(Default)]
pub struct Found {
    pub messages: Vec<Message>,
    /// Where to continue, if there may be more: before this message.
    pub next: Option<MessageId>,
    /// Whether the time was over before the page was full.
    pub is_cut_short: bool,
}

impl Found {
    /// The page of a search whose time is over: it continues before this message.
    pub(super) fn cut_short(self, next: MessageId) -> Found {
        Found { next: Some(next), is_cut_short: true, ..self }
    }

    /// Adds a message. Returns whether more may be added; if not, the search continues before this message.
    pub(super) fn push(&mut self, message: Message, limit: usize) -> bool {
        let id = message.id;
        self.messages.push(message);
        let bytes: usize = self.messages.iter().map(|message| message.text.len()).sum();
        let has_room = self.messages.len() < limit && bytes < PAGE_BYTES;
        if !has_room {
            self.next = Some(id);
        }
        has_room
    }

    /// Adds those of the messages, newest first, that match. Returns whether more may be added, as [`Found::push`].
    pub(super) fn push_matching(
        &mut self,
        newest_first: impl IntoIterator<Item = Message>,
        query: &Query,
        limit: usize,
    ) -> bool {
        newest_first.into_iter().filter(|message| query.matches(&message.text)).all(|message| self.push(message, limit))
    }
}

/// The words to find, in any order. All other characters of a query only separate words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    words: Vec<String>,
    /// Whether the last word is a prefix.
    is_open: bool,
}

impl Query {
    /// Parses a query; `None` if it has no word, or is too long.
    pub fn parse(text: &str) -> Option<Query> {
        if text.len() > MAX_QUERY {
            return None;
        }
        let words = words(text);
        let is_open = text.ends_with(char::is_alphanumeric)
            && words.last().is_some_and(|last| last.chars().count() >= MIN_PREFIX);
        (1..=MAX_WORDS).contains(&words.len()).then_some(Query { words, is_open })
    }

    /// The words, each with whether it is a prefix.
    pub fn words(&self) -> impl Iterator<Item = (&str, bool)> {
        let last = self.words.len() - 1;
        self.words.iter().enumerate().map(move |(place, word)| (word.as_str(), self.is_open && place == last))
    }

    /// Whether the last word is a prefix.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn matches(&self, text: &str) -> bool {
        let said = words(text);
        self.words().all(|(wanted, is_open)| {
            said.iter().any(|word| if is_open { word.starts_with(wanted) } else { word == wanted })
        })
    }
}

/// The words of a text, in lower case: adjacent letters and digits. In scripts without spaces between words each letter
/// counts as a word.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut add = |letter: char| {
        let stands_alone = is_of_unspaced_script(letter);
        if (stands_alone || !letter.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if stands_alone {
            words.push(letter.to_string());
        } else if letter.is_alphanumeric() {
            word.push(letter);
        }
    };
    for letter in text.chars() {
        // Most letters are; this takes them two thirds of the time or less.
        if letter.is_ascii() {
            add(letter.to_ascii_lowercase());
        } else {
            letter.to_lowercase().for_each(&mut add);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Chinese characters and Japanese kana.
fn is_of_unspaced_script(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        && letter.is_alphanumeric()
}

/// How many messages one search without an index reads in all, and at a time.
const LOOKED_AT: usize = 10_000;
const PAGE: usize = 500;

/// Searches a room's messages without an index, newest first. Older messages are found by continuing where a search
/// stopped.
pub struct LookingThrough {
    log: Arc<dyn MessageLog>,
}

impl LookingThrough {
    pub fn of(log: Arc<dyn MessageLog>) -> LookingThrough {
        LookingThrough { log }
    }
}

impl Search for LookingThrough {
    fn search(
        &self,
        room: &RoomName,
        query: &Query,
        mut before: Option<MessageId>,
        limit: usize,
        until: Instant,
    ) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let mut left = LOOKED_AT;
        loop {
            let page = self.log.history(room, before, PAGE.min(left))?;
            let Some(oldest) = page.first().map(|message| message.id) else { return Ok(found) };
            left -= page.len();
            before = Some(oldest);
            if !found.push_matching(page.into_iter().rev(), query, limit) {
                return Ok(found);
            }
            if left == 0 || Instant::now() >= until {
                return Ok(found.cut_short(oldest));
            }
        }
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(query: &str, text: &str) -> bool {
        Query::parse(query).unwrap().matches(text)
    }

    #[test]
    fn all_words_must_be_there_in_any_order_and_case_the_last_may_go_on() {
        let text = "The Build of Straße 7 didn't fail: über-alles 世界 ok";
        for query in
            ["build", "BUILD the", "fai", "straße", "didn t", "über alles", "7", "世界", "界", "\"build\" OR NOT fail"]
        {
            let expected = !query.contains("OR");
            assert_eq!(matches(query, text), expected, "{query}");
        }
        for query in ["buil ", "fail builds", "ai", "fa", "the build of nothing"] {
            assert!(!matches(query, text), "{query}");
        }
    }

    #[test]
    fn what_has_no_word_or_too_many_is_no_query() {
        for text in ["", " ", "\"", "*", "(-):^", &"x".repeat(257), &"a ".repeat(17)] {
            assert_eq!(Query::parse(text), None, "{text}");
        }
        assert!(Query::parse(&"a ".repeat(16)).is_some() && Query::parse(&"x".repeat(256)).is_some());
    }

    proptest! {
        #[test]
        fn a_text_is_found_by_its_own_words(text in "\\PC{0,200}") {
            let all = words(&text);
            for some in all.chunks(MAX_WORDS) {
                let query = some.join(" ");
                if let Some(query) = Query::parse(&query) {
                    prop_assert!(query.matches(&text), "{:?}", query);
                }
            }
        }
    }
}
