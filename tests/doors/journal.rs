//! The journal in front of the tables: nothing that was echoed is lost or doubled, whatever ends the server, and a
//! store of the version before is taken over.

use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};
use support::{
    ALICE, BOB, Client, DEMO, HASHED_SEGMENT, Said, Server, eventually,
    faults::{self, Held},
    server::Setup,
};

fn without_limits() -> Setup {
    Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "10000")
}

/// All of a room's history.
#[track_caller]
fn history(server: &Server, room: &str) -> Vec<Said> {
    let mut witness = server.join(BOB, room);
    let end = format!("the end of {}", rand::random::<u64>());
    witness.say(&end);
    let mut kept = Vec::new();
    loop {
        match witness.hear_message() {
            said if said.text == end => return kept,
            said => kept.push(said),
        }
    }
}

fn segments(server: &Server) -> Vec<PathBuf> {
    let entries = fs::read_dir(server.data_dir().join("journal")).expect("the journal");
    entries.map(|entry| entry.expect("a segment").path()).collect()
}

/// Kills a server again and again while four talk as fast as they can; each time everything that was echoed is there,
/// once, in the same order.
fn kills(count: usize, seed: u64) {
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let mut server = without_limits().start();
    let rooms = [DEMO, HASHED_SEGMENT];
    let mut echoed: [Vec<Said>; 2] = Default::default();
    for round in 0..count {
        let talked = AtomicUsize::new(0);
        let over = AtomicBool::new(false);
        let pid = server.pid();
        let heard: Vec<(usize, Vec<Said>)> = thread::scope(|scope| {
            let talkers: Vec<_> = (0..4)
                .map(|talker: usize| {
                    let mut client = server.join(ALICE, rooms[talker % 2]);
                    let (talked, over) = (&talked, &over);
                    scope.spawn(move || {
                        let mine = format!("{round} {talker} ");
                        let mut heard = Vec::new();
                        let mut number = 0;
                        while !over.load(Ordering::Relaxed) && number < 1000 {
                            if client.try_say(format!("{mine}{number}")).is_err() {
                                break;
                            }
                            number += 1;
                            // A few are always on their way.
                            while heard.len() + 8 < number {
                                let Ok(text) = client.try_hear() else { return (talker % 2, heard) };
                                heard.extend(support::ws::said(&text).filter(|said| said.text.starts_with(&mine)));
                                talked.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        while let Ok(text) = client.try_hear() {
                            heard.extend(support::ws::said(&text).filter(|said| said.text.starts_with(&mine)));
                        }
                        (talker % 2, heard)
                    })
                })
                .collect();
            let enough = random.random_range(1..400);
            eventually("they talk", || talked.load(Ordering::Relaxed) >= enough);
            // Also between two turns of the thread behind it, and in the middle of one.
            thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
            support::server::kill9(pid);
            over.store(true, Ordering::Relaxed);
            talkers.into_iter().map(|talker| talker.join().expect("a talker")).collect()
        });
        server.exited();
        server = server.restart();
        for (room, heard) in heard {
            echoed[room].extend(heard);
        }
        for (room, echoed) in rooms.iter().zip(&mut echoed) {
            echoed.sort_by(|one, other| one.id.cmp(&other.id));
            let kept = history(&server, room);
            assert!(kept.is_sorted_by(|one, next| one.id < next.id), "round {round}: doubled or out of order");
            let texts: std::collections::HashSet<_> = kept.iter().map(|said| &said.text).collect();
            assert_eq!(texts.len(), kept.len(), "round {round}: something was said twice");
            let mut kept = kept.iter();
            let lost = echoed.iter().find(|echo| !kept.any(|said| said == *echo));
            assert!(lost.is_none(), "round {round}: {lost:?} was echoed and is gone");
        }
        // What a history shows is bounded.
        if echoed.iter().any(|echoed| echoed.len() > 4000) {
            server = without_limits().start();
            echoed = Default::default();
        }
    }
}

/// As many kills as `JOURNAL_KILLS` says; `scripts/soak --kills` makes fifty.
#[test]
fn a_server_killed_at_any_moment_has_each_echoed_message_once() {
    let count = std::env::var("JOURNAL_KILLS").map_or(4, |count| count.parse().expect("JOURNAL_KILLS is a number"));
    kills(count, rand::random());
}

/// Alice's own messages change while the server is killed: after each kill everything that was echoed is so.
#[test]
fn changes_that_were_echoed_outlive_a_kill() {
    let mut server = without_limits().start();
    let mut texts: Vec<String> = Vec::new();
    let mut ids: Vec<Value> = Vec::new();
    for round in 0..3 {
        let mut alice = server.channel(ALICE, "lobby");
        alice.hear_all_up_to_now();
        // Half of the rounds before the tables have anything of it, half afterwards.
        let held = (round % 2 == 0).then(|| Held::file(&server, "log.db"));
        for n in 0..20 {
            ids.push(alice.post(&format!("round {round} number {n}"))["id"].clone());
            texts.push(format!("round {round} number {n}"));
            let edited = (n * 7 + round * 3) % texts.len();
            texts[edited] = format!("edited in {round} by {n}");
            alice.ask(json!({"type": "edit", "id": ids[edited], "text": texts[edited]}));
            alice.wait_for("edited");
            if n % 5 == 4 {
                let deleted = (n * 5 + round) % texts.len();
                alice.ask(json!({"type": "delete", "id": ids.remove(deleted)}));
                alice.wait_for("deleted");
                texts.remove(deleted);
            }
            alice.ask(json!({"type": "react", "id": ids[n % ids.len()], "emoji": "👍", "on": true}));
            alice.hear_all_up_to_now();
        }
        server.kill9();
        drop(held);
        server = server.restart();
        let mut alice = server.channel(ALICE, "lobby");
        let shown: Vec<Value> = alice.hear_all_up_to_now();
        let now: Vec<(&Value, &str)> =
            shown.iter().map(|frame| (&frame["id"], frame["text"].as_str().expect("a text"))).collect();
        let then: Vec<(&Value, &str)> = ids.iter().zip(texts.iter().map(String::as_str)).collect();
        assert_eq!(now, then, "round {round}");
    }
}

#[test]
fn a_clock_that_went_back_while_the_server_was_down_gives_no_id_twice() {
    let (setup, clock) = faults::with_its_own_clock();
    faults::set_clock(&clock, 3600);
    let mut server = setup.start();
    let mut alice = server.join(ALICE, DEMO);
    let held = Held::file(&server, "log.db");
    let mut said = vec![alice.say_and_hear("an hour later")];
    server.kill9();
    held.release();
    faults::set_clock(&clock, 0);
    let server = server.restart();
    server.logs(&["the newest message is from the future"]);
    let mut alice = server.join(ALICE, DEMO);
    assert_eq!(alice.hear_message(), said[0]);
    said.push(alice.say_and_hear("now"));
    assert!(said[1].id > said[0].id, "{said:?}");
}

#[test]
fn what_was_deleted_is_in_no_file_soon() {
    let server = without_limits().start();
    let mut alice = server.channel(ALICE, "lobby");
    let id = alice.post("the password is Zypressenhain")["id"].clone();
    let is_there = || {
        let mut directories = vec![server.data_dir()];
        let mut found = false;
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else if let Ok(bytes) = fs::read(&path) {
                    found |= bytes.windows(13).any(|bytes| bytes == b"Zypressenhain");
                }
            }
        }
        found
    };
    assert!(is_there());
    alice.ask(json!({"type": "delete", "id": id}));
    alice.wait_for("deleted");
    eventually("the text is in no file", || !is_there());
}

#[test]
fn a_full_disk_refuses_what_comes_and_keeps_what_was_shown() {
    let mut server = without_limits().env("ADMIN_LISTEN", "127.0.0.1:0").start();
    let mut alice = server.channel(ALICE, "lobby");
    let mut shown: Vec<Value> = (0..40).map(|n| alice.post(&format!("before {n}"))["id"].clone()).collect();
    faults::fill_disk(&server);
    // Something must not be in the tables yet, and a slow machine may have taken so long that all is.
    eventually("the disk is full before the tables have all", || {
        let is_left = server.figure("propromo_chat_journal_bytes") > 0.0;
        if !is_left {
            faults::free_disk(&server);
            shown.push(alice.post("one more before")["id"].clone());
            faults::fill_disk(&server);
        }
        is_left
    });
    alice.ask(json!({"type": "message", "text": "refused", "ref": "r"}));
    assert_eq!(alice.wait_for("error")["code"], "unavailable");
    alice.ask(json!({"type": "edit", "id": shown[0], "text": "refused"}));
    assert_eq!(alice.wait_for("error")["code"], "unavailable");
    // The tables can't be written either, when it is their turn.
    server.logs(&["can't take over what is in its journal"]);
    let history = |client: &mut Client| {
        client.ask(json!({"type": "history"}));
        let page = client.wait_for("history")["messages"].as_array().expect("a list").clone();
        assert!(page.iter().all(|message| message["text"] != "refused"), "{page:?}");
        page.iter().map(|message| message["id"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(history(&mut alice), shown);
    faults::free_disk(&server);
    server.logs(&["can take over what is in its journal again"]);
    // The same again, now that there is room.
    alice.ask(json!({"type": "message", "text": "after", "ref": "r"}));
    shown.push(alice.wait_for("ack")["id"].clone());
    server.kill9();
    let server = server.restart();
    assert_eq!(history(&mut server.channel(BOB, "lobby")), shown);
}

#[test]
fn a_segment_that_is_damaged_costs_what_stood_there_and_no_more() {
    let mut server = without_limits().start();
    let mut alice = server.join(ALICE, DEMO);
    let held = Held::file(&server, "log.db");
    let mut said: Vec<_> = (0..100).map(|n| alice.say_and_hear(&format!("number {n:03}"))).collect();
    server.kill9();
    let path = segments(&server).into_iter().max_by_key(|path| path.metadata().map_or(0, |meta| meta.len()));
    let path = path.expect("a segment");
    let mut bytes = fs::read(&path).expect("the segment can be read");
    let at = bytes.windows(10).position(|text| text == b"number 050").expect("the text is there");
    bytes[at] ^= 1;
    // And what a torn write leaves.
    bytes.truncate(bytes.len() - 3);
    fs::write(&path, bytes).expect("the segment can be written");
    held.release();
    let server = server.restart();
    server.logs(&["the journal is damaged"]);
    server.logs(&["the end of the journal is torn"]);
    server.logs(&["its journal has been replayed", "entries=98"]);
    said.pop();
    said.remove(50);
    assert_eq!(history(&server, DEMO), said);
}

#[test]
fn a_store_of_the_version_before_is_taken_over_and_shown_at_every_door() {
    let setup = without_limits();
    let data = setup.data_dir();
    fs::create_dir(&data).expect("the data directory");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/before-journal/data");
    for file in fs::read_dir(fixture).expect("the fixture") {
        let file = file.expect("a file");
        fs::copy(file.path(), data.join(file.file_name())).expect("it can be copied");
    }
    let server = setup.start();
    let shown = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/before-journal/shown.json"));
    let shown: Value = serde_json::from_str(&shown.expect("the recording")).expect("JSON");
    let list = |value: &Value| value.as_array().expect("a list").clone();
    for door in list(&shown["channel"]) {
        let path = door["path"].as_str().expect("a path");
        let mut alice = server.channel(ALICE, path);
        let frames = list(&door["frames"]);
        for (number, frame) in frames.iter().enumerate() {
            if number + 1 == frames.len() {
                alice.ask(json!({"type": "history"}));
            }
            assert_eq!(alice.hear_frame(), *frame, "frame {number} of {path}");
        }
    }
    let mut alice = server.join(ALICE, DEMO);
    for frame in list(&shown["propromo"]) {
        assert_eq!(alice.hear(), frame.as_str().expect("a frame"));
    }
    // What was said then is still known by its mark, deleted or not, and can be changed.
    let ids = list(&shown["garden"]);
    let mut garden = server.channel(ALICE, "garden");
    for n in [2, 3] {
        garden.ask(json!({"type": "message", "text": "again", "ref": format!("r{n}")}));
        assert_eq!(garden.wait_for("ack")["id"], ids[n]);
    }
    garden.ask(json!({"type": "edit", "id": ids[2], "text": "changed"}));
    assert_eq!(garden.wait_for("edited")["id"], ids[2]);
    garden.ask(json!({"type": "react", "id": ids[4], "emoji": "👍", "on": false}));
    assert_eq!(garden.wait_for("reacted")["id"], ids[4]);
    garden.ask(json!({"type": "delete", "id": ids[3]}));
    assert_eq!(garden.wait_for("error")["code"], "no_such_message");
}

#[test]
fn the_health_of_the_log_is_found_out_by_a_write() {
    let server = Server::start();
    eventually("it is ready", || server.get("/readyz").status == 200);
    // A write that has just succeeded is believed for a second.
    faults::fill_disk(&server);
    eventually("it is not ready", || server.get("/readyz").status == 503);
    faults::free_disk(&server);
    eventually("it is ready again", || server.get("/readyz").status == 200);
}

#[test]
fn what_a_deleted_room_said_leaves_the_journal_soon() {
    let server = without_limits().start();
    let room = support::chats::public_room(&server, "Doomed");
    let mut guest = support::chats::Guest::join(&server, room, "guest");
    guest.event("send", "a word nobody else says");
    assert_eq!(guest.hears("send", "guest"), "a word nobody else says");
    let answer = support::chats::ask(&server, "DELETE", &format!("/chats/{room}"), None, None);
    assert!(answer.status < 300, "{}", answer.text());
    let is_there = || {
        let files = segments(&server).into_iter().filter_map(|path| fs::read(path).ok());
        files.into_iter().any(|bytes| String::from_utf8_lossy(&bytes).contains("a word nobody else says"))
    };
    eventually("the text has left the journal", || !is_there());
}

#[test]
fn a_backup_has_what_the_tables_have_not_yet() {
    let server = without_limits().start();
    let mut alice = server.join(ALICE, DEMO);
    let mut said = vec![alice.say_and_hear("in the tables")];
    eventually("it is in the tables", || {
        segments(&server).iter().all(|path| path.metadata().map_or(0, |m| m.len()) <= 16)
    });
    let held = Held::file(&server, "log.db");
    said.push(alice.say_and_hear("in the journal"));
    let output = server.setup().run(&["backup", "backup"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    held.release();
    let setup = server.setup().clone();
    drop(server);
    fs::rename(setup.path("data"), setup.path("lost")).expect("the data can be lost");
    fs::rename(setup.path("backup"), setup.path("data")).expect("the backup can take its place");
    assert_eq!(history(&setup.start(), DEMO), said);
}
