//! A page of a room's history.

use crate::{
    message::{Message, MessageId, RoomName},
    store::{
        error::StoreError,
        log::{MessageLog, is_full_page},
    },
};

/// Where a page of history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The last messages.
    Newest,
    /// Those directly before this one.
    Before(MessageId),
    /// Those directly after this one.
    After(MessageId),
}

/// Messages of a page, oldest first.
pub struct Page {
    pub from: From,
    pub messages: Vec<Message>,
    /// Whether there are further messages in that direction.
    pub more: bool,
}

impl Page {
    pub fn read(log: &dyn MessageLog, room: &RoomName, from: From, limit: usize) -> Result<Page, StoreError> {
        let read = |from, limit| match from {
            From::Newest => log.history(room, None, limit),
            From::Before(id) => log.history(room, Some(id), limit),
            From::After(id) => log.newer(room, id, limit),
        };
        // One more, to know whether there are more.
        let mut messages = read(from, limit + 1)?;
        let mut more = messages.len() > limit;
        if more {
            messages.remove(if matches!(from, From::After(_)) { limit } else { 0 });
        } else if is_full_page(&messages) {
            let further = match from {
                From::After(_) => messages.last().map(|message| From::After(message.id)),
                From::Newest | From::Before(_) => messages.first().map(|message| From::Before(message.id)),
            };
            more = further.map(|further| read(further, 1)).transpose()?.is_some_and(|found| !found.is_empty());
        }
        Ok(Page { from, messages, more })
    }
}
