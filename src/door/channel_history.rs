//! The frame `history` of the channel protocol, and its answer.

use super::{
    channel_fields::error,
    channel_frame,
    conversation::Link,
    history_page::{From, Page},
};
use crate::{
    limits::turns::Claimant,
    message::RoomName,
    refusal::Reason,
    socket::{frame, memory},
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

impl Page {
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
