//! What clients of the version before edits and deletions said and heard, played again against servers of today.

use crate::{ALICE, BOB, CAROL, Client, DEMO, Server, repository};
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
};

/// A file that the version before has left behind.
pub fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures/before-changes").join(name)
}

/// How what is heard may differ from what was heard then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    AsThen,
    /// There may be new fields, and frames of new types: clients of the version before pass over both.
    MayBeNew,
}

/// Plays a recording, and looks whether its clients hear what they heard then. Ids and times are others; what is the
/// same there must be the same here. The clients take turns at the servers, which act as one. `meanwhile` runs after
/// each step.
#[track_caller]
pub fn play(servers: &[&Server], file: &str, frames: Frames, mut meanwhile: impl FnMut()) {
    let recorded = std::fs::read_to_string(fixture(file)).expect("the recording is there");
    let mut clients: HashMap<String, Client> = HashMap::new();
    let mut people: Vec<String> = Vec::new();
    let (is_one, ids, early) = (servers.len() == 1, HashMap::new(), HashMap::new());
    let mut played = Played { frames, is_one, ids, early, line: 0 };
    for line in recorded.lines() {
        played.line += 1;
        let step: Value = serde_json::from_str(line).expect("a step is JSON");
        let who = step["who"].as_str().expect("somebody does it").to_owned();
        if let Some(path) = step["open"].as_str() {
            let path = played.ids.iter().fold(path.to_owned(), |path, (then, now)| path.replace(then, now));
            let place = people.iter().position(|known| *known == who).unwrap_or_else(|| {
                people.push(who.clone());
                people.len() - 1
            });
            clients.insert(who.clone(), open(servers[place % servers.len()], &who, &path));
        } else if let Some(text) = step["say"].as_str() {
            clients.get_mut(&who).expect("it is there").say(text);
        } else if let Some(then) = step["hear"].as_str() {
            played.hears(&who, clients.get_mut(&who).expect("it is there"), then);
        } else {
            clients.remove(&who).expect("it is there").close();
        }
        meanwhile();
    }
}

fn open(server: &Server, who: &str, path: &str) -> Client {
    let person = match who {
        "bob" => BOB,
        "carol" => CAROL,
        _ => ALICE,
    };
    match path.split('/').nth(1) {
        Some("channel") => server.channel(person, path.trim_start_matches("/channel/")),
        Some("chat") => server.join(person, DEMO),
        _ => Client::open(server.address, path),
    }
}

/// What somebody may say while a recording is played: clients hear it between what they heard then.
pub const MEANWHILE: &str = "said meanwhile";

/// Types of frames that clients of the version before don't know, and pass over.
const NEW: [&str; 4] = ["edited", "deleted", "reacted", "read"];

/// A recording that is being played.
struct Played {
    frames: Frames,
    /// Whether one server plays it. Of several, each finds out by itself who comes and goes.
    is_one: bool,
    /// The ids of now, by those of then.
    ids: HashMap<String, String>,
    /// Receipts that came before what they are for: several nodes promise no order of the two.
    early: HashMap<String, VecDeque<Value>>,
    line: usize,
}

impl Played {
    fn hears(&mut self, who: &str, client: &mut Client, then: &str) {
        let expected: Value = serde_json::from_str(then).unwrap_or_else(|_| then.into());
        let early = self.early.get_mut(who).filter(|_| expected["type"] == "ack").and_then(VecDeque::pop_front);
        let now = early.unwrap_or_else(|| self.next(who, client, &expected));
        self.same(&expected, &now);
    }

    /// The next frame that may be the expected one.
    fn next(&mut self, who: &str, client: &mut Client, expected: &Value) -> Value {
        loop {
            let now = client.hear();
            let now = serde_json::from_str(&now).unwrap_or(Value::String(now));
            if !self.is_one && now["type"] == "ack" && expected["type"] != "ack" {
                self.early.entry(who.to_owned()).or_default().push_back(now);
            } else if !self.passes_over(expected, &now) {
                return now;
            }
        }
    }

    fn passes_over(&self, then: &Value, now: &Value) -> bool {
        let kind = now["type"].as_str().unwrap_or_default();
        let is_presence = ["join", "leave"].contains(&kind);
        (self.frames == Frames::MayBeNew && NEW.contains(&kind))
            || now["text"] == MEANWHILE
            || now["msg"] == MEANWHILE
            || (!self.is_one && is_presence && (then["type"] != kind || then["user"] != now["user"]))
    }

    fn same(&mut self, then: &Value, now: &Value) {
        let line = self.line;
        match (then, now) {
            (Value::Object(then), Value::Object(now)) => {
                // The pages of the rooms door's clients print both of an error.
                let printed = if then.get("event_type").is_some_and(|kind| kind == "error") { 2 } else { 0 };
                let as_many = then.len() + printed == now.len();
                assert!(self.frames == Frames::MayBeNew || as_many, "line {line}: {now:?}");
                for (field, value) in then {
                    let new = now.get(field).unwrap_or_else(|| panic!("line {line}: no {field}"));
                    match field.as_str() {
                        "timestamp" | "time" => assert_eq!(new.as_str().map(str::len), value.as_str().map(str::len)),
                        "id" | "messageId" => {
                            let (value, new) = (value.as_str().expect("an id"), new.as_str().expect("an id"));
                            let known = self.ids.entry(value.to_owned()).or_insert_with(|| new.to_owned());
                            assert_eq!(known, new, "line {line}: another message");
                        }
                        _ => self.same(value, new),
                    }
                }
            }
            (Value::Array(then), Value::Array(now)) => {
                assert_eq!(then.len(), now.len(), "line {line}");
                then.iter().zip(now).for_each(|(then, now)| self.same(then, now));
            }
            _ => assert_eq!(then, now, "line {line}"),
        }
    }
}
