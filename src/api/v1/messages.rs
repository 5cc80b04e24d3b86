//! `/api/v1/rooms/:room/messages`: publishes messages of a backend in a room, and reads the room's messages.

use super::{body::Body, call::Call, rooms};
use crate::{
    api::route::Params,
    auth::api_keys::Scope,
    chat::Chat,
    door::{
        beginning, channel_frame,
        history_page::{From, Page},
        json,
    },
    http::{reply::Reply, request::Request},
    limits::turns::Claimant,
    message::{BOT, Draft, Message, MessageId, RoomName},
    refusal::{Reason, Refusal},
    store::{channels::Beginner, log::Appended, search::Query},
};
use std::{sync::Arc, time::Duration};

/// Messages in a page: without a `limit`, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

/// Most bytes of text in a page; a larger page would hold fewer messages.
const MAX_PAGE_TEXT: usize = 512 << 10;

/// Most characters of the name that a program gives itself, as for names at the rooms door.
const MAX_NAME: usize = 70;

/// Most bytes of a caller's own mark for a message.
const MAX_REFERENCE: usize = 128;

/// Publishes a message as `bot:NAME`. It is stored and delivered like any other.
pub fn publish(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Publish, what: "publish" }.answer(|caller, target| {
        target.push_str(params.get("room"));
        chat.publish_limit.check(&caller.name)?;
        let mut body = Body::read(request)?;
        let text = body.text("text");
        if text.len() > chat.config.limits.max_message {
            body.complain("text", "is longer than MAX_MESSAGE");
        }
        let name = body.optional_text("name");
        if name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME || name.contains(char::is_control)) {
            body.complain("name", "must be a line of at most 70 characters");
        }
        let reply_to = body.optional_text("reply_to");
        let reply_to = reply_to.and_then(|id| {
            let id = MessageId::parse(&id);
            if id.is_none() {
                body.complain("reply_to", "must be the id of a message");
            }
            id
        });
        let reference = reference(request, &mut body);
        body.checked()?;
        let room = rooms::find(chat, params.get("room"))?;
        let said = Said { text, name: name.map(Into::into), reply_to, reference };
        say(chat, room, &caller.name, said)
    })
}

/// A message of a program.
#[derive(Default)]
pub struct Said {
    pub text: String,
    /// The name that it gives itself.
    pub name: Option<Arc<str>>,
    /// The message that it replies to. If that is gone, this one is not a reply.
    pub reply_to: Option<MessageId>,
    /// Its own mark for the message.
    pub reference: Option<String>,
}

/// Publishes a message of a program. Answers 201, or 200 if a message with this `reference` was published before.
pub fn say(chat: &Chat, room: RoomName, bot: &str, said: Said) -> Result<Reply, Refusal> {
    let Said { text, name, reply_to, reference } = said;
    if room.as_str().starts_with("stream:") {
        return Err(Refusal::new(Reason::RoomDenied, "Publish to streams with POST /stream."));
    }
    beginning::may_say(chat, &room, Beginner::Key(bot))?;
    if let Some(of) = reply_to {
        chat.log.prepare(&room, of)?;
    }
    let reference = reference.map(String::into_boxed_str);
    let draft = Draft { name, reply_to, reference, ..Draft::new(room, format!("{BOT}{bot}").into(), text) };
    let (status, id) = match chat.rooms.submit(draft) {
        Appended::Stored(id) | Appended::StoredAlone(id) => (201, id),
        Appended::Repeated(id) => (200, id),
        Appended::NotStored | Appended::Refused(_) => {
            return Err(Refusal::from(Reason::Unavailable).retry_after(Duration::from_secs(1)));
        }
        Appended::Open(_) | Appended::Unknown => return Err(Reason::Unknown.into()),
    };
    let mut out = br#"{"id":"#.to_vec();
    json::id(&mut out, id);
    out.extend_from_slice(br#","timestamp":"#);
    json::timestamp(&mut out, id);
    out.push(b'}');
    Ok(Reply::written_json(status, out))
}

/// The caller's own mark: `Idempotency-Key` or `ref`.
fn reference(request: &Request, body: &mut Body) -> Option<String> {
    let by_field = body.optional_text("ref");
    let by_header = request.header("idempotency-key").map(str::to_owned);
    if let (Some(field), Some(header)) = (&by_field, &by_header)
        && field != header
    {
        body.complain("ref", "is another one than Idempotency-Key");
    }
    let reference = by_field.or(by_header);
    if reference.as_ref().is_some_and(|reference| !(1..=MAX_REFERENCE).contains(&reference.len())) {
        body.complain("ref", "(or Idempotency-Key) must have 1 to 128 bytes");
    }
    reference
}

/// A page of messages, oldest first: the newest, or those before or after a message.
pub fn list(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Read, what: "read messages" }.answer(|_, target| {
        target.push_str(params.get("room"));
        let Asked { from, limit, query } = Asked::read(request)?;
        let room = rooms::find_to_read(chat, params.get("room"))?;
        if let Some(query) = query {
            let before = if let From::Before(id) = from { Some(id) } else { None };
            let found = chat.find(&room, Claimant::of(request.client), &query, (before, limit))?;
            return Ok(Reply::written_json(200, channel_frame::found(&room, &found)));
        }
        let Page { mut messages, mut more, .. } = Page::read(&*chat.log, &room, from, limit)?;
        let found = messages.len();
        if let From::After(after) = from {
            // Asked afterwards: what is whole now was whole when it was read.
            chat.log.since(&room, after, 1)?.ok_or(Reason::NoSuchMessage)?;
            messages.truncate(fitting(messages.iter()));
        } else {
            let fitting = fitting(messages.iter().rev());
            messages.drain(..found - fitting);
        }
        more |= messages.len() < found;
        Ok(Reply::written_json(200, channel_frame::messages(&room, &messages, more)))
    })
}

/// How many of the first messages make a page.
fn fitting<'a>(messages: impl Iterator<Item = &'a Message>) -> usize {
    let mut size = 0;
    // The first message always fits, whatever MAX_MESSAGE allows: otherwise no page could ever get past it.
    let fits = |message: &&Message| {
        let is_first = size == 0;
        size += message.text.len().max(1);
        is_first || size <= MAX_PAGE_TEXT
    };
    messages.take_while(fits).count()
}

/// The page that a caller asks for.
struct Asked {
    from: From,
    limit: usize,
    /// A search; its results come newest first.
    query: Option<Query>,
}

impl Asked {
    fn read(request: &Request) -> Result<Asked, Refusal> {
        let mut refusal = Refusal::from(Reason::InvalidFields);
        let mut id = |name: &'static str| {
            let text = request.query_values(name)?.into_iter().next();
            let id = text.as_deref().map(MessageId::parse);
            if id == Some(None) {
                refusal.detail.push((name, "must be the id of a message"));
            }
            Ok::<_, Refusal>(id.flatten())
        };
        let (before, after) = (id("before")?, id("after")?);
        let from = match (before, after) {
            (Some(_), Some(_)) => {
                refusal.detail.push(("after", "can't be given beside `before`"));
                From::Newest
            }
            (Some(before), None) => From::Before(before),
            (None, Some(after)) => From::After(after),
            (None, None) => From::Newest,
        };
        let limit = match request.query_values("limit")?.first().map(|text| text.parse::<usize>()) {
            None => PAGE,
            Some(Ok(limit @ 1..=MAX_PAGE)) => limit,
            Some(_) => {
                refusal.detail.push(("limit", "must be a whole number from 1 to 200"));
                PAGE
            }
        };
        let query = request.query_values("query")?.into_iter().next().map(|text| Query::parse(&text));
        if query == Some(None) {
            refusal.detail.push(("query", "must have 1 to 16 words and at most 256 bytes"));
        }
        let query = query.flatten();
        if query.is_some() && matches!(from, From::After(_)) {
            refusal.detail.push(("after", "can't be given beside `query`"));
        }
        if refusal.detail.is_empty() { Ok(Asked { from, limit, query }) } else { Err(refusal) }
    }
}
