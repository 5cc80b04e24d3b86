//! Nobody keeps others from searching: a search looks for a bounded time, and those who search take turns.

use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};
use support::{
    ALICE, CAROL, Client, DEMO, SetOnDrop, attack::without_message_rate, channel::enter, eventually, server::Setup,
};

const LONG: usize = 50;

const ROUNDS: usize = 10;

fn setup() -> Setup {
    without_message_rate().env("SEARCH_RATE", "0").env("TICKET_RATE", "0").env("ADMIN_LISTEN", "127.0.0.1:0")
}

/// Fills a channel with words that begin alike, and says something short behind each long message.
fn fill(owner: &mut Client) {
    for n in 0..LONG {
        let words: String = (0..1200).map(|word| format!(" dep{n}x{word}")).collect();
        owner.say(words);
        owner.post(&format!("needle {n} deployed"));
    }
}

#[track_caller]
fn search(client: &mut Client, before: &Value) -> Value {
    let mut asked = json!({"type": "search", "query": "needle dep", "limit": 500});
    if before.is_string() {
        asked["before"] = before.clone();
    }
    client.ask(asked);
    client.wait_for("results")
}

// Seen to fail with searches that look for an hour: none is cut short.
#[test]
fn a_search_that_takes_long_answers_with_what_it_has_and_is_continued() {
    let server = setup().env("SEARCH_TIME", "1ms").start();
    let mut owner = server.channel(CAROL, "full");
    fill(&mut owner);
    let expected: Vec<String> = (0..LONG).rev().map(|n| format!("needle {n} deployed")).collect();
    let find_all = |client: &mut Client| {
        let (mut texts, mut next) = (Vec::new(), Value::Null);
        loop {
            let page = search(client, &next);
            let messages = page["messages"].as_array().expect("messages");
            texts.extend(messages.iter().map(|message| message["text"].as_str().expect("a text").to_owned()));
            if page["more"] == false {
                return texts;
            }
            next = page["next"].clone();
            assert!(next.is_string(), "it says where to go on: {page}");
        }
    };
    eventually("all are found, once and in their order", || find_all(&mut owner) == expected);
    assert!(server.figure("propromo_chat_searches_total{result=\"cut_short\"}") >= 1.0);
}

// Seen to fail where all who search have one line: 366 others came before her in ten rounds.
#[test]
fn who_searches_on_many_connections_keeps_nobody_from_searching() {
    let server = setup().start();
    let mut owner = server.channel(CAROL, "full");
    fill(&mut owner);
    let mut alice = server.channel(ALICE, DEMO);
    alice.post("needle deployed here");
    let found = |alice: &mut Client| search(alice, &Value::Null)["messages"].as_array().map(Vec::len);
    eventually("it is found", || found(&mut alice) == Some(1));
    let access = server.access(CAROL);
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut others = [0; ROUNDS];
    thread::scope(|scope| {
        let _over = SetOnDrop(&over);
        for _ in 0..40 {
            scope.spawn(|| {
                let mut greedy = enter(server.address, &access, "full");
                while !over.load(Ordering::Relaxed) {
                    search(&mut greedy, &Value::Null);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for others in &mut others {
            eventually("many of them wait", || server.figure("propromo_chat_searches_waiting") >= 30.0);
            let before = answered.load(Ordering::Relaxed);
            assert_eq!(found(&mut alice), Some(1));
            *others = answered.load(Ordering::Relaxed) - before;
        }
    });
    // In the order in which they came there would be at least 30 before her each time. On a busy machine those count as well
    // who are answered before this thread has the processor again, so single rounds prove nothing.
    others.sort_unstable();
    assert!(others[ROUNDS / 2] < 28, "she waited for {others:?} others");
    assert_eq!(server.figure("propromo_chat_searches_total{result=\"failed\"}"), 0.0);
}
