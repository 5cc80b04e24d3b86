//! The first message of a channel or a stream begins it. One account or key begins only so many.

use crate::{
    chat::Chat,
    message::{MessageId, RoomName},
    refusal::{Reason, Refusal},
    store::{
        channels::{Beginner, YOUNG},
        error::StoreError,
    },
};
use jiff::Timestamp;

/// How many channels of somebody who has begun too many are looked at for some in which nothing is kept any more.
const LOOKED_AT: usize = 256;

/// Refuses a message that would begin one channel or stream more than its author may begin. Other kinds of rooms are
/// bounded by those who make them.
pub fn may_say(chat: &Chat, room: &RoomName, beginner: Beginner<'_>) -> Result<(), Refusal> {
    if !room.is_begun_by_its_first_message() || chat.beginnings.has_begun(room) {
        return Ok(());
    }
    if !is_kept(chat, room)? {
        begin(chat, room, beginner)?;
    }
    chat.beginnings.note_begun(room);
    Ok(())
}

fn begin(chat: &Chat, room: &RoomName, beginner: Beginner<'_>) -> Result<(), Refusal> {
    if let Beginner::Account(account) = beginner {
        chat.beginnings.may_begin(account).map_err(|wait| {
            let sentence = "You begin new channels faster than this server allows; wait a little.";
            Refusal::new(Reason::TooManyChannels, sentence).retry_after(wait)
        })?;
    }
    let Some(most) = chat.beginnings.most(beginner) else { return Ok(()) };
    let begin = || chat.channels.begin(room, beginner, Timestamp::now(), most);
    if begin()? || (forget_ended(chat, beginner)? && begin()?) { Ok(()) } else { Err(Reason::TooManyChannels.into()) }
}

/// Forgets channels of this beginner in which nothing is kept any more. Returns whether any were found.
fn forget_ended(chat: &Chat, beginner: Beginner<'_>) -> Result<bool, StoreError> {
    if !chat.beginnings.may_look(beginner) {
        return Ok(false);
    }
    let before = Timestamp::now() - YOUNG;
    let mut ended = Vec::new();
    for room in chat.channels.begun_by(beginner, before, LOOKED_AT)? {
        if !is_kept(chat, &room)? {
            ended.push(room);
        }
    }
    chat.channels.forget(&ended, before)?;
    Ok(!ended.is_empty())
}

/// Whether the log keeps anything of this room, even if only that something was deleted.
fn is_kept(chat: &Chat, room: &RoomName) -> Result<bool, StoreError> {
    // The newest message first: with an archive, only what is older needs the database.
    Ok(!chat.log.history(room, None, 1)?.is_empty() || !chat.log.entries(room, MessageId::BEFORE_ALL, 1)?.is_empty())
}
