//! Who is in a room, who is sent away, and what all are told; on one node and on three.

use serde_json::{Value, json};
use support::{
    ALICE, BOB, CAROL, Client, DEMO, Server,
    api::{api_keys, call},
    chats::{Guest, public_room},
    eventually,
    redis::Redis,
    server::Setup,
};

#[track_caller]
fn present(server: &Server, room: &str) -> Value {
    let answer = server.call("GET", &format!("/api/v1/rooms/{room}/presence"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["users"].clone()
}

#[track_caller]
fn accepted(server: &Server, path: &str, body: Value) {
    let answer = server.call("POST", path, Some(body));
    assert_eq!((answer.status, answer.json()), (202, json!({"accepted": true})));
}

#[test]
fn presence_names_everybody_with_the_number_of_connections() {
    let server = Server::with_api().start();
    assert_eq!(present(&server, "monitor%3Ademo"), json!([]));
    let _alice = [server.join(ALICE, DEMO), server.join(ALICE, DEMO)];
    let _bob = server.channel(BOB, DEMO);
    let alice = json!({"user": ALICE.email, "name": "Alice Demo", "connections": 2});
    let bob = json!({"user": BOB.email, "name": "Bob Demo", "connections": 1});
    assert_eq!(present(&server, "monitor%3Ademo"), json!([alice, bob]));
}

#[test]
fn who_is_disconnected_is_closed_everywhere_and_nobody_else_is() {
    let server = Server::with_api().start();
    let mut gone = [server.join(ALICE, DEMO), server.channel(ALICE, "lobby"), server.channel(ALICE, "garden")];
    let mut bob = server.join(BOB, DEMO);
    let id = public_room(&server, "The Garden");
    let mut guest = Guest::join(&server, id, "Ann");
    accepted(&server, &format!("/api/v1/users/{}/disconnect", ALICE.email), json!({"reason": "spam"}));
    for client in &mut gone {
        let end = loop {
            match client.read() {
                tungstenite::Message::Close(frame) => break frame,
                _ => continue,
            }
        };
        let end = end.expect("a close frame");
        assert_eq!((u16::from(end.code), end.reason.as_str()), (1008, "disconnected"));
    }
    bob.say_and_hear("still here");
    guest.event("send", "and me");
    guest.hears("send", "Ann");
    server.logs(&["API call", "disconnect", ALICE.email, "202"]);
    server.logs(&["disconnected by a backend", "spam"]);
}

#[test]
fn a_notice_is_heard_in_one_room_or_in_all_and_is_not_stored() {
    let server = Server::with_api().start();
    let (mut lobby, mut garden) = (server.channel(ALICE, "lobby"), server.channel(BOB, "garden"));
    let mut app = server.join(BOB, DEMO);
    accepted(&server, "/api/v1/notices", json!({"text": "only here", "room": "channel:lobby"}));
    accepted(&server, "/api/v1/notices", json!({"text": "We restart at 12"}));
    for text in ["only here", "We restart at 12"] {
        let notice = lobby.wait_for("notice");
        assert_eq!(notice["text"], text);
        assert!(notice["timestamp"].as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 24), "{notice}");
    }
    assert_eq!(garden.wait_for("notice")["text"], "We restart at 12");
    // Clients that know no notices hear nothing new.
    app.say("hello");
    assert_eq!(app.hear_message().text, "hello");
    assert_eq!(server.call("GET", "/api/v1/rooms/channel%3Alobby/messages", None).json()["messages"], json!([]));
}

#[test]
fn what_can_not_be_done_is_refused() {
    let server = Server::with_api().env("MAX_MESSAGE", "100").start();
    let refused = |path: &str, body: Value| {
        let answer = server.call("POST", path, Some(body));
        (answer.status, answer.reason())
    };
    for body in [
        json!({}),
        json!({"text": ""}),
        json!({"text": ["x"]}),
        json!({"text": "x".repeat(101)}),
        json!({"text": "x", "room": "lobby"}),
        json!({"text": "x", "room": 7}),
    ] {
        assert_eq!(refused("/api/v1/notices", body.clone()), (400, "invalid_fields".into()), "{body}");
    }
    let nowhere = json!({"text": "x", "room": "monitor:nowhere"});
    assert_eq!(refused("/api/v1/notices", nowhere), (404, "room_not_found".into()));
    for reason in [json!(7), json!("x".repeat(201)), json!("two\nlines")] {
        let path = format!("/api/v1/users/{}/disconnect", CAROL.email);
        assert_eq!(refused(&path, json!({"reason": reason})), (400, "invalid_fields".into()), "{reason}");
    }
    for user in ["nobody%40propromo.example", "999999"] {
        let path = format!("/api/v1/users/{user}/disconnect");
        assert_eq!(refused(&path, json!({})), (404, "user_not_found".into()), "{user}");
    }
    let presence = server.call("GET", "/api/v1/rooms/monitor%3Anowhere/presence", None);
    assert_eq!((presence.status, presence.reason()), (404, "room_not_found".into()));
}

/// Three nodes with keys, on one Redis and one file of accounts.
fn three_nodes(redis: &Redis) -> Vec<Server> {
    let node = |accounts: Option<String>| -> Setup {
        let setup = Server::with().without_demo().env("CHAT_STORAGE_URL", redis.url()).env("API_KEYS", api_keys());
        match accounts {
            Some(url) => setup.env("DATABASE_URL", url),
            None => setup.account(ALICE.email, ALICE.password, &[]).account(BOB.email, BOB.password, &[]),
        }
    };
    let first = node(None);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let mut servers = vec![first.start()];
    servers.extend((0..2).map(|_| node(Some(accounts.clone())).start()));
    servers
}

#[test]
fn on_three_nodes_all_of_it_acts_on_all() {
    let redis = Redis::start();
    let nodes = three_nodes(&redis);
    let enter = |node: usize, email: &str| {
        let made = nodes[0].call("POST", "/api/v1/tokens", Some(json!({"user": email}))).json();
        let token = made["token"].as_str().expect("a token").to_owned();
        Client::open(nodes[node].address, &format!("/channel/lobby?ticket={token}"))
    };
    let mut alice: Vec<Client> = (0..3).map(|node| enter(node, ALICE.email)).collect();
    let mut bob = enter(2, BOB.email);
    for node in &nodes {
        let expected = json!([
            {"user": ALICE.email, "name": "alice", "connections": 3},
            {"user": BOB.email, "name": "bob", "connections": 1},
        ]);
        eventually("every node knows who is there", || present(node, "channel%3Alobby") == expected);
    }
    let said = call(
        nodes[1].address,
        support::api::MASTER,
        "POST",
        "/api/v1/rooms/channel%3Alobby/messages",
        Some(json!({"text": "hi"})),
    );
    assert_eq!(said.status, 201);
    accepted(&nodes[1], "/api/v1/notices", json!({"text": "to all"}));
    for client in alice.iter_mut().chain([&mut bob]) {
        assert_eq!(client.wait_for("notice")["text"], "to all");
    }
    accepted(&nodes[0], &format!("/api/v1/users/{}/disconnect", ALICE.email), json!({}));
    for client in &mut alice {
        assert!(client.is_closed_with(1008), "closed on every node");
    }
    bob.post("still here");
}
