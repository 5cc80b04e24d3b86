//! The opening handshake (RFC 6455 §4.2): everything else is checked first, and the token is spent last.

use super::{
    admission::{Admission, Door},
    conversation::Opening,
    presented,
};
use crate::{
    chat::Chat,
    http::head::Head,
    refusal::{Reason, Refusal},
    request_id,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::sync::Arc;
use tungstenite::handshake::derive_accept_key;

/// Checks a handshake at `door`. On success the token has been spent; a refusal spends nothing.
pub fn prepare(chat: &Arc<Chat>, door: &dyn Door, head: &Head, segments: &[String]) -> Result<Opening, Refusal> {
    // First, because everything below costs work.
    chat.handshake_limits.check(head.client)?;
    let key = key(head)?;
    let mut origins = head.header_values("origin");
    chat.config.origins.admit(origins.next(), chat.config.origin_required)?;
    if origins.next().is_some() {
        return Err(Reason::OriginDenied.into());
    }
    let Admission { spend, conversation } = door.admit(chat, head, segments)?;
    let response = response(key, presented::subprotocol(head), head.id.as_str());
    if let Some((token, until)) = spend
        && !chat.metrics.spend.time(|| chat.ledger.spend(&token, until))?
    {
        return Err(Reason::TokenUsed.into());
    }
    Ok(Opening { response, conversation, door: door.name(), client: head.client })
}

/// The client's key, from a handshake as RFC 6455 §4.2.1 requires it.
fn key(head: &Head) -> Result<&str, Refusal> {
    if head.header("sec-websocket-version").map(str::trim) != Some("13") {
        return Err(Refusal::new(Reason::UpgradeRequired, "This server speaks version 13 of WebSocket (RFC 6455)."));
    }
    let mut keys = head.headers.iter().filter(|(name, _)| name == "sec-websocket-key").map(|(_, value)| value.as_str());
    match (keys.next(), keys.next()) {
        (Some(key), None) if BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) => Ok(key),
        _ => Err(Refusal::new(Reason::BadRequest, "There must be one Sec-WebSocket-Key, with 16 bytes in base64.")),
    }
}

fn response(key: &str, subprotocol: Option<&str>, id: &str) -> Vec<u8> {
    let mut response = String::with_capacity(256);
    response.push_str(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ",
    );
    response.push_str(&derive_accept_key(key.as_bytes()));
    if let Some(subprotocol) = subprotocol {
        response.push_str("\r\nSec-WebSocket-Protocol: ");
        response.push_str(subprotocol);
    }
    for part in ["\r\n", request_id::HEADER, ": ", id, "\r\n\r\n"] {
        response.push_str(part);
    }
    response.into_bytes()
}
