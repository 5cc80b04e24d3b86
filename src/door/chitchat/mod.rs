//! The rooms door, for clients of the chitchat room API: `/chats/:id/ws`. Anybody can make a room, and enter one under
//! any free name. Closed rooms require a token. `api::chats` has the plain requests.

mod conversation;
pub mod error;
pub mod frame;
pub mod room;
pub mod token;

use super::{
    admission::{Admission, Door},
    presented,
};
use crate::{
    auth::token::room_mark,
    chat::Chat,
    config::doors::DoorName,
    http::head::Head,
    message::RoomName,
    refusal::{Reason, Refusal},
    store::chat_rooms::ChatRoom,
};
use conversation::ChitchatConversation;
use error::about;
use std::sync::Arc;

pub struct Chitchat;

impl Door for Chitchat {
    fn name(&self) -> &'static str {
        "chitchat"
    }

    fn switch(&self) -> DoorName {
        DoorName::Rooms
    }

    fn owns(&self, segments: &[String]) -> bool {
        // `/chats/events/ws` is the list of events of a room called `ws`; no room can be called `events`.
        matches!(segments, [first, room, last] if first == "chats" && room != "events" && last == "ws")
    }

    fn admit(&self, chat: &Arc<Chat>, head: &Head, segments: &[String]) -> Result<Admission, Refusal> {
        let [_, segment, _] = segments else { return Err(Reason::NotFound.into()) };
        let presented = presented::presented(head)?;
        let room = find(chat, segment, presented.as_ref().map(|presented| &*presented.token))?;
        let names = chat.names.of(room.id);
        let name = match (room_mark(&room), &presented) {
            (None, _) => None,
            (Some(_), None) => return Err(Reason::TokenMissing.into()),
            (Some(_), Some(presented)) => Some(token::entrant(chat, &room, &presented.token)?.name),
        };
        let seen = chat.log.history(&RoomName::chitchat(room.id), None, 1)?.last().map(|event| event.id);
        Ok(Admission {
            spend: None,
            conversation: Box::new(ChitchatConversation::new(&room, names, name.as_deref(), seen)),
        })
    }

    fn status(&self, reason: Reason) -> u16 {
        error::status(reason)
    }

    fn refused(&self, refusal: &Refusal) -> String {
        error::body(refusal)
    }
}

/// The room that a segment of the path names. A hidden room is found only with its token.
pub fn find(chat: &Chat, segment: &str, token: Option<&str>) -> Result<ChatRoom, Refusal> {
    match chat.chat_rooms.find(room::key(segment))? {
        Some(room) if !room.is_hidden() => Ok(room),
        room => {
            // The token is checked whether the room exists or not, so the time of a refusal reveals nothing.
            let member = token.and_then(|token| token::member(chat, token).ok());
            room.filter(|room| member.is_some_and(|member| token::admits(&member, room).is_ok())).ok_or_else(not_found)
        }
    }
}

pub fn not_found() -> Refusal {
    about(Reason::RoomNotFound, "id")
}
