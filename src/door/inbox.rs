//! The inbox, `/inbox`: one WebSocket that tells an account what is new in all its rooms. It is a member of none of
//! them.

use super::{
    admission::{Admission, Door, Token},
    channel_frame::{self, Asked},
    conversation::{Conversation, Link},
    join, json,
    own_rooms::OwnRooms,
};
use crate::{
    auth::token::{Claims, Issued, Kind},
    chat::Chat,
    config::doors::DoorName,
    http::head::Head,
    message::{MessageId, RoomName},
    recheck::{Access, CheckNumber, Pass},
    refusal::{Reason, Refusal},
    room::{
        inboxes::{InboxEncoder, News, OpenInbox},
        mentions::Named,
        read_marks::Listening,
        unread::Reader,
    },
    socket::close::Close,
    store::accounts::Account,
};
use serde_json::json;
use std::sync::Arc;

/// Most characters that an inbox shows of a message.
const SHOWN: usize = 140;

pub struct Inbox;

impl Door for Inbox {
    fn name(&self) -> &'static str {
        "inbox"
    }

    fn switch(&self) -> DoorName {
        DoorName::Tickets
    }

    fn owns(&self, segments: &[String]) -> bool {
        matches!(segments, [only] if only == "inbox")
    }

    fn admit(&self, chat: &Arc<Chat>, head: &Head, _: &[String]) -> Result<Admission, Refusal> {
        let token = Token::of(chat, head, |kind| matches!(kind, Kind::Connection(Issued::Login | Issued::Ticket)))?;
        if token.claims.room.is_some() {
            return Err(Reason::TokenWrongRoom.into());
        }
        let check = chat.recheck.current();
        join::admit_current(chat, &token.claims)?;
        let account = chat.accounts.by_id(token.claims.user)?.ok_or(Reason::TokenRevoked)?;
        let rooms = OwnRooms::of(chat, account.id)?;
        chat.overviews.may_look(account.id, rooms.count())?;
        let claims = token.claims.clone();
        Ok(token
            .spent_whole(Box::new(Reading { invited: Some(Invited { account, claims, rooms, check }), open: None })))
    }

    /// These clients expect the same status for a missing ticket as for a wrong one, as at the channel door.
    fn status(&self, reason: Reason) -> u16 {
        match reason {
            Reason::TokenMissing => 401,
            other => other.status(),
        }
    }
}

/// The account whose inbox it will be.
struct Invited {
    account: Account,
    claims: Claims,
    rooms: OwnRooms,
    /// Asked for before the account's rooms were looked up.
    check: CheckNumber,
}

/// One client at the inbox.
struct Reading {
    invited: Option<Invited>,
    open: Option<(OpenInbox, Listening, Pass)>,
}

impl Conversation for Reading {
    fn opened(&mut self, link: &Link) -> Result<(), Close> {
        let Some(Invited { account, claims, rooms, check }) = self.invited.take() else { return Ok(()) };
        link.speaks_for(account.id);
        link.open().map_err(|_| Close::SLOW)?;
        let reader = Reader { named: Named::of(&account.email, Some(&account.name)), email: account.email.into() };
        let inboxes = &link.chat.rooms.inboxes;
        let open = inboxes.open(account.id, reader, &InboxFrames, rooms.with_marks(), &link.outbound);
        let listening = link.chat.read_marks.listen_everywhere(account.id, link.outbound.id(), open.reading());
        let access = Access::Inbox { user: account.id, epoch: claims.epoch, rooms: open.subscription() };
        let pass = link.recheck(check, access);
        // The inbox is open already, so it also hears what happens meanwhile.
        let caught_up = open.catch_up(&*link.chat.log, &link.chat.turns).map_err(join::unavailable);
        self.open = Some((open, listening, pass));
        caught_up
    }

    /// An inbox only listens; it answers a `ping`.
    fn heard(&mut self, link: &Link, text: &str) -> Result<(), Close> {
        link.say(&match Asked::parse(text) {
            Ok(Asked::Ping) => r#"{"type":"pong"}"#.to_owned(),
            _ => channel_frame::error("unknown_type", "An inbox accepts only a `ping`.", None),
        });
        Ok(())
    }

    fn error(&self, reason: Reason, sentence: &str) -> String {
        channel_frame::error(reason.word(), sentence, None)
    }

    fn closed(&mut self, _: &Link) {
        self.open = None;
    }
}

struct InboxFrames;

impl InboxEncoder for InboxFrames {
    fn news(&self, room: &RoomName, News { message, unread, mentions, mention }: &News) -> String {
        let shown = message.text.char_indices().nth(SHOWN).map_or(&*message.text, |(end, _)| &message.text[..end]);
        let mut frame = json!({
            "type": "news", "room": room.as_str(), "id": message.id.to_string(), "user": &*message.sender,
            "timestamp": json::time_of(message.id), "text": shown,
            "unread": unread, "mentions": mentions, "mention": mention,
        });
        if let Some(name) = &message.name {
            frame["name"] = json!(&**name);
        }
        frame.to_string()
    }

    fn read(&self, room: &RoomName, read: Option<MessageId>, unread: usize) -> String {
        let id = read.map(|id| id.to_string());
        json!({ "type": "read", "room": room.as_str(), "id": id, "unread": unread }).to_string()
    }

    fn notice(&self, text: &str, at: u64) -> String {
        channel_frame::notice(text, at)
    }
}
