//! Rooms, as backends name them: over all doors, prefix and all.

use crate::{
    chat::Chat,
    message::RoomName,
    refusal::{Reason, Refusal},
    store::chat_rooms::RoomKey,
};

/// What is wrong with what is no room's name.
pub const EXPECTED: &str = "must be monitor:HASH, channel:NAME, stream:NAME or chitchat:ID";

/// The room of this name, if a room can be called so; it need not be there.
pub fn named(text: &str) -> Option<RoomName> {
    let (kind, name) = text.split_once(':')?;
    if name.is_empty() || name.len() > RoomName::MAX || name.contains(char::is_control) {
        return None;
    }
    match kind {
        "monitor" => Some(RoomName::monitor(name)),
        "channel" => Some(RoomName::channel(name)),
        "stream" => Some(RoomName::stream(name)),
        // Written as the rooms door writes it, so that a room has one name.
        "chitchat" => name.parse().ok().filter(|id: &i64| *id > 0 && id.to_string() == name).map(RoomName::chitchat),
        _ => None,
    }
}

/// The room of this name; refused if it is not there. Channels and streams are there as soon as they are named, but a channel
/// that is called as a monitor is that monitor's room.
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

/// The same, or what is kept of a monitor's room that was removed.
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
