//! `/api/v1/users/:user/messages`: exports or erases all messages of an account.

use super::call::{Call, account};
use crate::{
    api::route::Params,
    auth::api_keys::Scope,
    chat::Chat,
    door::channel_frame,
    http::{reply::Reply, request::Request},
    refusal::{Reason, Refusal},
    store::{
        account_messages::{Place, Walk},
        erasure::{Erased, Eraser},
    },
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Most messages in a page, and the size in bytes at which a page ends.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 512 << 10;

/// How long one call searches for messages, or erases them, before it answers with what it has: there may be many
/// messages of others between them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Exports messages as lines of JSON, room by room, newest first; a `Link` leads to the next page.
pub fn export(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "export messages" }.answer(|_, target| {
        target.push_str(params.get("user"));
        let cursor = request.query_values("cursor")?.into_iter().next().unwrap_or_default();
        let place = Place::parse(&cursor)
            .ok_or_else(|| Refusal::from(Reason::InvalidFields).field("cursor", "must be that of an earlier page"))?;
        let account = account(chat, params.get("user"))?;
        let until = Some(Instant::now() + PATIENCE);
        let mut walk = Walk { log: &*chat.log, sender: &account.email, place, until };
        let (mut out, mut lines) = (Vec::new(), 0);
        let done = walk.on(|room, message| {
            out.extend_from_slice(&channel_frame::message(room, message));
            out.push(b'\n');
            lines += 1;
            Ok::<_, Refusal>(lines < PAGE && out.len() < PAGE_BYTES)
        })?;
        let reply = Reply::new(200, "application/x-ndjson", out).with("Cache-Control", "no-store");
        if done {
            return Ok(reply);
        }
        let cursor = walk.place.to_string();
        let cursor = utf8_percent_encode(&cursor, NON_ALPHANUMERIC);
        // As in the list of rooms (RFC 8288).
        Ok(reply.with("Link", format!("<{}?cursor={cursor}>; rel=\"next\"", request.path)))
    })
}

/// Erases all messages of an account, also for the members who see them. `more` if that takes another call, which goes on
/// where this one ended.
pub fn erase(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "erase messages" }.answer(|caller, target| {
        target.push_str(params.get("user"));
        let account = account(chat, params.get("user"))?;
        let submit = |entries| chat.rooms.submit_all(entries);
        let eraser = Eraser { log: &*chat.log, search: &*chat.search, submit: &submit, by: &caller.name };
        let (place, until) = (chat.unfinished_erasures.place(account.id), Some(Instant::now() + PATIENCE));
        let Erased { messages, rest } = eraser.erase_said_by(&account.email, place, until, &mut |_| {})?;
        let more = rest.is_some();
        chat.unfinished_erasures.note(account.id, rest);
        Ok(Reply::json(200, &json!({ "erased": messages, "more": more })))
    })
}
