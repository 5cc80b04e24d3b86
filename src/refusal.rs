//! Every refusal: a word for programs, a sentence for people, an HTTP status, in one place.

use std::{borrow::Cow, fmt, time::Duration};

/// A refused request or handshake.
///
/// The sentence says what is wrong and what to do. It never contains a token or a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {sentence}", reason.word())]
pub struct Refusal {
    pub reason: Reason,
    pub sentence: Cow<'static, str>,
    /// When trying again may help (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The wrong fields and what is wrong with them, if the input has fields.
    pub detail: Vec<(&'static str, &'static str)>,
}

impl Refusal {
    /// A refusal with its own sentence instead of the reason's.
    pub fn new(reason: Reason, sentence: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { reason, sentence: sentence.into(), retry_after: None, detail: Vec::new() }
    }

    pub fn retry_after(mut self, wait: Duration) -> Refusal {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a wrong field, and what is wrong with it.
    pub fn field(mut self, name: &'static str, what: &'static str) -> Refusal {
        self.detail.push((name, what));
        self
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal::new(reason, reason.sentence())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $word:literal $status:literal $sentence:literal;)*) => {
        /// The reason for a refusal. The word is part of the protocol. The status is the usual one: a door may use
        /// another one that its clients expect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The word for programs.
            pub const fn word(self) -> &'static str {
                match self { $(Reason::$name => $word,)* }
            }

            /// The HTTP status (RFC 9110 §15), unless the door uses another one.
            pub const fn status(self) -> u16 {
                match self { $(Reason::$name => $status,)* }
            }

            /// The sentence for people, unless the refusal has a better one.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$name => $sentence,)* }
            }
        }
    };
}

reasons! {
    TokenMissing "token_missing" 400 "A token is needed to open this; none was given.";
    TokenMalformed "token_malformed" 401 "That is not a token this server can read.";
    TokenBadSignature "token_bad_signature" 401 "The token was not signed by this server, or was changed.";
    /// The token's header names another algorithm than that of the key which must have signed it.
    TokenWrongAlgorithm "token_wrong_algorithm" 401 "The token was not signed in the way this server signs.";
    TokenNoExpiry "token_no_expiry" 401 "The token does not say when it expires.";
    TokenExpired "token_expired" 401 "The token has expired; get a new one.";
    TokenNotYetValid "token_not_yet_valid" 401 "The token is not valid yet.";
    TokenWrongKind "token_wrong_kind" 401 "This kind of token does not open this.";
    TokenWrongRoom "token_wrong_room" 401 "The token was issued for another room.";
    TokenUsed "token_used" 403 "The token was used before; get a new one.";
    /// The account's password was changed, or its access revoked, after the token was issued.
    TokenRevoked "token_revoked" 401 "The account's password was changed or its access revoked; log in again.";
    /// Two different tokens in one request.
    TokenAmbiguous "token_ambiguous" 400 "The request carries two different tokens; send one.";
    OriginDenied "origin_denied" 403 "Pages of this origin may not connect.";
    RoomDenied "room_denied" 403 "You have no access to this room.";
    /// A moderator or the operators muted this account in the room for now.
    Muted "muted" 403 "You are muted in this room for now.";
    RateLimited "rate_limited" 429 "Too many attempts; wait and try again.";
    Unavailable "unavailable" 503 "A part of the server can't be reached at the moment; try again.";
    /// The store's answer was lost, and the outcome of the message could not be found out in time.
    Unknown "unknown" 503 "The message may or may not have been stored; check before you send it again.";
    ClockSkew "clock_skew" 503 "This server's clock is wrong, so it can't tell which tokens were used; try again.";
    Overloaded "overloaded" 503 "The server has reached its limit of connections; try again.";
    /// Accounts may still say something.
    StoreFull "store_full" 503 "This server has hardly any disk space left, so users without an account can't send messages for now; try again.";
    /// One account or key begins only so many channels.
    TooManyChannels "too_many_channels" 403 "You have begun as many channels as this server allows; delete the messages of one that you no longer need, or ask the operators.";
    /// One address makes only so many rooms.
    TooManyRooms "too_many_rooms" 429 "Your address has made as many rooms as this server allows; delete one that you no longer need, or try again later.";
    /// One account can be muted only in so many channels.
    TooManyMutes "too_many_mutes" 403 "This account is muted in as many channels as this server allows; unmute it in one first.";
    WrongCredentials "wrong_credentials" 401 "Email or password is wrong.";
    /// For the API of backends.
    ScopeMissing "scope_missing" 403 "This key has no scope for that.";
    NoSuchMessage "no_such_message" 404 "That message is not kept in this room.";
    /// A message of a backend is older than `EDIT_WINDOW`.
    TooLate "too_late" 403 "That message is too old to be edited.";
    Unchanged "unchanged" 409 "The message is already in that state.";
    UserNotFound "user_not_found" 404 "There is no such account.";
    SessionMissing "session_missing" 401 "There is no session; log in.";
    SessionEnded "session_ended" 401 "The session has ended; log in again.";
    NoChats "no_chats" 403 "This account has access to no chat.";
    BadRequest "bad_request" 400 "The request can't be understood.";
    InvalidFields "invalid_fields" 400 "A field is missing or can't be read.";
    NotFound "not_found" 404 "There is nothing at this address.";
    MethodNotAllowed "method_not_allowed" 405 "This address does not answer that method.";
    RequestTimeout "request_timeout" 408 "The request took too long to arrive.";
    BodyTooLarge "body_too_large" 413 "The request body is larger than this server accepts.";
    ExpectationFailed "expectation_failed" 417 "The only expectation that this server supports is 100-continue.";
    UnsupportedMediaType "unsupported_media_type" 415 "The body must be a form, multipart form data or JSON.";
    UpgradeRequired "upgrade_required" 426 "This address speaks WebSocket only.";
    HeadTooLarge "head_too_large" 431 "The request head is larger than this server accepts.";
    /// Refusals of the rooms door, in its clients' words; `door::chitchat::error` has their numbers.
    RoomNotFound "room_not_found" 404 "Room error: Room not found";
    RoomTitleTaken "room_title_taken" 400 "Room error: Duplicate room";
    RoomUnreadable "room_unreadable" 400 "Room error: Invalid JSON";
    RoomProtected "room_protected" 401 "Room error: Unauthorized operation";
    RoomInvalid "room_invalid" 400 "Room error: Invalid content";
    NameNotHeld "name_not_held" 404 "Client error: User not found";
    NameTaken "name_taken" 409 "Client error: Duplicate username";
    EventUnreadable "event_unreadable" 400 "Invalid JSON";
    NotYours "not_yours" 401 "Unauthorized operation";
    Internal "internal" 500 "The server failed to answer this request.";
    NotImplemented "not_implemented" 501 "This server does not know that method.";
    HttpVersion "http_version_not_supported" 505 "This server speaks HTTP/1.0 and HTTP/1.1.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_reason_has_a_word_of_its_own() {
        let words: HashSet<_> = Reason::ALL.iter().map(|r| r.word()).collect();
        assert_eq!(words.len(), Reason::ALL.len());
        for word in words {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
        }
    }
}
