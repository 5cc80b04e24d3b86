//! `HISTORY_MAX_AGE`: what is older than so many days is deleted by itself.

use serde_json::json;
use std::{fs, path::Path};
use support::{
    ALICE, DEMO,
    api::{MASTER, api_keys, call},
    eventually,
    faults::{set_clock, with_its_own_clock},
};

/// Whether a file below this directory holds the word; the search index is tidied up later.
fn holds(directory: &Path, word: &str) -> bool {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).any(|path| {
        if path.is_dir() {
            return holds(&path, word);
        }
        let is_index = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("search.db"));
        let bytes = fs::read(&path).unwrap_or_default();
        !is_index && bytes.windows(word.len()).any(|bytes| bytes == word.as_bytes())
    })
}

// Seen to fail with HISTORY_MAX_AGE=0: both messages are there.
#[test]
fn what_is_older_than_so_many_days_is_gone_from_history_and_files() {
    let (setup, clock) = with_its_own_clock();
    set_clock(&clock, -259_200);
    let mut server = setup.env("HISTORY_MAX_AGE", "2").env("API_KEYS", api_keys()).start();
    let mut alice = server.channel(ALICE, DEMO);
    let old = alice.post("Zypressenhain")["id"].clone();
    alice.ask(json!({"type": "edit", "id": old, "text": "Lindenallee"}));
    alice.wait_for("edited");
    let kept = alice.post("of the same day")["id"].clone();
    let by_program = Some(json!({"text": "Wacholder"}));
    assert_eq!(call(server.address, MASTER, "POST", "/api/v1/rooms/monitor%3Ademo/messages", by_program).status, 201);
    assert!(holds(&server.data_dir(), "Lindenallee") && holds(&server.data_dir(), "Wacholder"));
    server.kill9();
    set_clock(&clock, 0);
    let server = server.restart();
    let mut alice = server.channel(ALICE, DEMO);
    let new = alice.post("today")["id"].clone();
    eventually("only what is young enough is there", || {
        alice.ask(json!({"type": "history"}));
        let page = alice.wait_for("history")["messages"].clone();
        let ids: Vec<_> = page.as_array().expect("messages").iter().map(|message| message["id"].clone()).collect();
        assert!(ids.contains(&new));
        ids == [new.clone()]
    });
    alice.ask(json!({"type": "edit", "id": kept, "text": "again"}));
    assert_eq!(alice.wait_for("error")["code"], "no_such_message");
    eventually("no file holds what was deleted", || {
        !["Zypressenhain", "Lindenallee", "of the same day", "Wacholder"]
            .iter()
            .any(|word| holds(&server.data_dir(), word))
    });
}
