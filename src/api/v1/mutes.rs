//! `/api/v1/rooms/:room/mutes/:user`: mutes users in a room.

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
    limits::rights::mute_ends,
    message::RoomName,
    refusal::{Reason, Refusal},
};
use std::sync::Arc;

/// Mutes an account in a room, for a number of seconds or until it is taken back. Replaces an earlier mute.
pub fn mute(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "mute" }.answer(|caller, target| {
        target.push_str(&subject(params));
        chat.publish_limit.check(&caller.name)?;
        let mut body = Body::read(request)?;
        let seconds = body.count("seconds");
        body.checked()?;
        let room = room(chat, params)?;
        let account = account(chat, params.get("user"))?;
        let until = mute_ends(seconds);
        let most = Some(chat.config.limits.mutes_per_account).filter(|most| *most > 0 && !room.is_monitor());
        if !chat.accounts.mute(&room, account.id, until, most)? {
            return Err(Reason::TooManyMutes.into());
        }
        chat.recheck.mute(account.id, &room, Some(until));
        Ok(Reply::empty(204))
    })
}

/// Lets the account speak again, if it was muted.
pub fn unmute(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Moderate, what: "unmute" }.answer(|caller, target| {
        target.push_str(&subject(params));
        chat.publish_limit.check(&caller.name)?;
        let room = room(chat, params)?;
        let account = account(chat, params.get("user"))?;
        chat.accounts.unmute(&room, account.id)?;
        chat.recheck.mute(account.id, &room, None);
        Ok(Reply::empty(204))
    })
}

fn subject(params: &Params<'_>) -> String {
    format!("{} in {}", params.get("user"), params.get("room"))
}

/// The room of the path. Refuses rooms in which no accounts speak.
fn room(chat: &Chat, params: &Params<'_>) -> Result<RoomName, Refusal> {
    let room = rooms::find(chat, params.get("room"))?;
    if room.is_of_accounts() {
        Ok(room)
    } else {
        Err(Refusal::new(Reason::RoomDenied, "Nobody has an account in this room."))
    }
}
