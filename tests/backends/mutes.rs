//! Backends mute accounts: on one node and on three, over a restart, and with what is wrong.

use serde_json::{Value, json};
use support::{
    ALICE, BOB, Client, DEMO, Server,
    api::{api_keys, call, only},
    claims_of, eventually,
    redis::Redis,
};

#[track_caller]
fn mutes(server: &Server, method: &str, room: &str, user: &str, body: Option<Value>) -> u16 {
    server.call(method, &format!("/api/v1/rooms/{room}/mutes/{user}"), body).status
}

/// Whether this client's message is refused because it is muted.
fn is_muted(client: &mut Client) -> bool {
    client.ask(json!({"type": "message", "text": "hello", "ref": "probe"}));
    loop {
        let frame = client.hear_frame();
        if frame["type"] == "ack" {
            return false;
        }
        if frame["code"] == "muted" {
            return true;
        }
    }
}

#[test]
fn a_backend_mutes_by_number_or_address_for_a_time_or_for_good() {
    let mut server = Server::with_api().start();
    let mut bob = server.channel(BOB, "lobby");
    assert!(!is_muted(&mut bob));
    assert_eq!(mutes(&server, "PUT", "channel%3Alobby", BOB.email, Some(json!({"seconds": 600}))), 204);
    assert!(is_muted(&mut bob), "at once");
    assert!(!is_muted(&mut server.channel(BOB, DEMO)), "in that room alone");
    assert!(!is_muted(&mut server.channel(ALICE, "lobby")), "nobody else");
    let id = server.call("POST", "/api/v1/tokens", Some(json!({"user": BOB.email, "kind": "access"}))).json();
    let number = claims_of(id["token"].as_str().expect("a token"))["sub"].as_str().expect("a number").to_owned();
    assert_eq!(mutes(&server, "DELETE", "channel%3Alobby", &number, None), 204);
    assert!(!is_muted(&mut bob));
    assert_eq!(mutes(&server, "PUT", "channel%3Alobby", &number, None), 204);
    server.kill9();
    let server = server.restart();
    let mut bob = server.channel(BOB, "lobby");
    assert!(is_muted(&mut bob), "it outlives restarts");
    assert_eq!(mutes(&server, "DELETE", "channel%3Alobby", BOB.email, None), 204);
    assert_eq!(mutes(&server, "DELETE", "channel%3Alobby", BOB.email, None), 204, "it is so already");
    assert!(!is_muted(&mut bob));
}

#[test]
fn what_can_not_be_muted_is_refused() {
    let server = Server::with_api().start();
    for (room, user, expected) in [
        ("monitor%3Anowhere", BOB.email, 404),
        ("lobby", BOB.email, 404),
        ("channel%3Alobby", "nobody%40propromo.example", 404),
        ("channel%3Alobby", "999999", 404),
        ("stream%3Ablocks", BOB.email, 403),
        ("chitchat%3A1", BOB.email, 403),
    ] {
        assert_eq!(mutes(&server, "PUT", room, user, None), expected, "{room} {user}");
        assert_eq!(mutes(&server, "DELETE", room, user, None), expected, "{room} {user}");
    }
    for seconds in [json!(0), json!(-1), json!(1.5), json!("1"), json!([1])] {
        let answer = server.call(
            "PUT",
            &format!("/api/v1/rooms/channel%3Alobby/mutes/{}", BOB.email),
            Some(json!({ "seconds": seconds })),
        );
        assert_eq!((answer.status, answer.reason()), (400, "invalid_fields".into()), "{seconds}");
    }
    let path = format!("/api/v1/rooms/channel%3Alobby/mutes/{}", BOB.email);
    for method in ["PUT", "DELETE"] {
        for scope in ["tokens", "publish", "read"] {
            let refused = call(server.address, &only(scope), method, &path, None);
            assert_eq!((refused.status, refused.reason()), (403, "scope_missing".into()), "{method} {scope}");
        }
    }
    assert!(!is_muted(&mut server.channel(BOB, "lobby")));
}

// Seen to fail with MUTES_PER_ACCOUNT=0: 204.
#[test]
fn an_account_is_muted_in_so_many_channels_and_moderators_may_always_mute() {
    let server = Server::with_api().env("MUTES_PER_ACCOUNT", "2").env("ADMIN_LISTEN", "127.0.0.1:0").start();
    let demo = format!("monitor%3A{DEMO}");
    for room in ["channel%3Aa", "channel%3Ab", &demo, "channel%3Aa"] {
        assert_eq!(mutes(&server, "PUT", room, BOB.email, Some(json!({"seconds": 600}))), 204, "{room}");
    }
    let path = format!("/api/v1/rooms/channel%3Ac/mutes/{}", BOB.email);
    let refused = server.call("PUT", &path, None);
    assert_eq!((refused.status, refused.reason().as_str()), (403, "too_many_mutes"));
    assert_eq!(server.figure(r#"propromo_chat_refusals_total{reason="too_many_mutes"}"#), 1.0);
    assert!(!is_muted(&mut server.channel(BOB, "c")));
    assert_eq!(mutes(&server, "PUT", "channel%3Ac", ALICE.email, None), 204, "another account");
    assert_eq!(mutes(&server, "DELETE", "channel%3Aa", BOB.email, None), 204);
    assert_eq!(mutes(&server, "PUT", "channel%3Ac", BOB.email, None), 204, "there is place again");
}

// Seen to fail without `publish_limit.check` in these calls: none is refused.
#[test]
fn a_key_moderates_no_faster_than_it_publishes() {
    let server = Server::with_api().env("PUBLISH_RATE", "1").start();
    let mute = format!("/api/v1/rooms/channel%3Aa/mutes/{}", BOB.email);
    let disconnect = format!("/api/v1/users/{}/disconnect", BOB.email);
    let calls = [("PUT", &*mute), ("DELETE", &*mute), ("POST", &*disconnect), ("POST", "/api/v1/notices")];
    for (method, path) in calls {
        let refused =
            (0..60).map(|_| server.call(method, path, Some(json!({"text": "hello"})))).find(|it| it.status == 429);
        let refused = refused.unwrap_or_else(|| panic!("{method} {path} is never refused"));
        assert_eq!(refused.reason(), "rate_limited");
        assert!(refused.header("retry-after").is_some());
    }
    let other = only("moderate");
    assert_eq!(call(server.address, &other, "PUT", &mute, None).status, 204, "another key has its own rate");
}

#[test]
fn on_three_nodes_a_mute_acts_on_all() {
    let redis = Redis::start();
    let node = |accounts: Option<String>| {
        let setup = Server::with().without_demo().env("CHAT_STORAGE_URL", redis.url()).env("API_KEYS", api_keys());
        let setup = setup.env("MESSAGE_RATE", "0");
        match accounts {
            Some(url) => setup.env("DATABASE_URL", url),
            None => setup.account(BOB.email, BOB.password, &[]),
        }
    };
    let first = node(None);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let mut nodes = vec![first.start()];
    nodes.extend((0..2).map(|_| node(Some(accounts.clone())).start()));
    let enter = |node: usize| {
        let made = nodes[node].call("POST", "/api/v1/tokens", Some(json!({"user": BOB.email}))).json();
        let token = made["token"].as_str().expect("a token").to_owned();
        Client::open(nodes[node].address, &format!("/channel/lobby?ticket={token}"))
    };
    let mut bob: Vec<Client> = (0..3).map(enter).collect();
    assert_eq!(mutes(&nodes[0], "PUT", "channel%3Alobby", BOB.email, None), 204);
    for client in &mut bob {
        eventually("every node has muted him", || is_muted(client));
    }
    assert_eq!(mutes(&nodes[1], "DELETE", "channel%3Alobby", BOB.email, None), 204);
    for client in &mut bob {
        eventually("every node lets him speak", || !is_muted(client));
    }
}
