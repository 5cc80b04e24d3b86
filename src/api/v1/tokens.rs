//! `POST /api/v1/tokens`: a token for a user whom the caller has logged in by itself.

use super::{
    body::Body,
    call::{Call, account},
    rooms,
};
use crate::{
    api::route::Params,
    auth::{
        api_keys::Scope,
        token::{Grant, Issued, Kind, Signed},
    },
    chat::Chat,
    http::{reply::Reply, request::Request},
    message::RoomName,
    refusal::{Reason, Refusal},
    store::accounts::Epoch,
};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

pub fn create(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Tokens, what: "make a token" }.answer(|_, target| {
        let asked = Asked::read(chat, request)?;
        target.clone_from(&asked.user);
        let account = account(chat, &asked.user)?;
        if let Some(room) = &asked.room {
            let membership = chat.accounts.membership(account.id, room.local())?;
            if membership.room(room.local()).as_ref() != Some(room) {
                return Err(Reason::RoomDenied.into());
            }
        }
        let room = asked.room.as_ref().map(RoomName::local);
        let epoch = chat.accounts.epoch(account.id)?;
        let (user, email, epoch) = (account.id, account.email.as_str(), epoch.as_ref().map(Epoch::as_str));
        let grant = Grant { kind: asked.kind, user, email, room, epoch, ttl: asked.ttl };
        let Signed { token, expires } = chat.config.keys.sign(&grant, SystemTime::now());
        Ok(Reply::json(201, &Token { token, kind: word(asked.kind), expires }))
    })
}

/// The fields of the request.
struct Asked {
    user: String,
    kind: Kind,
    room: Option<RoomName>,
    ttl: Duration,
}

/// A ticket: it opens any one door that accepts connection tokens, once.
const CONNECTION: Kind = Kind::Connection(Issued::Ticket);

impl Asked {
    fn read(chat: &Chat, request: &Request) -> Result<Asked, Refusal> {
        let lives = &chat.config.tokens;
        let mut body = Body::read(request)?;
        let user = body.user("user");
        let kind = match body.optional_text("kind").as_deref() {
            None | Some("connection") => CONNECTION,
            Some("access") => Kind::Access,
            // Empty means that the error has been noted.
            Some("") => CONNECTION,
            Some(_) => {
                body.complain("kind", "must be `connection` or `access`");
                CONNECTION
            }
        };
        let room = body.optional_text("room").filter(|room| !room.is_empty()).and_then(|text| {
            let room = rooms::named(&text);
            if kind == Kind::Access {
                body.complain("room", "narrows connection tokens only");
            } else if room.is_none() {
                body.complain("room", rooms::EXPECTED);
            }
            room
        });
        let usual = if kind == Kind::Access { lives.access } else { lives.ticket };
        let ttl = body.count("ttl").map_or(usual, Duration::from_secs);
        // Replaced keys are accepted for this long and no longer.
        if ttl > lives.longest() {
            body.complain("ttl", "is longer than any of this server's tokens may live");
        }
        body.checked()?;
        Ok(Asked { user, kind, room, ttl })
    }
}

fn word(kind: Kind) -> &'static str {
    if kind == Kind::Access { "access" } else { "connection" }
}

#[derive(Serialize)]
struct Token {
    token: String,
    kind: &'static str,
    expires: u64,
}
