//! The frames of the channel protocol that ask for changes of messages, and those that report them.

use super::{
    channel_fields::{FrameError, bad, id, reference, string},
    json,
};
use crate::{
    entry::{Change, ChangeKind, Unchangeable},
    message::{Message, MessageId, RoomName},
    refusal::Reason,
};
use serde_json::{Map, Value};
use unicode_properties::UnicodeEmoji;
use unicode_segmentation::UnicodeSegmentation;

/// Most bytes of an emoji: families with skin tones have fewer.
const MAX_EMOJI_BYTES: usize = 32;

/// A change that a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct AskedChange {
    pub of: MessageId,
    pub what: What,
    pub reference: Option<Box<str>>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum What {
    Edit { text: Box<str> },
    Delete,
    React { emoji: Box<str>, on: bool },
}

impl AskedChange {
    /// Reads a frame of type `kind`; `None` if that is no type of a change.
    pub fn parse(kind: &str, object: &Map<String, Value>) -> Option<Result<AskedChange, FrameError>> {
        let what = match kind {
            "edit" => edit(object),
            "delete" => Ok(What::Delete),
            "react" => react(object),
            _ => return None,
        };
        Some(what.and_then(|what| {
            let of = id(object, "id")?.ok_or(bad("A change needs `id`, the id of a message."))?;
            Ok(AskedChange { of, what, reference: reference(object)? })
        }))
    }
}

fn edit(object: &Map<String, Value>) -> Result<What, FrameError> {
    let text = string(object, "text").ok_or(bad("An edit needs `text`, a string."))?;
    Ok(What::Edit { text: text.into() })
}

fn react(object: &Map<String, Value>) -> Result<What, FrameError> {
    let emoji = string(object, "emoji").ok_or(bad("A reaction needs `emoji`, a string."))?;
    let on = object.get("on").and_then(Value::as_bool).ok_or(bad("A reaction needs `on`, true or false."))?;
    if !is_emoji(emoji) {
        return Err(FrameError { code: "bad_emoji", ..bad("A reaction is one emoji of at most 32 bytes.") });
    }
    Ok(What::React { emoji: emoji.into(), on })
}

/// Whether this is one extended grapheme cluster (UAX #29) that shows an emoji (UTS #51).
fn is_emoji(text: &str) -> bool {
    const KEYCAP: char = '\u{20e3}';
    let mut clusters = text.graphemes(true);
    let (Some(cluster), None, Some(first)) = (clusters.next(), clusters.next(), text.chars().next()) else {
        return false;
    };
    // Digits count as emoji because keycaps begin with them.
    cluster.len() <= MAX_EMOJI_BYTES && first.is_emoji_char() && (!first.is_ascii() || cluster.ends_with(KEYCAP))
}

/// Appends the fields that a message has only sometimes: name, reply, edit, reactions, bot.
pub fn write_state(message: &Message, out: &mut Vec<u8>) {
    if let Some(name) = &message.name {
        out.extend_from_slice(br#","name":"#);
        json::string(out, name);
    }
    if let Some(id) = message.reply_to {
        out.extend_from_slice(br#","reply_to":"#);
        json::id(out, id);
    }
    if let Some(change) = message.edited {
        out.extend_from_slice(br#","edited":"#);
        json::timestamp(out, change);
    }
    for (n, reaction) in message.reactions.iter().enumerate() {
        out.extend_from_slice(if n == 0 { br#","reactions":{"# } else { b"," });
        json::string(out, &reaction.emoji);
        for (n, user) in reaction.users.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b":[" } else { b"," });
            json::string(out, user);
        }
        out.push(b']');
    }
    if !message.reactions.is_empty() {
        out.push(b'}');
    }
    if message.is_by_bot() {
        out.extend_from_slice(br#","bot":true"#);
    }
}

/// Appends `edited`, `deleted` or `reacted`. Appends nothing for an edit whose message has been deleted since.
pub fn write(room: &RoomName, change: &Change, out: &mut Vec<u8>) {
    let kind: &[u8] = match &change.kind {
        ChangeKind::Edited(None) => return,
        ChangeKind::Edited(Some(_)) => br#"{"type":"edited","id":"#,
        ChangeKind::Deleted => br#"{"type":"deleted","id":"#,
        ChangeKind::Reacted { .. } => br#"{"type":"reacted","id":"#,
    };
    out.extend_from_slice(kind);
    json::id(out, change.of);
    out.extend_from_slice(br#","change":"#);
    json::id(out, change.id);
    out.extend_from_slice(br#","room":"#);
    json::string(out, room.local());
    out.extend_from_slice(br#","user":"#);
    json::string(out, &change.by);
    match &change.kind {
        ChangeKind::Edited(text) => {
            out.extend_from_slice(br#","timestamp":"#);
            json::timestamp(out, change.id);
            out.extend_from_slice(br#","text":"#);
            json::string(out, text.as_deref().unwrap_or_default());
        }
        ChangeKind::Deleted => {
            out.extend_from_slice(br#","timestamp":"#);
            json::timestamp(out, change.id);
        }
        ChangeKind::Reacted { emoji, on } => {
            out.extend_from_slice(br#","emoji":"#);
            json::string(out, emoji);
            out.extend_from_slice(if *on { br#","on":true"# } else { br#","on":false"# });
        }
    }
    out.push(b'}');
}

/// The code and the sentence for a change that is not made.
pub fn refused(why: Unchangeable) -> FrameError {
    let (code, sentence) = match why {
        Unchangeable::NoSuchMessage => ("no_such_message", "There is no message with this id in this room (any more)."),
        Unchangeable::NotYours => ("not_yours", "That is somebody else's message; only they may change it."),
        Unchangeable::TooLate => (Reason::TooLate.word(), Reason::TooLate.sentence()),
        Unchangeable::Unchanged => (Reason::Unchanged.word(), Reason::Unchanged.sentence()),
        Unchangeable::TooManyEmoji => ("bad_emoji", "That message has reached its limit of reactions."),
    };
    FrameError { code, ..bad(sentence) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Reaction;
    use uuid::Uuid;

    #[test]
    fn one_emoji_is_told_from_everything_else() {
        for emoji in ["👍", "👍🏽", "❤️", "🇦🇹", "👩‍👩‍👧‍👦", "1️⃣", "☺", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
        {
            assert!(is_emoji(emoji), "{emoji}");
        }
        for other in ["", "a", "1", "#", "👍👍", "👍 ", " 👍", "ok", "\u{200d}", "\u{fe0f}", "é", "中", "<b>"]
        {
            assert!(!is_emoji(other), "{other}");
        }
        assert!(!is_emoji(&format!("👩{}", "\u{200d}👩".repeat(5))), "it has more than 32 bytes");
    }

    #[test]
    fn a_change_says_of_which_message_and_what() {
        let code = |frame: &str| {
            let object: Map<String, Value> = serde_json::from_str(frame).unwrap();
            let kind = object["type"].as_str().unwrap();
            AskedChange::parse(kind, &object).unwrap().unwrap_err().code
        };
        let id = Uuid::now_v7();
        for frame in [
            r#"{"type":"edit"}"#.to_owned(),
            r#"{"type":"edit","id":"yesterday","text":"x"}"#.to_owned(),
            r#"{"type":"edit","id":null,"text":"x"}"#.to_owned(),
            format!(r#"{{"type":"edit","id":"{id}"}}"#),
            format!(r#"{{"type":"edit","id":"{id}","text":7}}"#),
            format!(r#"{{"type":"delete","id":"{id}","ref":""}}"#),
            r#"{"type":"delete","id":7}"#.to_owned(),
            format!(r#"{{"type":"react","id":"{id}","emoji":"👍"}}"#),
            format!(r#"{{"type":"react","id":"{id}","emoji":"👍","on":"yes"}}"#),
            format!(r#"{{"type":"react","id":"{id}","on":true}}"#),
        ] {
            assert_eq!(code(&frame), "bad_frame", "{frame}");
        }
        assert_eq!(code(&format!(r#"{{"type":"react","id":"{id}","emoji":"no","on":true}}"#)), "bad_emoji");
    }

    #[test]
    fn a_message_shows_what_it_has_become() {
        let id = MessageId(Uuid::now_v7());
        let reaction = |emoji: &str, users: &[&str]| Reaction {
            emoji: emoji.into(),
            users: users.iter().map(|user| (*user).into()).collect(),
        };
        let message = Message {
            name: Some("Ann".into()),
            reply_to: Some(id),
            edited: Some(id),
            reactions: vec![reaction("👍", &["a", "b"]), reaction("🎉", &["c"])],
            ..Message::new(id, "bot:build".into(), "hi")
        };
        let mut out = b"{\"type\":\"message\"".to_vec();
        write_state(&message, &mut out);
        out.push(b'}');
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["reactions"], serde_json::json!({"👍": ["a", "b"], "🎉": ["c"]}));
        assert_eq!((&read["bot"], &read["name"]), (&true.into(), &"Ann".into()));
        assert_eq!(read["reply_to"], id.to_string());
        assert!(read["edited"].as_str().is_some_and(|time| time.ends_with('Z')));
    }
}
