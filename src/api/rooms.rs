//! `GET /rooms`: where somebody may go, and what is new there.

use super::{
    bearer,
    login::Listed,
    route::{Endpoints, Params, Route},
};
use crate::{
    chat::Chat,
    door::{channel_frame, join, mentions::Named},
    http::{head::Method, reply::Reply, request::Request},
    message::{Message, MessageId, RoomName},
    refusal::{Reason, Refusal},
    store::accounts::UserId,
};
use serde::Serialize;
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

pub const ENDPOINTS: Endpoints =
    Endpoints { routes: &[Route::new(&[Method::Get], "/rooms", rooms)], refused: bearer::refused };

/// Rooms in one answer.
const MOST: usize = 500;

/// Messages of a room that are looked at: unread ones are counted to so many.
const COUNTED: usize = 100;

/// The account's chats, and the channels in which it has read something.
fn rooms(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let claims = bearer::access(chat, request)?.claims;
    join::admit_current(chat, &claims)?;
    let account = chat.accounts.by_id(claims.user)?.ok_or(Reason::TokenRevoked)?;
    let named = Named::of(&account.email, Some(&account.name));
    let marks: HashMap<RoomName, MessageId> = chat.read_marks.store().of_account(account.id)?.into_iter().collect();
    let look = |room: &RoomName| look(chat, room, marks.get(room).copied(), &account.email, &named);

    let monitors = chat.accounts.monitors_of(account.id)?;
    let mut rooms = Vec::new();
    for monitor in monitors.iter().take(MOST) {
        let room = RoomName::monitor(&monitor.monitor_hash);
        rooms.push(Entry { kind: "monitor", news: look(&room)?, place: Place::Chat(monitor.into()), room });
    }
    for room in channels(chat, account.id, &marks, MOST - rooms.len())? {
        let place = Place::Channel { title: room.local().to_owned() };
        rooms.push(Entry { kind: "channel", news: look(&room)?, place, room });
    }
    Ok(Reply::json(200, &Answer { rooms }))
}

/// The channels that somebody has marks in, and may still enter, by name.
fn channels(
    chat: &Chat,
    user: UserId,
    marks: &HashMap<RoomName, MessageId>,
    most: usize,
) -> Result<Vec<RoomName>, Refusal> {
    let mut rooms: Vec<&RoomName> = marks.keys().filter(|room| !room.is_monitor()).collect();
    rooms.sort_unstable();
    rooms.truncate(most);
    let asked: Vec<(UserId, &str)> = rooms.iter().map(|room| (user, room.local())).collect();
    let memberships = chat.accounts.memberships(&asked)?;
    let open = rooms.into_iter().zip(memberships).filter(|(room, now)| now.room(room.local()).as_ref() == Some(room));
    Ok(open.map(|(room, _)| room.clone()).collect())
}

/// What is new in a room for this reader: of its last messages, those of others behind the mark.
fn look(chat: &Chat, room: &RoomName, read: Option<MessageId>, email: &str, named: &Named) -> Result<News, Refusal> {
    let mut last = chat.log.history(room, None, 1)?.pop();
    let mut page = Vec::new();
    if last.as_ref().is_some_and(|last| read.is_none_or(|read| read < last.id)) {
        page = chat.log.history(room, None, COUNTED)?;
        // Something may have been said meanwhile.
        last = page.last().cloned();
        // A page of long messages has fewer; those before them are read, too, as long as they count.
        while page.len() < COUNTED
            && let Some(first) = page.first().map(|message| message.id)
            && read.is_none_or(|read| read < first)
        {
            let mut older = chat.log.history(room, Some(first), COUNTED - page.len())?;
            if older.is_empty() {
                break;
            }
            older.append(&mut page);
            page = older;
        }
    }
    let is_new = |message: &&Message| read.is_none_or(|read| read < message.id) && &*message.sender != email;
    let new = || page.iter().filter(is_new);
    Ok(News {
        unread: new().count(),
        mentions: new().filter(|message| named.is_in(&message.text)).count(),
        last: last.map(|message| serde_json::from_slice(&channel_frame::message(room, &message)).unwrap_or_default()),
        read: read.map(|read| read.to_string()),
    })
}

#[derive(Serialize)]
struct Answer<'a> {
    rooms: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(serialize_with = "name")]
    room: RoomName,
    kind: &'static str,
    #[serde(flatten)]
    news: News,
    #[serde(flatten)]
    place: Place<'a>,
}

fn name<S: serde::Serializer>(room: &RoomName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(room.as_str())
}

#[derive(Serialize)]
struct News {
    unread: usize,
    mentions: usize,
    last: Option<Value>,
    read: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Place<'a> {
    Chat(Listed<'a>),
    Channel { title: String },
}
