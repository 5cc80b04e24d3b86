//! Rooms, as backends name them: over all doors, prefix and all.

use crate::message::RoomName;

/// Bytes of a room's name without its prefix.
const MAX_NAME: usize = 256;

/// What is wrong with what is no room's name.
pub const EXPECTED: &str = "must be monitor:HASH, channel:NAME, stream:NAME or chitchat:ID";

/// The room of this name, if a room can be called so; it need not be there.
pub fn named(text: &str) -> Option<RoomName> {
    let (kind, name) = text.split_once(':')?;
    if name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
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
