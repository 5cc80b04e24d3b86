//! `propromo-chat keys` (which is `keys.sh`): makes keys that the server takes, and destroys none.

use std::{fs, os::unix::fs::PermissionsExt};
use support::{ALICE, DEMO, Server, header_of, server::Setup};

#[track_caller]
fn make(setup: &Setup, arguments: &[&str]) {
    let output = setup.run(&[&["keys"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn assert_signs_with(algorithm: &str, setup: Setup) {
    let server = setup.start();
    let token = server.token(ALICE);
    assert_eq!(header_of(&token)["alg"], algorithm);
    server.enter(&token, DEMO).say_and_hear("hello");
}

#[test]
fn the_server_takes_what_it_makes() {
    for (kind, algorithm) in [("rs512", "RS512"), ("ed25519", "EdDSA")] {
        let setup = Server::with().without("JWT_PRIVATE_KEY");
        make(&setup, &[kind, "--dir", "made"]);
        let setup = setup.env("JWT_PRIVATE_KEY_FILE", "made/jwt.key").env("JWT_PUBLIC_KEY_FILE", "made/jwt.pub");
        assert_signs_with(algorithm, setup);
    }
    let setup = Server::with().without("JWT_PRIVATE_KEY");
    make(&setup, &["hs256", "--dir", "made"]);
    assert_signs_with("HS256", setup.env("JWT_PRIVATE_KEY_FILE", "made/jwt.secret"));
}

#[test]
fn an_encrypted_key_is_opened_with_the_passphrase_it_was_made_with() {
    let setup = Server::with().without("JWT_PRIVATE_KEY").env("JWT_PASSPHRASE", "open sesame, please");
    make(&setup, &["ed25519", "--encrypt"]);
    let key = fs::read_to_string(setup.path("keys/jwt.key")).expect("a key");
    assert!(key.contains("ENCRYPTED"), "the key is encrypted");
    assert_signs_with("EdDSA", setup.env("JWT_PRIVATE_KEY_FILE", "keys/jwt.key"));
}

#[test]
fn only_the_owner_can_read_a_private_key() {
    let setup = Server::with();
    make(&setup, &["ed25519", "hs256"]);
    for name in ["keys/jwt.key", "keys/jwt.secret"] {
        let mode = setup.path(name).metadata().expect("a key").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

#[test]
fn a_second_run_destroys_nothing() {
    let setup = Server::with();
    make(&setup, &["ed25519"]);
    let read = || fs::read(setup.path("keys/jwt.key")).expect("a key");
    let first = read();
    // Nobody is there to answer whether it may replace them.
    setup.run(&["keys", "ed25519"]);
    assert!(read() == first);
}

#[test]
fn a_key_that_is_replaced_on_request_is_kept_beside_the_new_one() {
    let setup = Server::with();
    make(&setup, &["ed25519"]);
    let first = fs::read(setup.path("keys/jwt.key")).expect("a key");
    make(&setup, &["ed25519", "--force"]);
    assert!(fs::read(setup.path("keys/jwt.key")).expect("a key") != first);
    let names = support::server::files_in(&setup.path("keys"));
    let old = names.iter().find(|name| name.starts_with("jwt.key.old-")).expect("the old key");
    assert!(fs::read(setup.path("keys").join(old)).expect("a key") == first);
}

#[test]
fn a_kind_that_is_none_is_refused() {
    assert_eq!(Server::with().run(&["keys", "rot13"]).status.code(), Some(2));
}
