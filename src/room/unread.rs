//! What is unread in a room: of its last messages, those of others behind the reader's mark.

use super::mentions::Named;
use crate::{
    message::{Message, MessageId, RoomName},
    store::{error::StoreError, log::MessageLog},
};

/// Messages of a room that are looked at: unread ones are counted to so many.
const COUNTED: usize = 100;

/// The room's last messages, oldest first: as many as are counted, or at least all behind `read`.
pub fn last_messages(
    log: &dyn MessageLog,
    room: &RoomName,
    read: Option<MessageId>,
) -> Result<Vec<Message>, StoreError> {
    let mut page = log.history(room, None, COUNTED)?;
    // A page of long messages has fewer; those before them are read, too, as long as they count.
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

/// Somebody who reads, as far as that decides what is new.
pub struct Reader {
    pub email: Box<str>,
    pub named: Named,
}

/// What is new in a room for a reader.
pub struct Unread<'a> {
    pub count: usize,
    pub mentions: usize,
    /// The last message that is new.
    pub newest: Option<&'a Message>,
}

impl Reader {
    /// Of these messages, what is new for one who has read up to `read`.
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
