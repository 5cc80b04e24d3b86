//! The frames of the channel protocol: what clients ask and what the server says.

pub use super::channel_fields::error;

use super::{
    channel_change::{self, AskedChange, What},
    channel_fields::{FrameError, bad, id, reference, string},
    channel_message,
    channel_moderation::AskedMute,
    channel_search::AskedSearch,
    history_page::From,
    json, json_input,
};
use crate::{
    entry::{Change, Unchangeable},
    event::{Event, Person},
    message::{Message, MessageId, RoomName},
    refusal::Reason,
    room::encoder::Encoder,
    store::{presence::Present, search::Found},
};
use serde_json::{Map, Value};

/// Messages in a page of history: without a `limit`, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

/// Of a message that no store holds.
pub const NOT_STORED: &str = "Your message could not be stored; send it again.";

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Message { text: Box<str>, reference: Option<Box<str>>, reply_to: Option<MessageId> },
    Change(AskedChange),
    Mute(AskedMute),
    Search(AskedSearch),
    History { from: From, limit: usize },
    Read { id: MessageId },
    Typing,
    Presence,
    Echo { text: String },
    Ping,
}

impl Asked {
    /// Reads a text frame. A text that does not begin as a JSON object is a message as it stands.
    pub fn parse(text: &str) -> Result<Asked, FrameError> {
        let Some(json) = begun_object(text) else {
            return Ok(Asked::Message { text: text.into(), reference: None, reply_to: None });
        };
        // A broken frame is never published as a text: it may hold a token.
        let object = json_input::object(json).ok_or(bad("A frame that begins with `{` must be a JSON object."))?;
        let marked = |error| FrameError { reference: reference(&object).ok().flatten(), ..error };
        Asked::of(&object).map_err(marked)
    }

    /// Whether other members would notice it. A muted member may ask for nothing of this kind, but may still delete its
    /// own messages.
    pub fn is_heard_by_others(&self) -> bool {
        match self {
            Asked::Message { .. } | Asked::Typing => true,
            Asked::Change(change) => change.what != What::Delete,
            Asked::Mute(_)
            | Asked::Search(_)
            | Asked::History { .. }
            | Asked::Read { .. }
            | Asked::Presence
            | Asked::Echo { .. }
            | Asked::Ping => false,
        }
    }

    /// The client's own mark.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Asked::Message { reference, .. } => reference.as_deref(),
            Asked::Change(change) => change.reference.as_deref(),
            Asked::Mute(mute) => mute.reference.as_deref(),
            Asked::Search(_)
            | Asked::History { .. }
            | Asked::Read { .. }
            | Asked::Typing
            | Asked::Presence
            | Asked::Echo { .. }
            | Asked::Ping => None,
        }
    }

    fn of(object: &Map<String, Value>) -> Result<Asked, FrameError> {
        match object.get("type").and_then(Value::as_str) {
            Some("message") => Ok(Asked::Message {
                text: string(object, "text").ok_or(bad("A message needs `text`, a string."))?.into(),
                reference: reference(object)?,
                reply_to: id(object, "reply_to")?,
            }),
            Some("history") => Ok(Asked::History { from: From::of(object)?, limit: limit(object)? }),
            Some("search") => AskedSearch::of(object, limit(object)?).map(Asked::Search),
            Some("read") => Ok(Asked::Read { id: id(object, "id")?.ok_or(bad("`id` must be the id of a message."))? }),
            Some("typing") => Ok(Asked::Typing),
            Some("presence") => Ok(Asked::Presence),
            Some("echo") => {
                Ok(Asked::Echo { text: string(object, "text").ok_or(bad("An echo needs `text`, a string."))?.into() })
            }
            Some("ping") => Ok(Asked::Ping),
            Some(other) => match (AskedChange::parse(other, object), AskedMute::parse(other, object)) {
                (Some(change), _) => change.map(Asked::Change),
                (None, Some(mute)) => mute.map(Asked::Mute),
                (None, None) => Err(FrameError { code: "unknown_type", ..bad("There is no frame of this `type`.") }),
            },
            None => Err(bad("A frame needs a `type`, a string.")),
        }
    }
}

/// The access token of a first message: `{"type":"jwt","token":…}`, or with `auth` also `{"type":"auth","payload":…}`.
pub fn first_message_token(text: &str, auth: bool) -> Option<String> {
    let object = json_input::object(begun_object(text)?)?;
    let token = match object.get("type")?.as_str()? {
        "jwt" => object.get("token")?,
        "auth" if auth => object.get("payload")?,
        _ => return None,
    };
    token.as_str().map(str::to_owned)
}

/// The text from the brace on, if it begins like an object. Some clients write a byte order mark before it.
fn begun_object(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    text.starts_with('{').then_some(text)
}

fn limit(object: &Map<String, Value>) -> Result<usize, FrameError> {
    match object.get("limit") {
        None | Some(Value::Null) => Ok(PAGE),
        Some(limit) => match json_input::whole(limit) {
            Some(limit @ 1..) => Ok(usize::try_from(limit).map_or(MAX_PAGE, |limit| limit.min(MAX_PAGE))),
            _ => Err(bad("`limit` must be a whole number from 1; a page has at most 200 messages.")),
        },
    }
}

/// `presence {users, names, more?}`, of about this many bytes at most.
pub fn presence(here: &[Present], most: usize) -> String {
    let (mut users, mut names, mut bytes) = (Vec::new(), Vec::new(), 0);
    for Person { user, name } in here.iter().map(|present| &present.person) {
        let user = Value::from(&**user).to_string();
        let named = name.as_ref().map(|name| format!("{user}:{}", Value::from(&**name)));
        bytes += user.len() + named.as_ref().map_or(0, String::len) + 2;
        if bytes > most {
            break;
        }
        users.push(user);
        names.extend(named);
    }
    let more = if users.len() < here.len() { r#","more":true"# } else { "" };
    format!(r#"{{"type":"presence","users":[{}],"names":{{{}}}{more}}}"#, users.join(","), names.join(","))
}

/// `read {room, id}`.
pub fn read(room: &RoomName, id: MessageId) -> String {
    serde_json::json!({ "type": "read", "room": room.local(), "id": id.to_string() }).to_string()
}

/// `history {messages, more}`.
pub fn history(room: &RoomName, messages: &[Message], more: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"history","messages":"#);
    channel_message::write_page(room.local(), messages, more, out);
}

/// A message for backends; they name rooms in full, with the door.
pub fn message(room: &RoomName, message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.text.len() + 256);
    channel_message::write(room.as_str(), message, &mut out);
    out
}

/// `{messages, more, next?}`: what a search of a backend found.
pub fn found(room: &RoomName, found: &Found) -> Vec<u8> {
    let mut out = br#"{"messages":"#.to_vec();
    channel_message::write_found(room.as_str(), found, &mut out);
    out
}

/// `{messages, more}` for backends; they name rooms in full, with the door.
pub fn messages(room: &RoomName, messages: &[Message], more: bool) -> Vec<u8> {
    let mut out = br#"{"messages":"#.to_vec();
    channel_message::write_page(room.as_str(), messages, more, &mut out);
    out
}

/// `notice {text, timestamp}`, for a client that is in no room.
pub fn notice(text: &str, at: u64) -> String {
    let mut out = Vec::new();
    write_notice(text, at, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_notice(text: &str, at: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"notice","text":"#);
    json::string(out, text);
    out.extend_from_slice(br#","timestamp":"#);
    json::time(out, at);
    out.push(b'}');
}

/// What members hear that came in through the channel door.
pub struct ChannelEncoder;

impl Encoder for ChannelEncoder {
    fn name(&self) -> &'static str {
        "channel"
    }

    fn message(&self, room: &RoomName, message: &Message, out: &mut Vec<u8>) {
        channel_message::write(room.local(), message, out);
    }

    fn change(&self, room: &RoomName, change: &Change, out: &mut Vec<u8>) {
        channel_change::write(room, change, out);
    }

    fn unchanged(&self, why: Unchangeable, reference: Option<&str>, out: &mut Vec<u8>) {
        let FrameError { code, sentence, .. } = channel_change::refused(why);
        out.extend_from_slice(error(code, sentence, reference).as_bytes());
    }

    fn ack(&self, reference: &str, id: MessageId, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"ack","ref":"#);
        json::string(out, reference);
        out.extend_from_slice(br#","id":"#);
        json::id(out, id);
        out.extend_from_slice(br#","timestamp":"#);
        json::timestamp(out, id);
        out.push(b'}');
    }

    fn not_stored(&self, reference: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(error("unavailable", NOT_STORED, reference).as_bytes());
    }

    fn unknown(&self, reference: Option<&str>, out: &mut Vec<u8>) {
        let reason = Reason::Unknown;
        out.extend_from_slice(error(reason.word(), reason.sentence(), reference).as_bytes());
    }

    fn event(&self, _: &RoomName, event: &Event, out: &mut Vec<u8>) {
        let (kind, Person { user, name }) = match event {
            Event::Joined(person) => ("join", person),
            Event::Left(person) => ("leave", person),
            Event::Typing(person) => ("typing", person),
            Event::Notice { text, at } => return write_notice(text, *at, out),
            Event::Members { users } => {
                out.extend_from_slice(format!(r#"{{"type":"members","count":{users}}}"#).as_bytes());
                return;
            }
            Event::Disconnect { .. } | Event::Read { .. } | Event::Shut { .. } | Event::Missed => return,
        };
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(br#"","user":"#);
        json::string(out, user);
        if let Some(name) = name {
            out.extend_from_slice(br#","name":"#);
            json::string(out, name);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn presence_lists_as_many_as_fit() {
        let here: Vec<_> = ["ann", "b\"en", "cleo"].map(|user| Person { user: user.into(), name: None }).into();
        let here: Vec<_> = here.into_iter().map(|person| Present { person, sockets: 1 }).collect();
        let frame = |most| serde_json::from_str::<Value>(&presence(&here, most)).unwrap();
        let all = serde_json::json!({"type": "presence", "users": ["ann", "b\"en", "cleo"], "names": {}});
        assert_eq!(frame(1000), all);
        let first = serde_json::json!({"type": "presence", "users": ["ann", "b\"en"], "names": {}, "more": true});
        assert_eq!(frame(20), first);
    }

    #[test]
    fn what_is_no_json_object_is_a_message() {
        for text in ["hello", "", "[1]", "42", "\"{\"", "a {"] {
            assert_eq!(Asked::parse(text), Ok(Asked::Message { text: text.into(), reference: None, reply_to: None }));
        }
    }

    #[test]
    fn what_begins_as_an_object_and_is_none_is_an_error() {
        for text in ["{not json", " {\"a\":", "{\"type\":\"auth\",\"payload\":\"eyJ", "\u{feff}{", "{} {}"] {
            assert_eq!(Asked::parse(text).unwrap_err().code, "bad_frame", "{text}");
        }
        assert_eq!(Asked::parse("\u{feff} {\"type\":\"ping\"}"), Ok(Asked::Ping));
    }

    #[test]
    fn an_error_names_the_mark_of_its_frame() {
        let marked = |frame: &str| Asked::parse(frame).unwrap_err().reference;
        assert_eq!(marked(r#"{"type":"message","ref":"m1"}"#).as_deref(), Some("m1"));
        assert_eq!(marked(r#"{"type":"dance","ref":"m1"}"#).as_deref(), Some("m1"));
        assert_eq!(marked(r#"{"type":"message","text":"x","ref":7}"#), None);
    }

    #[test]
    fn an_object_without_a_known_type_is_an_error() {
        assert_eq!(Asked::parse("{}").unwrap_err().code, "bad_frame");
        assert_eq!(Asked::parse(r#"{"type":7}"#).unwrap_err().code, "bad_frame");
        assert_eq!(Asked::parse(r#"{"type":"dance"}"#).unwrap_err().code, "unknown_type");
        assert_eq!(Asked::parse(r#"{"type":"message"}"#).unwrap_err().code, "bad_frame");
        assert_eq!(Asked::parse(r#"{"type":"message","text":"x","ref":""}"#).unwrap_err().code, "bad_frame");
        assert_eq!(Asked::parse(r#"{"type":"history","limit":0}"#).unwrap_err().code, "bad_frame");
        assert_eq!(Asked::parse(r#"{"type":"history","before":"yesterday"}"#).unwrap_err().code, "bad_frame");
        assert_eq!(Asked::parse(r#"{"type":"history","after":7}"#).unwrap_err().code, "bad_frame");
    }

    #[test]
    fn a_page_has_at_most_so_many_messages() {
        assert_eq!(
            Asked::parse(r#"{"type":"history","limit":99999}"#),
            Ok(Asked::History { from: From::Newest, limit: MAX_PAGE })
        );
        assert_eq!(Asked::parse(r#"{"type":"history"}"#), Ok(Asked::History { from: From::Newest, limit: PAGE }));
    }

    #[test]
    fn the_second_step_takes_only_a_jwt() {
        let (jwt, auth) = (r#"{"type":"jwt","token":"t"}"#, r#"{"type":"auth","payload":"t"}"#);
        assert_eq!(first_message_token(jwt, true).as_deref(), Some("t"));
        assert_eq!(first_message_token(auth, true).as_deref(), Some("t"));
        assert_eq!(first_message_token(jwt, false).as_deref(), Some("t"));
        assert_eq!(first_message_token(auth, false), None);
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(text in "\\PC*|\\{.*\\}") {
            let _ = Asked::parse(&text);
            let _ = first_message_token(&text, true);
        }

        #[test]
        fn a_message_frame_is_understood(text in ".*", mark in ".{1,30}") {
            let frame = serde_json::json!({ "type": "message", "text": text, "ref": mark }).to_string();
            let expected = Asked::Message {
                text: text.as_str().into(),
                reference: Some(mark.as_str().into()),
                reply_to: None,
            };
            prop_assert_eq!(Asked::parse(&frame), Ok(expected));
        }
    }
}
