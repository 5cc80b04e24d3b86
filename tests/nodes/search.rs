//! Search where nodes share Redis: every node finds what was said on any.

use super::several::{Nodes, hear_type, message};
use serde_json::{Value, json};
use support::redis::Redis;

#[test]
fn every_node_finds_what_was_said_on_any_as_it_is_now() {
    let redis = Redis::start();
    let nodes = Nodes::start(3, &redis.url());
    let mut members: Vec<_> = (0..3).map(|node| nodes.join(node, "lobby", &format!("user{node}@x.example"))).collect();
    let mut ids: Vec<Value> = Vec::new();
    for (n, member) in members.iter_mut().enumerate() {
        member.say(message(&format!("Birkenwald {n}"), &format!("r{n}")));
        ids.push(hear_type(member, "ack")["id"].clone());
    }
    let found = |members: &mut Vec<support::Client>, query: &str| -> Vec<Vec<String>> {
        let one = |member: &mut support::Client| {
            member.say(json!({"type": "search", "query": query}).to_string());
            let results = hear_type(member, "results");
            let messages = results["messages"].as_array().expect("messages").clone();
            messages.iter().map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
        };
        members.iter_mut().map(one).collect()
    };
    for texts in found(&mut members, "birken") {
        assert_eq!(texts, ["Birkenwald 2", "Birkenwald 1", "Birkenwald 0"]);
    }
    members[0].say(json!({"type": "edit", "id": ids[0], "text": "Lindenallee", "ref": "e"}).to_string());
    hear_type(&mut members[0], "ack");
    members[1].say(json!({"type": "delete", "id": ids[1], "ref": "d"}).to_string());
    hear_type(&mut members[1], "ack");
    assert_eq!(found(&mut members, "birkenwald"), vec![vec!["Birkenwald 2".to_owned()]; 3]);
    assert_eq!(found(&mut members, "lindenallee"), vec![vec!["Lindenallee".to_owned()]; 3]);
}
