//! `/chats…`: the rooms of the chitchat API: makes, shows, changes and deletes them. Messages in them go through
//! `door::chitchat`.

use super::{
    bearer, chats_events, chats_list,
    chats_token::{self, entrant, find},
    cors, idle_rooms,
    room_end::{remove, send_out},
    route::{Endpoints, Params, Route},
};
use crate::{
    auth::token::room_mark,
    chat::Chat,
    config::value::PublicRoomChanges,
    door::chitchat::{
        error::{self, about},
        room::{Asked, Shown},
    },
    http::{head::Method, reply::Reply, request::Request},
    message::RoomName,
    refusal::{Reason, Refusal},
    room::names::User,
    store::chat_rooms::{Access, ChatRoom, Created, FIRST, RoomKey, Updated},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[
        Route::new(&[Method::Get], "/chats", chats_list::list),
        Route::new(&[Method::Post], "/chats", create),
        Route::new(&[Method::Get], "/chats/all", chats_list::list),
        Route::new(&[Method::Get], "/chats/events/:id", chats_events::list),
        Route::new(&[Method::Get], "/chats/:id", show),
        Route::new(&[Method::Put], "/chats/:id", change),
        Route::new(&[Method::Delete], "/chats/:id", delete),
        Route::new(&[Method::Post], "/chats/:id/token", chats_token::enter),
        Route::new(&[Method::Get], "/chats/:id/token/renew", chats_token::renew),
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

fn create(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    cors::not_from_another_site(request)?;
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
