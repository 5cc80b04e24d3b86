//! The end of a room of the rooms door, or of its password: its members are told why, and closed.

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

/// Deletes a room and all its messages, if the room has not changed since it was read, and closes its members. Returns
/// whether it was deleted.
pub fn remove(chat: &Chat, room: &ChatRoom) -> Result<bool, StoreError> {
    let deleted = chat.chat_rooms.delete(room)?;
    if deleted {
        send_out(chat, room.id, true);
        chat.rooms.tell_shut(&RoomName::chitchat(room.id), true);
        chat.rooms.forget(&RoomName::chitchat(room.id));
    }
    Ok(deleted)
}

/// Tells all members of a room on this node why they are closed, and closes them. If the room was not deleted, its
/// password has changed.
pub fn send_out(chat: &Chat, room: i64, deleted: bool) {
    let (why, close) = match deleted {
        true => (about(Reason::RoomNotFound, "room_id"), DELETED),
        false => (Reason::TokenExpired.into(), PASSWORD_CHANGED),
    };
    chat.names.shut(room);
    chat.rooms.close(&RoomName::chitchat(room), &error::frame(&why), close);
}
