//! `/chats…`: the rooms of the chitchat API: lists, makes, changes, deletes and enters them. Messages in them go
//! through `door::chitchat`.

use super::{
    bearer, chats_list, idle_rooms,
    room_end::{remove, send_out},
    route::{Endpoints, Params, Route},
};
use crate::{
    auth::token::{Member, Signed, room_mark},
    chat::Chat,
    config::value::PublicRoomChanges,
    door::{
        chitchat::{
            self,
            error::{self, about},
            frame,
            room::{self, Asked, Shown},
            token,
        },
        json_input,
    },
    http::{head::Method, reply::Reply, request::Request},
    limits::turns::Claimant,
    message::RoomName,
    refusal::{Reason, Refusal},
    room::names::User,
    store::chat_rooms::{Access, ChatRoom, Created, FIRST, RoomKey, Updated},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[
        Route::new(&[Method::Get], "/chats", chats_list::list),
        Route::new(&[Method::Post], "/chats", create),
        Route::new(&[Method::Get], "/chats/all", chats_list::list),
        Route::new(&[Method::Get], "/chats/events/:id", events),
        Route::new(&[Method::Get], "/chats/:id", show),
        Route::new(&[Method::Put], "/chats/:id", change),
        Route::new(&[Method::Delete], "/chats/:id", delete),
        Route::new(&[Method::Post], "/chats/:id/token", enter),
        Route::new(&[Method::Get], "/chats/:id/token/renew", renew),
    ],
    refused,
};

/// How often a change starts again because another change came first.
const ATTEMPTS: usize = 5;

/// When an address that has made too many rooms may try again: rooms expire in hours or days.
const LATER: Duration = Duration::from_secs(600);

/// The header in which the creator of a public room gets the key to change it.
const KEY_HEADER: &str = "X-Room-Key";

/// The answer to everything that fails below `/chats`.
pub fn refused(refusal: Refusal) -> Reply {
    let mut reply = Reply::refused(error::status(refusal.reason), &refusal);
    reply.body = error::body(&refusal).into_bytes();
    reply
}

/// Refuses requests that a page of another site can send without asking for permission (Fetch §2.2.2). Such a page
/// sends `Origin`, and needs permission (CORS) to send JSON labelled as JSON. Programs may label their JSON as they
/// like.
fn not_from_another_site(request: &Request) -> Result<(), Refusal> {
    let media = request.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
    match request.header("origin") {
        Some(_) if !media.trim().eq_ignore_ascii_case("application/json") => {
            Err(Refusal::new(Reason::UnsupportedMediaType, "A page must send JSON, and say so in `Content-Type`."))
        }
        _ => Ok(()),
    }
}

fn create(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    not_from_another_site(request)?;
    let wanted = Asked::read(&request.body)?.of(None)?;
    if chat.chat_rooms.find(RoomKey::Title(wanted.title()))?.is_some() {
        return Err(about(Reason::RoomTitleTaken, "title"));
    }
    chat.room_limits.may_create(request.client)?;
    let key = new_key(chat);
    let wanted = match &key {
        Some(key) => wanted.made_by(digest(key)),
        None => wanted,
    };
    let fields = wanted.hashed(|password| hash(chat, request, password))?;
    let bounds = chat.room_limits.bounds(request.client);
    let create = || chat.chat_rooms.create(&fields, Timestamp::now(), bounds);
    let created = match create()? {
        Created::Full if idle_rooms::make_place(chat)? => create()?,
        created => created,
    };
    let room = match created {
        Created::Room(room) => room,
        Created::TitleTaken => return Err(about(Reason::RoomTitleTaken, "title")),
        Created::AddressFull => return Err(Refusal::from(Reason::TooManyRooms).retry_after(LATER)),
        Created::Full => return Err(Refusal::new(Reason::Overloaded, "This server has reached its limit of rooms.")),
    };
    let reply = Reply::json(201, &Shown::new(&room, Vec::new())).with("Location", format!("/chats/{}", room.id));
    Ok(match key {
        Some(key) if room.fields.access == Access::Public => reply.with(KEY_HEADER, key),
        _ => reply,
    })
}

fn show(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    let room = find(chat, request, params)?;
    Ok(Reply::json(200, &Shown::new(&room, users(chat, &room, request))))
}

fn change(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    chat.room_limits.may_change(request.client)?;
    for _ in 0..ATTEMPTS {
        let room = find(chat, request, params)?;
        may_change(chat, &room, request)?;
        let wanted = Asked::read(&request.body)?.of(Some(&room.fields))?;
        let fields = wanted.hashed(|password| hash(chat, request, password))?;
        match chat.chat_rooms.update(&room, &fields, Timestamp::now())? {
            Updated::Room(changed) => {
                let mark = room_mark(&changed);
                if mark.is_some() && mark != room_mark(&room) {
                    // Members who came in with another password, or with none, must prove that they know this one.
                    send_out(chat, changed.id, false);
                    chat.rooms.tell_shut(&RoomName::chitchat(changed.id), false);
                }
                let users = users_of(chat, changed.id);
                return Ok(Reply::json(200, &Shown::new(&changed, users)));
            }
            Updated::TitleTaken => return Err(about(Reason::RoomTitleTaken, "title")),
            Updated::Stale => {}
        }
    }
    Err(contended())
}

fn delete(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    chat.room_limits.may_change(request.client)?;
    for _ in 0..ATTEMPTS {
        let room = find(chat, request, params)?;
        may_change(chat, &room, request)?;
        if remove(chat, &room)? {
            return Ok(Reply::json(200, &json!({ "status": true })));
        }
    }
    Err(contended())
}

fn events(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    let room = find(chat, request, params)?;
    if room.fields.access != Access::Public {
        entrant(chat, &room, request).map_err(|refusal| as_invalid_token(refusal, "A token of the room is needed."))?;
    }
    let name = RoomName::chitchat(room.id);
    let events = match chat.config.history_on_join {
        0 => Vec::new(),
        newest => {
            let _turn = chat.turns.wait(Claimant::of(request.client));
            chat.log.history(&name, None, newest)?
        }
    };
    let mut body = vec![b'['];
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        frame::write_event(&name, event, &mut body);
    }
    body.push(b']');
    Ok(Reply::new(200, "application/json", body).with("Cache-Control", "no-store"))
}

/// Gives a token for a closed room to a client that knows its password.
///
/// The password is checked even if the room does not exist. So a hidden room can't be told from a missing one: not by
/// the answer, not by its time, and not by the limit on guesses.
fn enter(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    not_from_another_site(request)?;
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

fn renew(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    chat.signing_limits.may_ask(request.client)?;
    let room = find(chat, request, params)?;
    if room.fields.access == Access::Public {
        return Ok(Reply::json(200, &json!({ "status": true })));
    }
    let member = entrant(chat, &room, request)
        .map_err(|refusal| as_invalid_token(refusal, "That token can't be renewed; get a new one."))?;
    Ok(admitted(chat, &room, &member.name))
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

/// The member that the request's token lets into this closed room.
fn entrant(chat: &Chat, room: &ChatRoom, request: &Request) -> Result<Member, Refusal> {
    token::entrant(chat, room, bearer::token(request)?)
}

/// Turns every fault of a token into one, where clients expect that.
fn as_invalid_token(refusal: Refusal, sentence: &'static str) -> Refusal {
    match error::status(refusal.reason) {
        503 => refusal,
        _ => Refusal::new(Reason::TokenExpired, sentence),
    }
}

/// Refuses a client that may not change or delete a room. A closed room requires its token; for a public room the
/// setting decides; the first room never changes.
fn may_change(chat: &Chat, room: &ChatRoom, request: &Request) -> Result<(), Refusal> {
    if room.fields.access != Access::Public {
        return entrant(chat, room, request).map(|_| ());
    }
    let allowed = match chat.config.public_room_changes {
        _ if room.id == FIRST => false,
        PublicRoomChanges::Anyone => true,
        PublicRoomChanges::Nobody => false,
        // Digests are compared, so that the time reveals nothing about the key.
        PublicRoomChanges::Creator => {
            room.fields.creator.is_some() && bearer::token(request).ok().map(digest) == room.fields.creator
        }
    };
    if allowed { Ok(()) } else { Err(about(Reason::RoomProtected, "token")) }
}

fn find(chat: &Chat, request: &Request, params: &Params<'_>) -> Result<ChatRoom, Refusal> {
    chitchat::find(chat, params.get("id"), bearer::token(request).ok())
}

fn hash(chat: &Chat, request: &Request, password: &str) -> Result<String, Refusal> {
    chat.passwords.turn(&chat.room_limits.asker(request.client))?.hash(password)
}

/// A key for a new room, if its creator will need one.
fn new_key(chat: &Chat) -> Option<String> {
    let needed = chat.config.public_room_changes == PublicRoomChanges::Creator;
    needed.then(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

fn digest(key: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The users of a room that the client may see: of a closed room only with its token.
fn users(chat: &Chat, room: &ChatRoom, request: &Request) -> Vec<User> {
    let visible = room.fields.access == Access::Public || entrant(chat, room, request).is_ok();
    if visible { users_of(chat, room.id) } else { Vec::new() }
}

fn users_of(chat: &Chat, room: i64) -> Vec<User> {
    chat.names.users(&[room]).pop().unwrap_or_default()
}

fn contended() -> Refusal {
    Refusal::new(Reason::Unavailable, "Others are changing this room at the moment; try again.")
}
