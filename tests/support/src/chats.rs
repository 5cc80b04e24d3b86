//! What the tests of the rooms door share: requests with JSON bodies, and guests who talk in its rooms.

use crate::{Client, Response, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const SECRET_OF_ROOM: &str = "open sesame";

/// Sends one request, with a JSON body if there is one.
#[track_caller]
pub fn ask(server: &Server, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Response {
    let body = body.map_or_else(String::new, |body| body.to_string());
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{authorization}\r\n"
    );
    server.connect().send(head + &body).response()
}

#[track_caller]
pub fn room(server: &Server, room: Value) -> i64 {
    let answer = ask(server, "POST", "/chats", None, Some(room));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_i64().expect("a number")
}

#[track_caller]
pub fn public_room(server: &Server, title: &str) -> i64 {
    room(server, json!({"title": title, "description": "", "visibility": "public"}))
}

#[track_caller]
pub fn closed_room(server: &Server, title: &str, visibility: &str) -> i64 {
    room(server, json!({"title": title, "visibility": visibility, "password": SECRET_OF_ROOM}))
}

#[track_caller]
pub fn room_token(server: &Server, id: i64, name: &str) -> String {
    let body = json!({"secret": SECRET_OF_ROOM, "name": name});
    let answer = ask(server, "POST", &format!("/chats/{id}/token"), None, Some(body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_str().expect("a token").to_owned()
}

#[track_caller]
pub fn fails(answer: &Response, status: u16, code: u16, field: &str) {
    let body = answer.json();
    assert_eq!(answer.status, status, "{body}");
    assert_eq!((&body["status"], &body["error"]["code"]), (&json!(false), &json!(code)), "{body}");
    assert_eq!(body["error"]["field"], field, "{body}");
    assert!(body["error"]["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
}

/// One who talks in a room of this door.
pub struct Guest {
    pub client: Client,
    pub name: String,
}

impl Guest {
    #[track_caller]
    pub fn open(server: &Server, room: i64, name: &str) -> Guest {
        Guest { client: Client::open(server.address, &format!("/chats/{room}/ws")), name: name.to_owned() }
    }

    /// Opens the room with a token of it, the way a browser can.
    #[track_caller]
    pub fn admitted(server: &Server, room: i64, name: &str, token: &str) -> Guest {
        let path = format!("/chats/{room}/ws");
        let client = Client::try_open(server.address, &path, &[("Sec-WebSocket-Protocol", token)])
            .unwrap_or_else(|refused| panic!("refused: {}", refused.text()));
        Guest { client, name: name.to_owned() }
    }

    /// Opens the room, joins, and hears so.
    #[track_caller]
    pub fn join(server: &Server, room: i64, name: &str) -> Guest {
        let mut guest = Guest::open(server, room, name);
        guest.event("join", "");
        guest.hears("join", name);
        guest
    }

    pub fn event(&mut self, kind: &str, text: &str) {
        self.client.say(json!({"event_type": kind, "name": self.name, "color": "red", "msg": text}).to_string());
    }

    #[track_caller]
    pub fn hear(&mut self) -> Value {
        serde_json::from_str(&self.client.hear()).expect("a frame is JSON")
    }

    /// The next frame is an event of this kind and name; gives its text.
    #[track_caller]
    pub fn hears(&mut self, kind: &str, name: &str) -> String {
        let event = self.hear();
        assert_eq!((event["event_type"].as_str(), event["name"].as_str()), (Some(kind), Some(name)), "{event}");
        event["msg"].as_str().expect("a text").to_owned()
    }

    #[track_caller]
    pub fn is_told(&mut self, code: u16, field: &str) {
        let error = self.hear();
        assert_eq!(
            (&error["event_type"], &error["code"], &error["field"]),
            (&json!("error"), &json!(code), &json!(field)),
            "{error}"
        );
    }
}

pub fn names(room: &Value) -> Vec<&str> {
    room["users"].as_array().expect("a list").iter().map(|user| user["username"].as_str().expect("a name")).collect()
}

pub fn fields(object: &Value) -> BTreeSet<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}
