//! What the system runs out of, and what breaks: said to whom it concerns, survived, and over by itself; or a clear end.

use rustix::process::geteuid;
use serde_json::{Value, json};
use std::process::Command;
use support::{
    ALICE, BOB, Client, DEMO, HASHED_SEGMENT, Server, chats, eventually,
    faults::{self, Limit, SMALL_JOURNAL, hold_log},
    http::get,
    redis::Redis,
    server::Setup,
};

/// Says something until it is stored; how often that was refused.
#[track_caller]
fn say_until_stored(client: &mut Client, text: &str) -> usize {
    let mut refused = 0;
    eventually("a message can be stored again", || {
        client.say(text);
        loop {
            let heard = client.hear();
            match support::ws::said(&heard) {
                Some(said) if said.text == text => return true,
                Some(_) => {}
                None => {
                    refused += 1;
                    return false;
                }
            }
        }
    });
    refused
}

#[track_caller]
fn is_told_that_it_is_not_stored(client: &mut Client) {
    let told: Value = serde_json::from_str(&client.hear()).expect("the error is JSON");
    assert_eq!((&told["success"], &told["reason"]), (&Value::Bool(false), &"unavailable".into()), "{told}");
}

// Seen to fail without `outlive_large_files`: the signal for it ends the server.
#[test]
fn with_a_full_disk_nothing_is_echoed_that_is_not_kept_and_all_goes_on_when_there_is_space() {
    let mut server = Server::start();
    let (mut alice, mut bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    alice.say_and_hear("before");
    let token = server.token(BOB);
    let path = format!("/chat/demo?auth={token}");

    faults::fill_disk(&server);
    alice.say("lost");
    is_told_that_it_is_not_stored(&mut alice);
    let refusal = server.refused(&path, &[]);
    assert_eq!((refusal.status, refusal.reason().as_str()), (503, "unavailable"));
    server.logs(&["message log can't store messages"]);
    let readiness = server.get("/readyz");
    assert_eq!(readiness.status, 503, "{}", readiness.text());
    assert!(readiness.json()["away"].as_array().is_some_and(|away| away.contains(&"token ledger".into())));
    assert_eq!(server.login(ALICE).status, 200, "reading goes on");
    assert!(server.is_running());
    faults::free_disk(&server);
    eventually("it is ready again", || server.get("/readyz").status == 200);

    say_until_stored(&mut alice, "after");
    server.logs(&["message log can store messages again"]);
    assert_eq!([bob.hear_message().text, bob.hear_message().text], ["before", "after"]);
    eventually("the token that was not spent gets in", || Client::try_open(server.address, &path, &[]).is_ok());
    assert!(server.terminate().success());
    let server = server.restart();
    let mut late = server.join(BOB, DEMO);
    assert_eq!([late.hear_message().text, late.hear_message().text], ["before", "after"]);
}

// Seen to fail without `outlive_large_files`: the signal for it ends the server.
#[test]
fn a_disk_that_fills_up_in_the_middle_of_a_flood_loses_nothing_that_was_echoed() {
    let server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "10000").start();
    let mut alice = server.join(ALICE, DEMO);
    let mut echoed = Vec::new();
    let (mut refused, mut said) = (0, 0);
    for round in 0..6 {
        for _ in 0..100 {
            alice.say(said.to_string());
            said += 1;
        }
        if round % 2 == 0 {
            // Somewhere in the middle: what the write-ahead log holds now is all that it may hold.
            faults::limit(&server, Limit::FileSize, Some(60_000));
        }
        let before = refused;
        let mut unanswered = 100;
        while unanswered > 0 {
            unanswered -= 1;
            match support::ws::said(&alice.hear()) {
                Some(said) => echoed.push(said),
                None => refused += 1,
            }
            // If it was full too late for any of them, others find it so.
            if unanswered == 0 && round % 2 == 0 && refused == before {
                alice.say(said.to_string());
                (said, unanswered) = (said + 1, 1);
            }
        }
        faults::free_disk(&server);
    }
    assert!(refused > 0 && echoed.len() + refused == said, "{refused} of {said} refused");
    say_until_stored(&mut alice, "the last");
    let mut late = server.join(BOB, DEMO);
    let kept: Vec<_> = echoed.iter().map(|_| late.hear_message()).collect();
    assert_eq!(kept, echoed, "as many as were echoed, and no other");
    assert_eq!(late.hear_message().text, "the last");
}

// Seen to fail with a line at each failure in `Outages::failed`.
#[test]
fn a_held_database_is_an_outage_of_two_lines_however_many_messages_it_refuses() {
    let setup = Server::with().env("MESSAGE_RATE", "0").env("JOURNAL_MAX", SMALL_JOURNAL);
    let server = setup.env("ADMIN_LISTEN", "127.0.0.1:0").start();
    let mut alice = server.join(ALICE, DEMO);
    let mut filler = server.join(BOB, HASHED_SEGMENT);
    let held = hold_log(&server.data_dir(), &mut filler);
    // On a slow machine filling the journal may have been an outage itself.
    let told = || server.log().matches("can't store messages").count();
    let before = told();
    for number in 0..50 {
        alice.say(number.to_string());
    }
    for _ in 0..50 {
        is_told_that_it_is_not_stored(&mut alice);
    }
    let outages = || server.sample("propromo_chat_outages{store=\"message log\"}");
    assert!(outages() >= Some(1.0));
    held.release();
    say_until_stored(&mut alice, "after");
    server.logs(&["can store messages again"]);
    eventually("no outage is left", || outages() == Some(0.0));
    assert_eq!(told(), before + 1, "{}", server.log());
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_at_the_start_by_its_name() {
    // Nobody makes directories there, not even root.
    let output = Server::with()
        .env("DATA_DIR", "/proc/propromo-chat")
        .env("PUBLIC_ROOM_CHANGES", "creator")
        .run(&["serve", "--demo"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    // The log's first line says where settings are from.
    let told: Vec<_> = told.trim().lines().filter(|line| !line.contains(" INFO ")).collect();
    assert!(told.len() == 1 && told[0].contains("/proc/propromo-chat"), "{told:?}");
}

// Seen to fail without the look at `is_readonly` in `sqlite::database`: the first write fails, and names no file.
#[test]
fn a_read_only_file_system_is_refused_at_the_start_by_its_name() {
    let mut server = Server::start();
    assert!(server.terminate().success());
    let (setup, dir) = (server.setup(), server.data_dir());
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && exec \"$0\" serve --demo";
    let mut command = Command::new("unshare");
    command.args(if geteuid().is_root() { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
    command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_propromo-chat")]).arg(&dir);
    command.env("LISTEN", "127.0.0.1:0").env("DATA_DIR", &dir).env("JWT_PRIVATE_KEY", support::SECRET);
    let output = command.current_dir(setup.path("")).output().expect("unshare can be started");
    let told = String::from_utf8_lossy(&output.stderr);
    if told.contains("unshare:") || told.contains("mount:") {
        return eprintln!("this machine lets nobody mount anything, so this was not tested: {told}");
    }
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&dir.display().to_string()) && told.contains("can't be written"), "{told}");
}

/// A user whom nobody else is, so that nobody else's threads count.
fn nobody_else() -> u32 {
    200_000 + std::process::id() % 100_000
}

// Seen to fail with `thread::spawn` in `server::threads`, which panics, and ends the accept loop.
#[test]
fn without_threads_a_connection_is_refused_and_those_inside_go_on() {
    // A limit for root is none, so root's server runs as somebody else; the binary must be where that user may read it.
    let server = Server::with().never_by_root(nobody_else()).start();
    let (mut alice, mut bob) = (server.join(ALICE, DEMO), server.join(BOB, DEMO));
    faults::limit(&server, Limit::Threads, Some(1));
    // Threads that are warm take some of them.
    let mut crowd = Vec::new();
    let mut told = None;
    eventually("one is refused", || {
        let mut connection = server.connect();
        connection.stream().set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("a read time-out");
        told = connection.try_response().ok();
        crowd.push(connection);
        told.is_some()
    });
    let told = told.expect("an answer");
    assert_eq!(told.status, 503);
    assert!(told.header("retry-after").is_some());
    server.logs(&["no thread for a connection"]);
    assert_eq!(alice.say_and_hear("we go on"), bob.hear_message());
    drop(crowd);
    faults::limit(&server, Limit::Threads, None);
    eventually("newcomers are served again", || {
        let mut connection = server.connect();
        connection.send_what_fits(get("/", &[]));
        connection.try_response().is_ok_and(|answer| answer.status == 200)
    });
}

// Seen to fail with ids that follow the clock alone (`Ids::next`).
#[test]
fn when_the_clock_steps_ids_stay_in_order_and_tokens_are_judged_by_the_clock() {
    let (setup, clock) = faults::with_its_own_clock();
    let set = |offset: i64| faults::set_clock(&clock, offset);
    let server = setup.env("TOKEN_TTL", "60").start();
    let token = server.token(BOB);
    let path = format!("/chat/demo?auth={token}");
    let mut alice = server.join(ALICE, DEMO);
    let mut said = vec![alice.say_and_hear("now")];
    set(3600);
    said.push(alice.say_and_hear("an hour later"));
    assert_eq!(server.refused(&path, &[]).reason(), "token_expired");
    set(-3600);
    said.push(alice.say_and_hear("an hour before"));
    assert_eq!(server.refused(&path, &[]).reason(), "token_not_yet_valid");
    set(0);
    said.push(alice.say_and_hear("now again"));
    assert!(said.is_sorted_by(|a, b| a.id < b.id && a.timestamp <= b.timestamp), "{said:?}");
    let hour = |said: &support::Said| said.timestamp[..13].to_owned();
    assert_ne!(hour(&said[0]), hour(&said[1]), "the clock was not set: {said:?}");
    let mut bob = server.enter(&token, DEMO);
    for said in &said {
        assert_eq!(bob.hear_message(), *said);
    }
    assert_eq!(server.refused(&path, &[]).reason(), "token_used");
    set(3600);
    assert_eq!(server.refused(&path, &[]).reason(), "token_expired");
    set(0);
    assert_eq!(server.refused(&path, &[]).reason(), "token_used", "a clock that came back opens no token twice");
}

/// Panics can be ordered only in debug builds.
#[cfg(debug_assertions)]
mod panics {
    use super::*;
    use rustix::process::Signal;
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };
    use support::faults::{has_panicked, order_panic, with_panics};

    /// Few, so that a crowd can be turned away.
    const MAX_CONNECTIONS: usize = 20;

    /// Gives the thread something to do. Whether that is answered is another matter.
    fn provoke(server: &Server, (point, thread): (&str, &str), alice: &mut Client, token: &str) {
        match point {
            "accept" if thread == "accept-admin" => drop(TcpStream::connect(server.admin_address())),
            "accept" => drop(TcpStream::connect(server.address)),
            "turned-away" => drop([(); MAX_CONNECTIONS].map(|()| TcpStream::connect(server.address))),
            "signals" => server.signal(Signal::HUP),
            "redis-events" => {
                server.channel(BOB, DEMO).ask(json!({"type": "typing"}));
                eventually("it is seen", || has_panicked(server, point));
            }
            "ledger" | "lane" => {
                let Ok(mut connection) = TcpStream::connect(server.address) else { return };
                let request = support::ws::handshake(&format!("/chat/demo?auth={token}"), &[]);
                let _ = connection.write_all(request.as_bytes()).and_then(|()| connection.read(&mut [0]));
            }
            "log" | "log-keeper" => {
                let room = chats::public_room(server, "Doomed");
                let request = format!("DELETE /chats/{room} HTTP/1.1\r\nHost: chat.test\r\nConnection: close\r\n\r\n");
                let _ = server.connect().send_what_fits(request).try_response();
                eventually("it is seen", || has_panicked(server, point));
            }
            _ => drop(alice.try_say("provoked")),
        }
    }

    /// Uses every part of the server until a panic has ended it; what was echoed before is there after the next start.
    #[track_caller]
    fn ends_with_a_clear_word_and_loses_nothing(setup: Setup, points: &[(&str, &str)]) {
        let mut server = with_panics(setup).start();
        for &(point, thread) in points {
            let mut alice = server.join(ALICE, DEMO);
            let echoed = alice.say_and_hear(&format!("before {point}"));
            let token = server.token(BOB);
            order_panic(&server, point);
            eventually("the server ends", || {
                let has_panicked = has_panicked(&server, point);
                if server.is_running() && !has_panicked {
                    provoke(&server, (point, thread), &mut alice, &token);
                }
                !server.is_running()
            });
            assert_eq!(server.exited().code(), Some(70), "{point}: {}", server.log());
            server.logs(&["a thread panicked", thread]);
            server.logs(&["the server can't go on without this thread", thread]);
            server = server.restart();
            let mut bob = server.join(BOB, DEMO);
            while bob.hear_message() != echoed {}
            bob.say_and_hear("and it goes on");
        }
    }

    // Seen to fail without the `exit` in `vital::Guard`: what is left looks alive.
    #[test]
    fn a_panic_in_a_vital_thread_ends_the_server_and_the_next_one_has_all_that_was_echoed() {
        let points = [
            ("accept", "main"),
            ("accept", "accept-admin"),
            ("turned-away", "turned-away"),
            ("signals", "signals"),
            ("log", "log"),
            ("writer", "connection"),
            ("lane", "lane-"),
            ("flusher", "flusher"),
            ("ledger", "ledger"),
            ("log-keeper", "log-keeper"),
            ("log-applier", "log-applier"),
            ("recheck", "recheck"),
        ];
        ends_with_a_clear_word_and_loses_nothing(
            Server::with()
                .env("MESSAGE_RATE", "0")
                .env("HISTORY_ON_JOIN", "10000")
                .env("MAX_CONNECTIONS", MAX_CONNECTIONS.to_string())
                .env("ADMIN_LISTEN", "127.0.0.1:0"),
            &points,
        );
    }

    // Seen to fail without the `exit` in `vital::Guard`: what is left looks alive.
    #[test]
    fn a_panic_in_a_thread_for_redis_ends_the_server_as_well() {
        let redis = Redis::start();
        let setup = Server::with().env("CHAT_STORAGE_URL", redis.url()).env("HISTORY_ON_JOIN", "10000").without_demo();
        let setup = setup.monitor(DEMO);
        let setup =
            [ALICE, BOB].into_iter().fold(setup, |setup, person| setup.account(person.email, person.password, &[DEMO]));
        let points = [
            ("feed", "feed"),
            ("presence", "presence"),
            ("redis-events", "redis-events"),
            ("redis-watch", "redis-watch"),
            ("redis-lease", "redis-lease"),
            ("names", "names"),
        ];
        ends_with_a_clear_word_and_loses_nothing(setup, &points);
    }

    // Seen to fail without `catch_unwind` in `server::threads`: nothing is said of it.
    #[test]
    fn a_panic_on_a_connection_costs_that_connection_and_leaves_no_room_broken() {
        let mut server = with_panics(Server::with()).start();
        let (mut alice, mut bob) = (server.channel(ALICE, DEMO), server.channel(BOB, DEMO));
        alice.wait_for("join");
        order_panic(&server, "session");
        alice.ask(json!({"type": "message", "text": "provoked"}));
        assert!(support::ends(alice.stream()));
        assert_eq!(bob.wait_for("leave")["user"], ALICE.email);
        bob.post("still here");
        server.logs(&["a connection ended by a panic"]);
        let mut alice = server.channel(ALICE, DEMO);
        assert_eq!(alice.wait_for("message")["text"], "still here");
        order_panic(&server, "connection");
        assert!(server.connect().send(get("/", &[])).closes());
        assert_eq!(server.get("/").status, 200);
        assert!(server.is_running());
    }

    // Seen to fail without `catch_unwind` in `http::handler`: there is no answer.
    #[test]
    fn a_panic_in_an_endpoint_is_answered_with_500() {
        let server = with_panics(Server::with()).start();
        order_panic(&server, "endpoint");
        assert_eq!(server.get("/").status, 500);
        assert_eq!(server.get("/").status, 200);
        server.logs(&["an endpoint panicked"]);
    }
}
