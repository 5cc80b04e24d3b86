//! The contents of tokens (RFC 7519), and the part of a token that makes it usable only once.

#[cfg(test)]
mod tests;

use crate::{
    refusal::{Reason, Refusal},
    store::{accounts::UserId, chat_rooms::ChatRoom, ledger::SignedPart},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jwt_simple::{
    JWTError,
    prelude::{Audiences, JWTClaims, UnixTimeStamp, VerificationOptions},
    reexports::{coarsetime, ct_codecs},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// `iss` of every token that this server signs.
pub const ISSUER: &str = "propromo.chat";

/// Most bytes of a token. Ours have about 500, or 1,000 with a 4096-bit RSA key.
pub const MAX_TOKEN: usize = 4096;

/// What a token is for: its `aud`. A token of one kind is never accepted as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Identifies a user, to HTTP endpoints and in a first message; reusable.
    Access,
    /// Opens exactly one WebSocket.
    Connection(Issued),
    /// Enters one closed room of the rooms door; reusable.
    Room,
}

/// The endpoint that issued a connection token, which decides how it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Issued {
    /// By `/login`.
    Login,
    /// By `/ws_ticket`.
    Ticket,
    /// By `/token/ws`: a second token must follow in the first message.
    TwoStep,
}

/// The contents of a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub kind: Kind,
    /// `sub`. For [`Kind::Room`] there is no account and this is 0: see `member`.
    pub user: UserId,
    /// Empty for [`Kind::Room`].
    pub email: String,
    /// A connection or room token opens only this room (the local name of the room at its door).
    pub room: Option<String>,
    /// The account's [`crate::store::accounts::Epoch`] when the token was issued.
    pub epoch: Option<String>,
    /// The holder of the token; only for [`Kind::Room`].
    pub member: Option<Member>,
    /// `exp`: the last second in which the token is valid.
    pub expires: u64,
    /// `iat`, Unix seconds.
    pub issued: u64,
    /// `jti`: 128 random bits.
    pub id: String,
}

/// The holder of a room token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The holder's name in the room.
    pub name: String,
    /// [`password_mark`] of the room's password hash when the token was issued. The door compares it with the mark of
    /// the present hash, so a token ends when the room's password changes.
    pub password_mark: String,
}

/// A token with valid signature, times, issuer and kind.
#[derive(Clone, Debug)]
pub struct Verified {
    pub claims: Claims,
    pub signed_part: SignedPart,
}

/// What to sign for an account. The signer adds `iat`, `nbf`, `exp`, `jti` and `iss`.
///
/// For a closed room use [`RoomGrant`]: a token of [`Kind::Room`] that is made from a `Grant` names no member, so it
/// opens nothing.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    pub kind: Kind,
    pub user: UserId,
    pub email: &'a str,
    pub room: Option<&'a str>,
    /// What can end the token before it expires: see [`crate::store::accounts::Epoch`].
    pub epoch: Option<&'a str>,
    pub ttl: Duration,
}

/// What to sign for a member of a closed room of the rooms door.
#[derive(Clone, Debug)]
pub struct RoomGrant<'a> {
    pub room: &'a str,
    pub name: &'a str,
    /// The room's present password hash; the token carries only a mark of it.
    pub password_hash: &'a str,
    pub ttl: Duration,
}

/// A newly signed token, and the Unix second in which it expires.
pub struct Signed {
    pub token: String,
    pub expires: u64,
}

impl super::keys::Keyring {
    /// Signs a token that is valid from `now`.
    pub fn sign(&self, grant: &Grant<'_>, now: SystemTime) -> Signed {
        let payload = Payload {
            email: Some(grant.email.to_owned()),
            room: grant.room.map(str::to_owned),
            epoch: grant.epoch.map(str::to_owned),
            issued_for: match grant.kind {
                Kind::Connection(issued) => Some(issued.word().to_owned()),
                Kind::Access | Kind::Room => None,
            },
            ..Payload::default()
        };
        self.sign_payload(grant.kind, grant.user.0.to_string(), payload, grant.ttl, now)
    }

    /// Signs a token with which a member enters a closed room, valid from `now`.
    pub fn sign_room(&self, grant: &RoomGrant<'_>, now: SystemTime) -> Signed {
        let payload = Payload {
            room: Some(grant.room.to_owned()),
            name: Some(grant.name.to_owned()),
            username: Some(grant.name.to_owned()),
            room_id: grant.room.parse().ok(),
            mark: Some(password_mark(grant.password_hash)),
            ..Payload::default()
        };
        self.sign_payload(Kind::Room, grant.name.to_owned(), payload, grant.ttl, now)
    }

    /// Verifies signature, algorithm, times, issuer and audience, in this order. If the signature is not ours, nothing
    /// else is checked, so the claims of a foreign token decide no answer. The key decides the algorithm.
    ///
    /// `accepts` says which kinds may be used here.
    pub fn verify(&self, token: &str, accepts: fn(Kind) -> bool, now: SystemTime) -> Result<Verified, Refusal> {
        let signed_part = signed_part(token)?;
        let options = exact_at(now);
        let claims: JWTClaims<Payload> = self
            .verify_claims(token, &options, |error| reason(error) == Reason::TokenBadSignature)
            .map_err(|error| reason(&error))?;
        let latest = unix_seconds(now).saturating_add(self.leeway().as_secs());
        if [claims.invalid_before, claims.issued_at].into_iter().flatten().any(|from| from.as_secs() > latest) {
            return Err(Reason::TokenNotYetValid.into());
        }
        let expires = claims.expires_at.ok_or(Reason::TokenNoExpiry)?.as_secs();
        if claims.issuer.as_deref() != Some(ISSUER) {
            return Err(Refusal::new(Reason::TokenWrongKind, "The token was not issued by this server."));
        }
        let kind = kind(&claims).ok_or(Reason::TokenWrongKind)?;
        if !accepts(kind) {
            return Err(Reason::TokenWrongKind.into());
        }
        let claims = Claims::new(kind, claims, expires).ok_or(Reason::TokenMalformed)?;
        Ok(Verified { claims, signed_part })
    }

    fn sign_payload(&self, kind: Kind, subject: String, payload: Payload, ttl: Duration, now: SystemTime) -> Signed {
        let now = unix_seconds(now);
        // jwt-simple keeps seconds in 32 bits, and the answer must match what is signed.
        let expires = now.saturating_add(ttl.as_secs()).min(u32::MAX.into());
        let token = self.sign_claims(JWTClaims {
            issued_at: Some(UnixTimeStamp::from_secs(now)),
            invalid_before: Some(UnixTimeStamp::from_secs(now)),
            expires_at: Some(UnixTimeStamp::from_secs(expires)),
            issuer: Some(ISSUER.to_owned()),
            subject: Some(subject),
            audiences: Some(Audiences::AsString(kind.audience().to_owned())),
            jwt_id: Some(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>())),
            nonce: None,
            custom: payload,
        });
        Signed { token, expires }
    }
}

/// The mark of a room's password at the moment when somebody is let in; `None` if the room has no password.
pub fn room_mark(room: &ChatRoom) -> Option<String> {
    room.fields.access.password_hash().map(password_mark)
}

/// A short hash of a room's password hash, for [`Member::password_mark`]. It reveals nothing about the password: the
/// hash beneath it has a salt of 128 bits that never leaves the server.
pub fn password_mark(password_hash: &str) -> String {
    let digest = Sha256::new().chain_update("propromo.chat/room\0").chain_update(password_hash).finalize();
    URL_SAFE_NO_PAD.encode(&digest[..12])
}

/// Whether a text has the shape of a token: three parts in base64url, the first of which begins like JSON. The
/// signature may be empty, so that an unsigned token is recognised, and refused as one.
pub fn has_token_shape(text: &str) -> bool {
    let base64url = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let parts: Vec<_> = text.splitn(4, '.').collect();
    // `{"` and `{ ` both encode to `ey…`; `v1.2.3` and other names of protocols do not begin so.
    matches!(parts[..], [header, payload, _] if header.starts_with("ey") && !payload.is_empty())
        && parts.into_iter().all(base64url)
}

impl Kind {
    /// The `aud` claim (RFC 7519 §4.1.3).
    fn audience(self) -> &'static str {
        match self {
            Kind::Access => "propromo.chat/access",
            Kind::Connection(_) => "propromo.chat/connection",
            Kind::Room => "propromo.chat/room",
        }
    }
}

impl Issued {
    const ALL: [Issued; 3] = [Issued::Login, Issued::Ticket, Issued::TwoStep];

    /// The `use` claim.
    fn word(self) -> &'static str {
        match self {
            Issued::Login => "login",
            Issued::Ticket => "ticket",
            Issued::TwoStep => "two-step",
        }
    }
}

/// Our claims besides the registered ones.
#[derive(Default, Serialize, Deserialize)]
struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    issued_for: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Copies of `name` and `room` under the names that clients of the rooms door use; not read here.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
}

impl Claims {
    /// `None` if a claim is missing that every token of this kind has.
    fn new(kind: Kind, claims: JWTClaims<Payload>, expires: u64) -> Option<Claims> {
        let (user, email, member) = match kind {
            Kind::Access | Kind::Connection(_) => (UserId(claims.subject?.parse().ok()?), claims.custom.email?, None),
            Kind::Room => {
                claims.custom.room.as_ref()?;
                let member = Member { name: claims.custom.name?, password_mark: claims.custom.mark? };
                (UserId(0), String::new(), Some(member))
            }
        };
        let issued = claims.issued_at?.as_secs();
        let (room, epoch) = (claims.custom.room, claims.custom.epoch);
        Some(Claims { kind, user, email, room, epoch, member, expires, issued, id: claims.jwt_id? })
    }
}

fn kind(claims: &JWTClaims<Payload>) -> Option<Kind> {
    // Ours have exactly one audience. A token with several comes from elsewhere.
    let Some(Audiences::AsString(audience)) = &claims.audiences else { return None };
    let issued_for = claims.custom.issued_for.as_deref();
    let connection = Issued::ALL.into_iter().find(|issued| issued_for == Some(issued.word())).map(Kind::Connection);
    [Some(Kind::Access), connection, Some(Kind::Room)].into_iter().flatten().find(|kind| kind.audience() == audience)
}

/// The hash under which a token is spent. Refuses what is not a token.
pub(super) fn signed_part(token: &str) -> Result<SignedPart, Refusal> {
    if token.len() > MAX_TOKEN || !has_token_shape(token) {
        return Err(Reason::TokenMalformed.into());
    }
    let (signed, _signature) = token.rsplit_once('.').ok_or(Reason::TokenMalformed)?;
    Ok(SignedPart(Sha256::digest(signed).into()))
}

/// Checks the end to the second: by default jwt-simple tolerates 15 minutes. It has one tolerance for both ends, so the
/// beginning is checked elsewhere.
fn exact_at(now: SystemTime) -> VerificationOptions {
    VerificationOptions {
        artificial_time: Some(UnixTimeStamp::from_secs(unix_seconds(now))),
        time_tolerance: Some(coarsetime::Duration::from_secs(0)),
        accept_future: true,
        max_token_length: Some(MAX_TOKEN),
        ..VerificationOptions::default()
    }
}

/// Why jwt-simple refused a token. It checks the header, then the signature, then the claims.
fn reason(error: &jwt_simple::Error) -> Reason {
    match error.downcast_ref::<JWTError>() {
        Some(JWTError::TokenHasExpired) => Reason::TokenExpired,
        Some(JWTError::TokenNotValidYet | JWTError::ClockDrift) => Reason::TokenNotYetValid,
        Some(
            JWTError::CompactEncodingError
            | JWTError::HeaderTooLarge
            | JWTError::TokenTooLong
            | JWTError::NotJWT
            | JWTError::UnknownCriticalExtension,
        ) => Reason::TokenMalformed,
        None if error.is::<serde_json::Error>() || error.is::<ct_codecs::Error>() => Reason::TokenMalformed,
        // Another algorithm (also `none`), a wrong or missing signature, and any other error.
        _ => Reason::TokenBadSignature,
    }
}

/// Whole seconds since 1970, rounded down.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("expires", &self.expires).finish_non_exhaustive()
    }
}
