//! Counts what is unread in a room: messages of others, newer than the reader's mark, among the room's newest.

use super::mentions::Named;
use crate::{
    message::{Message, MessageId, RoomName},
    store::{error::StoreError, log::MessageLog},
};

/// How many messages of a room are read; unread ones are counted up to this number.
const COUNTED: usize = 100;

/// The room's newest messages, oldest first: as many as are counted, or fewer if they reach back to `read`.
pub fn last_messages(
    log: &dyn MessageLog,
    room: &RoomName,
    read: Option<MessageId>,
) -> Result<Vec<Message>, StoreError> {
    let mut page = log.history(room, None, COUNTED)?;
    // A page of long messages has fewer; older pages are read too, as long as they count.
    while page.len() < COUNTED
        && let Some(first) = page.first().map(|message| message.id)
        && read.is_none_or(|read| read < first)
    {
        let mut older = log.history(room, Some(first), COUNTED - page.len())?;
        if older.is_empty() {
            break;
        }
        older.append(&mut page);
        page = older;
    }
    Ok(page)
}

/// What decides which messages are new for an account.
pub struct Reader {
    pub email: Box<str>,
    pub named: Named,
}

/// What is new in a room for a reader.
pub struct Unread<'a> {
    pub count: usize,
    pub mentions: usize,
    /// The newest of the new messages.
    pub newest: Option<&'a Message>,
}

impl Reader {
    /// What is new among these messages for a reader whose mark is `read`.
    pub fn unread<'a>(&self, messages: &'a [Message], read: Option<MessageId>) -> Unread<'a> {
        let (mut count, mut mentions, mut newest) = (0, 0, None);
        for message in messages.iter().filter(|message| read.is_none_or(|read| read < message.id)) {
            if *message.sender != *self.email {
                (count, newest) = (count + 1, Some(message));
                mentions += usize::from(self.named.is_in(&message.text));
            }
        }
        Unread { count, mentions, newest }
    }
}
