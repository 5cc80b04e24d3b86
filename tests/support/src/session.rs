//! A browser as far as it keeps the cookie of a session.

use crate::{Connection, Person, Response, Server};
use serde_json::json;
use std::net::SocketAddr;

/// One browser, or all of its tabs: they share a cookie.
#[derive(Clone)]
pub struct Browser {
    pub address: SocketAddr,
    /// What it would send.
    pub cookie: Option<String>,
}

impl Browser {
    pub fn new(server: &Server) -> Browser {
        Browser { address: server.address, cookie: None }
    }

    /// One that has just logged in.
    #[track_caller]
    pub fn of(server: &Server, person: Person) -> Browser {
        let mut browser = Browser::new(server);
        let answer = browser.log_in(person);
        assert_eq!(answer.status, 200, "{}", answer.text());
        browser
    }

    #[track_caller]
    pub fn log_in(&mut self, person: Person) -> Response {
        let body = json!({"email": person.email, "password": person.password}).to_string();
        self.ask("POST", "/session", &[("Content-Type", "application/json")], &body)
    }

    #[track_caller]
    pub fn renew(&mut self) -> Response {
        self.ask("POST", "/session/renew", &[], "")
    }

    /// Renews, which must work; the access token.
    #[track_caller]
    pub fn renewed(&mut self) -> String {
        let answer = self.renew();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().expect("an access token").to_owned()
    }

    /// The session has ended, and the browser is told to forget its cookie.
    #[track_caller]
    pub fn is_logged_out(&mut self) {
        let answer = self.renew();
        assert_eq!((answer.status, answer.reason().as_str()), (401, "session_ended"));
        assert_eq!(self.cookie, None);
    }

    #[track_caller]
    pub fn log_out(&mut self) -> Response {
        self.ask("DELETE", "/session", &[], "")
    }

    /// Asks as a page of this server does, and keeps the cookie that comes.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let cookie = self.cookie.as_ref().map(|cookie| format!("other=1; propromo_session={cookie}"));
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: chat.test\r\nContent-Length: {}\r\n", body.len());
        let cookie = cookie.as_deref().map(|cookie| ("Cookie", cookie));
        for (name, value) in headers.iter().copied().chain(cookie) {
            request += &format!("{name}: {value}\r\n");
        }
        let answer = Connection::open(self.address).send(request + "\r\n" + body).response();
        if let Some(set) = answer.header("set-cookie") {
            let value = set.split(';').next().and_then(|pair| pair.strip_prefix("propromo_session="));
            self.cookie = Some(value.expect("it is the session's").to_owned()).filter(|value| !value.is_empty());
        }
        answer
    }
}
