//! `POST /login`: the login of the Propromo apps.

use super::{
    credentials::{self, Credentials},
    route::{Endpoints, Params, Route},
};
use crate::{
    auth::token::{Grant, Issued, Kind},
    chat::Chat,
    http::{
        body::{Field, Fields},
        head::Method,
        reply::Reply,
        request::Request,
    },
    refusal::{Reason, Refusal},
    store::accounts::{Account, Monitor},
};
use serde::Serialize;
use std::{sync::Arc, time::SystemTime};

pub const ENDPOINTS: Endpoints =
    Endpoints { routes: &[Route::new(&[Method::Post], "/login", login)], refused: Reply::from };

/// How many chats get a token of their own in one answer at most.
const MAX_CHAT_TOKENS: usize = 500;

/// Gives a connection token (only for one room if there is a `monitor_id`), an access token, and the account's chats.
fn login(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let Form { credentials, monitor_id } = Form::read(&Fields::read(request)?)?;
    let (account, epoch) = credentials::check(chat, request.client, &credentials)?;
    answer(chat, request, &account, epoch.as_str(), monitor_id.as_deref())
}

/// The answer to a login of `account` that was right in this epoch.
pub(super) fn answer(
    chat: &Chat,
    request: &Request,
    account: &Account,
    epoch: &str,
    monitor_id: Option<&str>,
) -> Result<Reply, Refusal> {
    let monitors = chat.accounts.monitors_of(account.id)?;
    let room = entered(&monitors, monitor_id)?;

    let now = SystemTime::now();
    let (user, email) = (account.id, account.email.as_str());
    let epoch = Some(epoch);
    let lives = &chat.config.tokens;
    let kind = Kind::Connection(Issued::Login);
    let connection = chat.config.keys.sign(&Grant { kind, user, email, room, epoch, ttl: lives.connection }, now);
    let per_chat = request.query_values("tokens")?.iter().any(|wanted| wanted == "per-chat");
    let token_for = |monitor: &Monitor| {
        let grant = Grant { kind, user, email, room: Some(&monitor.monitor_hash), epoch, ttl: lives.connection };
        chat.config.keys.sign(&grant, now).token
    };
    // Signing is expensive with some keys.
    let wanted = if per_chat { monitors.len().min(MAX_CHAT_TOKENS) } else { 0 };
    chat.signing_limits.may_have(user, wanted)?;
    let tokens = monitors.iter().take(wanted).map(token_for);
    let tokens = tokens.map(Some).chain(std::iter::repeat(None));
    let access = Grant { kind: Kind::Access, user, email, room: None, epoch, ttl: lives.access };
    let access = chat.config.keys.sign(&access, now);
    Ok(Reply::json(
        200,
        &LoggedIn {
            success: true,
            token: &connection.token,
            expires: connection.expires,
            chats: monitors.iter().zip(tokens).map(|(monitor, token)| Listed { token, ..monitor.into() }).collect(),
            access_token: &access.token,
            access_expires: access.expires,
        },
    ))
}

pub(super) struct Form {
    pub credentials: Credentials,
    pub monitor_id: Option<String>,
}

impl Form {
    pub fn read(fields: &Fields) -> Result<Form, Refusal> {
        let mut refusal = Refusal::from(Reason::InvalidFields);
        let credentials = Credentials::read(fields, &["email"], &["password"], &mut refusal);
        let monitor_id = match fields.get("monitor_id") {
            Field::Text(text) => Some(text.to_owned()),
            Field::Absent => None,
            Field::NotText => {
                refusal.detail.push(("monitor_id", "must be text"));
                None
            }
        };
        match credentials {
            Some(credentials) if refusal.detail.is_empty() => Ok(Form { credentials, monitor_id }),
            _ => Err(refusal),
        }
    }
}

/// The room that the token is limited to, if the account may enter it.
fn entered<'a>(monitors: &'a [Monitor], monitor_id: Option<&str>) -> Result<Option<&'a str>, Refusal> {
    match monitor_id {
        _ if monitors.is_empty() => Err(Reason::NoChats.into()),
        None => Ok(None),
        Some(id) => match monitors.iter().find(|monitor| monitor.monitor_hash == id) {
            Some(monitor) => Ok(Some(&monitor.monitor_hash)),
            None => Err(Reason::RoomDenied.into()),
        },
    }
}

#[derive(Serialize)]
struct LoggedIn<'a> {
    success: bool,
    token: &'a str,
    expires: u64,
    chats: Vec<Listed<'a>>,
    access_token: &'a str,
    access_expires: u64,
}

/// A chat in the list of the Propromo apps.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    monitor_hash: &'a str,
    organization_name: Option<&'a str>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    title: Option<&'a str>,
    short_description: Option<&'a str>,
    public: bool,
    created_at: Option<&'a str>,
    updated_at: Option<&'a str>,
    project_url: Option<&'a str>,
    /// A token that opens only this chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl<'a> From<&'a Monitor> for Listed<'a> {
    fn from(monitor: &'a Monitor) -> Listed<'a> {
        Listed {
            monitor_hash: &monitor.monitor_hash,
            organization_name: monitor.organization_name.as_deref(),
            kind: monitor.kind.as_deref(),
            title: monitor.title.as_deref(),
            short_description: monitor.short_description.as_deref(),
            public: monitor.public,
            created_at: monitor.created_at.as_deref(),
            updated_at: monitor.updated_at.as_deref(),
            project_url: monitor.project_url.as_deref(),
            token: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn monitor(hash: &str) -> Monitor {
        Monitor {
            monitor_hash: hash.to_owned(),
            organization_name: Some("Propromo".to_owned()),
            kind: Some("ORGANIZATION".to_owned()),
            title: None,
            short_description: None,
            public: true,
            created_at: Some("2026-01-02T03:04:05Z".to_owned()),
            updated_at: None,
            project_url: None,
        }
    }

    fn form(json: serde_json::Value) -> Result<Form, Refusal> {
        let request = Request::bare(Method::Post, "/login").with_body("application/json", json.to_string());
        Form::read(&Fields::read(&request).unwrap())
    }

    fn complaints(json: serde_json::Value) -> Vec<(&'static str, &'static str)> {
        form(json).map(|_| ()).unwrap_err().detail
    }

    #[test]
    fn a_form_may_name_a_monitor() {
        let form = form(json!({"email": "a@b.example", "password": "p", "monitor_id": "demo"})).unwrap();
        assert_eq!(form.monitor_id.as_deref(), Some("demo"));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        assert_eq!(complaints(json!({})), [("email", "is missing"), ("password", "is missing")]);
        assert_eq!(
            complaints(json!({"email": "a@b.example", "password": "p", "monitor_id": 7})),
            [("monitor_id", "must be text")]
        );
    }

    #[test]
    fn a_token_is_narrowed_to_a_monitor_of_the_account_only() {
        let monitors = [monitor("demo"), monitor("$2y$12$a/b")];
        assert_eq!(entered(&monitors, Some("$2y$12$a/b")), Ok(Some("$2y$12$a/b")));
        assert_eq!(entered(&monitors, None), Ok(None));
        assert_eq!(entered(&monitors, Some("Demo")).unwrap_err().reason, Reason::RoomDenied);
    }

    #[test]
    fn an_account_without_a_chat_is_refused() {
        assert_eq!(entered(&[], None).unwrap_err().reason, Reason::NoChats);
        assert_eq!(entered(&[], Some("demo")).unwrap_err().reason, Reason::NoChats);
    }

    #[test]
    fn a_chat_is_listed_with_the_fields_that_the_apps_read() {
        assert_eq!(
            serde_json::to_value(Listed::from(&monitor("demo"))).unwrap(),
            json!({
                "monitor_hash": "demo",
                "organization_name": "Propromo",
                "type": "ORGANIZATION",
                "title": null,
                "short_description": null,
                "public": true,
                "created_at": "2026-01-02T03:04:05Z",
                "updated_at": null,
                "project_url": null,
            })
        );
    }
}
