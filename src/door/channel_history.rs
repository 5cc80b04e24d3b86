//! The frame `history` of the channel protocol, and its answer.

use super::{
    channel_fields::{From, error},
    channel_frame,
    conversation::Link,
};
use crate::{
    limits::turns::Claimant,
    message::{Message, RoomName},
    refusal::Reason,
    socket::{frame, memory},
    store::{
        error::StoreError,
        log::{MessageLog, is_full_page},
    },
};

/// Sends a page of history, oldest first. `more` says whether there are further messages in that direction.
pub fn answer(link: &Link, room: &RoomName, claimant: Claimant, from: From, limit: usize) {
    let turn = link.chat.turns.wait(claimant);
    let Ok(page) = Page::read(&*link.chat.log, room, from, limit) else {
        let reason = Reason::Unavailable;
        return link.say(&error(reason.word(), "History can't be read at the moment; ask again.", None));
    };
    let frames = page.encoded(room, link.outbound.limit());
    drop((page, turn));
    // Fails only if the connection is gone; its read loop finds that out by itself.
    let _ = link.outbound.send_waiting(memory::counted(frames));
}

/// Messages of a page, oldest first.
struct Page {
    from: From,
    messages: Vec<Message>,
    more: bool,
}

impl Page {
    fn read(log: &dyn MessageLog, room: &RoomName, from: From, limit: usize) -> Result<Page, StoreError> {
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

    /// The page as one frame of at most `most` bytes. Escaping can make a page too long for the member's queue; what is
    /// furthest from where the page was asked for is left out.
    fn encoded(&self, room: &RoomName, most: usize) -> Vec<u8> {
        let mut messages = &self.messages[..];
        loop {
            let mut out = Vec::new();
            let more = self.more || messages.len() < self.messages.len();
            frame::text(&mut out, |out| channel_frame::history(room, messages, more, out));
            if out.len() <= most || messages.len() < 2 {
                return out;
            }
            let (older, newer) = messages.split_at(messages.len() / 2);
            messages = if matches!(self.from, From::After(_)) { older } else { newer };
        }
    }
}
