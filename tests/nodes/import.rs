//! `import` takes over what an original Propromo chat has kept in Redis.

use serde_json::json;
use support::{
    ALICE, DEMO, HASHED, HASHED_SEGMENT, Server, eventually, redis::Redis, server::Setup, terminal::Terminal,
};

/// A Redis as the original leaves it: `demo`'s messages as keys, those of the other monitor as a hash.
fn original() -> Redis {
    let redis = Redis::start();
    for (n, text) in ["first", "second", "third"].iter().enumerate() {
        set(&redis, DEMO, n, text);
    }
    let mut hash = redis::cmd("HSET");
    hash.arg(format!("chatroom:{HASHED}:messages"))
        .arg("2ed6657d-e927-568b-95e1-2665a8aea6a2")
        .arg(message(7, "kept in a hash"));
    redis.ask::<usize>(hash).expect("a hash can be set");
    redis
}

fn set(redis: &Redis, monitor: &str, n: usize, text: &str) {
    let mut set = redis::cmd("SET");
    set.arg(format!("chatroom:{monitor}:messages:2ed6657d-e927-568b-95e1-26650000000{n}")).arg(message(n, text));
    redis.ask::<()>(set).expect("a key can be set");
}

fn message(second: usize, text: &str) -> String {
    json!({"email": ALICE.email, "timestamp": format!("2024-05-06T07:08:{second:02}.123Z"), "text": text}).to_string()
}

#[track_caller]
fn import(setup: &Setup, from: &Redis) -> (bool, String) {
    let output = setup.run(&["import", &from.url()]);
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

/// What is in the monitor's room, as text and time.
#[track_caller]
fn history(server: &Server, segment: &str, count: usize) -> Vec<(String, String)> {
    let mut alice = server.join(ALICE, segment);
    (0..count).map(|_| alice.hear_message()).map(|said| (said.text, said.timestamp)).collect()
}

fn expected() -> Vec<(String, String)> {
    let said = |(second, text): (usize, &str)| (text.to_owned(), format!("2024-05-06T07:08:{second:02}.123Z"));
    [(0, "first"), (1, "second"), (2, "third")].map(said).to_vec()
}

#[test]
fn the_embedded_store_takes_over_all_with_their_times_and_puts_them_before_what_is_newer() {
    let from = original();
    let mut server = Server::start();
    server.join(ALICE, DEMO).say_and_hear("said since");
    server.terminate();
    let setup = server.setup().clone().without_demo();
    let (done, told) = import(&setup, &from);
    assert!(done && told.contains("messages: 4 of 2 rooms taken over, 0 were there already"), "{told}");
    let server = setup.start();
    let all = history(&server, DEMO, 4);
    assert_eq!(all[..3], expected());
    assert_eq!(all[3].0, "said since");
    let kept = server.join(ALICE, HASHED_SEGMENT).hear_message();
    assert_eq!(kept.text, "kept in a hash");
    assert!(kept.id.ends_with("-768b-95e1-2665a8aea6a2"), "as much of its id as fits: {}", kept.id);
}

// Seen to fail where the index stays: it has followed the log beyond what is imported.
#[test]
fn what_is_imported_beside_newer_messages_is_found_by_a_search() {
    let from = original();
    let mut server = Server::with_api().start();
    let found = |server: &Server, query: &str| {
        let path = format!("/api/v1/rooms/monitor:{DEMO}/messages?query={query}");
        eventually("it is found", || {
            server.call("GET", &path, None).json()["messages"].as_array().is_some_and(|found| found.len() == 1)
        });
    };
    server.join(ALICE, DEMO).say_and_hear("said since");
    found(&server, "since");
    server.terminate();
    let setup = server.setup().clone().without_demo();
    assert!(import(&setup, &from).0);
    let server = setup.start();
    found(&server, "second");
    found(&server, "since");
}

#[test]
fn done_again_it_takes_only_what_is_new() {
    let from = original();
    let setup = Server::with().without_demo().monitor(DEMO).account(ALICE.email, ALICE.password, &[DEMO]);
    assert!(import(&setup, &from).0);
    set(&from, DEMO, 3, "fourth");
    let (done, told) = import(&setup, &from);
    assert!(done && told.contains("messages: 1 of 2 rooms taken over, 4 were there already"), "{told}");
    let server = setup.start();
    let mut alice = server.join(ALICE, DEMO);
    let texts: Vec<_> = (0..4).map(|_| alice.hear_message().text).collect();
    assert_eq!(texts, ["first", "second", "third", "fourth"]);
}

#[test]
fn redis_takes_over_all_and_says_which_rooms_have_messages_of_their_own() {
    let (from, to) = (original(), Redis::start());
    let setup = Server::with().env("CHAT_STORAGE_URL", to.url()).without_demo();
    let setup = setup.monitor(DEMO).monitor(HASHED).account(ALICE.email, ALICE.password, &[DEMO, HASHED]);
    let mut server = setup.clone().start();
    server.join(ALICE, HASHED_SEGMENT).say_and_hear("said since");
    server.terminate();
    let (done, told) = import(&setup, &from);
    assert!(!done && told.contains(&format!("messages of its own already in {HASHED}")), "{told}");
    assert!(told.contains("messages: 3 of 2 rooms taken over"), "{told}");
    let (_, told) = import(&setup, &from);
    assert!(told.contains("messages: 0 of 2 rooms taken over, 3 were there already"), "{told}");
    let server = setup.start();
    assert_eq!(history(&server, DEMO, 3), expected());
    assert_eq!(history(&server, HASHED_SEGMENT, 1)[0].0, "said since");
}

#[test]
fn what_is_no_message_is_named_and_the_rest_taken() {
    let from = original();
    let mut set = redis::cmd("SET");
    set.arg(format!("chatroom:{DEMO}:messages:broken")).arg("{");
    from.ask::<()>(set).expect("a key can be set");
    let (done, told) = import(&Server::with().without_demo(), &from);
    assert!(done && told.contains("left out") && told.contains("messages:broken"), "{told}");
    assert!(told.contains("messages: 4 of 2 rooms"), "{told}");
}

#[test]
fn many_messages_are_taken_with_signs_of_life_and_the_original_is_not_changed() {
    let from = Redis::start();
    let mut hash = redis::cmd("HSET");
    hash.arg("chatroom:many:messages");
    for n in 0..25_000 {
        hash.arg(format!("2ed6657d-e927-568b-95e1-2665a8a{n:05}")).arg(message(n % 60, &format!("m{n}")));
    }
    from.ask::<usize>(hash).expect("a hash can be set");
    let size = || from.ask::<usize>(redis::cmd("DBSIZE")).expect("a number");
    let before = size();
    let setup = Server::with().without_demo();
    let (done, told) = import(&setup, &from);
    assert!(done && told.contains("so far") && told.contains("messages: 25000 of 1 room taken over"), "{told}");
    let (_, told) = import(&setup, &from);
    assert!(told.contains("messages: 0 of 1 room taken over, 25000 were there already"), "{told}");
    assert_eq!(size(), before);
}

#[test]
fn at_a_terminal_a_line_says_how_far_an_import_is() {
    let from = original();
    let setup = Server::with().without_demo();
    let mut importing = Terminal::run(&setup, &["import", &from.url()]);
    importing.shows("\r\x1b[Kreading room 1 of 2: ");
    importing.shows("\r\x1b[Kreading room 2 of 2: ");
    importing.shows("\r\x1b[Kmessages: 4 of 2 rooms taken over");
    assert_eq!(importing.ends(), 0);
}

#[test]
fn a_redis_that_is_no_original_or_a_server_that_runs_is_told() {
    let empty = Redis::start();
    let (done, told) = import(&Server::with().without_demo(), &empty);
    assert!(!done && told.contains("has no key chatroom:…:messages"), "{told}");
    let server = Server::start();
    let (done, told) = import(&server.setup().clone().without_demo(), &original());
    assert!(!done && told.contains("in use by another propromo-chat"), "{told}");
}

#[test]
fn a_password_is_read_from_standard_input_and_never_shown() {
    let from = original();
    from.configure("requirepass", "s3cret");
    let setup = Server::with().without_demo();
    let url = format!("redis://:s3cret@127.0.0.1:{}", from.port);
    let refused = setup.run(&["import", &url]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(told.contains("standard input") && !told.contains("s3cret"), "{told}");
    let output = setup.run_with_input(&["import", "-"], &format!("{url}\n"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
