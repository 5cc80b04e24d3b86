//! What a door is: its paths, whom it lets in, how it refuses.

use super::{
    conversation::Conversation,
    json,
    presented::{self, Presented},
};
use crate::{
    auth::token::{Claims, Issued, Kind},
    chat::Chat,
    config::{doors::DoorName, value::LoginTokenUse},
    http::head::Head,
    message::RoomName,
    refusal::{Reason, Refusal},
    store::ledger::SignedPart,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// One kind of client: its paths, its way in, its refusals.
pub trait Door: Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Its name in the setting `DOORS`, which switches it on and off.
    fn switch(&self) -> DoorName;

    /// Whether this path (as decoded segments) is one of this door's WebSockets.
    fn owns(&self, segments: &[String]) -> bool;

    /// Checks token, room and membership, and spends nothing. The handshake has checked the origin before.
    fn admit(&self, chat: &Arc<Chat>, head: &Head, segments: &[String]) -> Result<Admission, Refusal>;

    /// The HTTP status that this door's clients expect for `reason`.
    fn status(&self, reason: Reason) -> u16 {
        reason.status()
    }

    /// The body of a refused handshake.
    fn refused(&self, refusal: &Refusal) -> String {
        json::refusal(refusal.reason.word(), &refusal.sentence)
    }
}

/// The outcome of a door's checks: what to spend, and what comes next.
pub struct Admission {
    /// The token to spend before the `101`, and until when the ledger must remember it.
    pub spend: Option<(SignedPart, SystemTime)>,
    /// What runs on the open socket.
    pub conversation: Box<dyn Conversation>,
}

/// A verified token that came with a handshake.
pub struct Token {
    pub claims: Claims,
    signed_part: SignedPart,
}

impl Token {
    /// Verifies the token of a handshake. `accepts` says which kinds are let through.
    pub fn of(chat: &Chat, head: &Head, accepts: fn(Kind) -> bool) -> Result<Token, Refusal> {
        Token::verified(chat, &presented::presented(head)?.ok_or(Reason::TokenMissing)?, accepts)
    }

    /// Verifies a token that was found in a handshake.
    pub fn verified(chat: &Chat, presented: &Presented, accepts: fn(Kind) -> bool) -> Result<Token, Refusal> {
        let verified = chat.config.keys.verify(&presented.token, accepts, SystemTime::now())?;
        Ok(Token { claims: verified.claims, signed_part: verified.signed_part })
    }

    /// Refuses a token that is only for another room.
    pub fn opens(&self, room: &str) -> Result<(), Refusal> {
        match &self.claims.room {
            Some(narrowed) if narrowed != room => Err(Reason::TokenWrongRoom.into()),
            _ => Ok(()),
        }
    }

    /// Lets the token's owner into `room`, once.
    pub fn admission(self, chat: &Chat, room: &RoomName, conversation: Box<dyn Conversation>) -> Admission {
        let per_chat = chat.config.login_token_use == LoginTokenUse::OncePerChat
            && self.claims.kind == Kind::Connection(Issued::Login)
            && self.claims.room.is_none();
        // An account's other rooms have no bound, so such a token opens only one of them.
        let mark = match room.is_monitor() {
            true if per_chat => self.signed_part.within(room.as_str()),
            _ => self.signed_part,
        };
        self.admitted(mark, conversation)
    }

    /// Lets the token's owner in once, at a door without a room.
    pub fn spent_whole(self, conversation: Box<dyn Conversation>) -> Admission {
        let mark = self.signed_part;
        self.admitted(mark, conversation)
    }

    fn admitted(self, mark: SignedPart, conversation: Box<dyn Conversation>) -> Admission {
        // `exp` is the last second in which the token is accepted here: the mark must outlive it.
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(self.claims.expires.saturating_add(2));
        Admission { spend: Some((mark, until)), conversation }
    }
}
