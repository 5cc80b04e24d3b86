//! `GET /rooms`: the rooms of an account, and what is new there.

use super::{
    bearer,
    login::Listed,
    route::{Endpoints, Params, Route},
};
use crate::{
    chat::Chat,
    door::{channel_frame, join, own_rooms::OwnRooms},
    http::{head::Method, reply::Reply, request::Request},
    limits::{making::Made, turns::Claimant},
    message::{MessageId, RoomName},
    refusal::{Reason, Refusal},
    room::{
        mentions::Named,
        unread::{Reader, last_messages},
    },
    store::{accounts::UserId, moderation::Rights},
};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

pub const ENDPOINTS: Endpoints =
    Endpoints { routes: &[Route::new(&[Method::Get], "/rooms", rooms)], refused: bearer::refused };

/// The account's chats, and the channels in which it has read something.
fn rooms(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let claims = bearer::access(chat, request)?.claims;
    join::admit_current(chat, &claims)?;
    let account = chat.accounts.by_id(claims.user)?.ok_or(Reason::TokenRevoked)?;
    let reader = Reader { named: Named::of(&account.email, Some(&account.name)), email: account.email.into() };
    let own = OwnRooms::of(chat, account.id)?;
    chat.overviews.may_look(account.id, own.count())?;
    let OwnRooms { monitors, channels, marks } = own;
    let look = |room: &RoomName| look(chat, account.id, room, marks.get(room).copied(), &reader);
    let mut rooms = List::of(chat, account.id);
    let names: Vec<RoomName> = monitors.iter().map(|monitor| RoomName::monitor(&monitor.monitor_hash)).collect();
    let asked: Vec<_> = names.iter().map(|room| (account.id, room)).collect();
    let rights = chat.accounts.rights(&asked)?;
    for ((monitor, room), Rights { moderator, .. }) in monitors.iter().zip(names).zip(rights) {
        let place = Place::Chat(monitor.into());
        rooms.push(&Entry { kind: "monitor", news: look(&room)?, moderator, place, room })?;
    }
    for room in channels {
        let place = Place::Channel { title: room.local().to_owned() };
        rooms.push(&Entry { kind: "channel", news: look(&room)?, moderator: false, place, room })?;
    }
    Ok(rooms.answer())
}

/// What is new in a room for this reader.
fn look(
    chat: &Chat,
    account: UserId,
    room: &RoomName,
    read: Option<MessageId>,
    reader: &Reader,
) -> Result<News, Refusal> {
    let _turn = chat.turns.wait(Claimant::Account(account));
    let mut last = chat.log.history(room, None, 1)?.pop();
    let mut messages = Vec::new();
    if last.as_ref().is_some_and(|last| read.is_none_or(|read| read < last.id)) {
        messages = last_messages(&*chat.log, room, read)?;
        // More messages may have come meanwhile.
        last = messages.last().cloned();
    }
    let unread = reader.unread(&messages, read);
    Ok(News {
        unread: unread.count,
        mentions: unread.mentions,
        last: last.map(|message| serde_json::from_slice(&channel_frame::message(room, &message)).unwrap_or_default()),
        read: read.map(|read| read.to_string()),
    })
}

/// The answer, which is counted while it is made: its rooms' last messages may be long.
struct List<'a> {
    made: Made<'a>,
    out: Vec<u8>,
}

impl<'a> List<'a> {
    fn of(chat: &'a Chat, account: UserId) -> List<'a> {
        List { made: chat.making.begin(Claimant::Account(account)), out: br#"{"rooms":["#.to_vec() }
    }

    fn push(&mut self, entry: &Entry<'_>) -> Result<(), Refusal> {
        if self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
        serde_json::to_writer(&mut self.out, entry).map_err(|error| {
            tracing::error!(%error, "a room can't be written as JSON");
            Reason::Internal
        })?;
        self.made.grow_to(self.out.capacity())
    }

    fn answer(mut self) -> Reply {
        self.out.extend_from_slice(b"]}");
        Reply::written_json(200, self.out)
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(serialize_with = "name")]
    room: RoomName,
    kind: &'static str,
    moderator: bool,
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
