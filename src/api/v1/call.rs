//! One call of a backend: checks its key and scope, and logs the outcome.

use crate::{
    api::bearer,
    auth::api_keys::{Caller, Scope},
    chat::Chat,
    http::{reply::Reply, request::Request},
    message::is_bot,
    refusal::{Reason, Refusal},
    store::accounts::{Account, MAX_EMAIL, UserId},
};
use std::sync::Arc;

/// Most bytes of the target in the log: more than the name of any room or account.
const MAX_TARGET: usize = 300;

/// One call: the request, and what it needs.
pub(super) struct Call<'a> {
    pub(super) chat: &'a Arc<Chat>,
    pub(super) request: &'a Request,
    pub(super) scope: Scope,
    /// The action, for the log.
    pub(super) what: &'static str,
}

impl Call<'_> {
    /// Runs `work` if the caller's key has the scope, and logs the outcome. `work` also sets the target: a room or a
    /// user, as the caller named it.
    pub(super) fn answer(
        &self,
        work: impl FnOnce(&Caller, &mut String) -> Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        self.answer_if(|caller| caller.may(self.scope), work)
    }

    /// The same for a call that more than one scope allows.
    pub(super) fn answer_if(
        &self,
        may: impl Fn(&Caller) -> bool,
        work: impl FnOnce(&Caller, &mut String) -> Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        let caller = self.caller()?;
        let mut target = String::new();
        let may = may(&caller);
        let answer = if may { work(&caller, &mut target) } else { Err(Reason::ScopeMissing.into()) };
        let outcome = match &answer {
            Ok(reply) => reply.status.to_string(),
            Err(refusal) => refusal.reason.word().to_owned(),
        };
        if target.len() > MAX_TARGET {
            target.truncate(target.floor_char_boundary(MAX_TARGET));
        }
        tracing::info!(key = &*caller.name, what = self.what, of = target, outcome, "API call");
        answer
    }

    /// The caller with the key of the request. After too many wrong keys from one address, that address is refused for
    /// a while.
    fn caller(&self) -> Result<Caller, Refusal> {
        if self.request.header("origin").is_some() {
            let sentence = "This is for programs that hold a key; a page must never have one.";
            return Err(Refusal::new(Reason::OriginDenied, sentence));
        }
        let (wrong, client) = (&self.chat.wrong_api_keys, self.request.client);
        wrong.look(client)?;
        let secret = bearer::token(self.request).map_err(|refusal| match refusal.reason {
            Reason::TokenMissing => {
                Refusal::new(Reason::TokenMissing, "Send your key in the header `Authorization: Bearer …`.")
            }
            _ => refusal,
        })?;
        self.chat.config.api_keys.caller(secret).ok_or_else(|| {
            // If it is one too many, the next check refuses.
            let _ = wrong.check(client);
            Refusal::new(Reason::WrongCredentials, "That is not a key of this server's API.")
        })
    }
}

/// The account with this number or email address.
pub(super) fn account(chat: &Chat, user: &str) -> Result<Account, Refusal> {
    let number = user.bytes().all(|b| b.is_ascii_digit()).then(|| user.parse().ok()).flatten();
    let found = match number {
        Some(id) => chat.accounts.by_id(UserId(id))?,
        None if user.is_empty() || user.len() > MAX_EMAIL || user.contains(char::is_control) => None,
        None => chat.accounts.by_email(user)?,
    };
    // An account with the name of a bot could speak as that bot.
    found.filter(|account| !is_bot(&account.email)).ok_or_else(|| Reason::UserNotFound.into())
}
