//! Room tokens, which open closed rooms. A token can be used again, until the room's password changes or the token
//! expires.

use crate::{
    auth::token::{Claims, Kind, Member, RoomGrant, Signed, room_mark},
    chat::Chat,
    flat_json,
    refusal::{Reason, Refusal},
    store::chat_rooms::ChatRoom,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::time::SystemTime;

/// More fields than the header of any token has.
const MAX_FIELDS: usize = 32;

/// A token with which `name` enters a closed room; `None` for a public room.
pub fn issue(chat: &Chat, room: &ChatRoom, name: &str) -> Option<Signed> {
    let password_hash = room.fields.access.password_hash()?;
    let grant = RoomGrant { room: &room.id.to_string(), name, password_hash, ttl: chat.config.tokens.room };
    Some(chat.config.keys.sign_room(&grant, SystemTime::now()))
}

/// The member that a token lets into a closed room. A public room refuses it, as it refuses every token that is not its
/// own.
pub fn entrant(chat: &Chat, room: &ChatRoom, token: &str) -> Result<Member, Refusal> {
    let claims = member(chat, token)?;
    admits(&claims, room)?;
    claims.member.ok_or(Reason::TokenWrongKind.into())
}

/// The claims of a room token, of any room.
pub fn member(chat: &Chat, token: &str) -> Result<Claims, Refusal> {
    let keys = &chat.config.keys;
    let verified = keys.verify(token, |kind| kind == Kind::Room, SystemTime::now()).map_err(|refusal| {
        let another_method = declared_algorithm(token).is_some_and(|declared| declared != keys.algorithm());
        if refusal.reason == Reason::TokenBadSignature && another_method {
            Refusal::from(Reason::TokenWrongAlgorithm)
        } else {
            refusal
        }
    })?;
    Ok(verified.claims)
}

/// Checks that a token is for this room and for its present password.
pub fn admits(claims: &Claims, room: &ChatRoom) -> Result<(), Refusal> {
    if claims.room != Some(room.id.to_string()) {
        return Err(Reason::TokenWrongRoom.into());
    }
    let member = claims.member.as_ref().ok_or(Reason::TokenWrongKind)?;
    if room_mark(room).is_none_or(|mark| mark != member.password_mark) {
        return Err(Refusal::new(Reason::TokenExpired, "The room's password was changed; get a new token."));
    }
    Ok(())
}

/// `alg` of a token's header (RFC 7515 §4.1.1). It is not trusted: it only serves to say what is wrong with the token.
fn declared_algorithm(token: &str) -> Option<String> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    flat_json::object(&header, MAX_FIELDS)?.get("alg")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_header_says_its_algorithm() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        assert_eq!(declared_algorithm(&format!("{header}.e30.")).as_deref(), Some("none"));
        for nothing in ["", ".", "a.b.c", "e30.e30.x"] {
            assert_eq!(declared_algorithm(nothing), None, "{nothing}");
        }
    }
}
