//! The frames of the channel protocol, as a client reads and writes them.

use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;

/// A frame of the server.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Heard {
    Message(Said),
    Ack {
        #[serde(rename = "ref")]
        reference: String,
        id: String,
    },
    Join {
        user: String,
        name: Option<String>,
    },
    Leave {
        user: String,
        name: Option<String>,
    },
    Typing {
        user: String,
        name: Option<String>,
    },
    Presence {
        users: Vec<String>,
        /// Display names by user.
        #[serde(default)]
        names: HashMap<String, String>,
    },
    Edited {
        id: String,
        change: String,
        user: String,
        text: String,
    },
    Deleted {
        id: String,
        change: String,
        user: String,
    },
    /// A page of history, oldest first.
    History {
        messages: Vec<Said>,
        more: bool,
    },
    /// Results of a search, newest first.
    Results {
        messages: Vec<Said>,
        more: bool,
    },
    Error {
        code: String,
        message: String,
        #[serde(rename = "ref")]
        reference: Option<String>,
        /// Until when a mute lasts, in the form of RFC 3339.
        until: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// A message of the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Said {
    pub id: String,
    pub user: String,
    /// The sender's display name, as far as the server sends it.
    #[serde(default)]
    pub name: Option<String>,
    /// In the form of RFC 3339.
    pub timestamp: String,
    pub text: String,
    /// The message that it replies to.
    #[serde(default)]
    pub reply_to: Option<String>,
}

impl Heard {
    /// Parses a frame. Frames that are of no use here are [`Heard::Other`].
    pub fn parse(text: &str) -> Heard {
        serde_json::from_str(text).unwrap_or(Heard::Other)
    }
}

pub fn message(text: &str, reply_to: Option<&str>, reference: &str) -> String {
    let mut frame = json!({ "type": "message", "text": text, "ref": reference });
    if let Some(id) = reply_to {
        frame["reply_to"] = id.into();
    }
    frame.to_string()
}

pub fn edit(id: &str, text: &str, reference: &str) -> String {
    json!({ "type": "edit", "id": id, "text": text, "ref": reference }).to_string()
}

pub fn delete(id: &str, reference: &str) -> String {
    json!({ "type": "delete", "id": id, "ref": reference }).to_string()
}

pub fn search(query: &str, limit: usize) -> String {
    json!({ "type": "search", "query": query, "limit": limit }).to_string()
}

/// Asks for the messages directly before this id.
pub fn before(id: &str, limit: usize) -> String {
    json!({ "type": "history", "before": id, "limit": limit }).to_string()
}

/// Asks for the messages directly after this id.
pub fn after(id: &str, limit: usize) -> String {
    json!({ "type": "history", "after": id, "limit": limit }).to_string()
}

pub const PRESENCE: &str = r#"{"type":"presence"}"#;
pub const TYPING: &str = r#"{"type":"typing"}"#;
pub const PING: &str = r#"{"type":"ping"}"#;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_are_told_apart() {
        let ack = Heard::Ack { reference: "r".into(), id: "i".into() };
        assert_eq!(Heard::parse(r#"{"type":"ack","ref":"r","id":"i","timestamp":"t"}"#), ack);
        let nobody = Heard::Presence { users: vec![], names: HashMap::new() };
        assert_eq!(Heard::parse(r#"{"type":"presence","users":[]}"#), nobody);
        let ann = Heard::Join { user: "a@x".into(), name: Some("Ann".into()) };
        assert_eq!(Heard::parse(r#"{"type":"join","user":"a@x","name":"Ann"}"#), ann);
        let error = Heard::Error { code: "c".into(), message: "m".into(), reference: None, until: None };
        assert_eq!(Heard::parse(r#"{"type":"error","code":"c","message":"m"}"#), error);
    }

    #[test]
    fn what_is_unknown_or_broken_is_let_be() {
        for text in ["", "pong", "{}", r#"{"type":"pong"}"#, r#"{"type":"dance","with":1}"#, r#"{"type":"message"}"#] {
            assert_eq!(Heard::parse(text), Heard::Other, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_frame_panics(text in "\\PC*|\\{\"type\":\"[a-z]{3,8}\".*\\}") {
            let _ = Heard::parse(&text);
        }
    }
}
