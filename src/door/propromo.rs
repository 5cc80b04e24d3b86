//! The Propromo door: `/chat/:monitor_id?auth=`. Plain text in, one JSON object for each message out.

use super::{
    admission::{Admission, Door, Token},
    channel_moderation,
    conversation::{Conversation, Link},
    join::{self, Replay},
    json,
};
use crate::{
    auth::token::{Issued, Kind},
    chat::Chat,
    config::doors::DoorName,
    event::{Event, Person},
    http::head::Head,
    limits::{rights::LiveRights, turns::Claimant},
    message::{Draft, Message, MessageId, RoomName},
    recheck::{Access, CheckNumber, Pass},
    refusal::{Reason, Refusal},
    room::{encoder::Encoder, member::Member},
    socket::close::Close,
    store::accounts::{Entrant, UserId},
};
use serde_json::json;
use std::sync::Arc;

pub struct Propromo;

impl Door for Propromo {
    fn name(&self) -> &'static str {
        "propromo"
    }

    fn switch(&self) -> DoorName {
        DoorName::Propromo
    }

    fn owns(&self, segments: &[String]) -> bool {
        matches!(segments, [first, _] if first == "chat")
    }

    fn admit(&self, chat: &Arc<Chat>, head: &Head, segments: &[String]) -> Result<Admission, Refusal> {
        let [_, monitor] = segments else { return Err(Reason::NotFound.into()) };
        let token = Token::of(chat, head, |kind| matches!(kind, Kind::Connection(Issued::Login | Issued::Ticket)))?;
        token.opens(monitor)?;
        let check = chat.recheck.current();
        let Entrant { name, rights, .. } = join::admit_to_monitor(chat, &token.claims, monitor)?;
        let (account, user) = (token.claims.user, token.claims.email.as_str().into());
        let epoch = token.claims.epoch.clone();
        let room = RoomName::monitor(monitor);
        let conversation = PropromoConversation {
            room: room.clone(),
            account,
            epoch,
            person: Person { user, name },
            rights: LiveRights::of(rights),
            check,
            joined: None,
        };
        Ok(token.admission(chat, &room, Box::new(conversation)))
    }
}

/// One client in one monitor's room.
struct PropromoConversation {
    room: RoomName,
    account: UserId,
    epoch: Option<String>,
    person: Person,
    rights: Arc<LiveRights>,
    /// Asked for before the account's access was looked up.
    check: CheckNumber,
    joined: Option<(Arc<Member>, Pass)>,
}

impl Conversation for PropromoConversation {
    fn opened(&mut self, link: &Link) -> Result<(), Close> {
        link.speaks_for(self.account);
        let (user, rights) = (self.account, self.rights.clone());
        let access = Access::Account { user, epoch: self.epoch.clone(), room: self.room.clone(), rights };
        // Before the replay, which lasts as long as its reader likes.
        let pass = link.recheck(self.check, access);
        let replay = Replay::Latest(link.chat.config.history_on_join);
        let replay = (Claimant::Account(self.account), replay);
        let member = join::enter(link, &self.room, self.person.clone(), &PropromoEncoder, replay)?;
        self.joined = Some((member, pass));
        Ok(())
    }

    fn heard(&mut self, link: &Link, text: &str) -> Result<(), Close> {
        if let Some(answer) = application_ping(text) {
            link.say(answer);
        } else if let Some(muted) = self.rights.muted() {
            let reason = Reason::Muted;
            link.chat.metrics.refused(reason);
            let refusal = json!({"success": false, "reason": reason.word(), "message": reason.sentence()});
            link.say(&channel_moderation::said_to(muted, refusal));
        } else if let Some((member, _)) = &self.joined {
            let (room, Person { user: sender, name }) = (self.room.clone(), self.person.clone());
            link.chat.rooms.post(member, Draft { name, ..Draft::new(room, sender, text) });
        }
        Ok(())
    }

    fn error(&self, reason: Reason, sentence: &str) -> String {
        json::refusal(reason.word(), sentence)
    }

    fn closed(&mut self, link: &Link) {
        if let Some((member, _)) = self.joined.take() {
            link.chat.rooms.leave(&member);
        }
    }
}

/// The answer to a ping that a page sends as text, since a browser's WebSocket cannot send ping frames.
pub(crate) fn application_ping(text: &str) -> Option<&'static str> {
    const PING: &str = r#"propromo.chat({event:"ping",action:"pong"})"#;
    const PONG: &str = r#"propromo.chat({event:"pong",action:"ping"})"#;
    let is = |wanted: &str| text.chars().filter(|c| !c.is_whitespace()).eq(wanted.chars());
    match () {
        () if is(PING) => Some("pong"),
        () if is(PONG) => Some("ping"),
        () => None,
    }
}

/// Messages as the Propromo apps know them; these apps do not hear events.
pub struct PropromoEncoder;

impl Encoder for PropromoEncoder {
    fn name(&self) -> &'static str {
        "propromo"
    }

    fn message(&self, _: &RoomName, message: &Message, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"messageId":"#);
        json::id(out, message.id);
        out.extend_from_slice(br#","id":"#);
        json::id(out, message.id);
        out.extend_from_slice(br#","email":"#);
        json::string(out, &message.sender);
        out.extend_from_slice(br#","timestamp":"#);
        json::timestamp(out, message.id);
        out.extend_from_slice(br#","text":"#);
        json::string(out, &message.text);
        out.push(b'}');
    }

    /// The echo is the acknowledgement.
    fn ack(&self, _: &str, _: MessageId, _: &mut Vec<u8>) {}

    fn not_stored(&self, _: Option<&str>, out: &mut Vec<u8>) {
        let reason = Reason::Unavailable;
        out.extend_from_slice(
            json::refusal(reason.word(), "Your message could not be stored; send it again.").as_bytes(),
        );
    }

    fn unknown(&self, _: Option<&str>, out: &mut Vec<u8>) {
        let reason = Reason::Unknown;
        out.extend_from_slice(json::refusal(reason.word(), reason.sentence()).as_bytes());
    }

    /// This door's clients know messages only.
    fn event(&self, _: &RoomName, _: &Event, _: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn application_pings_are_known_whatever_their_white_space() {
        assert_eq!(application_ping(r#"propromo.chat({event:"ping",action:"pong"})"#), Some("pong"));
        assert_eq!(application_ping("propromo.chat({\n  event: \"pong\",\taction: \"ping\" })"), Some("ping"));
        assert_eq!(application_ping(r#"propromo.chat({event:"ping",action:"pong"});"#), None);
        assert_eq!(application_ping(""), None);
    }

    proptest! {
        #[test]
        fn a_message_is_one_json_object(sender in ".*", text in ".*") {
            let id = MessageId(Uuid::now_v7());
            let message = Message::new(id, sender.as_str().into(), text.as_str());
            let mut out = Vec::new();
            PropromoEncoder.message(&RoomName::monitor("m"), &message, &mut out);
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(&read["email"], &sender);
            prop_assert_eq!(&read["text"], &text);
            prop_assert_eq!(&read["id"], &id.to_string());
            prop_assert_eq!(&read["messageId"], &read["id"]);
            prop_assert_eq!(read.as_object().unwrap().len(), 5);
        }
    }
}
