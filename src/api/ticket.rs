//! `/auth`, `/ws_ticket` and `/token/ws`: log in first, then get a token for each connection.

use super::{
    bearer,
    credentials::{self, Credentials},
    route::{Endpoints, Params, Route},
};
use crate::{
    auth::token::{Grant, Issued, Kind, Signed},
    chat::Chat,
    http::{body::Fields, head::Method, reply::Reply, request::Request},
    refusal::{Reason, Refusal},
};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[
        Route::new(&[Method::Get, Method::Post], "/auth", auth),
        Route::new(&[Method::Get, Method::Post], "/ws_ticket", ws_ticket).at_once(),
    ],
    refused: bearer::refused,
};

pub const TWO_STEP: Endpoints = Endpoints {
    routes: &[Route::new(&[Method::Get, Method::Post], "/token/ws", token_ws).at_once()],
    refused: refused_two_step,
};

/// Gives an access token for email address and password. Unlike `/login`, it also serves accounts without a monitor.
fn auth(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let in_query = chat.config.auth_by_query && request.method == Method::Get && request.body.is_empty();
    let fields = if in_query { Fields::of_query(request, &[USER, PASSWORD].concat())? } else { Fields::read(request)? };
    let credentials = credentials_of(&fields)?;
    let (account, epoch) = credentials::check(chat, request.client, &credentials)?;
    let ttl = chat.config.tokens.access;
    let (user, email) = (account.id, account.email.as_str());
    let grant = Grant { kind: Kind::Access, user, email, room: None, epoch: Some(epoch.as_str()), ttl };
    let Signed { token, expires } = chat.config.keys.sign(&grant, SystemTime::now());
    Ok(Reply::json(200, &Token { token, expires }))
}

/// The names that clients use for the two fields.
const USER: &[&str] = &["user", "username", "email"];
const PASSWORD: &[&str] = &["pwd", "password"];

fn credentials_of(fields: &Fields) -> Result<Credentials, Refusal> {
    let mut refusal = Refusal::from(Reason::InvalidFields);
    let read = Credentials::read(fields, USER, PASSWORD, &mut refusal);
    read.ok_or(refusal)
}

/// Gives a ticket, which opens one channel.
fn ws_ticket(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let Signed { token: ticket, expires } = connection(chat, request, Issued::Ticket, chat.config.tokens.ticket)?;
    Ok(Reply::json(200, &Ticket { ticket, expires }))
}

/// Gives the first token of the two-step door.
fn token_ws(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let Signed { token, expires } = connection(chat, request, Issued::TwoStep, chat.config.tokens.two_step)?;
    let message = "Token generated successfully";
    Ok(Reply::json(200, &Generated { success: true, status: 1, message, data: Token { token, expires } }))
}

/// The usual form of refusals, with the `status` of these clients' answers: without it they wait for ever.
fn refused_two_step(refusal: Refusal) -> Reply {
    bearer::refused(refusal).with_field("status", 0)
}

/// A connection token for the user of the request's access token.
fn connection(chat: &Chat, request: &Request, issued: Issued, ttl: Duration) -> Result<Signed, Refusal> {
    // First, because everything below costs work.
    chat.signing_limits.may_ask(request.client)?;
    let claims = bearer::access(chat, request)?.claims;
    chat.signing_limits.may_have(claims.user, 1)?;
    let (kind, user, email) = (Kind::Connection(issued), claims.user, claims.email.as_str());
    // The access token's own epoch: if that token has been ended, a door refuses the ticket too.
    let grant = Grant { kind, user, email, room: None, epoch: claims.epoch.as_deref(), ttl };
    Ok(chat.config.keys.sign(&grant, SystemTime::now()))
}

#[derive(Serialize)]
struct Token {
    token: String,
    expires: u64,
}

#[derive(Serialize)]
struct Ticket {
    ticket: String,
    expires: u64,
}

#[derive(Serialize)]
struct Generated {
    success: bool,
    status: u8,
    message: &'static str,
    data: Token,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_pair_of_names_logs_in() {
        for (user, password) in [("user", "pwd"), ("username", "password"), ("email", "password")] {
            let mut request = Request::bare(Method::Get, "/auth");
            request.body = json!({user: "a@b.example", password: "p"}).to_string().into();
            let fields = Fields::read(&request).unwrap();
            let read = credentials_of(&fields).unwrap_or_else(|refusal| panic!("{refusal}"));
            assert_eq!((read.email.as_str(), read.password.as_str()), ("a@b.example", "p"), "{user}");
        }
    }

    #[test]
    fn a_token_is_handed_out_in_the_form_its_clients_read() {
        let token = || Token { token: "t".to_owned(), expires: 7 };
        assert_eq!(serde_json::to_value(token()).unwrap(), json!({"token": "t", "expires": 7}));
        assert_eq!(
            serde_json::to_value(Ticket { ticket: "t".to_owned(), expires: 7 }).unwrap(),
            json!({"ticket": "t", "expires": 7})
        );
        assert_eq!(
            serde_json::to_value(Generated { success: true, status: 1, message: "m", data: token() }).unwrap(),
            json!({"success": true, "status": 1, "message": "m", "data": {"token": "t", "expires": 7}})
        );
    }
}
