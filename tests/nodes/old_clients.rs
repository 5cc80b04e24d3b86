//! Clients of the version before, each on a node of its own, while all that can happen to messages happens to theirs.

use crate::several::node;
use serde_json::json;
use support::{
    ALICE, BOB, CAROL, Client, DEMO, Server,
    api::api_keys,
    recordings::{Frames, MEANWHILE, play},
    redis::Redis,
};

/// Three nodes with the people of the recordings.
#[track_caller]
fn three(redis: &Redis) -> [Server; 3] {
    let first = node(&redis.url(), None).monitor(DEMO).account(ALICE.email, ALICE.password, &[DEMO]);
    let first = first.account(BOB.email, BOB.password, &[DEMO]).account(CAROL.email, CAROL.password, &[]);
    let accounts = format!("sqlite:{}", first.data_dir().join("chat.db").display());
    let others = [0, 1].map(|_| node(&redis.url(), Some(&accounts)));
    let [second, third] = others.map(|setup| setup.env("API_KEYS", api_keys()).start());
    [first.env("API_KEYS", api_keys()).start(), second, third]
}

/// Has everything happen to the last message of a room, and leaves it with the text that it had. Whether there was one.
#[track_caller]
fn happen(server: &Server, room: &str, member: Option<&mut Client>) -> bool {
    let messages = format!("/api/v1/rooms/{room}/messages");
    let page = server.call("GET", &format!("{messages}?limit=1"), None).json();
    let Some(last) = page["messages"].get(0) else { return false };
    let id = last["id"].as_str().expect("an id");
    for text in ["something else", last["text"].as_str().expect("a text")] {
        let edited = server.call("PATCH", &format!("{messages}/{id}"), Some(json!({ "text": text })));
        assert_eq!(edited.status, 200, "{}", edited.text());
    }
    let answer = server.call("POST", &messages, Some(json!({"text": MEANWHILE, "reply_to": id})));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(server.call("DELETE", &format!("{messages}/{answer}"), None).status, 204);
    if let Some(member) = member {
        for on in [true, false] {
            member.done(json!({"type": "react", "id": id, "emoji": "🎉", "on": on}), &format!("{id} {on}"));
        }
    }
    true
}

/// Plays a recording on all three nodes, with changes on the third after each step.
#[track_caller]
fn play_amid_changes(nodes: &[Server; 3], recording: &str, frames: Frames, room: &str, mut member: Option<Client>) {
    let servers: Vec<&Server> = nodes.iter().collect();
    let mut changed = 0;
    play(&servers, recording, frames, || changed += usize::from(happen(&nodes[2], room, member.as_mut())));
    assert!(changed > 0, "nothing was said in {room}");
}

// Seen to fail where every door tells of changes: the apps hear a frame that they did not hear then.
#[test]
fn clients_of_the_version_before_hear_what_they_heard_then_though_messages_change_on_other_nodes() {
    let redis = Redis::start();
    let nodes = three(&redis);
    // Alice's second connection: nobody hears of it.
    let garden = nodes[2].channel(ALICE, "garden");
    play_amid_changes(&nodes, "channel.ndjson", Frames::MayBeNew, "channel%3Agarden", Some(garden));
    let demo = nodes[2].channel(ALICE, DEMO);
    play_amid_changes(&nodes, "propromo.ndjson", Frames::AsThen, "monitor%3Ademo", Some(demo));
    play_amid_changes(&nodes, "rooms.ndjson", Frames::AsThen, "chitchat%3A1", None);
}
