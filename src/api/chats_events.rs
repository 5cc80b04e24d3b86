//! `GET /chats/events/:id`: what was said last in a room.

use super::{
    chats_token::{as_invalid_token, entrant, find},
    route::Params,
};
use crate::{
    chat::Chat,
    door::chitchat::frame::{self, Kind},
    http::{reply::Reply, request::Request},
    limits::turns::Claimant,
    message::{Message, RoomName},
    refusal::Refusal,
    store::{
        chat_rooms::Access,
        error::StoreError,
        log::{HasText, PAGE_BYTES, is_full_page},
    },
};
use std::sync::Arc;

/// How many events one request reads at most, and at a time.
const LOOKED_AT: usize = 10_000;
const PAGE: usize = 500;

pub fn list(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    let room = find(chat, request, params)?;
    if room.fields.access != Access::Public {
        entrant(chat, &room, request).map_err(|refusal| as_invalid_token(refusal, "A token of the room is needed."))?;
    }
    let name = RoomName::chitchat(room.id);
    let events = newest(chat, Claimant::of(request.client), &name, chat.config.history_on_join)?;
    let mut body = vec![b'['];
    for (n, event) in events.iter().rev().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        frame::write_event(&name, event, &mut body);
    }
    body.push(b']');
    Ok(Reply::written_json(200, body))
}

/// The newest `most` messages, and up to as many joins and leaves among them, newest first: people who come and go push no
/// message out.
fn newest(chat: &Chat, claimant: Claimant, room: &RoomName, most: usize) -> Result<Vec<Message>, StoreError> {
    let (mut events, mut messages, mut others, mut bytes) = (Vec::new(), 0, 0, 0);
    if most == 0 {
        return Ok(events);
    }
    let (mut before, mut looked_at, mut limit) = (None, 0, most);
    loop {
        let page = {
            // Others get their turns in between.
            let _turn = chat.turns.wait(claimant);
            chat.log.history(room, before, limit)?
        };
        looked_at += page.len();
        let is_last = looked_at >= LOOKED_AT || (page.len() < limit && !is_full_page(&page));
        (before, limit) = (page.first().map(|oldest| oldest.id), PAGE);
        for event in page.into_iter().rev() {
            let count = if frame::kind(&event) == Kind::Send { &mut messages } else { &mut others };
            if *count == most {
                continue;
            }
            *count += 1;
            bytes += event.text_len();
            events.push(event);
            if messages == most || bytes >= PAGE_BYTES {
                return Ok(events);
            }
        }
        if is_last {
            return Ok(events);
        }
    }
}
