//! Messages in the form that frames of the channel protocol and backends share.

use super::{channel_change, json};
use crate::{message::Message, store::search::Found};

/// Appends one message.
pub fn write(room: &str, message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"type":"message","id":"#);
    json::id(out, message.id);
    out.extend_from_slice(br#","room":"#);
    json::string(out, room);
    out.extend_from_slice(br#","user":"#);
    json::string(out, &message.sender);
    out.extend_from_slice(br#","timestamp":"#);
    json::timestamp(out, message.id);
    out.extend_from_slice(br#","text":"#);
    json::string(out, &message.text);
    channel_change::write_state(message, out);
    out.push(b'}');
}

/// Appends a list of messages and closes the object around it.
pub fn write_page(room: &str, messages: &[Message], more: bool, out: &mut Vec<u8>) {
    write_list(room, messages, out);
    out.extend_from_slice(if more { br#","more":true}"# } else { br#","more":false}"# });
}

/// Appends what a search found, with the id to go on from, and closes the object around it.
pub fn write_found(room: &str, found: &Found, out: &mut Vec<u8>) {
    write_list(room, &found.messages, out);
    match found.next {
        Some(next) => {
            out.extend_from_slice(br#","more":true,"next":"#);
            json::id(out, next);
            out.push(b'}');
        }
        None => out.extend_from_slice(br#","more":false}"#),
    }
}

fn write_list(room: &str, messages: &[Message], out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, message) in messages.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(room, message, out);
    }
    out.push(b']');
}
