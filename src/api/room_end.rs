//! The end of a room of the rooms door, or of its password: whoever is in it is told why, and sent out.

use crate::{
    chat::Chat,
    door::chitchat::error::{self, about},
    message::RoomName,
    refusal::Reason,
    socket::close::Close,
    store::{chat_rooms::ChatRoom, error::StoreError},
};

const DELETED: Close = Close { code: 1000, reason: "room_deleted" };
const PASSWORD_CHANGED: Close = Close::policy("room_changed");

/// Deletes a room and all that was said in it, if it still is as it is here; whoever is in it is sent out.
pub fn remove(chat: &Chat, room: &ChatRoom) -> Result<bool, StoreError> {
    let deleted = chat.chat_rooms.delete(room)?;
    if deleted {
        send_out(chat, room.id, true);
        chat.rooms.tell_shut(&RoomName::chitchat(room.id), true);
        chat.rooms.forget(&RoomName::chitchat(room.id));
    }
    Ok(deleted)
}

/// Tells all who are in a room on this node why, and closes them. If it was not deleted, its password has changed.
pub fn send_out(chat: &Chat, room: i64, deleted: bool) {
    let (why, close) = match deleted {
        true => (about(Reason::RoomNotFound, "room_id"), DELETED),
        false => (Reason::TokenExpired.into(), PASSWORD_CHANGED),
    };
    chat.names.shut(room);
    chat.rooms.close(&RoomName::chitchat(room), &error::frame(&why), close);
}
