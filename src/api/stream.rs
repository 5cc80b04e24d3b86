//! `POST /stream[/:name]`: publishes to the listeners of a stream.

use super::{
    bearer,
    route::{Endpoints, Params, Route},
};
use crate::{
    chat::Chat,
    door::{
        beginning,
        stream::{self, note_kept_for_late, stream_name},
    },
    http::{head::Method, reply::Reply, request::Request},
    message::Draft,
    refusal::{Reason, Refusal},
    store::channels::Beginner,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[
        Route::new(&[Method::Post], "/stream", publish).at_once(),
        Route::new(&[Method::Post], "/stream/:name", publish).at_once(),
    ],
    refused: bearer::refused,
};

/// The sender of published messages; listeners do not see it.
const PUBLISHER: &str = "publisher";

/// Publishes the body word for word, as one text frame.
fn publish(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    may_publish(chat, request)?;
    stream::access(chat)?;
    let room = stream_name(&request.segments)?;
    let kept = kept(request)?;
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| Refusal::new(Reason::BadRequest, "The body must be UTF-8: it goes out as a text frame."))?;
    if kept.is_some() {
        beginning::may_say(chat, &room, Beginner::Streams)?;
    }
    let draft =
        Draft { extra: kept.map(note_kept_for_late), kept: kept.is_some(), ..Draft::new(room, PUBLISHER.into(), text) };
    let listeners = chat.rooms.publish(draft)?;
    Ok(Reply::json(202, &serde_json::json!({ "listeners": listeners })))
}

/// Allows publishers with the key, or on this machine if the setting allows that: the callback of a Nano node can't set
/// headers.
fn may_publish(chat: &Chat, request: &Request) -> Result<(), Refusal> {
    let settings = &chat.config.stream;
    // Behind a proxy every client would seem to be on this machine, and a page in a browser here is not this machine.
    let from_here = request.client.is_loopback() && !request.forwarded() && request.header("origin").is_none();
    let presented = match bearer::token(request) {
        Ok(key) => Some(key.to_owned()),
        Err(missing) => match request.query_values("key")?.into_iter().next() {
            Some(key) => Some(key),
            None if from_here && settings.publish_loopback => return Ok(()),
            None if missing.reason != Reason::TokenMissing => return Err(missing),
            None => None,
        },
    };
    let presented = presented.ok_or_else(|| {
        Refusal::new(Reason::TokenMissing, "Publishing needs the key: `Authorization: Bearer …` or `?key=…`.")
    })?;
    match &settings.publish_key {
        Some(key) if same(key, &presented) => Ok(()),
        _ => Err(Refusal::new(Reason::WrongCredentials, "That is not the key for publishing to streams.")),
    }
}

/// Compares digests, so that the time reveals nothing about the key.
fn same(key: &str, presented: &str) -> bool {
    Sha256::digest(key) == Sha256::digest(presented)
}

/// `?history=n`: keeps this message among the newest n, for listeners that come later.
fn kept(request: &Request) -> Result<Option<usize>, Refusal> {
    let Some(history) = request.query_values("history")?.into_iter().next() else { return Ok(None) };
    match history.parse() {
        Ok(0) => Ok(None),
        Ok(count) if count <= MAX_KEPT => Ok(Some(count)),
        _ => Err(Refusal::new(Reason::BadRequest, "`history` must be a whole number from 0 to 1000.")),
    }
}

/// How many messages a late listener gets at most.
const MAX_KEPT: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Request {
        let mut request = Request::bare(Method::Post, "/stream");
        request.query = Some(query.to_owned());
        request
    }

    #[test]
    fn history_is_a_small_number() {
        assert_eq!(kept(&asked("key=k")).unwrap(), None);
        assert_eq!(kept(&asked("history=0")).unwrap(), None);
        assert_eq!(kept(&asked("history=5&key=k")).unwrap(), Some(5));
        for wrong in ["history=-1", "history=many", "history=1001", "history="] {
            assert_eq!(kept(&asked(wrong)).unwrap_err().reason, Reason::BadRequest, "{wrong}");
        }
    }

    #[test]
    fn only_the_same_key_is_the_same() {
        assert!(same("key", "key"));
        assert!(!same("key", "keys"));
        assert!(!same("key", ""));
    }
}
