//! The frames of the rooms door: `join`, `send` and `leave`, one JSON object each, in both directions.

use super::error::{self, about};
use crate::{
    door::{json, json_input},
    event::Event,
    likeness::skeleton,
    message::{BOT, Message, MessageId, RoomName},
    refusal::{Reason, Refusal},
    room::encoder::Encoder,
};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Most characters of a name.
const MAX_NAME: usize = 70;
/// Most bytes of a color: its name, or any CSS notation.
const MAX_COLOR: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Join,
    Send,
    Leave,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Join, Kind::Send, Kind::Leave];

    pub fn word(self) -> &'static str {
        match self {
            Kind::Join => "join",
            Kind::Send => "send",
            Kind::Leave => "leave",
        }
    }

    fn of(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word().eq_ignore_ascii_case(word))
    }
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    pub kind: Kind,
    pub name: String,
    pub color: Option<String>,
    /// What the client says; empty for `join` and `leave`.
    pub text: String,
}

impl Asked {
    /// Reads a frame that was sent to `room`. The time in it is the client's and is ignored.
    pub fn parse(room: i64, frame: &str) -> Result<Asked, Refusal> {
        let object = json_input::object(frame).ok_or(Reason::EventUnreadable)?;
        let kind = string(&object, "event_type")?.and_then(Kind::of).ok_or(unreadable("event_type"))?;
        let name = string(&object, "name")?.filter(|name| is_name(name)).ok_or(unreadable("name"))?;
        let color = string(&object, "color")?.filter(|color| !color.is_empty());
        if color.is_some_and(|color| color.len() > MAX_COLOR || color.contains(char::is_control)) {
            return Err(unreadable("color"));
        }
        if !means(object.get("room_id"), room) {
            return Err(about(Reason::NotYours, "room_id"));
        }
        let text = match kind {
            Kind::Send => string(&object, "msg")?.filter(|text| !text.is_empty()).ok_or(unreadable("msg"))?,
            Kind::Join | Kind::Leave => "",
        };
        Ok(Asked { kind, name: name.to_owned(), color: color.map(str::to_owned), text: text.to_owned() })
    }
}

/// Whether a frame is for this room. Clients that know the room by its title send no number, or 0.
fn means(room_id: Option<&Value>, room: i64) -> bool {
    match room_id {
        Some(id @ Value::Number(_)) => json_input::whole(id).is_some_and(|id| id == room || id == 0),
        _ => true,
    }
}

/// Whether a text is allowed as a name. Nobody here can look like a program ([`BOT`]).
pub fn is_name(name: &str) -> bool {
    static BOTS: LazyLock<String> = LazyLock::new(|| skeleton(BOT));
    let is_a_persons = |alike: String| !alike.is_empty() && !alike.starts_with(&*BOTS);
    name.chars().count() <= MAX_NAME && !name.contains(char::is_control) && is_a_persons(skeleton(name))
}

fn string<'a>(object: &'a Map<String, Value>, field: &'static str) -> Result<Option<&'a str>, Refusal> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(unreadable(field)),
    }
}

fn unreadable(field: &'static str) -> Refusal {
    about(Reason::EventUnreadable, field)
}

/// What the log keeps of an event besides name and text.
pub fn note(kind: Kind, color: &str) -> Box<str> {
    format!("{} {color}", kind.word()).into()
}

fn noted(extra: Option<&str>) -> (Kind, &str) {
    let (word, color) = extra.and_then(|extra| extra.split_once(' ')).unwrap_or_default();
    (Kind::of(word).unwrap_or(Kind::Send), color)
}

/// What an event in the log is.
pub fn kind(message: &Message) -> Kind {
    noted(message.extra.as_deref()).0
}

/// Appends an event as clients see it, live and in `/chats/events/:id`.
pub fn write_event(room: &RoomName, message: &Message, out: &mut Vec<u8>) {
    let (kind, color) = noted(message.extra.as_deref());
    out.extend_from_slice(br#"{"event_type":""#);
    out.extend_from_slice(kind.word().as_bytes());
    out.extend_from_slice(br#"","name":"#);
    json::string(out, &message.sender);
    out.extend_from_slice(br#","color":"#);
    json::string(out, color);
    out.extend_from_slice(br#","msg":"#);
    json::string(out, &message.text);
    out.extend_from_slice(br#","room_id":"#);
    // The local name of a room is its number.
    out.extend_from_slice(room.local().as_bytes());
    out.extend_from_slice(br#","time":"#);
    json::timestamp(out, message.id);
    out.push(b'}');
}

/// What members hear that came in through the rooms door.
pub struct ChitchatEncoder;

impl Encoder for ChitchatEncoder {
    fn name(&self) -> &'static str {
        "chitchat"
    }

    fn message(&self, room: &RoomName, message: &Message, out: &mut Vec<u8>) {
        write_event(room, message, out);
    }

    /// The echo is the acknowledgement.
    fn ack(&self, _: &str, _: MessageId, _: &mut Vec<u8>) {}

    fn not_stored(&self, _: Option<&str>, out: &mut Vec<u8>) {
        let refusal = Refusal::new(Reason::Unavailable, "Your message could not be stored; send it again.");
        out.extend_from_slice(error::frame(&refusal.field("msg", "was not stored")).as_bytes());
    }

    fn unknown(&self, _: Option<&str>, out: &mut Vec<u8>) {
        let refusal = Refusal::from(Reason::Unknown);
        out.extend_from_slice(error::frame(&refusal.field("msg", "may or may not have been stored")).as_bytes());
    }

    /// Here joins and leaves are messages with a place in the log, so the engine's own events say nothing.
    fn event(&self, _: &RoomName, _: &Event, _: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    fn parse(frame: Value) -> Result<Asked, Refusal> {
        Asked::parse(3, &frame.to_string())
    }

    fn fault(frame: Value) -> (Reason, &'static str) {
        let refusal = parse(frame).unwrap_err();
        (refusal.reason, refusal.detail.first().map_or("", |(field, _)| field))
    }

    fn asked(kind: Kind, name: &str, color: Option<&str>, text: &str) -> Asked {
        Asked { kind, name: name.to_owned(), color: color.map(str::to_owned), text: text.to_owned() }
    }

    #[test]
    fn each_kind_of_event_is_read_whatever_its_case() {
        for (word, kind) in [("join", Kind::Join), ("Leave", Kind::Leave)] {
            assert_eq!(parse(json!({"event_type": word, "name": "Ann"})).unwrap(), asked(kind, "Ann", None, ""));
        }
        let frame = json!({"event_type": "SEND", "name": "Ann", "color": "red", "msg": "hi", "room_id": 3, "time": 1});
        assert_eq!(parse(frame).unwrap(), asked(Kind::Send, "Ann", Some("red"), "hi"));
    }

    #[test]
    fn what_is_no_object_is_unreadable() {
        for frame in ["", "hello", "[]", "7", "{\"event_type\":"] {
            assert_eq!(Asked::parse(3, frame).unwrap_err().reason, Reason::EventUnreadable, "{frame}");
        }
    }

    #[test]
    fn a_field_that_is_missing_or_wrong_is_named() {
        let unreadable = |field| (Reason::EventUnreadable, field);
        assert_eq!(fault(json!({"name": "Ann"})), unreadable("event_type"));
        assert_eq!(fault(json!({"event_type": "dance", "name": "Ann"})), unreadable("event_type"));
        assert_eq!(fault(json!({"event_type": "join"})), unreadable("name"));
        assert_eq!(fault(json!({"event_type": "send", "name": "Ann"})), unreadable("msg"));
        assert_eq!(fault(json!({"event_type": "send", "name": "Ann", "msg": ""})), unreadable("msg"));
        assert_eq!(fault(json!({"event_type": "join", "name": "Ann", "color": "c".repeat(65)})), unreadable("color"));
        assert_eq!(fault(json!({"event_type": "join", "name": "Ann", "color": 7})), unreadable("color"));
    }

    #[test]
    fn a_name_has_1_to_70_characters_none_of_which_controls_and_is_no_programs() {
        for name in ["A", "bot", "Jörg Müller", "😀", &"é".repeat(70)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", " ", "\u{a0}", "a\nb", "a\0", &"é".repeat(71), "bot:github", "Bоt:github"] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn only_the_number_of_another_room_is_refused() {
        let frame = |room_id: Value| json!({"event_type": "join", "name": "Ann", "room_id": room_id});
        for room_id in [json!(3), json!(0), json!(null), json!("Green Room")] {
            assert!(parse(frame(room_id)).is_ok());
        }
        for room_id in [json!(4), json!(-1), json!(3.5)] {
            assert_eq!(fault(frame(room_id)), (Reason::NotYours, "room_id"));
        }
    }

    #[test]
    fn an_event_has_exactly_the_fields_that_clients_know() {
        let id = MessageId(Uuid::from_u64_pair(1_767_323_045_678 << 16 | 0x7000, 0x8000 << 48));
        let extra = Some(note(Kind::Join, "#00ff00"));
        let message = Message { extra, ..Message::new(id, "Ann".into(), "Ann entered the room.") };
        let mut out = Vec::new();
        ChitchatEncoder.message(&RoomName::chitchat(3), &message, &mut out);
        let event = json!({
            "event_type": "join", "name": "Ann", "color": "#00ff00", "msg": "Ann entered the room.", "room_id": 3,
            "time": "2026-01-02T03:04:05.678Z",
        });
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), event);
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(text in "\\PC*|\\{.*\\}") {
            let _ = Asked::parse(3, &text);
        }

        #[test]
        fn what_is_noted_is_read_back(kind in 0..3usize, color in "[^\\pC]{0,20}") {
            let kind = Kind::ALL[kind];
            let note = note(kind, &color);
            prop_assert_eq!(noted(Some(&note)), (kind, color.as_str()));
        }

        #[test]
        fn an_event_is_one_json_object(name in ".*", text in ".*", color in ".*") {
            let extra = Some(note(Kind::Send, &color));
            let id = MessageId(Uuid::now_v7());
            let message = Message { extra, ..Message::new(id, name.as_str().into(), text.as_str()) };
            let mut out = Vec::new();
            ChitchatEncoder.message(&RoomName::chitchat(1), &message, &mut out);
            let read: Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&read["name"], &name);
            prop_assert_eq!(&read["msg"], &text);
            prop_assert_eq!(&read["color"], &color);
        }
    }
}
