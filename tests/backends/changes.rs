//! Backends change what they said, moderate what others did, list rooms, and take along or erase what an account has said.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{
    ALICE, BOB, Client, DEMO, Response, Server,
    api::{api_keys, call, only},
    eventually,
    redis::Redis,
};

const LOBBY: &str = "/api/v1/rooms/channel%3Alobby/messages";
const NOBODYS: &str = "01890000-0000-7000-8000-000000000000";

fn by(server: &Server, scope: &str, method: &str, path: &str, body: Option<Value>) -> Response {
    call(server.address, &only(scope), method, path, body)
}

#[track_caller]
fn said(answer: &Response) -> String {
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// Whatever the pages of an account's messages hold, as lines of JSON.
#[track_caller]
fn exported(server: &Server, user: &str) -> Vec<Value> {
    let mut path = format!("/api/v1/users/{user}/messages");
    let mut all = Vec::new();
    loop {
        let page = server.call("GET", &path, None);
        assert_eq!((page.status, page.header("content-type")), (200, Some("application/x-ndjson")), "{}", page.text());
        all.extend(page.text().lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON")));
        match page.header("link") {
            None => return all,
            Some(link) => path = link.strip_prefix('<').and_then(|l| l.split_once('>')).expect("a link").0.to_owned(),
        }
    }
}

#[test]
fn a_key_changes_its_own_messages_and_with_moderate_any() {
    let server = Server::with_api().start();
    let mut bob = server.channel(BOB, "lobby");
    let theirs = bob.post("by bob")["id"].as_str().expect("an id").to_owned();
    let own = said(&by(&server, "publish", "POST", LOBBY, Some(json!({"text": "Build 7 faild"}))));
    let edit = |scope: &str, id: &str, text: &str| {
        by(&server, scope, "PATCH", &format!("{LOBBY}/{id}"), Some(json!({ "text": text })))
    };
    let edited = edit("publish", &own, "Build 7 failed");
    assert_eq!((edited.status, edited.json()["id"].as_str()), (200, Some(own.as_str())), "{}", edited.text());
    let heard = bob.wait_for("edited");
    assert_eq!((&heard["text"], &heard["change"]), (&json!("Build 7 failed"), &edited.json()["change"]));
    assert_eq!((heard["id"].as_str(), &heard["user"]), (Some(own.as_str()), &json!("bot:publish-only")));
    let refused = |answer: Response| (answer.status, answer.reason());
    assert_eq!(refused(edit("publish", &own, "Build 7 failed")), (409, "unchanged".into()));
    assert_eq!(refused(edit("publish", &theirs, "x")), (403, "scope_missing".into()));
    assert_eq!(refused(edit("publish", NOBODYS, "x")), (404, "no_such_message".into()));
    assert_eq!(refused(edit("publish", "yesterday", "x")), (404, "no_such_message".into()));
    assert_eq!(refused(edit("read", &own, "x")), (403, "scope_missing".into()));
    assert_eq!(refused(edit("publish", &own, "")), (400, "invalid_fields".into()));
    assert_eq!(edit("moderate", &theirs, "by bob, mended").status, 200);
    assert_eq!(bob.wait_for("edited")["text"], "by bob, mended");
    let delete = |scope: &str, id: &str| by(&server, scope, "DELETE", &format!("{LOBBY}/{id}"), None);
    assert_eq!(refused(delete("publish", &theirs)), (403, "scope_missing".into()));
    assert_eq!(delete("moderate", &theirs).status, 204);
    assert_eq!(bob.wait_for("deleted")["user"], "bot:moderate-only");
    assert_eq!(delete("publish", &own).status, 204);
    assert_eq!(bob.wait_for("deleted")["id"], own.as_str());
    assert_eq!(refused(delete("publish", &own)), (404, "no_such_message".into()));
    let elsewhere = format!("/api/v1/rooms/monitor%3Anowhere/messages/{own}");
    assert_eq!(refused(by(&server, "moderate", "DELETE", &elsewhere, None)), (404, "room_not_found".into()));
    assert_eq!(server.call("GET", LOBBY, None).json()["messages"], json!([]));
}

#[test]
fn a_key_is_bound_by_the_time_for_edits_unless_it_moderates() {
    let server = Server::with_api().env("EDIT_WINDOW", "-1").start();
    let own = said(&by(&server, "publish", "POST", LOBBY, Some(json!({"text": "x"}))));
    let edit = |scope: &str| by(&server, scope, "PATCH", &format!("{LOBBY}/{own}"), Some(json!({"text": "y"})));
    let late = edit("publish");
    assert_eq!((late.status, late.reason()), (403, "too_late".into()));
    assert_eq!(edit("moderate").status, 200);
}

#[test]
fn a_bot_may_call_itself_something_and_answer() {
    let server = Server::with_api().start();
    let mut bob = server.channel(BOB, "lobby");
    let question = bob.post("is it green?")["id"].clone();
    let say = |body: Value| server.call("POST", LOBBY, Some(body));
    said(&say(json!({"text": "yes", "name": "Build", "reply_to": question})));
    let answer = bob.wait_for("message");
    assert_eq!((&answer["name"], &answer["reply_to"]), (&json!("Build"), &question));
    said(&say(json!({"text": "to nothing", "reply_to": NOBODYS})));
    assert!(bob.wait_for("message").get("reply_to").is_none());
    for wrong in [
        json!({"text": "x", "name": ""}),
        json!({"text": "x", "name": "n".repeat(71)}),
        json!({"text": "x", "name": "two\nlines"}),
        json!({"text": "x", "name": 7}),
        json!({"text": "x", "reply_to": "yesterday"}),
        json!({"text": "x", "reply_to": 7}),
    ] {
        let refused = say(wrong.clone());
        assert_eq!((refused.status, refused.reason()), (400, "invalid_fields".into()), "{wrong}");
    }
}

/// All pages of rooms: each one's name with its members and the text that was said last.
#[track_caller]
fn rooms(server: &Server) -> Vec<(String, u64, Value)> {
    let (mut found, mut path) = (Vec::new(), "/api/v1/rooms".to_owned());
    loop {
        let answer = server.call("GET", &path, None);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        for room in page["rooms"].as_array().expect("rooms") {
            let name = room["room"].as_str().expect("a name").to_owned();
            found.push((name, room["members"].as_u64().expect("a number"), room["last"]["text"].clone()));
        }
        match page["cursor"].as_str() {
            None => return found,
            Some(cursor) => path = format!("/api/v1/rooms?cursor={}", cursor.replace(':', "%3A")),
        }
    }
}

#[test]
fn rooms_are_those_with_members_or_messages_page_by_page() {
    let server = Server::with_api().start();
    assert_eq!(rooms(&server), []);
    let _listening = (server.channel(ALICE, "quiet"), server.join(ALICE, DEMO));
    for n in 0..103 {
        said(&server.call(
            "POST",
            &format!("/api/v1/rooms/channel%3Ar{n:03}/messages"),
            Some(json!({"text": n.to_string()})),
        ));
    }
    let found = rooms(&server);
    assert!(found.is_sorted_by_key(|(name, ..)| name.clone()) && found.len() == 105, "{found:?}");
    assert!(found.contains(&("channel:quiet".into(), 1, Value::Null)), "{found:?}");
    assert!(found.contains(&("monitor:demo".into(), 1, Value::Null)));
    assert!(found.contains(&("channel:r102".into(), 0, json!("102"))));
    let long = format!("/api/v1/rooms?cursor={}", "x".repeat(300));
    assert_eq!(server.call("GET", &long, None).status, 400);
}

/// What an account has said in two rooms is taken along, erased for all who see it, and nobody else's is.
fn taken_along_and_erased(nodes: &[Server], bob: &mut Client, alice: &mut Client) {
    for n in 0..70 {
        bob.say(format!("by bob {n}"));
    }
    bob.post("the last of bob");
    let kept = alice.post("by alice")["id"].clone();
    let lines = exported(&nodes[0], BOB.email);
    assert_eq!(lines.len(), 71);
    assert!(lines.iter().all(|line| line["user"] == BOB.email && line["room"] == "channel:lobby"), "{lines:?}");
    let texts: BTreeSet<_> = lines.iter().map(|line| line["text"].to_string()).collect();
    assert_eq!(texts.len(), 71, "each once");
    let erased = nodes[nodes.len() - 1].call("DELETE", &format!("/api/v1/users/{}/messages", BOB.email), None);
    assert_eq!((erased.status, erased.json()), (200, json!({"erased": 71, "more": false})));
    let gone: BTreeSet<_> = (0..71).map(|_| alice.wait_for("deleted")["id"].to_string()).collect();
    assert_eq!(gone.len(), 71);
    for node in nodes {
        assert_eq!(exported(node, BOB.email), Vec::<Value>::new());
        let page = node.call("GET", LOBBY, None).json();
        let ids: Vec<_> = page["messages"].as_array().expect("messages").iter().map(|m| m["id"].clone()).collect();
        assert_eq!(ids, std::slice::from_ref(&kept));
    }
    let again = nodes[0].call("DELETE", &format!("/api/v1/users/{}/messages", BOB.email), None);
    assert_eq!(again.json(), json!({"erased": 0, "more": false}));
}

#[test]
fn what_an_account_said_is_taken_along_and_erased() {
    let server = Server::with_api().env("MESSAGE_RATE", "0").start();
    let (mut bob, mut alice) = (server.channel(BOB, "lobby"), server.channel(ALICE, "lobby"));
    taken_along_and_erased(&[server], &mut bob, &mut alice);
}

#[test]
fn an_export_has_pages() {
    let server = Server::with_api().env("MESSAGE_RATE", "0").start();
    let mut bob = server.channel(BOB, "lobby");
    let mut other = server.channel(BOB, "garden");
    other.post("in the garden");
    for n in 0..1200 {
        bob.say(format!("{n}"));
    }
    bob.post("the last");
    let lines = exported(&server, BOB.email);
    let ids: BTreeSet<_> = lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!((lines.len(), ids.len()), (1202, 1202));
    let path = format!("/api/v1/users/{}/messages?cursor=yesterday", BOB.email);
    assert_eq!(server.call("GET", &path, None).status, 400);
    for method in ["GET", "DELETE"] {
        let nobody = server.call(method, "/api/v1/users/nobody%40propromo.example/messages", None);
        assert_eq!((nobody.status, nobody.reason()), (404, "user_not_found".into()));
        let refused = by(&server, "read", method, &format!("/api/v1/users/{}/messages", BOB.email), None);
        assert_eq!((refused.status, refused.reason()), (403, "scope_missing".into()));
    }
}

#[test]
fn on_three_nodes_all_of_it_acts_on_all() {
    let redis = Redis::start();
    let node = |accounts: Option<String>| {
        let setup = Server::with().without_demo().env("CHAT_STORAGE_URL", redis.url()).env("API_KEYS", api_keys());
        let setup = setup.env("MESSAGE_RATE", "0");
        match accounts {
            Some(url) => setup.env("DATABASE_URL", url),
            None => setup.account(ALICE.email, ALICE.password, &[]).account(BOB.email, BOB.password, &[]),
        }
    };
    let first = node(None);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let mut nodes = vec![first.start()];
    nodes.extend((0..2).map(|_| node(Some(accounts.clone())).start()));
    let enter = |node: usize, email: &str| {
        let made = nodes[0].call("POST", "/api/v1/tokens", Some(json!({"user": email}))).json();
        let token = made["token"].as_str().expect("a token").to_owned();
        Client::open(nodes[node].address, &format!("/channel/lobby?ticket={token}"))
    };
    let (mut bob, mut alice) = (enter(1, BOB.email), enter(2, ALICE.email));
    let own = said(&by(&nodes[0], "publish", "POST", LOBBY, Some(json!({"text": "helo"}))));
    let path = format!("{LOBBY}/{own}");
    let heard = alice.wait_for("message");
    assert_eq!((&heard["user"], &heard["bot"]), (&json!("bot:publish-only"), &json!(true)));
    assert_eq!(by(&nodes[1], "publish", "PATCH", &path, Some(json!({"text": "hello"}))).status, 200);
    assert_eq!(alice.wait_for("edited")["text"], "hello");
    for node in &nodes {
        let expected = [("channel:lobby".to_owned(), 2, json!("hello"))];
        eventually("every node knows the rooms", || rooms(node) == expected);
    }
    assert_eq!(by(&nodes[2], "publish", "DELETE", &path, None).status, 204);
    assert_eq!(bob.wait_for("deleted")["id"], own.as_str());
    alice.wait_for("deleted");
    taken_along_and_erased(&nodes, &mut bob, &mut alice);
}
