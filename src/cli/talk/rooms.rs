//! The rooms of an account, and the room that a name means.

use super::session::{Denied, Session};
use serde_json::Value;

/// A room that the account has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name with which it is entered: a monitor's hash, or a channel's name.
    pub name: String,
    /// The title that people see.
    pub title: String,
    pub unread: u64,
}

/// What a name means, given these rooms.
#[derive(Debug, PartialEq, Eq)]
pub enum Meant<'a> {
    Room(&'a Listed),
    /// None of them, but it could be a misspelling of this one.
    Nearly(&'a Listed),
    /// None of them. It may exist all the same, or begin with its first message.
    Another,
}

/// Asks the server for the account's rooms.
pub fn rooms(session: &Session) -> Result<Vec<Listed>, Denied> {
    Ok(read(&session.get("/rooms")?))
}

fn read(answer: &Value) -> Vec<Listed> {
    let of = |room: &Value| {
        let (_, name) = room["room"].as_str()?.split_once(':')?;
        let title = room["title"].as_str().filter(|title| !title.trim().is_empty()).unwrap_or(name);
        Some(Listed { name: name.to_owned(), title: title.to_owned(), unread: room["unread"].as_u64().unwrap_or(0) })
    };
    answer["rooms"].as_array().into_iter().flatten().filter_map(of).collect()
}

/// The room that is meant: by name or, if no room has that name, by title, in any case.
pub fn meant<'a>(typed: &str, rooms: &'a [Listed]) -> Meant<'a> {
    if let Some(room) = rooms.iter().find(|room| room.name == typed) {
        return Meant::Room(room);
    }
    let wanted = typed.trim().to_lowercase();
    let mut called = rooms.iter().filter(|room| room.title.to_lowercase() == wanted);
    if let (Some(room), None) = (called.next(), called.next()) {
        return Meant::Room(room);
    }
    let nearest = rooms
        .iter()
        .flat_map(|room| [(&room.name, room), (&room.title, room)])
        .map(|(name, room)| (strsim::osa_distance(&name.to_lowercase(), &wanted), room))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, room)) if distance <= slips(&wanted) => Meant::Nearly(room),
        _ => Meant::Another,
    }
}

/// How many letters of a name may be wrong: one for three letters, two for six.
fn slips(name: &str) -> usize {
    (name.chars().count() / 3).min(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed() -> Vec<Listed> {
        read(&json!({ "rooms": [
            { "room": "monitor:$2y$12$abc", "title": "Propromo", "unread": 3 },
            { "room": "monitor:demo", "title": null, "unread": 0 },
            { "room": "channel:lobby", "title": "lobby" },
            { "room": "channel:demo" },
            "no room",
        ]}))
    }

    #[test]
    fn a_room_is_known_by_name_and_title() {
        let rooms = listed();
        assert_eq!(rooms.len(), 4);
        for (typed, name) in
            [("demo", "demo"), ("propromo", "$2y$12$abc"), ("$2y$12$abc", "$2y$12$abc"), ("LOBBY", "lobby")]
        {
            assert!(matches!(meant(typed, &rooms), Meant::Room(room) if room.name == name), "{typed}");
        }
    }

    #[test]
    fn a_slip_is_told_from_another_name() {
        let rooms = listed();
        for (typed, name) in [("lobbby", "lobby"), ("dmeo", "demo"), ("Propomro", "$2y$12$abc")] {
            assert!(matches!(meant(typed, &rooms), Meant::Nearly(room) if room.name == name), "{typed}");
        }
        for typed in ["garden", "de", "x", "", "lobby of the house"] {
            assert_eq!(meant(typed, &rooms), Meant::Another, "{typed}");
        }
    }
}
