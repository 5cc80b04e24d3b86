//! What clients of the channel protocol do: fetch tokens with a token, send and read JSON frames.

use crate::{Client, Connection, PATIENCE, Person, Response, Server, http::get};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Instant};
use tungstenite::{Error, Message};

impl Server {
    /// The answer of `POST /auth`.
    #[track_caller]
    pub fn auth(&self, person: Person) -> Response {
        let body = json!({"user": person.email, "pwd": person.password});
        self.post("/auth", "application/json", body.to_string())
    }

    /// A fresh access token, for anybody with an account.
    #[track_caller]
    pub fn access(&self, person: Person) -> String {
        let answer = self.auth(person);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["token"].as_str().expect("a token").to_owned()
    }

    #[track_caller]
    pub fn get_with_bearer(&self, path: &str, token: &str) -> Response {
        self.connect().send(get(path, &[("Authorization", &format!("Bearer {token}"))])).response()
    }

    /// A fresh ticket.
    #[track_caller]
    pub fn ticket(&self, person: Person) -> String {
        ticket(self.address, &self.access(person))
    }

    /// A fresh token of the two-step door.
    #[track_caller]
    pub fn first_step(&self, person: Person) -> String {
        let answer = self.get_with_bearer("/token/ws", &self.access(person));
        answer.json()["data"]["token"].as_str().unwrap_or_else(|| panic!("no token: {}", answer.text())).to_owned()
    }

    /// Enters a channel with a ticket. `path` is what follows `/channel/`, and may have a query.
    #[track_caller]
    pub fn channel(&self, person: Person, path: &str) -> Client {
        let query = if path.contains('?') { '&' } else { '?' };
        Client::open(self.address, &format!("/channel/{path}{query}ticket={}", self.ticket(person)))
    }
}

/// A fresh ticket for an access token.
#[track_caller]
pub fn ticket(address: SocketAddr, access: &str) -> String {
    let bearer = format!("Bearer {access}");
    let answer = Connection::open(address).send(get("/ws_ticket", &[("Authorization", &bearer)])).response();
    answer.json()["ticket"].as_str().unwrap_or_else(|| panic!("no ticket: {}", answer.text())).to_owned()
}

/// Enters a channel with a ticket for an access token.
#[track_caller]
pub fn enter(address: SocketAddr, access: &str, room: &str) -> Client {
    let and = if room.contains('?') { '&' } else { '?' };
    Client::open(address, &format!("/channel/{room}{and}ticket={}", ticket(address, access)))
}

/// The first message that says who one is.
pub fn jwt(token: &str) -> String {
    json!({"type": "jwt", "token": token}).to_string()
}

impl Client {
    /// Sends a frame.
    #[track_caller]
    pub fn ask(&mut self, frame: Value) {
        self.say(frame.to_string());
    }

    /// The next frame.
    #[track_caller]
    pub fn hear_frame(&mut self) -> Value {
        let text = self.hear();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
    }

    /// The next frame, which must be of this type.
    #[track_caller]
    pub fn hear_a(&mut self, kind: &str) -> Value {
        let frame = self.hear_frame();
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frame of this type, whatever comes before it.
    #[track_caller]
    pub fn wait_for(&mut self, kind: &str) -> Value {
        // Others arrive for ever: pings, or what others say.
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.hear();
            match serde_json::from_str::<Value>(&text) {
                Ok(frame) if frame["type"] == kind => return frame,
                _ => assert!(Instant::now() < until, "no frame of type {kind} came, the last was {text}"),
            }
        }
    }

    /// Sends a frame with this `ref`, and waits until it is acknowledged; the id of what it made.
    #[track_caller]
    pub fn done(&mut self, mut frame: Value, reference: &str) -> Value {
        frame["ref"] = reference.into();
        self.ask(frame);
        self.acknowledged(reference)
    }

    /// Waits until what was sent with this `ref` is acknowledged; the id of what it made.
    #[track_caller]
    pub fn acknowledged(&mut self, reference: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < until, "{reference} is not acknowledged");
            let heard = self.hear_frame();
            assert_ne!(heard["type"], "error", "{reference}: {heard}");
            if heard["type"] == "ack" && heard["ref"] == reference {
                return heard["id"].clone();
            }
        }
    }

    /// All that was said to this client before the server read what it has sent so far: a pong marks the end.
    #[track_caller]
    pub fn hear_all_up_to_now(&mut self) -> Vec<Value> {
        self.ask(json!({"type": "ping"}));
        let mut frames = Vec::new();
        loop {
            let frame = self.hear_frame();
            if frame["type"] == "pong" {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// Says `text` and gives the message frame that everybody gets.
    #[track_caller]
    pub fn post(&mut self, text: &str) -> Value {
        self.say(text);
        loop {
            let frame = self.wait_for("message");
            if frame["text"] == text {
                return frame;
            }
        }
    }

    pub fn try_send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message)
    }

    /// Whether the server has closed with this code by now, as far as can be read within the time-out.
    pub fn is_closed_with(&mut self, code: u16) -> bool {
        loop {
            match self.try_read() {
                Ok(Message::Close(frame)) => return frame.is_some_and(|frame| u16::from(frame.code) == code),
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// The code and the reason with which the server closes next.
    #[track_caller]
    pub fn closed_because(&mut self) -> (u16, String) {
        match self.read() {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.as_str().to_owned()),
            other => panic!("not closed: {other:?}"),
        }
    }
}

/// The sorted names of an object's fields.
#[track_caller]
pub fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
