//! `propromo-chat backup`: what is copied while the server runs is enough to go on from.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use support::{ALICE, Client, DEMO, Server, server::Setup};

/// A server whose key is generated, so that it is a part of the data.
fn with_own_key() -> Setup {
    Server::with().without("JWT_PRIVATE_KEY").env("MESSAGE_RATE", "0")
}

#[track_caller]
fn back_up(setup: &Setup, name: &str) -> String {
    let output = setup.run(&["backup", name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is heard of the room's history.
fn history(client: &mut Client) -> Vec<String> {
    client.say("the end");
    std::iter::from_fn(|| Some(client.hear_message().text).filter(|text| text != "the end")).collect()
}

#[test]
fn a_server_goes_on_from_a_backup_that_was_made_while_people_talked() {
    let mut server = with_own_key().start();
    let spent = server.token(ALICE);
    let mut alice = server.enter(&spent, DEMO);
    let access = server.access_token(ALICE);
    let done = AtomicBool::new(false);
    let mut said = vec![alice.say_and_hear("before").text];
    thread::scope(|scope| {
        let talk = scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                said.push(alice.say_and_hear(&format!("message {n}")).text);
            }
        });
        back_up(server.setup(), "backup");
        done.store(true, Ordering::Relaxed);
        talk.join().expect("alice talks to the end");
    });
    let setup = server.setup().clone();
    server.kill9();
    fs::rename(setup.path("data"), setup.path("lost")).expect("the data can be lost");
    fs::rename(setup.path("backup"), setup.path("data")).expect("the backup can take its place");
    let restored = setup.env("HISTORY_ON_JOIN", "10000").start();
    let mut alice = restored.join(ALICE, DEMO);
    let heard = history(&mut alice);
    assert_eq!(heard.first().map(String::as_str), Some("before"));
    assert_eq!(heard, said[..heard.len()], "a backup has all up to one moment, in order");
    assert_eq!(restored.get_with_bearer("/ws_ticket", &access).status, 200, "the key is the same");
    assert_eq!(restored.refused(&format!("/chat/{DEMO}?auth={spent}"), &[]).reason(), "token_used");
}

#[test]
fn a_backup_is_for_its_owner_alone() {
    let server = with_own_key().start();
    let told = back_up(server.setup(), "backup");
    let directory = server.setup().path("backup");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut names = support::server::files_in(&directory);
    names.sort();
    assert_eq!(names, ["chat.db", "jwt_secret", "ledger.db", "log.db"]);
    for name in names {
        assert_eq!(mode(&directory.join(&name)), 0o600, "{name}");
        assert!(told.contains(&name), "{told}");
    }
}

#[test]
fn a_key_that_was_given_is_not_copied() {
    let server = Server::start();
    back_up(server.setup(), "backup");
    assert!(!server.setup().path("backup/jwt_secret").exists());
}

#[test]
fn no_backup_is_written_over_another() {
    let server = Server::start();
    back_up(server.setup(), "backup");
    let output = server.setup().run(&["backup", "backup"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("backup exists"), "{output:?}");
}

#[test]
fn without_data_there_is_no_backup_and_nothing_is_left_behind() {
    let setup = Server::with();
    let output = setup.run(&["backup", "backup"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is DATA_DIR right?"), "{output:?}");
    assert!(support::server::files_in(&setup.path("")).is_empty());
}

#[test]
fn a_server_that_is_killed_leaves_nothing_in_the_directory_for_temporary_files() {
    let mut server = Server::start();
    assert_eq!(server.get("/healthz").status, 200);
    server.kill9();
    assert_eq!(support::server::files_in(&server.setup().path("")), ["data"]);
}
