//! What the frames of the channel protocol have in common: fields, and errors about them.

use super::history_page::From;
use crate::message::MessageId;
use serde_json::{Map, Value};

/// Most bytes of a client's own mark for a message.
const MAX_REFERENCE: usize = 128;

/// A frame that can't be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct FrameError {
    pub code: &'static str,
    pub sentence: &'static str,
    /// The client's own mark, if the frame has a valid one.
    pub reference: Option<Box<str>>,
}

/// `error {code, message}`, with the `ref` of the message that it is about, if any.
pub fn error(code: &str, message: &str, reference: Option<&str>) -> String {
    let mut frame = serde_json::json!({ "type": "error", "code": code, "message": message });
    if let Some(reference) = reference {
        frame["ref"] = reference.into();
    }
    frame.to_string()
}

pub const fn bad(sentence: &'static str) -> FrameError {
    FrameError { code: "bad_frame", sentence, reference: None }
}

pub fn string<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

pub fn reference(object: &Map<String, Value>) -> Result<Option<Box<str>>, FrameError> {
    match object.get("ref") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(mark)) if (1..=MAX_REFERENCE).contains(&mark.len()) => Ok(Some(mark.as_str().into())),
        Some(_) => Err(bad("`ref` must be a string of 1 to 128 bytes.")),
    }
}

/// The id in a field, if the field is there.
pub fn id(object: &Map<String, Value>, field: &'static str) -> Result<Option<MessageId>, FrameError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(id) => match id.as_str().and_then(MessageId::parse) {
            Some(id) => Ok(Some(id)),
            None => Err(bad(match field {
                "before" => "`before` must be the id of a message.",
                "after" => "`after` must be the id of a message.",
                "reply_to" => "`reply_to` must be the id of a message.",
                _ => "`id` must be the id of a message.",
            })),
        },
    }
}

impl From {
    pub fn of(object: &Map<String, Value>) -> Result<From, FrameError> {
        match (id(object, "before")?, id(object, "after")?) {
            (None, None) => Ok(From::Newest),
            (Some(before), None) => Ok(From::Before(before)),
            (None, Some(after)) => Ok(From::After(after)),
            (Some(_), Some(_)) => {
                Err(bad("Ask for what is `before` a message or for what is `after` one, not for both."))
            }
        }
    }
}
