//! Nodes that act as one server, and what their clients do.

use serde_json::{Value, json};
use std::{net::SocketAddr, time::Instant};
use support::{
    Client, PATIENCE, Person, Response, Server, eventually, forge, http::get, raise_open_files, server::Setup,
};

pub const NORA: Person = Person { email: "nora@propromo.example", password: "nora-password" };

/// Nodes that share one Redis and one file of accounts.
pub struct Nodes {
    pub servers: Vec<Server>,
    /// A genuine ticket, from which others are forged: each login costs a password's hash.
    pub ticket: String,
}

impl Nodes {
    #[track_caller]
    pub fn start(count: usize, redis_url: &str) -> Nodes {
        Nodes::start_with(count, redis_url, |setup| setup)
    }

    #[track_caller]
    pub fn start_with(count: usize, redis_url: &str, settings: impl Fn(Setup) -> Setup) -> Nodes {
        raise_open_files();
        let first = settings(node(redis_url, None)).account(NORA.email, NORA.password, &[]);
        let accounts = first.data_dir().join("chat.db");
        let mut servers = vec![first.start()];
        let shared = format!("sqlite:{}", accounts.display());
        let others = (1..count).map(|_| settings(node(redis_url, Some(&shared))).start());
        servers.extend(others);
        Nodes::of(servers)
    }

    /// Nodes that share the accounts of the first, which has Nora's.
    #[track_caller]
    pub fn of(servers: Vec<Server>) -> Nodes {
        let access = log_in(&servers[0]).json()["token"].as_str().expect("an access token").to_owned();
        let authorization = format!("Bearer {access}");
        let request = get("/ws_ticket", &[("Authorization", &authorization), ("Connection", "close")]);
        let ticket =
            servers[0].connect().send(request).response().json()["ticket"].as_str().expect("a ticket").to_owned();
        Nodes { servers, ticket }
    }

    /// A ticket that nobody has used, of a user of this name.
    pub fn ticket(&self, user: &str) -> String {
        forge(&self.ticket, |claims| {
            claims.insert("email".into(), user.into());
        })
    }

    pub fn path(&self, room: &str, user: &str) -> String {
        format!("/channel/{room}?ticket={}", self.ticket(user))
    }

    #[track_caller]
    pub fn join(&self, node: usize, room: &str, user: &str) -> Client {
        Client::open(self.servers[node].address, &self.path(room, user))
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }
}

pub fn node(redis_url: &str, accounts: Option<&str>) -> Setup {
    as_node(Server::with(), redis_url, accounts)
}

pub fn as_node(setup: Setup, redis_url: &str, accounts: Option<&str>) -> Setup {
    let setup =
        setup.without_demo().env("CHAT_STORAGE_URL", redis_url).env("MESSAGE_RATE", "0").env("TICKET_TTL", "3600");
    match accounts {
        Some(url) => setup.env("DATABASE_URL", url),
        None => setup,
    }
}

/// Which needs no Redis.
pub fn log_in(server: &Server) -> Response {
    let body = json!({"user": NORA.email, "pwd": NORA.password}).to_string();
    server.post("/auth", "application/json", body)
}

/// The next frame of this type; others are passed over.
#[track_caller]
pub fn hear_type(client: &mut Client, kind: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no {kind} is heard");
        let frame: Value = serde_json::from_str(&client.hear()).expect("frames are JSON");
        if frame["type"] == kind {
            return frame;
        }
    }
}

pub fn message(text: &str, reference: &str) -> String {
    json!({"type": "message", "text": text, "ref": reference}).to_string()
}

/// Sends one message, until it is stored.
#[track_caller]
pub fn say_until_stored(client: &mut Client, text: &str) {
    eventually("the message is stored", || {
        client.say(message(text, text));
        loop {
            let frame: Value = serde_json::from_str(&client.hear()).expect("frames are JSON");
            if frame["type"] == "ack" && frame["ref"] == text {
                return true;
            }
            if frame["type"] == "error" {
                return false;
            }
        }
    });
}
