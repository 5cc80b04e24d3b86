//! `docs/openapi.yaml` and `docs/asyncapi.yaml` say what the server does: every endpoint, status and frame that they name is
//! provoked here and compared with its description, and the server has no endpoint and no door that they don't name.

use propromo_chat::facade::described::{DOORS, endpoints};
use serde_json::{Value, json};
use std::{cell::RefCell, collections::BTreeSet, fs, path::Path};
use support::{
    ALICE, BOB, CAROL, Client, Connection, DEMO, Person, Response, Server,
    api::{call, only},
    channel::jwt,
    chats::{Guest, ask, closed_room, public_room, room_token},
    http::{get, post_with},
    session::Browser,
    sign_hs256,
    yaml::{Node, misfit},
};

const STREAM_SECRET: &str = "the secret of the backend that signs stream tokens";
const PUBLISH_KEY: &str = "the-publishers-key";

fn server() -> Server {
    Server::with_api()
        .env("ADMIN_LISTEN", "127.0.0.1:0")
        .env("STREAM_JWT_SECRET", STREAM_SECRET)
        .env("STREAM_PUBLISH_KEY", PUBLISH_KEY)
        .env("GITHUB_WEBHOOK_SECRET", "It's a Secret to Everybody")
        .start()
}

fn stream_token() -> String {
    let claims = json!({"exp": support::now() + 60, "jti": uuid::Uuid::now_v7().to_string()});
    sign_hs256(STREAM_SECRET.as_bytes(), &json!({"alg": "HS256", "typ": "JWT"}), claims.as_object().expect("an object"))
}

/// Plain requests.
struct Requests {
    document: Node,
    /// Method, path and status of the answers that were compared.
    seen: RefCell<BTreeSet<(String, String, String)>>,
}

impl Requests {
    fn new() -> Requests {
        Requests { document: Node::read("docs/openapi.yaml"), seen: RefCell::default() }
    }

    /// Every method and path that is described, with its operation.
    fn operations(&self) -> impl Iterator<Item = (&str, &str, &Node)> {
        self.document.at("paths").fields().iter().flat_map(|(path, item)| {
            let methods = item.fields().iter().filter(|(name, _)| name != "parameters");
            methods.map(|(method, operation)| (method.as_str(), path.as_str(), operation))
        })
    }

    /// Compares an answer with the description of its status.
    #[track_caller]
    fn compare(&self, method: &str, path: &str, status: u16, answer: &Response) {
        let place = format!("{method} {path} {}", answer.status);
        assert_eq!(answer.status, status, "{place}: {}", answer.text());
        assert!(answer.header("x-request-id").is_some(), "{place} has no id");
        let responses = self.document.at("paths").at(path).at(&method.to_lowercase()).at("responses");
        let status = status.to_string();
        let (status, response) = match responses.get(&status) {
            Some(response) => (status, response),
            None => ("default".to_owned(), responses.at("default")),
        };
        let response = response.resolved(&self.document);
        for (name, _) in response.get("headers").map_or(&[][..], Node::fields) {
            let found = answer.header(&name.to_lowercase());
            assert!(found.is_some_and(|value| value.parse::<u64>().is_ok()), "{place}: {name} is {found:?}");
        }
        let Some(content) = response.get("content") else {
            assert_eq!(answer.text(), "", "{place} has content that is not described");
            self.seen.borrow_mut().insert((method.to_lowercase(), path.to_owned(), status));
            return;
        };
        let kind = answer.header("content-type").unwrap_or_default().split(';').next().expect("a first part");
        let content = content.at(kind);
        let body = if kind == "application/json" { answer.json() } else { answer.text().into() };
        if let Some(misfit) = misfit(&self.document, content.at("schema"), &body) {
            panic!("{place}: {misfit}");
        }
        self.seen.borrow_mut().insert((method.to_lowercase(), path.to_owned(), status));
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let described = self.operations().flat_map(|(method, path, operation)| {
            let statuses = operation.at("responses").fields().iter().map(|(status, _)| status.clone());
            statuses.map(move |status| (method.to_owned(), path.to_owned(), status))
        });
        let seen = self.seen.borrow();
        let unseen: Vec<_> = described.filter(|one| !seen.contains(one)).collect();
        assert!(unseen.is_empty(), "described, but never provoked: {unseen:?}");
    }
}

fn bearer(method: &str, server: &Server, path: &str, token: &str) -> Response {
    ask(server, method, path, Some(token), None)
}

/// An example of a path: its parameters' examples in their places.
fn example(document: &Node, path: &str) -> String {
    let parameters = document.at("paths").at(path).get("parameters").map_or(&[][..], Node::list);
    parameters.iter().fold(path.to_owned(), |path, parameter| {
        path.replace(&format!("{{{}}}", parameter.text_at("name")), parameter.text_at("example"))
    })
}

#[test]
fn every_endpoint_is_described_and_every_description_is_one() {
    let requests = Requests::new();
    let described: BTreeSet<_> = requests
        .operations()
        .map(|(method, path, _)| (method.to_uppercase(), path.replace('{', ":").replace('}', "")))
        .collect();
    let served: BTreeSet<_> = endpoints().map(|(method, pattern)| (method.to_owned(), pattern.to_owned())).collect();
    assert_eq!(described, served);
}

#[test]
fn every_path_stands_in_the_protocol() {
    let protocol = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PROTOCOL.md")).expect("text");
    for (_, path, _) in Requests::new().operations() {
        let path = path.replace('{', ":").replace('}', "");
        assert!(protocol.contains(&path), "docs/PROTOCOL.md says nothing about {path}");
    }
}

#[test]
fn every_answer_is_as_it_is_described() {
    let requests = Requests::new();
    let server = server();
    pages(&requests, &server);
    logins(&requests, &server);
    sessions(&requests, &server);
    tokens(&requests, &server);
    publishing(&requests, &server);
    rooms(&requests, &server);
    closed_rooms(&requests, &server);
    backends(&requests, &server);
    github(&requests, &server);
    limits(&requests);
    operators(&requests, &server);
    others(&requests, &server);
    requests.nothing_is_left();
}

fn pages(requests: &Requests, server: &Server) {
    for path in ["/", "/docs", "/assets/{name}", "/docs/{file}"] {
        requests.compare("GET", path, 200, &server.get(&example(&requests.document, path)));
    }
    requests.compare("GET", "/assets/{name}", 404, &server.get("/assets/nothing"));
    requests.compare("GET", "/docs/{file}", 404, &server.get("/docs/style.css"));
}

fn logins(requests: &Requests, server: &Server) {
    let login = |body: Value| ask(server, "POST", "/login", None, Some(body));
    requests.compare("POST", "/login", 200, &server.login(ALICE));
    requests.compare("POST", "/login", 401, &server.log_in_as(ALICE.email, "wrong"));
    requests.compare("POST", "/login", 403, &server.login(CAROL));
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"] {
        let body = match kind.contains("multipart") {
            true => {
                "--b\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\nalice@propromo.example\r\n\
                     --b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nalice-password\r\n--b--\r\n"
            }
            false => "email=alice%40propromo.example&password=alice-password",
        };
        requests.compare("POST", "/login", 200, &server.post("/login", kind, body));
    }
    let schema = requests.document.at("components").at("schemas").at("Login");
    for missing in schema.at("required").list() {
        let mut body = schema.at("example").value();
        body.as_object_mut().expect("an object").remove(missing.text());
        let answer = login(body);
        requests.compare("POST", "/login", 400, &answer);
        assert!(answer.json()["detail"].get(missing.text()).is_some(), "{}", answer.text());
    }
    let announced = "POST /login HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 70000\r\n\r\n";
    requests.compare("POST", "/login", 413, &server.connect().send(announced).response());
    requests.compare("POST", "/login", 415, &server.post("/login", "text/csv", "a,b"));
    for method in ["GET", "POST"] {
        let auth = |body: Value| ask(server, method, "/auth", None, Some(body));
        let credentials = requests.document.at("components").at("requestBodies").at("Credentials");
        let good = credentials.at("content").at("application/json").at("example").value();
        requests.compare(method, "/auth", 200, &auth(good));
        requests.compare(method, "/auth", 400, &auth(json!({"user": ALICE.email})));
        requests.compare(method, "/auth", 401, &auth(json!({"user": ALICE.email, "pwd": "wrong"})));
    }
}

fn sessions(requests: &Requests, server: &Server) {
    let mut browser = Browser::new(server);
    requests.compare("POST", "/session", 200, &browser.log_in(ALICE));
    let again = browser.clone();
    requests.compare("POST", "/session/renew", 200, &browser.renew());
    for (method, path) in [("POST", "/session"), ("POST", "/session/renew"), ("DELETE", "/session")] {
        let body = r#"{"email":"alice@propromo.example","password":"alice-password"}"#;
        requests.compare(method, path, 403, &browser.ask(method, path, &[("Origin", "https://evil.example")], body));
    }
    let two = browser.ask("POST", "/session/renew", &[("Cookie", "propromo_session=another")], "");
    requests.compare("POST", "/session/renew", 400, &two);
    let often = (0..40).find_map(|_| Some(browser.renew()).filter(|answer| answer.status == 429));
    requests.compare("POST", "/session/renew", 429, &often.expect("an end to renewing"));
    requests.compare("DELETE", "/session", 204, &browser.log_out());
    requests.compare("POST", "/session/renew", 401, &again.clone().renew());
    let wrong = Person { password: "wrong", ..ALICE };
    requests.compare("POST", "/session", 401, &browser.log_in(wrong));
    requests.compare("POST", "/session", 400, &browser.ask("POST", "/session", &[], "{}"));
    let limited = Server::with().env("LOGIN_RATE", "1").start();
    let mut guesser = Browser::new(&limited);
    let often = (0..40).find_map(|_| Some(guesser.log_in(wrong)).filter(|answer| answer.status == 429));
    requests.compare("POST", "/session", 429, &often.expect("an end to guessing"));
}

fn tokens(requests: &Requests, server: &Server) {
    let access = server.access(ALICE);
    server.channel(BOB, DEMO).post("hello");
    requests.compare("GET", "/rooms", 200, &server.get_with_bearer("/rooms", &access));
    requests.compare("GET", "/rooms", 401, &server.get_with_bearer("/rooms", "rubbish"));
    for path in ["/ws_ticket", "/token/ws"] {
        for method in ["GET", "POST"] {
            requests.compare(method, path, 200, &bearer(method, server, path, &access));
            requests.compare(method, path, 401, &bearer(method, server, path, "rubbish"));
        }
    }
}

fn publishing(requests: &Requests, server: &Server) {
    for path in ["/stream", "/stream/{name}"] {
        let to = example(&requests.document, path);
        let post = |target: &str, key: &str, body: &[u8]| {
            let headers = [("Authorization", &*format!("Bearer {key}")), ("Connection", "close")];
            server.connect().send(post_with(target, &headers, body)).response()
        };
        requests.compare("POST", path, 202, &post(&format!("{to}?history=1"), PUBLISH_KEY, b"block"));
        let by_address = server.post(&format!("{to}?key={PUBLISH_KEY}"), "text/plain", "block");
        requests.compare("POST", path, 202, &by_address);
        requests.compare("POST", path, 400, &post(&to, PUBLISH_KEY, &[0xff]));
        requests.compare("POST", path, 401, &post(&to, "wrong", b"block"));
    }
}

fn rooms(requests: &Requests, server: &Server) {
    let document = &requests.document;
    let ask = |method: &str, path: &str, body: Option<Value>| ask(server, method, path, None, body);
    let example_of = |schema: &str| document.at("components").at("schemas").at(schema).at("example").value();
    let mut guest = Guest::join(server, 1, "Ann");
    guest.event("send", "hello");
    guest.hears("send", "Ann");
    for path in ["/chats", "/chats/all"] {
        requests.compare("GET", path, 200, &server.get(path));
        requests.compare("GET", path, 400, &server.get(&format!("{path}?after=x")));
    }
    let made = ask("POST", "/chats", Some(example_of("NewRoom")));
    requests.compare("POST", "/chats", 201, &made);
    requests.compare("POST", "/chats", 400, &ask("POST", "/chats", Some(json!({"title": "No visibility"}))));
    for (path, nowhere) in [("/chats/{id}", "/chats/9999"), ("/chats/events/{id}", "/chats/events/9999")] {
        requests.compare("GET", path, 200, &server.get(&example(document, path)));
        requests.compare("GET", path, 404, &server.get(nowhere));
    }
    let id = public_room(server, "To be changed");
    let path = format!("/chats/{id}");
    let changed = ask("PUT", &path, Some(example_of("ChangedRoom")));
    requests.compare("PUT", "/chats/{id}", 200, &changed);
    requests.compare("PUT", "/chats/{id}", 400, &ask("PUT", &path, Some(json!({"title": "x"}))));
    requests.compare("PUT", "/chats/{id}", 404, &ask("PUT", "/chats/9999", Some(json!({}))));
    requests.compare("DELETE", "/chats/{id}", 200, &ask("DELETE", &path, None));
    requests.compare("DELETE", "/chats/{id}", 404, &ask("DELETE", &path, None));
    let entrance = example_of("Entrance");
    let enter = |room: &str, body: Value| ask("POST", &format!("/chats/{room}/token"), Some(body));
    requests.compare("POST", "/chats/{id}/token", 200, &enter("1", entrance.clone()));
    requests.compare("POST", "/chats/{id}/token", 201, &enter("The%20Garden", entrance.clone()));
    requests.compare("POST", "/chats/{id}/token", 400, &enter("The%20Garden", json!({"secret": "open sesame"})));
    requests.compare("POST", "/chats/{id}/token", 401, &enter("The%20Garden", json!({"name": "Ann"})));
    requests.compare("POST", "/chats/{id}/token", 404, &enter("9999", entrance));
}

fn closed_rooms(requests: &Requests, server: &Server) {
    let id = closed_room(server, "A closed room", "private");
    let (path, token) = (format!("/chats/{id}"), room_token(server, id, "Ann"));
    let events = format!("/chats/events/{id}");
    requests.compare("GET", "/chats/events/{id}", 200, &bearer("GET", server, &events, &token));
    requests.compare("GET", "/chats/events/{id}", 403, &server.get(&events));
    let renew = |room: &str| bearer("GET", server, &format!("/chats/{room}/token/renew"), &token);
    requests.compare("GET", "/chats/{id}/token/renew", 201, &renew(&id.to_string()));
    requests.compare("GET", "/chats/{id}/token/renew", 200, &renew("1"));
    requests.compare("GET", "/chats/{id}/token/renew", 404, &renew("9999"));
    requests.compare("GET", "/chats/{id}/token/renew", 403, &server.get(&format!("{path}/token/renew")));
    let changed = || Some(json!({}));
    let (before, after) = (&token[..token.len() - 8], &token[token.len() - 7..]);
    let other = if token.as_bytes()[before.len()] == b'A' { 'B' } else { 'A' };
    let badly_signed = format!("{before}{other}{after}");
    requests.compare("PUT", "/chats/{id}", 401, &ask(server, "PUT", &path, Some(&badly_signed), changed()));
    requests.compare("PUT", "/chats/{id}", 403, &ask(server, "PUT", &path, Some("rubbish"), changed()));
    requests.compare("DELETE", "/chats/{id}", 401, &bearer("DELETE", server, &path, &badly_signed));
    requests.compare("DELETE", "/chats/{id}", 403, &bearer("DELETE", server, &path, "rubbish"));
}

fn backends(requests: &Requests, server: &Server) {
    let wish = requests.document.at("components").at("schemas").at("TokenWish").at("example").value();
    let compare = |status: u16, answer: &Response| requests.compare("POST", "/api/v1/tokens", status, answer);
    let make = |body: Value| server.call("POST", "/api/v1/tokens", Some(body));
    compare(201, &make(wish.clone()));
    compare(400, &make(json!({})));
    compare(401, &call(server.address, "wrong", "POST", "/api/v1/tokens", None));
    compare(403, &make(json!({"user": CAROL.email, "room": "monitor:demo"})));
    compare(404, &make(json!({"user": "nobody@propromo.example"})));
    let example_of = |schema: &str| requests.document.at("components").at("schemas").at(schema).at("example").value();
    let room = "/api/v1/rooms/{room}/messages";
    let _bob = server.channel(BOB, "lobby");
    for (method, path, status, wrong) in [
        ("POST", room, 201, Some(example_of("NewMessage"))),
        ("POST", room, 200, Some(example_of("NewMessage"))),
        ("POST", room, 400, Some(json!({}))),
        ("GET", room, 200, None),
        ("GET", "/api/v1/rooms/{room}/presence", 200, None),
        ("PUT", "/api/v1/rooms/{room}/mutes/{user}", 204, Some(example_of("Mute"))),
        ("PUT", "/api/v1/rooms/{room}/mutes/{user}", 400, Some(json!({"seconds": 0}))),
        ("DELETE", "/api/v1/rooms/{room}/mutes/{user}", 204, None),
        ("POST", "/api/v1/notices", 202, Some(example_of("NewNotice"))),
        ("POST", "/api/v1/notices", 400, Some(json!({}))),
        ("POST", "/api/v1/notices", 404, Some(json!({"text": "x", "room": "monitor:nowhere"}))),
        ("POST", "/api/v1/users/{user}/disconnect", 202, Some(example_of("Dismissal"))),
        ("POST", "/api/v1/users/{user}/disconnect", 400, Some(json!({"reason": 7}))),
    ] {
        requests.compare(method, path, status, &server.call(method, &example(&requests.document, path), wrong));
    }
    let one = "/api/v1/rooms/{room}/messages/{id}";
    let id =
        server.call("POST", &example(&requests.document, room), Some(json!({"text": "helo"}))).json()["id"].clone();
    let place = format!("{}/{}", example(&requests.document, room), id.as_str().expect("an id"));
    requests.compare("PATCH", one, 200, &server.call("PATCH", &place, Some(example_of("NewText"))));
    requests.compare("PATCH", one, 409, &server.call("PATCH", &place, Some(example_of("NewText"))));
    requests.compare("PATCH", one, 400, &server.call("PATCH", &place, Some(json!({}))));
    requests.compare("DELETE", one, 204, &server.call("DELETE", &place, None));
    requests.compare("GET", "/api/v1/rooms", 200, &server.call("GET", "/api/v1/rooms", None));
    let long = format!("/api/v1/rooms?cursor={}", "x".repeat(300));
    requests.compare("GET", "/api/v1/rooms", 400, &server.call("GET", &long, None));
    let said = "/api/v1/users/{user}/messages";
    let place = example(&requests.document, said);
    requests.compare("GET", said, 200, &server.call("GET", &place, None));
    requests.compare("GET", said, 400, &server.call("GET", &format!("{place}?cursor=yesterday"), None));
    requests.compare("DELETE", said, 200, &server.call("DELETE", &place, None));
    let before = example(&requests.document, room) + "?before=yesterday";
    requests.compare("GET", room, 400, &server.call("GET", &before, None));
    for (method, path, operation) in requests.operations().filter(|(_, path, _)| path.starts_with("/api/v1")) {
        let (method, target) = (method.to_uppercase(), example(&requests.document, path));
        if path != "/api/v1/tokens" {
            requests.compare(&method, path, 401, &call(server.address, "wrong", &method, &target, None));
            requests.compare(&method, path, 403, &call(server.address, &only("tokens"), &method, &target, None));
        }
        let nowhere = target.replace("channel:lobby", "monitor:nowhere").replace(BOB.email, "nobody@propromo.example");
        if nowhere != target && operation.at("responses").get("404").is_some() {
            requests.compare(&method, path, 404, &server.call(&method, &nowhere, Some(json!({"text": "x"}))));
        }
    }
    // Each operation, with one wrong key too many.
    let limited = Server::with_api().env("LOGIN_RATE", "1").start();
    for (method, path, operation) in requests.operations() {
        if operation.at("tags").list()[0].text() == "backends" && operation.at("responses").get("429").is_some() {
            let ask =
                || call(limited.address, "wrong", &method.to_uppercase(), &example(&requests.document, path), None);
            let refused = std::iter::repeat_with(ask).take(4).find(|answer| answer.status == 429);
            requests.compare(&method.to_uppercase(), path, 429, &refused.expect("an end to guessing"));
        }
    }
}

/// The signatures of what GitHub sends here, with [`server`]'s secret; the second stands in GitHub's documentation.
const EMPTY_SIGNED: &str = "sha256=50b0123e6e44430d2c43ecca0ee520d961ffd326425c07859f70a57161c3ebcd";
const HELLO_SIGNED: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const PUSH_SIGNED: &str = "sha256=8427ada8af40eaf4cd9980045c74a112913638457d0b08f61cb39b2c1229c0ce";

/// What GitHub sends.
fn github(requests: &Requests, server: &Server) {
    let send = |room: &str, event: &str, signature: &str, body: &str, length: usize| {
        let head = format!(
            "POST /hooks/github/{room} HTTP/1.1\r\nHost: chat.test\r\nX-GitHub-Event: {event}\r\nX-GitHub-Delivery: d\r\n\
             X-Hub-Signature-256: {signature}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        server.connect().send(head).response()
    };
    let compare = |status: u16, answer: &Response| requests.compare("POST", "/hooks/github/{room}", status, answer);
    compare(200, &send("channel%3Alobby", "ping", EMPTY_SIGNED, "{}", 2));
    compare(202, &send("channel%3Alobby", "star", EMPTY_SIGNED, "{}", 2));
    compare(400, &send("channel%3Alobby", "star", HELLO_SIGNED, "Hello, World!", 13));
    compare(401, &send("channel%3Alobby", "star", HELLO_SIGNED, "{}", 2));
    compare(404, &send("lobby", "star", EMPTY_SIGNED, "{}", 2));
    compare(413, &send("channel%3Alobby", "star", EMPTY_SIGNED, "", 26_214_401));
    let push = r#"{"ref":"refs/heads/main","deleted":true}"#;
    compare(403, &send("stream%3Ablocks", "push", PUSH_SIGNED, push, push.len()));
}

/// What is answered 429.
fn limits(requests: &Requests) {
    let setup = Server::with().env("LOGIN_RATE", "1").env("ROOM_RATE", "1").env("TICKET_RATE", "1");
    let server = setup.env("ROOM_CHANGE_RATE", "1").env("OVERVIEW_RATE", "1").start();
    let access = server.access_token(BOB);
    let overviews = || ask(&server, "GET", "/rooms", Some(&access), None);
    let refused = std::iter::repeat_with(overviews).take(3).find(|answer| answer.status == 429);
    requests.compare("GET", "/rooms", 429, &refused.expect("an end to overviews"));
    server.log_in_as("a@b.example", "wrong");
    requests.compare("POST", "/login", 429, &server.log_in_as("a@b.example", "wrong"));
    for method in ["GET", "POST"] {
        let answer = ask(&server, method, "/auth", None, Some(json!({"user": "a@b.example", "pwd": "wrong"})));
        requests.compare(method, "/auth", 429, &answer);
    }
    for (path, method) in [("/ws_ticket", "GET"), ("/ws_ticket", "POST"), ("/token/ws", "GET"), ("/token/ws", "POST")] {
        let mut tickets = std::iter::repeat_with(|| ask(&server, method, path, Some(&access), None)).take(3);
        requests.compare(method, path, 429, &tickets.find(|answer| answer.status == 429).expect("an end to tickets"));
    }
    let id = closed_room(&server, "The only room", "private");
    let another = json!({"title": "One too many", "visibility": "public"});
    requests.compare("POST", "/chats", 429, &ask(&server, "POST", "/chats", None, Some(another)));
    for method in ["PUT", "DELETE"] {
        let change = || ask(&server, method, "/chats/4711", None, Some(json!({})));
        let refused = std::iter::repeat_with(change).take(3).find(|answer| answer.status == 429);
        requests.compare(method, "/chats/{id}", 429, &refused.expect("an end to changes"));
    }
    let guess = || {
        let body = json!({"name": "Ann", "secret": "wrong"});
        ask(&server, "POST", &format!("/chats/{id}/token"), None, Some(body))
    };
    guess();
    // At the turn of a minute the count starts again, and another is let through.
    let refused = std::iter::repeat_with(guess).take(3).find(|answer| answer.status == 429);
    requests.compare("POST", "/chats/{id}/token", 429, &refused.expect("an end to guessing"));
}

fn operators(requests: &Requests, server: &Server) {
    let ask = |server: &Server, request: &str| Connection::open(server.admin_address()).send(request).response();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let close = [("Connection", "close")];
        requests.compare("GET", path, 200, &ask(server, &get(path, &close)));
        requests.compare("GET", path, 405, &ask(server, &get(path, &close).replace("GET ", "PATCH ")));
    }
    let nobody_there = Server::with().without_demo().env("CHAT_STORAGE_URL", "redis://127.0.0.1:1").start();
    requests.compare("GET", "/readyz", 503, &nobody_there.get("/readyz"));
}

/// What no description names by its status: here a method that no endpoint has.
fn others(requests: &Requests, server: &Server) {
    for (method, path, operation) in requests.operations() {
        if operation.at("tags").list()[0].text() != "operators" {
            let described = requests.document.at("paths").at(path);
            let other =
                ["PATCH", "PUT", "POST"].into_iter().find(|other| described.get(&other.to_lowercase()).is_none());
            let answer = ask(server, other.expect("a method"), &example(&requests.document, path), None, None);
            requests.compare(method, path, 405, &answer);
        }
    }
}

#[test]
fn what_needs_a_token_is_refused_without_one() {
    let (requests, server) = (Requests::new(), server());
    let closed = closed_room(&server, "A closed room", "private");
    let mut needed = 0;
    for (method, path, operation) in requests.operations() {
        let security = operation.at("security").list();
        if security.is_empty() || security.iter().any(|one| one.fields().is_empty()) {
            continue;
        }
        let target = match path.contains("{id}") {
            true => path.replace("{id}", &closed.to_string()),
            false => example(&requests.document, path),
        };
        let answer = ask(&server, &method.to_uppercase(), &target, None, None);
        assert!(matches!(answer.status, 401 | 403), "{method} {path}: {}", answer.status);
        needed += 1;
    }
    assert_eq!(needed, 22);
}

/// What is said over WebSockets.
struct Frames {
    document: Node,
    heard: RefCell<BTreeSet<String>>,
}

impl Frames {
    fn new() -> Frames {
        Frames { document: Node::read("docs/asyncapi.yaml"), heard: RefCell::default() }
    }

    /// The messages of a channel that clients send, or receive.
    fn messages(&self, channel: &str, action: &str) -> Vec<(String, &Node)> {
        let operations = self.document.at("operations").fields().iter().map(|(_, operation)| operation);
        let channel = format!("#/channels/{channel}");
        let mine =
            operations.filter(|one| one.text_at("action") == action && one.at("channel").text_at("$ref") == channel);
        mine.flat_map(|operation| operation.at("messages").list())
            .map(|message| {
                let name = message.text_at("$ref").rsplit('/').next().expect("a name");
                (name.to_owned(), message.resolved(&self.document))
            })
            .collect()
    }

    /// Finds the description of a frame that was heard.
    #[track_caller]
    fn compare(&self, channel: &str, frame: &str) {
        let mut misfits = Vec::new();
        for (name, message) in self.messages(channel, "receive") {
            let plain = message.text_at("contentType") == "text/plain";
            let value = match serde_json::from_str::<Value>(frame) {
                Ok(value) if !plain => value,
                Err(_) if plain => frame.into(),
                // What is published may be JSON, and is still text.
                Ok(_) if channel == "stream" => frame.into(),
                _ => continue,
            };
            match misfit(&self.document, message.at("payload"), &value) {
                None => {
                    self.heard.borrow_mut().insert(format!("{channel} {name}"));
                    return;
                }
                Some(misfit) => misfits.push(misfit),
            }
        }
        panic!("{channel}: no description fits {frame}: {misfits:#?}");
    }

    #[track_caller]
    fn hear(&self, channel: &str, client: &mut Client, count: usize) {
        (0..count).for_each(|_| self.compare(channel, &client.hear()));
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let channels = self.document.at("channels").fields().iter();
        let described = channels.flat_map(|(channel, _)| {
            self.messages(channel, "receive").into_iter().map(move |(name, _)| format!("{channel} {name}"))
        });
        let heard = self.heard.borrow();
        let unheard: Vec<_> = described.filter(|one| !heard.contains(one)).collect();
        assert!(unheard.is_empty(), "described, but never heard: {unheard:?}");
    }
}

#[test]
fn every_door_is_described_and_every_description_is_one() {
    let frames = Frames::new();
    let described: BTreeSet<_> =
        frames.document.at("channels").fields().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(described, DOORS.iter().map(|door| door.name()).collect());
    for door in DOORS {
        let channel = frames.document.at("channels").at(door.name());
        let address = channel.text_at("address");
        let segments: Vec<_> = address.split('/').skip(1).map(str::to_owned).collect();
        assert!(door.owns(&segments), "{} is not at {address}", door.name());
        let used = channel.at("messages").fields().iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
        let both = [frames.messages(door.name(), "send"), frames.messages(door.name(), "receive")].concat();
        assert_eq!(used, both.into_iter().map(|(name, _)| name).collect(), "{}", door.name());
    }
}

#[test]
fn every_example_of_a_frame_fits_its_description() {
    let frames = Frames::new();
    let mut count = 0;
    for (name, message) in frames.document.at("components").at("messages").fields() {
        for example in message.get("examples").map_or(&[][..], Node::list) {
            assert_eq!(misfit(&frames.document, message.at("payload"), &example.at("payload").value()), None, "{name}");
            count += 1;
        }
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn every_frame_is_as_it_is_described() {
    let (frames, server) = (Frames::new(), server());

    let mut alice = server.join(ALICE, DEMO);
    alice.say("hello");
    alice.say(r#"propromo.chat({event:"ping",action:"pong"})"#);
    frames.hear("propromo", &mut alice, 2);

    let mut carol = Client::open(server.address, "/channel/garden");
    carol.say(jwt(&server.access(CAROL)));
    frames.hear("channel", &mut carol, 1);
    let examples: Vec<_> =
        frames.messages("channel", "send").into_iter().filter(|(name, _)| name != "identify").collect();
    for (_, message) in &examples {
        for example in message.at("examples").list() {
            carol.say(example.at("payload").json());
        }
    }
    // The message and its receipt, history, presence, the echo, four times that there is no such message, twice that she
    // is no moderator, and what was found.
    frames.hear("channel", &mut carol, 12);
    let id = carol.post("helo")["id"].clone();
    carol.ask(json!({"type": "edit", "id": id, "text": "hello"}));
    carol.ask(json!({"type": "react", "id": id, "emoji": "👍", "on": true}));
    frames.hear("channel", &mut carol, 2);
    // Told to her other connection alone, which has heard what was said before.
    let mut tab = server.channel(CAROL, "garden");
    tab.hear_all_up_to_now();
    carol.ask(json!({"type": "read", "id": id}));
    frames.hear("channel", &mut tab, 1);
    drop(tab);
    carol.ask(json!({"type": "history", "limit": 1}));
    carol.ask(json!({"type": "delete", "id": id}));
    frames.hear("channel", &mut carol, 2);
    carol.ask(json!({"type": "ping"}));
    carol.ask(json!({"type": "nonsense"}));
    frames.hear("channel", &mut carol, 2);
    let text = || Some(json!({"text": "hello"}));
    assert_eq!(server.call("POST", "/api/v1/rooms/channel%3Agarden/messages", text()).status, 201);
    assert_eq!(server.call("POST", "/api/v1/notices", text()).status, 202);
    frames.hear("channel", &mut carol, 2);
    drop(server.channel(BOB, "garden"));
    frames.hear("channel", &mut carol, 2);

    let mut inbox = Client::open(server.address, &format!("/inbox?ticket={}", server.ticket(CAROL)));
    inbox.hear_all_up_to_now();
    let last = server.channel(BOB, "garden").post("news")["id"].clone();
    frames.hear("inbox", &mut inbox, 1);
    carol.ask(json!({"type": "read", "id": last}));
    frames.hear("inbox", &mut inbox, 1);
    assert_eq!(server.call("POST", "/api/v1/notices", text()).status, 202);
    for frame in ["ping", "nonsense"] {
        inbox.ask(json!({"type": frame}));
    }
    frames.hear("inbox", &mut inbox, 3);

    let crowded = Server::with().env("ANNOUNCE_USERS", "1").start();
    let mut dave = crowded.channel(CAROL, "garden");
    let _other = crowded.channel(BOB, "garden");
    frames.hear("channel", &mut dave, 1);

    assert!(server.setup().run(&["moderator", "add", DEMO, ALICE.email]).status.success());
    let mut alice = server.channel(ALICE, DEMO);
    frames.hear("channel", &mut alice, 1);
    let mut bob = server.channel(BOB, DEMO);
    frames.hear("channel", &mut alice, 1);
    for (asked, seconds) in [("mute", json!(600)), ("unmute", Value::Null)] {
        alice.ask(json!({"type": asked, "user": BOB.email, "seconds": seconds}));
        frames.hear("channel", &mut alice, 1);
        if asked == "mute" {
            assert_eq!(bob.hear_a("message")["text"], "hello");
            bob.say("hello");
            frames.hear("channel", &mut bob, 1);
        }
    }

    let mut listener = Client::open(server.address, &format!("/stream/blocks?t={}", stream_token()));
    let key = [("Authorization", &*format!("Bearer {PUBLISH_KEY}"))];
    assert_eq!(server.connect().send(post_with("/stream/blocks", &key, "{\"block\":1}")).response().status, 202);
    frames.hear("stream", &mut listener, 1);

    let mut guest = Guest::open(&server, 1, "Ann");
    for example in frames.messages("chitchat", "send")[0].1.at("examples").list() {
        guest.client.say(example.at("payload").json());
    }
    guest.client.say("nonsense");
    frames.hear("chitchat", &mut guest.client, 2);

    let slow = Server::with().env("MESSAGE_RATE", "1").start();
    let mut hasty = slow.join(ALICE, DEMO);
    (0..60).for_each(|n| _ = hasty.try_say(n.to_string()));
    for frame in hasty.hear_to_the_end().0 {
        frames.compare("propromo", &frame);
    }

    frames.nothing_is_left();
}
