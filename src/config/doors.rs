//! The doors that are open: each kind of client can be switched off.

use super::value::Expected;

/// A kind of client, with all of its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorName {
    /// `/login`, `/chat/…`
    Propromo,
    /// `/auth`, `/ws_ticket`, `/token/ws`, `/channel/…`
    Tickets,
    /// `/stream/…`
    Streams,
    /// `/chats/…`
    Rooms,
}

const NAMES: [(&str, DoorName); 4] = [
    ("propromo", DoorName::Propromo),
    ("tickets", DoorName::Tickets),
    ("streams", DoorName::Streams),
    ("rooms", DoorName::Rooms),
];

/// The doors that are open, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenDoors(u8);

impl OpenDoors {
    /// Names of [`DoorName`], separated by commas.
    pub fn parse(text: &str) -> Result<OpenDoors, Expected> {
        let names = text.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        let mut open = OpenDoors(0);
        for name in names {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            let (_, door) = known.ok_or_else(|| format!("{}; {} is none", expected(), name.escape_debug()))?;
            open.0 |= bit(*door);
        }
        if open.0 == 0 { Err(expected()) } else { Ok(open) }
    }

    pub fn has(self, door: DoorName) -> bool {
        self.0 & bit(door) != 0
    }
}

fn bit(door: DoorName) -> u8 {
    1 << door as u8
}

fn expected() -> Expected {
    format!("doors such as {}", NAMES.map(|(name, _)| name).join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_named_in_any_order_and_case() {
        let open = OpenDoors::parse("Rooms, propromo").unwrap();
        let has = NAMES.map(|(_, door)| open.has(door));
        assert_eq!(has, [true, false, false, true]);
    }

    #[test]
    fn an_unknown_door_and_none_at_all_are_refused() {
        assert_eq!(
            OpenDoors::parse("propromo,chats").unwrap_err(),
            "doors such as propromo,tickets,streams,rooms; chats is none"
        );
        assert!(OpenDoors::parse(" , ").is_err());
    }
}
