//! The frame `search` of the channel protocol, and its answer.

use super::{
    channel_fields::{self, FrameError, bad, id, string},
    channel_message,
    conversation::Link,
    json,
};
use crate::{
    limits::turns::Claimant,
    message::{MessageId, RoomName},
    refusal::Reason,
    socket::{frame, memory},
    store::{
        accounts::UserId,
        search::{Found, Query},
    },
};
use serde_json::{Map, Value};

/// What a client searches for.
#[derive(Debug, PartialEq, Eq)]
pub struct AskedSearch {
    /// The query as it was sent: the answer repeats it.
    text: Box<str>,
    query: Query,
    before: Option<MessageId>,
    limit: usize,
}

impl AskedSearch {
    pub fn of(object: &Map<String, Value>, limit: usize) -> Result<AskedSearch, FrameError> {
        let text = string(object, "query").ok_or(bad("A search needs `query`, a string."))?;
        let sentence = "A search has 1 to 16 words and at most 256 bytes.";
        let query = Query::parse(text).ok_or(FrameError { code: "bad_query", ..bad(sentence) })?;
        Ok(AskedSearch { text: text.into(), query, before: id(object, "before")?, limit })
    }

    /// Searches, and sends what was found.
    pub fn answer(&self, link: &Link, room: &RoomName, account: UserId) {
        let chat = &link.chat;
        if let Err(refusal) = chat.search_limits.check(link.client, account) {
            chat.metrics.refused(refusal.reason);
            return link.say(&channel_fields::error(
                "too_many_searches",
                "Too many searches; wait and try again.",
                None,
            ));
        }
        let found = match chat.find(room, Claimant::Account(account), &self.query, (self.before, self.limit)) {
            Ok(found) => found,
            Err(error) => {
                error.log("a search failed");
                let sentence = "Nothing can be searched at the moment; ask again.";
                return link.say(&channel_fields::error(Reason::Unavailable.word(), sentence, None));
            }
        };
        // Fails only if the connection is gone; its read loop finds that out by itself.
        let _ = link.outbound.send_waiting(memory::counted(self.encoded(room, found, link.outbound.limit())));
    }

    fn write(&self, room: &RoomName, found: &Found, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"results","query":"#);
        json::string(out, &self.text);
        out.extend_from_slice(br#","messages":"#);
        channel_message::write_found(room.local(), found, out);
    }

    /// The answer as one frame of at most `most` bytes. Escaping can make it too long for the member's queue; the rest
    /// is left out.
    fn encoded(&self, room: &RoomName, mut found: Found, most: usize) -> Vec<u8> {
        loop {
            let mut out = Vec::new();
            frame::text(&mut out, |out| self.write(room, &found, out));
            if out.len() <= most || found.messages.len() < 2 {
                return out;
            }
            found.messages.truncate(found.messages.len() / 2);
            found.next = found.messages.last().map(|message| message.id);
        }
    }
}
