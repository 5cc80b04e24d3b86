//! `/chats/:id/token`: lets clients into closed rooms of the chitchat API, by tokens.

use super::{bearer, cors, route::Params};
use crate::{
    auth::token::{Member, Signed},
    chat::Chat,
    door::{
        chitchat::{
            self,
            error::{self, about},
            frame, room, token,
        },
        json_input,
    },
    http::{reply::Reply, request::Request},
    refusal::{Reason, Refusal},
    store::chat_rooms::{Access, ChatRoom, RoomKey},
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Gives a token for a closed room to a client that knows its password.
///
/// The password is checked even if the room does not exist. So a hidden room can't be told from a missing one: not by
/// the answer, not by its time, and not by the limit on guesses.
pub(super) fn enter(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    cors::not_from_another_site(request)?;
    let asked = room::key(params.get("id"));
    let room = chat.chat_rooms.find(asked)?;
    if room.as_ref().is_some_and(|room| room.fields.access == Access::Public) {
        return Ok(Reply::json(200, &json!({ "status": true })));
    }
    let listed = room.as_ref().filter(|room| !room.is_hidden()).map(|room| room.id);
    let target = listed.map_or_else(|| format!("? {asked}"), |id| RoomKey::Id(id).to_string());
    let refuse = |refusal: Refusal| if listed.is_some() { refusal } else { chitchat::not_found() };
    let (name, secret) = name_and_secret(&request.body).map_err(refuse)?;
    chat.room_limits.may_guess(request.client, &target)?;
    let turn = chat.passwords.turn(&chat.room_limits.asker(request.client))?;
    // Others of this address may have guessed wrong meanwhile.
    chat.room_limits.may_guess(request.client, &target)?;
    let right = turn.verify(&secret, room.as_ref().and_then(|room| room.fields.access.password_hash()));
    match room.filter(|_| right) {
        Some(room) => {
            chat.room_limits.was_right(request.client);
            Ok(admitted(chat, &room, &name))
        }
        None => {
            chat.room_limits.was_wrong(request.client, &target);
            Err(refuse(about(Reason::NotYours, "secret")))
        }
    }
}

pub(super) fn renew(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    chat.signing_limits.may_ask(request.client)?;
    let room = find(chat, request, params)?;
    if room.fields.access == Access::Public {
        return Ok(Reply::json(200, &json!({ "status": true })));
    }
    let member = entrant(chat, &room, request)
        .map_err(|refusal| as_invalid_token(refusal, "That token can't be renewed; get a new one."))?;
    Ok(admitted(chat, &room, &member.name))
}

/// The room of the path. A hidden room is found only with its token.
pub(super) fn find(chat: &Chat, request: &Request, params: &Params<'_>) -> Result<ChatRoom, Refusal> {
    chitchat::find(chat, params.get("id"), bearer::token(request).ok())
}

/// The member that the request's token lets into this closed room.
pub(super) fn entrant(chat: &Chat, room: &ChatRoom, request: &Request) -> Result<Member, Refusal> {
    token::entrant(chat, room, bearer::token(request)?)
}

/// Turns every fault of a token into one, where clients expect that.
pub(super) fn as_invalid_token(refusal: Refusal, sentence: &'static str) -> Refusal {
    match error::status(refusal.reason) {
        503 => refusal,
        _ => Refusal::new(Reason::TokenExpired, sentence),
    }
}

/// The name and the password to check. A missing password, or one that no room can have, is not a guess: it costs no
/// hash and does not count. (bcrypt would accept a longer text that begins with the password.)
fn name_and_secret(body: &[u8]) -> Result<(String, String), Refusal> {
    let body = std::str::from_utf8(body).ok().and_then(json_input::object).ok_or(Reason::EventUnreadable)?;
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
    let name =
        text("name").filter(|name| frame::is_name(name)).ok_or_else(|| about(Reason::EventUnreadable, "name"))?;
    let secret = text("secret").filter(|secret| secret.len() <= room::MAX_PASSWORD);
    Ok((name, secret.ok_or_else(|| about(Reason::NotYours, "secret"))?))
}

/// The answer that lets a client into a room.
fn admitted(chat: &Chat, room: &ChatRoom, name: &str) -> Reply {
    match token::issue(chat, room, name) {
        Some(Signed { token, .. }) => {
            Reply::json(201, &json!({ "status": true, "name": name, "room_id": room.id, "token": token }))
        }
        None => Reply::json(200, &json!({ "status": true })),
    }
}
