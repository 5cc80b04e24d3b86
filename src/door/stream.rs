//! The stream door, for clients that only listen to a feed: `/?t=` and `/stream[/:name]?t=`.
//!
//! What a publisher posts goes out word for word, one text frame for each post; see `api::stream`.

use super::{
    admission::{Admission, Door},
    conversation::{Conversation, Link},
    join::{self, Replay},
    presented,
};
use crate::{
    auth::foreign::verify_foreign,
    chat::Chat,
    config::doors::DoorName,
    event::{Event, Person},
    http::head::Head,
    limits::turns::Claimant,
    message::{Message, MessageId, RoomName},
    refusal::{Reason, Refusal},
    room::{encoder::Encoder, member::Member},
    socket::close::Close,
};
use std::{sync::Arc, time::SystemTime};

/// The stream of a path that names no stream.
const DEFAULT_STREAM: &str = "default";

/// The name of every listener: listeners have no names of their own.
const LISTENER: &str = "listener";

pub struct Stream;

impl Door for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn switch(&self) -> DoorName {
        DoorName::Streams
    }

    fn owns(&self, segments: &[String]) -> bool {
        match segments {
            [] => true,
            [first, rest @ ..] => first == "stream" && rest.len() <= 1,
        }
    }

    fn admit(&self, chat: &Arc<Chat>, head: &Head, segments: &[String]) -> Result<Admission, Refusal> {
        let stream = stream_name(segments)?;
        let conversation = Box::new(Listener { stream, member: None });
        let access = access(chat)?;
        let presented = presented::presented(head)?;
        let Access::ByToken(secret) = access else {
            return Ok(Admission { spend: None, conversation });
        };
        let presented = presented.ok_or(Reason::TokenMissing)?;
        let spend = verify_foreign(secret.as_bytes(), &presented.token, SystemTime::now(), chat.config.clock_leeway)?;
        Ok(Admission { spend: Some(spend), conversation })
    }

    /// These clients expect one status for every fault of a token.
    fn status(&self, reason: Reason) -> u16 {
        match reason {
            Reason::TokenMissing | Reason::TokenUsed => 401,
            other => other.status(),
        }
    }
}

/// Who may listen.
pub enum Access<'a> {
    Anybody,
    /// Clients with a token that was signed with this secret.
    ByToken(&'a str),
}

/// Who may listen to streams. Refuses if nobody may.
pub fn access(chat: &Chat) -> Result<Access<'_>, Refusal> {
    let settings = &chat.config.stream;
    match &settings.jwt_secret {
        _ if settings.public => Ok(Access::Anybody),
        Some(secret) => Ok(Access::ByToken(secret)),
        None => Err(Refusal::new(
            Reason::RoomDenied,
            "Streams are off: this server has neither STREAM_JWT_SECRET nor STREAM_PUBLIC.",
        )),
    }
}

/// The stream that a path names.
pub fn stream_name(segments: &[String]) -> Result<RoomName, Refusal> {
    let name = segments.get(1).map_or(DEFAULT_STREAM, String::as_str);
    if !RoomName::is_fit(name) {
        return Err(Refusal::new(
            Reason::BadRequest,
            "A stream's name has at most 256 bytes and no control characters.",
        ));
    }
    Ok(RoomName::stream(name))
}

struct Listener {
    stream: RoomName,
    member: Option<Arc<Member>>,
}

impl Conversation for Listener {
    fn opened(&mut self, link: &Link) -> Result<(), Close> {
        let replay = Replay::AsNewestSays(kept_for_late);
        let replay = (Claimant::of(link.client), replay);
        self.member = Some(join::enter(link, &self.stream, Person::unnamed(LISTENER.into()), &StreamEncoder, replay)?);
        Ok(())
    }

    /// Listeners have no say.
    fn heard(&mut self, _: &Link, _: &str) -> Result<(), Close> {
        Ok(())
    }

    fn error(&self, reason: Reason, sentence: &str) -> String {
        super::json::refusal(reason.word(), sentence)
    }

    fn closed(&mut self, link: &Link) {
        if let Some(member) = self.member.take() {
            link.chat.rooms.leave(&member);
        }
    }
}

/// The note beside a kept message: how many of the newest messages late joiners get.
pub fn note_kept_for_late(count: usize) -> Box<str> {
    count.to_string().into()
}

fn kept_for_late(newest: &Message) -> usize {
    newest.extra.as_deref().and_then(|note| note.parse().ok()).unwrap_or(0)
}

struct StreamEncoder;

impl Encoder for StreamEncoder {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn message(&self, _: &RoomName, message: &Message, out: &mut Vec<u8>) {
        out.extend_from_slice(message.text.as_bytes());
    }

    /// Listeners send nothing, so there is nothing to acknowledge.
    fn ack(&self, _: &str, _: MessageId, _: &mut Vec<u8>) {}

    fn not_stored(&self, _: Option<&str>, _: &mut Vec<u8>) {}

    fn unknown(&self, _: Option<&str>, _: &mut Vec<u8>) {}

    /// Listeners hear nothing but the feed.
    fn event(&self, _: &RoomName, _: &Event, _: &mut Vec<u8>) {}
}
