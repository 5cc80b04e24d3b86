//! What a door is: its paths, whom it lets in, and how it refuses.

use super::{
    json,
    presented::{self, Presented},
    session::Conversation,
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

    /// By which name `DOORS` switches it on or off.
    fn switch(&self) -> DoorName;

    /// Whether this path (its decoded segments) is one of this door's WebSockets.
    fn owns(&self, segments: &[String]) -> bool;

    /// Checks token, room and membership; spends nothing. The handshake has checked the origin.
    fn admit(&self, chat: &Arc<Chat>, head: &Head, segments: &[String]) -> Result<Admission, Refusal>;

    /// The status that this door's clients expect for `reason`.
    fn status(&self, reason: Reason) -> u16 {
        reason.status()
    }

    /// The body of a refused handshake.
    fn refused(&self, refusal: &Refusal) -> String {
        json::refusal(refusal.reason.word(), &refusal.sentence)
    }
}

/// What a door lets in.
pub struct Admission {
    /// The token to spend before the `101`, and when it expires anyway.
    pub spend: Option<(SignedPart, SystemTime)>,
    /// What happens once the socket is open.
    pub conversation: Box<dyn Conversation>,
}

/// A verified token that came with a handshake.
pub struct Token {
    pub claims: Claims,
    signed_part: SignedPart,
}

impl Token {
    /// The handshake's token, verified; only kinds that `accepts` names are let through.
    pub fn of(chat: &Chat, head: &Head, accepts: fn(Kind) -> bool) -> Result<Token, Refusal> {
        Token::verified(chat, &presented::presented(head)?.ok_or(Reason::TokenMissing)?, accepts)
    }

    /// A token that was found in a handshake, verified.
    pub fn verified(chat: &Chat, presented: &Presented, accepts: fn(Kind) -> bool) -> Result<Token, Refusal> {
        let verified = chat.config.keys.verify(&presented.token, accepts, SystemTime::now())?;
        Ok(Token { claims: verified.claims, signed_part: verified.signed_part })
    }

    /// Refuses a token that was narrowed to another room.
    pub fn opens(&self, room: &str) -> Result<(), Refusal> {
        match &self.claims.room {
            Some(narrowed) if narrowed != room => Err(Reason::TokenWrongRoom.into()),
            _ => Ok(()),
        }
    }

    /// Lets its owner into `room`, once.
    pub fn admission(self, chat: &Chat, room: &RoomName, conversation: Box<dyn Conversation>) -> Admission {
        let per_chat = chat.config.login_token_use == LoginTokenUse::OncePerChat
            && self.claims.kind == Kind::Connection(Issued::Login)
            && self.claims.room.is_none();
        // Of rooms that are no chats of the account there is no end: such a token opens one of them.
        let mark = match room.is_monitor() {
            true if per_chat => self.signed_part.within(room.as_str()),
            _ => self.signed_part,
        };
        self.admitted(mark, conversation)
    }

    /// Lets its owner in where there is no room, once.
    pub fn spent_whole(self, conversation: Box<dyn Conversation>) -> Admission {
        let mark = self.signed_part;
        self.admitted(mark, conversation)
    }

    fn admitted(self, mark: SignedPart, conversation: Box<dyn Conversation>) -> Admission {
        // `exp` is the last second in which the token is valid: the mark must outlive it.
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(self.claims.expires.saturating_add(2));
        Admission { spend: Some((mark, until)), conversation }
    }
}
