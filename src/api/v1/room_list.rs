//! `GET /api/v1/rooms`: all rooms that have members or messages.

use super::call::Call;
use crate::{
    api::route::Params,
    auth::api_keys::Scope,
    chat::Chat,
    door::{channel_frame, json},
    http::{reply::Reply, request::Request},
    message::RoomName,
    refusal::{Reason, Refusal},
};
use std::sync::Arc;

/// How many rooms are checked for a page.
const PAGE: usize = 100;

/// Most bytes of a cursor: a room's name with its kind.
const MAX_CURSOR: usize = RoomName::MAX + 16;

/// A page of rooms in the order of their names; `cursor` leads to the next one.
pub fn list(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Read, what: "list rooms" }.answer(|_, _| {
        let after = request.query_values("cursor")?.into_iter().next().filter(|cursor| !cursor.is_empty());
        if after.as_ref().is_some_and(|after| after.len() > MAX_CURSOR) {
            return Err(Refusal::from(Reason::InvalidFields).field("cursor", "must be that of an earlier page"));
        }
        let after = after.map(|after| RoomName::from_store(&after));
        let mut names = chat.log.rooms(after.as_ref(), PAGE + 1)?;
        names.extend(chat.rooms.occupied().into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after)));
        names.sort_unstable();
        names.dedup();
        let more = names.len() > PAGE;
        names.truncate(PAGE);
        let mut out = br#"{"rooms":["#.to_vec();
        let mut is_first = true;
        for name in &names {
            let members = chat.rooms.connections(name)?.len();
            let last = chat.log.history(name, None, 1)?.pop();
            if members == 0 && last.is_none() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"room":"#);
            json::string(&mut out, name.as_str());
            out.extend_from_slice(format!(r#","members":{members},"last":"#).as_bytes());
            match &last {
                Some(last) => out.extend_from_slice(&channel_frame::message(name, last)),
                None => out.extend_from_slice(b"null"),
            }
            out.push(b'}');
        }
        out.push(b']');
        if more && let Some(last) = names.last() {
            out.extend_from_slice(br#","cursor":"#);
            json::string(&mut out, last.as_str());
        }
        out.push(b'}');
        Ok(Reply::written_json(200, out))
    })
}
