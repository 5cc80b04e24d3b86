//! Rooms by the names that backends use: in full, with the prefix of the door.

use crate::{
    chat::Chat,
    message::RoomName,
    refusal::{Reason, Refusal},
    store::chat_rooms::RoomKey,
};

/// The error about a text that is not the name of a room.
pub const EXPECTED: &str = "must be monitor:HASH, channel:NAME, stream:NAME or chitchat:ID";

/// The room with this name, if the name is valid; the room need not exist.
pub fn named(text: &str) -> Option<RoomName> {
    let (kind, name) = text.split_once(':')?;
    if name.is_empty() || !RoomName::is_fit(name) {
        return None;
    }
    match kind {
        "monitor" => Some(RoomName::monitor(name)),
        "channel" => Some(RoomName::channel(name)),
        "stream" => Some(RoomName::stream(name)),
        // In the rooms door's own notation, so that a room has only one name.
        "chitchat" => name.parse().ok().filter(|id: &i64| *id > 0 && id.to_string() == name).map(RoomName::chitchat),
        _ => None,
    }
}

/// The room with this name. Refuses a room that does not exist. Channels and streams exist as soon as they are named,
/// but a channel with the name of a monitor is that monitor's room.
pub fn find(chat: &Chat, text: &str) -> Result<RoomName, Refusal> {
    let missing = || Refusal::new(Reason::RoomNotFound, "There is no such room.");
    let room = named(text).ok_or_else(missing)?;
    let there = match text.split_once(':') {
        Some(("monitor", hash)) => chat.accounts.is_monitor(hash)?,
        Some(("channel", name)) => !chat.accounts.is_monitor(name)?,
        Some(("chitchat", id)) => {
            let id = id.parse().map_err(|_| missing())?;
            chat.chat_rooms.find(RoomKey::Id(id))?.is_some()
        }
        _ => true,
    };
    if there { Ok(room) } else { Err(missing()) }
}

/// The same, or what is kept of the room of a removed monitor.
pub fn find_to_read(chat: &Chat, text: &str) -> Result<RoomName, Refusal> {
    let room = RoomName::from_store(text);
    if room.is_removed() && !chat.log.history(&room, None, 1)?.is_empty() { Ok(room) } else { find(chat, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_one_name() {
        for name in ["monitor:$2y$12$a/b", "channel:lobby", "channel:a:b", "stream:blocks", "chitchat:7"] {
            assert_eq!(named(name).unwrap().as_str(), name);
        }
        let long = format!("channel:{}", "x".repeat(257));
        for name in
            ["", "lobby", "channel:", "room:x", "channel:a\nb", "chitchat:0", "chitchat:07", "chitchat:x", &long]
        {
            assert!(named(name).is_none(), "{name:?}");
        }
    }
}
