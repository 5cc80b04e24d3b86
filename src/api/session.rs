//! `/session`: browsers stay logged in with a cookie that only this server's own pages can use.

use super::{
    bearer, credentials,
    login::{self, Form},
    route::{Endpoints, Params, Route},
};
use crate::{
    auth::{
        origin,
        session::{self, Cookie, Shown},
    },
    chat::Chat,
    http::{body::Fields, cookie, head::Method, reply::Reply, request::Request},
    refusal::{Reason, Refusal},
    store::sessions::Session,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[
        Route::new(&[Method::Post], "/session", begin),
        Route::new(&[Method::Delete], "/session", end),
        Route::new(&[Method::Post], "/session/renew", renew),
    ],
    refused,
};

/// How often a renewal is tried while others renew the same session.
const TRIES: usize = 4;

/// The usual form of refusals. Also removes a cookie whose session has ended.
fn refused(refusal: Refusal) -> Reply {
    let ended = refusal.reason == Reason::SessionEnded;
    let reply = bearer::refused(refusal);
    if ended { reply.with("Set-Cookie", forgotten()) } else { reply }
}

/// Logs in like `/login`, and stays logged in.
fn begin(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    of_own_page(request)?;
    let form = Form::read(&Fields::read(request)?)?;
    let (account, epoch) = credentials::check(chat, request.client, &form.credentials)?;
    let reply = login::answer(chat, request, &account, epoch.as_str(), form.monitor_id.as_deref())?;
    // The browser replaces the cookie of this session, so the session ends. What is no cookie of ours refuses no login: another
    // site of the same domain may have planted it.
    if let Ok(Some(before)) = presented(request)
        && let Some(session) = chat.account_sessions.find(&before.session())?
        && !matches!(session::show(&session, &before, now()), Shown::UsedBefore)
    {
        chat.account_sessions.end(&session.id)?;
    }
    let (cookie, session) = session::begin(account.id, epoch.as_str(), now());
    let gone = chat.account_sessions.begin(&session, chat.config.sessions.most, oldest(chat))?;
    chat.metrics.session("begun", 1);
    chat.metrics.session("gave_way", gone as u64);
    Ok(with_cookie(chat, request, reply, &cookie))
}

/// Gives the next cookie, and all that `/login` gives.
fn renew(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    of_own_page(request)?;
    // First, because everything below costs work.
    chat.signing_limits.may_ask(request.client)?;
    let cookie = presented(request)?.ok_or(Reason::SessionMissing)?;
    let (session, shown) = judged(chat, request, &cookie)?;
    chat.signing_limits.may_have(session.account, 1)?;
    let account = chat.accounts.by_id(session.account)?.ok_or(Reason::SessionEnded)?;
    // Before the cookie is used: a refused client keeps a valid one. In the session's own epoch: if that ends now, so does all of
    // this.
    let reply = login::answer(chat, request, &account, &session.epoch, None)?;
    let next = advance(chat, request, &cookie, shown)?;
    chat.metrics.session("renewed", 1);
    Ok(with_cookie(chat, request, reply, &next))
}

/// Logs this browser out.
fn end(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    of_own_page(request)?;
    // Even if the cookie was used before: then there is all the more reason to end its session.
    if let Some(cookie) = presented(request)?
        && chat.account_sessions.end(&cookie.session())?
    {
        chat.metrics.session("ended", 1);
    }
    Ok(Reply::empty(204).with("Cache-Control", "no-store").with("Set-Cookie", forgotten()))
}

/// The session of a cookie, and the result of presenting the cookie. Ends a session that is over.
fn judged(chat: &Chat, request: &Request, cookie: &Cookie) -> Result<(Session, Shown), Refusal> {
    let session = chat.account_sessions.find(&cookie.session())?.ok_or(Reason::SessionEnded)?;
    let over = |why: &'static str| -> Result<_, Refusal> {
        chat.account_sessions.end(&session.id)?;
        chat.metrics.session(why, 1);
        Err(Reason::SessionEnded.into())
    };
    if session.used <= oldest(chat) {
        return over("expired");
    }
    let epoch = chat.accounts.epoch(session.account)?;
    if epoch.is_none_or(|epoch| epoch.ended(Some(&session.epoch))) {
        return over("revoked");
    }
    match session::show(&session, cookie, now()) {
        Shown::UsedBefore => {
            let (account, client) = (session.account.0, request.client);
            tracing::warn!(account, %client, "a session's cookie was used twice; the session is ended");
            over("used_twice")
        }
        Shown::TooOften => {
            let sentence = "This session was renewed too often; wait and try again.";
            Err(Refusal::new(Reason::RateLimited, sentence).retry_after(session::GRACE))
        }
        shown => Ok((session, shown)),
    }
}

/// Uses the cookie, and advances its session. Returns the next cookie.
fn advance(chat: &Chat, request: &Request, cookie: &Cookie, mut shown: Shown) -> Result<Cookie, Refusal> {
    let from = cookie.hashed();
    for _ in 0..TRIES {
        match shown {
            Shown::UsedJustNow(next) => return Ok(next),
            Shown::Used(next, session) if chat.account_sessions.advance(&from, &session)? => return Ok(next),
            // Another tab was faster.
            _ => shown = judged(chat, request, cookie)?.1,
        }
    }
    Err(Refusal::from(Reason::Unavailable).retry_after(Duration::from_secs(1)))
}

/// The cookie of the request. Two different ones are refused: one could come from another site on a neighbouring host.
fn presented(request: &Request) -> Result<Option<Cookie>, Refusal> {
    let mut values = request.header_values("cookie").flat_map(cookie::values);
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Refusal::new(Reason::TokenAmbiguous, "The request carries two different cookies of a session."));
    }
    Ok(Some(Cookie::parse(first).ok_or(Reason::SessionEnded)?))
}

/// Lets in this server's own pages, and programs other than browsers.
fn of_own_page(request: &Request) -> Result<(), Refusal> {
    let mut origins = request.header_values("origin");
    let Some(origin) = origins.next() else { return Ok(()) };
    let host = request.header("host").unwrap_or_default();
    if origins.next().is_none() && origin::is_own(origin, host, request.secure) {
        Ok(())
    } else {
        Err(Refusal::new(Reason::OriginDenied, "Only this server's own pages may use its sessions."))
    }
}

fn with_cookie(chat: &Chat, request: &Request, reply: Reply, cookie: &Cookie) -> Reply {
    let life = chat.config.sessions.ttl.as_secs();
    let secure = if request.secure { "; Secure" } else { "" };
    let cookie = cookie.text();
    reply.with(
        "Set-Cookie",
        format!("{}={cookie}; Path=/session; Max-Age={life}; HttpOnly; SameSite=Strict{secure}", cookie::SESSION),
    )
}

fn forgotten() -> String {
    format!("{}=; Path=/session; Max-Age=0; HttpOnly; SameSite=Strict", cookie::SESSION)
}

/// A Unix time in seconds. A session that was last used then or earlier is over.
fn oldest(chat: &Chat) -> i64 {
    now().saturating_sub_unsigned(chat.config.sessions.ttl.as_secs())
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64)
}
