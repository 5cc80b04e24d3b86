//! `PATCH` and `DELETE /api/v1/rooms/:room/messages/:id`: change a key's own messages, or with `moderate` any message.

use super::{body::Body, call::Call, rooms};
use crate::{
    api::route::Params,
    auth::api_keys::{Caller, Scope},
    chat::Chat,
    door::json,
    entry::{NewChange, NewChangeKind, Reach, Unchangeable},
    http::{reply::Reply, request::Request},
    message::{BOT, MessageId},
    refusal::{Reason, Refusal},
    store::log::Appended,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Gives a message another text. Answers 200, with the ids of the message and of the change.
pub fn edit(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    let call = Call { chat, request, scope: Scope::Publish, what: "edit a message" };
    call.answer_if(may, |caller, target| {
        target.push_str(&subject(params));
        let mut body = Body::read(request)?;
        let text = body.text("text");
        if text.len() > chat.config.limits.max_message {
            body.complain("text", "is longer than MAX_MESSAGE");
        }
        body.checked()?;
        // The time limit does not bind moderators.
        let since = match caller.may(Scope::Moderate) {
            true => 0,
            false => chat.config.edit_window.begins(SystemTime::now()),
        };
        let (id, change) = make(chat, params, caller, NewChangeKind::Edit { text: text.into(), since })?;
        let mut out = br#"{"id":"#.to_vec();
        json::id(&mut out, id);
        out.extend_from_slice(br#","change":"#);
        json::id(&mut out, change);
        out.push(b'}');
        Ok(Reply::written_json(200, out))
    })
}

/// Deletes a message everywhere where it is kept. Answers 204.
pub fn delete(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    let call = Call { chat, request, scope: Scope::Publish, what: "delete a message" };
    call.answer_if(may, |caller, target| {
        target.push_str(&subject(params));
        make(chat, params, caller, NewChangeKind::Delete)?;
        Ok(Reply::empty(204))
    })
}

fn may(caller: &Caller) -> bool {
    caller.may(Scope::Publish) || caller.may(Scope::Moderate)
}

fn subject(params: &Params<'_>) -> String {
    format!("{} in {}", params.get("id"), params.get("room"))
}

/// Has the log make a change, which counts as a message of the key. Returns the ids of the message and of the change.
fn make(
    chat: &Chat,
    params: &Params<'_>,
    caller: &Caller,
    kind: NewChangeKind,
) -> Result<(MessageId, MessageId), Refusal> {
    chat.publish_limit.check(&caller.name)?;
    let room = rooms::find(chat, params.get("room"))?;
    let of = MessageId::parse(params.get("id")).ok_or(Reason::NoSuchMessage)?;
    let reach = if caller.may(Scope::Moderate) { Reach::Any } else { Reach::Own };
    let by = format!("{BOT}{}", caller.name).into();
    chat.log.prepare(&room, of)?;
    match chat.rooms.submit(NewChange { room, of, by, kind, reach, reference: None }) {
        Appended::Stored(change) | Appended::StoredAlone(change) | Appended::Repeated(change) => Ok((of, change)),
        Appended::Refused(why) => Err(refused(why)),
        Appended::NotStored => Err(Refusal::from(Reason::Unavailable).retry_after(Duration::from_secs(1))),
        Appended::Open(_) | Appended::Unknown => Err(Reason::Unknown.into()),
    }
}

fn refused(why: Unchangeable) -> Refusal {
    match why {
        Unchangeable::NoSuchMessage => Reason::NoSuchMessage.into(),
        Unchangeable::NotYours => Refusal::new(
            Reason::ScopeMissing,
            "That is somebody else's message; changing it takes the scope `moderate`.",
        ),
        Unchangeable::TooLate => Reason::TooLate.into(),
        Unchangeable::Unchanged | Unchangeable::TooManyEmoji => Reason::Unchanged.into(),
    }
}
