//! History and live messages meet without a gap or a double, for everybody, also after a crash.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use support::{ALICE, BOB, Client, DEMO, HASHED_SEGMENT, Said, Server, eventually};

/// A server whose rooms replay everything, to clients that may talk as fast as they like.
fn server_without_limits() -> Server {
    Server::with().env("HISTORY_ON_JOIN", "10000").env("MESSAGE_RATE", "0").start()
}

/// Says `count` messages, a few ahead of their echoes, and gives all that was heard meanwhile.
fn talk(client: &mut Client, name: &str, count: usize, said: &AtomicUsize) -> Vec<Said> {
    const AHEAD: usize = 16;
    let mut heard = Vec::new();
    let mut echoes = 0;
    for number in 0..count {
        client.say(format!("{name} {number}"));
        said.fetch_add(1, Ordering::Relaxed);
        while number + 1 - echoes >= AHEAD {
            let message = client.hear_message();
            echoes += usize::from(message.text.starts_with(name));
            heard.push(message);
        }
    }
    heard
}

#[track_caller]
fn assert_same(one: &[Said], other: &[Said], who: &str) {
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    assert!(one.len() == other.len() && differs.is_none(), "{who}: {} of {}, {differs:?}", other.len(), one.len());
}

#[test]
fn twelve_clients_that_join_while_3000_messages_are_sent_all_see_the_same() {
    const SENDERS: [&str; 3] = ["red", "green", "blue"];
    const EACH: usize = 1000;
    const ALL: usize = EACH * SENDERS.len();
    let server = server_without_limits();
    let said = AtomicUsize::new(0);
    // Tokens first, so that the moment of joining is not decided by the hashing of passwords.
    let tokens: Vec<_> = (0..12).map(|_| server.token(BOB)).collect();
    let seen: Vec<(String, Vec<Said>)> = thread::scope(|scope| {
        let senders = SENDERS.map(|name| {
            let (mut client, said) = (server.join(ALICE, DEMO), &said);
            scope.spawn(move || {
                let mut heard = talk(&mut client, name, EACH, said);
                while heard.len() < ALL {
                    heard.push(client.hear_message());
                }
                (name.to_owned(), heard)
            })
        });
        let joiners: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(index, token)| {
                let (server, said) = (&server, &said);
                scope.spawn(move || {
                    // Random moments, in the sense that no two runs agree on them.
                    let moment = (uuid::Uuid::now_v7().as_u128() as usize % ALL + index * ALL / 12) % ALL;
                    eventually("the moment to join", || said.load(Ordering::Relaxed) >= moment);
                    let mut client = server.enter(token, DEMO);
                    (format!("joined at {moment}"), (0..ALL).map(|_| client.hear_message()).collect())
                })
            })
            .collect();
        senders.into_iter().chain(joiners).map(|thread| thread.join().expect("a client")).collect()
    });
    let (_, first) = &seen[0];
    for (who, heard) in &seen[1..] {
        assert_same(first, heard, who);
    }
    assert_eq!(first.iter().map(|said| &said.id).collect::<HashSet<_>>().len(), ALL);
    assert!(first.is_sorted_by(|one, next| one.id < next.id));
    for name in SENDERS {
        let own: Vec<_> = first.iter().filter(|said| said.text.starts_with(name)).map(|said| &*said.text).collect();
        assert_eq!(own, (0..EACH).map(|number| format!("{name} {number}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_kill_in_the_middle_loses_no_message_that_was_echoed() {
    let mut server = server_without_limits();
    let echoed = AtomicUsize::new(0);
    let pid = server.pid();
    let heard: Vec<Vec<Said>> = thread::scope(|scope| {
        let talkers = ["red", "green"].map(|name| {
            let (mut client, echoed) = (server.join(ALICE, DEMO), &echoed);
            scope.spawn(move || {
                let mut heard = Vec::new();
                // Together no more than what is replayed after the restart.
                for number in 0..4_900 {
                    if client.try_say(format!("{name} {number}")).is_err() {
                        break;
                    }
                    // Several messages are always on their way when the end comes.
                    if number >= 16 {
                        let Ok(text) = client.try_hear() else { break };
                        heard.push(support::ws::said(&text).expect("a message"));
                        echoed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // What had arrived before the end counts as well.
                while let Ok(text) = client.try_hear() {
                    heard.extend(support::ws::said(&text));
                }
                heard
            })
        });
        eventually("a thousand echoes", || echoed.load(Ordering::Relaxed) > 1000);
        support::server::kill9(pid);
        talkers.into_iter().map(|thread| thread.join().expect("a client")).collect()
    });
    server.exited();
    let server = server.restart();
    let mut witness = server.join(BOB, DEMO);
    witness.say("the end");
    let mut kept = Vec::new();
    while kept.last().is_none_or(|said: &Said| said.text != "the end") {
        kept.push(witness.hear_message());
    }
    for heard in &heard {
        assert_same(&kept[..heard.len()], heard, "before the kill and after it");
    }
    assert!(kept.is_sorted_by(|one, next| one.id < next.id));
}

#[test]
fn history_survives_an_orderly_restart() {
    let mut server = server_without_limits();
    let mut alice = server.join(ALICE, DEMO);
    let said = ["one", "two", "three"].map(|text| alice.say_and_hear(text));
    assert!(server.terminate().success());
    let server = server.restart();
    let mut bob = server.join(BOB, DEMO);
    assert_eq!([(); 3].map(|()| bob.hear_message()), said);
    let later = bob.say_and_hear("four");
    assert!(later.id > said[2].id, "ids go on growing after a restart");
}

#[test]
fn two_rooms_do_not_mix() {
    let server = server_without_limits();
    let rooms = [DEMO, HASHED_SEGMENT];
    let said = AtomicUsize::new(0);
    thread::scope(|scope| {
        for room in rooms {
            let (mut client, said) = (server.join(ALICE, room), &said);
            scope.spawn(move || {
                for message in talk(&mut client, room, 200, said) {
                    assert!(message.text.starts_with(room), "heard in {room}: {}", message.text);
                }
            });
        }
    });
    for room in rooms {
        let mut bob = server.join(BOB, room);
        for number in 0..200 {
            assert_eq!(bob.hear_message().text, format!("{room} {number}"));
        }
        bob.say("the end");
        assert_eq!(bob.hear_message().text, "the end", "nothing else was kept");
    }
}

#[test]
fn more_than_one_page_of_long_messages_is_replayed_whole() {
    let server = server_without_limits();
    let mut alice = server.join(ALICE, DEMO);
    let said: Vec<_> = (0..300).map(|n| alice.say_and_hear(&format!("{n} {}", "x".repeat(16_000)))).collect();
    let mut bob = server.join(BOB, DEMO);
    let heard: Vec<_> = (0..300).map(|_| bob.hear_message()).collect();
    assert_same(&said, &heard, "a history of five megabytes");
}

#[test]
fn many_joins_and_leaves_disturb_no_order() {
    let server = server_without_limits();
    let mut alice = server.join(ALICE, DEMO);
    let visitors: Vec<String> = (0..20).map(|_| server.token(BOB)).collect();
    let stayed = thread::scope(|scope| {
        let visits = scope.spawn(|| {
            for token in &visitors {
                let mut bob = server.enter(token, DEMO);
                bob.hear_message();
                drop(bob);
            }
        });
        let mut heard = Vec::new();
        while !visits.is_finished() {
            heard.push(alice.say_and_hear("a message"));
        }
        heard
    });
    let mut bob = server.join(BOB, DEMO);
    let replayed: Vec<_> = (0..stayed.len()).map(|_| bob.hear_message()).collect();
    assert_same(&stayed, &replayed, "who stayed and who came last");
}
