//! Events in the form of the Standard Webhooks specification: `{"type":…,"timestamp":…,"data":…}`.

use crate::{
    door::{channel_frame, json},
    entry::{Change, ChangeKind, Entry},
    likeness::same_email,
    message::{Message, MessageId, RoomName},
    store::accounts::UserId,
};
use std::sync::Arc;
use uuid::Uuid;

/// How many accounts are listed as absent at most.
pub const MAX_ABSENT: usize = 1_000;

/// An account that is not connected, and its email address.
pub type Absent = (UserId, String);

/// A user has come to a room or gone.
pub struct Coming {
    pub user: Arc<str>,
    pub is_here: bool,
    /// Its own id, a UUIDv7, so it also tells the time.
    pub id: MessageId,
    /// The newest entry of the log that this process knew then; later entries are sent later.
    pub after: Option<MessageId>,
}

impl Coming {
    pub fn now(user: &Arc<str>, is_here: bool, after: Option<MessageId>) -> Coming {
        Coming { user: user.clone(), is_here, id: MessageId(Uuid::now_v7()), after }
    }

    fn kind(&self) -> &'static str {
        if self.is_here { "member.joined" } else { "member.left" }
    }
}

/// An event. It is the same each time it is sent.
pub struct Event {
    pub kind: &'static str,
    pub id: MessageId,
    pub body: Vec<u8>,
}

impl Event {
    /// The header `webhook-id`. It is made from the id in the log, so a repeated event is recognised as one, also after
    /// a restart or from another node.
    pub fn header(&self) -> String {
        format!("msg_{}", self.id.0.as_simple())
    }
}

/// The kind of event that this entry makes; `None` if it makes no event.
pub fn kind(entry: &Entry) -> Option<&'static str> {
    match entry {
        Entry::Message(_) => Some("message.created"),
        Entry::Change(Change { kind: ChangeKind::Edited(Some(_)), .. }) => Some("message.edited"),
        Entry::Change(Change { kind: ChangeKind::Deleted, .. }) => Some("message.deleted"),
        Entry::Change(_) => None,
    }
}

/// The event of a message. `absent` are those who may read it but are not connected; the sender is left out.
pub fn message(room: &RoomName, message: &Message, absent: Option<&[Absent]>) -> Event {
    let mut data = channel_frame::message(room, message);
    if let Some(absent) = absent {
        data.pop();
        data.extend_from_slice(br#","absent":["#);
        let others = absent.iter().filter(|(_, email)| !same_email(email, &message.sender)).take(MAX_ABSENT);
        for (n, (UserId(id), _)) in others.enumerate() {
            let comma = if n > 0 { "," } else { "" };
            data.extend_from_slice(format!("{comma}{id}").as_bytes());
        }
        data.extend_from_slice(b"]}");
    }
    event("message.created", message.id, &data)
}

/// The event of an edit or a deletion, by its [`kind`].
pub fn change(kind: &'static str, room: &RoomName, change: &Change) -> Event {
    let mut data = br#"{"id":"#.to_vec();
    json::id(&mut data, change.of);
    data.extend_from_slice(br#","change":"#);
    json::id(&mut data, change.id);
    tell_who(&mut data, room, &change.by, change.id);
    if let ChangeKind::Edited(Some(text)) = &change.kind {
        data.extend_from_slice(br#","text":"#);
        json::string(&mut data, text);
    }
    data.push(b'}');
    event(kind, change.id, &data)
}

/// The event of a coming or going.
pub fn coming(room: &RoomName, coming: &Coming) -> Event {
    let mut data = br#"{"id":"#.to_vec();
    json::id(&mut data, coming.id);
    tell_who(&mut data, room, &coming.user, coming.id);
    data.push(b'}');
    event(coming.kind(), coming.id, &data)
}

/// Appends the fields that all events but new messages have.
fn tell_who(data: &mut Vec<u8>, room: &RoomName, user: &str, id: MessageId) {
    data.extend_from_slice(br#","room":"#);
    json::string(data, room.as_str());
    data.extend_from_slice(br#","user":"#);
    json::string(data, user);
    data.extend_from_slice(br#","timestamp":"#);
    json::timestamp(data, id);
}

fn event(kind: &'static str, id: MessageId, data: &[u8]) -> Event {
    let mut body = format!(r#"{{"type":"{kind}","timestamp":"#).into_bytes();
    json::timestamp(&mut body, id);
    body.extend_from_slice(br#","data":"#);
    body.extend_from_slice(data);
    body.push(b'}');
    Event { kind, id, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn id(n: u64) -> MessageId {
        MessageId(Uuid::from_u64_pair(n << 16 | 0x7000, 0x8000 << 48))
    }

    fn read(event: &Event) -> Value {
        serde_json::from_slice(&event.body).unwrap()
    }

    #[test]
    fn a_message_names_who_is_absent_but_not_its_sender() {
        let room = RoomName::monitor("demo");
        let said = Message::new(id(1_767_323_045_678), "alice@x".into(), "hi \"you\"");
        let absent = [(UserId(1), "alice@x".to_owned()), (UserId(2), "bob@x".into()), (UserId(7), "carol@x".into())];
        let event = message(&room, &said, Some(&absent));
        let read = read(&event);
        assert_eq!(
            (&read["type"], &read["timestamp"]),
            (&json!("message.created"), &json!("2026-01-02T03:04:05.678Z"))
        );
        assert_eq!(read["data"]["room"], "monitor:demo");
        assert_eq!(read["data"]["text"], "hi \"you\"");
        assert_eq!(read["data"]["absent"], json!([2, 7]));
        assert_eq!(event.header(), format!("msg_{}", said.id.0.as_simple()));
    }

    #[test]
    fn a_room_that_has_no_members_has_no_absent_ones() {
        let said = Message::new(id(1), "bot:ci".into(), "hi");
        let read = read(&message(&RoomName::channel("lobby"), &said, None));
        assert_eq!((&read["data"]["absent"], &read["data"]["bot"]), (&Value::Null, &json!(true)));
    }

    #[test]
    fn no_more_than_a_thousand_are_named() {
        let said = Message::new(id(1), "alice@x".into(), "hi");
        let many: Vec<Absent> = (0..2_000).map(|n| (UserId(n), format!("{n}@x"))).collect();
        let read = read(&message(&RoomName::monitor("demo"), &said, Some(&many)));
        assert_eq!(read["data"]["absent"].as_array().unwrap().len(), MAX_ABSENT);
    }

    #[test]
    fn a_change_says_of_what_it_is() {
        let room = RoomName::channel("lobby");
        let made = |what| Change { id: id(2), of: id(1), by: "alice@x".into(), kind: what };
        let (edit, deletion) = (made(ChangeKind::Edited(Some("new".into()))), made(ChangeKind::Deleted));
        let edited = read(&change(kind(&edit.clone().into()).unwrap(), &room, &edit));
        assert_eq!(edited["type"], "message.edited");
        assert_eq!((&edited["data"]["id"], &edited["data"]["text"]), (&json!(id(1).to_string()), &json!("new")));
        assert_eq!(edited["data"]["change"], id(2).to_string());
        let deleted = read(&change(kind(&deletion.clone().into()).unwrap(), &room, &deletion));
        assert_eq!((&deleted["type"], &deleted["data"]["text"]), (&json!("message.deleted"), &Value::Null));
        let reaction = made(ChangeKind::Reacted { emoji: "👍".into(), on: true });
        assert!(kind(&reaction.into()).is_none() && kind(&made(ChangeKind::Edited(None)).into()).is_none());
    }

    #[test]
    fn comings_and_goings_have_ids_of_their_own() {
        let (come, gone) = (Coming::now(&"alice@x".into(), true, None), Coming::now(&"alice@x".into(), false, None));
        let events = [&come, &gone].map(|one| coming(&RoomName::monitor("demo"), one));
        assert_eq!(events.each_ref().map(|event| event.kind), ["member.joined", "member.left"]);
        assert_ne!(events[0].header(), events[1].header());
        assert_eq!(read(&events[0])["data"]["user"], "alice@x");
    }
}
