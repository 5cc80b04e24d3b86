//! Calls of backends that disconnect people or notify them.

use super::{
    body::Body,
    call::{Call, account},
    rooms,
};
use crate::{
    api::route::Params,
    auth::api_keys::Scope,
    chat::Chat,
    http::{reply::Reply, request::Request},
    refusal::Refusal,
};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Most characters of a reason, which only the log gets.
const MAX_REASON: usize = 200;

/// Closes all sockets of an account in rooms, on every node.
pub fn disconnect(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "disconnect" }.answer(|caller, target| {
        target.push_str(params.get("user"));
        chat.publish_limit.check(&caller.name)?;
        let mut body = Body::read(request)?;
        let reason = body.optional_text("reason").unwrap_or_default();
        if reason.chars().count() > MAX_REASON || reason.contains(char::is_control) {
            body.complain("reason", "must be a line of at most 200 characters");
        }
        body.checked()?;
        let account = account(chat, params.get("user"))?;
        // If the other nodes can't be told, the call must not seem done.
        chat.log.probe()?;
        chat.rooms.tell_disconnect(account.id.0);
        let here = chat.recheck.disconnect(account.id);
        tracing::info!(account = account.id.0, here, reason, "disconnected by a backend");
        Ok(accepted())
    })
}

/// Sends a notice to everybody who is connected, or to everybody in one room.
pub fn notify(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "notify" }.answer(|caller, target| {
        chat.publish_limit.check(&caller.name)?;
        let mut body = Body::read(request)?;
        let text = body.text("text");
        if text.len() > chat.config.limits.max_message {
            body.complain("text", "is longer than MAX_MESSAGE");
        }
        let room = body.optional_text("room");
        if room.as_ref().is_some_and(|room| !room.is_empty() && rooms::named(room).is_none()) {
            body.complain("room", rooms::EXPECTED);
        }
        body.checked()?;
        let room = room.map(|room| rooms::find(chat, &room)).transpose()?;
        target.push_str(room.as_ref().map_or("all", |room| room.as_str()));
        chat.log.probe()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        chat.rooms.notify(room.as_ref(), text.into(), now.as_millis() as u64);
        Ok(accepted())
    })
}

/// Done here, and on its way to the other nodes.
fn accepted() -> Reply {
    Reply::json(202, &serde_json::json!({ "accepted": true }))
}
