//! A user of Redis whose rights are taken away: nothing is half done, and the node says that it is not ready.

use crate::several::{NORA, hear_type, log_in, message, node, say_until_stored};
use serde_json::json;
use support::{
    Client,
    api::{MASTER, api_keys, call},
    eventually, forge,
    http::get,
    redis::Redis,
};

fn grant(redis: &Redis, rights: &[&str]) {
    let mut acl = redis::cmd("ACL");
    acl.arg(&["SETUSER", "chat", "on", ">pass"]).arg(rights);
    redis.ask::<()>(acl).expect("rights can be set");
}

const ALL: [&str; 5] = ["~propromo:*", "&propromo:*", "+@all", "-@admin", "-@dangerous"];

// Seen to fail with what `try_rights` finds passed over in `store::redis::health`: the node stays ready.
#[test]
fn without_a_right_nothing_is_stored_and_the_node_is_not_ready_until_it_has_it_back() {
    let redis = Redis::start();
    grant(&redis, &ALL);
    let url = format!("redis://chat:pass@127.0.0.1:{}", redis.port);
    let setup = node(&url, None).account(NORA.email, NORA.password, &[]).env("API_KEYS", api_keys());
    let server = setup.start();
    let access = log_in(&server).json()["token"].as_str().expect("an access token").to_owned();
    let authorization = format!("Bearer {access}");
    let request = get("/ws_ticket", &[("Authorization", &authorization), ("Connection", "close")]);
    let ticket = server.connect().send(request).response().json()["ticket"].as_str().expect("a ticket").to_owned();
    let mut nora = Client::open(server.address, &format!("/channel/rights?ticket={}", forge(&ticket, |_| {})));
    let mut stored = vec!["first".to_owned()];
    say_until_stored(&mut nora, "first");
    for (without, names) in [("resetchannels", "channel"), ("-xadd", "xadd"), ("-set", "set"), ("-evalsha", "evalsha")]
    {
        grant(&redis, &[without]);
        for n in 0..3 {
            let text = format!("refused {without} {n}");
            nora.say(message(&text, &text));
            let error = hear_type(&mut nora, "error");
            assert_eq!((&error["code"], &error["ref"]), (&json!("unavailable"), &json!(text)), "{error}");
        }
        eventually("the node is not ready", || server.get("/readyz").status == 503);
        let away = server.get("/readyz").json()["away"].clone();
        assert!(away.as_array().is_some_and(|away| away.contains(&json!("message log"))), "{away}");
        let is_told = |line: &str| line.contains("redis can't be used") && line.contains(names);
        eventually(&format!("{names} is told"), || server.log().to_lowercase().lines().any(is_told));
        grant(&redis, &ALL);
        eventually("the node is ready", || server.get("/readyz").status == 200);
        let text = format!("after {without}");
        say_until_stored(&mut nora, &text);
        stored.push(text);
    }
    let page = call(server.address, MASTER, "GET", "/api/v1/rooms/channel:rights/messages", None).json();
    let kept = page["messages"].as_array().expect("messages").iter().map(|message| message["text"].as_str());
    assert!(kept.eq(stored.iter().map(|text| Some(text.as_str()))), "{page}");
}
