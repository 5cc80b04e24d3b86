//! The keys that sign: every type that openssl makes, encrypted ones, from variables and from files.

use serde_json::json;
use std::process::Command;
use support::{
    ALICE, Client, DEMO, Server, claims_of, header_of,
    server::Setup,
    sign_hs256,
    token::{sign_hs512, signed_part},
};

const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const ED25519: &[&str] = &["-algorithm", "ED25519"];
const ENCRYPTED: &[&str] = &["-aes-256-cbc", "-pass", "pass:open sesame"];

#[track_caller]
fn openssl(arguments: &[&str], input: &str) -> String {
    use std::{io::Write, process::Stdio};
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("openssl reads");
    let output = child.wait_with_output().expect("openssl's output");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("PEM is text")
}

fn private_key(kind: &[&str]) -> String {
    openssl(&[&["genpkey"], kind].concat(), "")
}

fn public_key(private: &str) -> String {
    openssl(&["pkey", "-pubout", "-passin", "pass:open sesame"], private)
}

/// A server with this setup signs with `algorithm` and believes what it signed.
#[track_caller]
fn assert_signs_with(algorithm: &str, setup: Setup) -> Server {
    let server = setup.start();
    let answer = server.login(ALICE).json();
    for name in ["token", "access_token"] {
        assert_eq!(header_of(answer[name].as_str().expect("a token"))["alg"], algorithm);
    }
    server.join(ALICE, DEMO).say_and_hear("hello");
    server
}

#[test]
fn the_type_of_a_key_picks_its_algorithm() {
    for (kind, algorithm) in [(RSA, "RS512"), (P256, "ES256"), (ED25519, "EdDSA")] {
        let private = private_key(kind);
        let public = public_key(&private);
        assert_signs_with(algorithm, Server::with().env("JWT_PRIVATE_KEY", &private));
        assert_signs_with(algorithm, Server::with().env("JWT_PRIVATE_KEY", private).env("JWT_PUBLIC_KEY", public));
    }
}

#[test]
fn an_encrypted_key_is_opened_with_its_passphrase() {
    for (kind, algorithm) in [(RSA, "RS512"), (P256, "ES256"), (ED25519, "EdDSA")] {
        let private = private_key(&[kind, ENCRYPTED].concat());
        assert!(private.contains("ENCRYPTED"), "the key is encrypted");
        let setup = Server::with().env("JWT_PRIVATE_KEY", private).env("JWT_PASSPHRASE", "open sesame");
        assert_signs_with(algorithm, setup);
    }
}

#[test]
fn a_wrong_passphrase_stops_the_start_with_one_line() {
    let private = private_key(&[ED25519, ENCRYPTED].concat());
    let setup = Server::with().env("JWT_PRIVATE_KEY", &private).env("JWT_PASSPHRASE", "close sesame");
    let output = setup.run(&["serve", "--demo"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("close sesame") && !said.contains(private.lines().nth(1).expect("a line")), "{said}");
}

#[test]
fn keys_and_passphrase_may_come_from_files() {
    let private = private_key(&[RSA, ENCRYPTED].concat());
    let setup = Server::with()
        .without("JWT_PRIVATE_KEY")
        .file("public.pem", &public_key(&private))
        .file("private.pem", &private)
        .file("passphrase", "open sesame\n")
        .env("JWT_PRIVATE_KEY_FILE", "private.pem")
        .env("JWT_PUBLIC_KEY_FILE", "public.pem")
        .env("JWT_PASSPHRASE_FILE", "passphrase");
    assert_signs_with("RS512", setup);
}

#[test]
fn a_public_key_that_does_not_belong_to_the_private_one_stops_the_start() {
    let (private, other) = (private_key(ED25519), private_key(ED25519));
    let setup = Server::with().env("JWT_PRIVATE_KEY", private).env("JWT_PUBLIC_KEY", public_key(&other));
    assert_eq!(setup.run(&["serve", "--demo"]).status.code(), Some(2));
}

#[test]
fn an_hmac_made_with_the_public_key_is_refused() {
    for kind in [RSA, P256, ED25519] {
        let private = private_key(kind);
        let public = public_key(&private);
        let setup = Server::with().env("JWT_PRIVATE_KEY", private).env("JWT_PUBLIC_KEY", &public);
        let server = setup.start();
        let token = server.token(ALICE);
        let (header, claims) = (header_of(&token), claims_of(&token));
        let der = pem::parse(&public).expect("PEM").into_contents();
        for secret in [public.as_bytes(), public.trim_end().as_bytes(), &der] {
            for algorithm in ["HS256", header["alg"].as_str().expect("a name")] {
                let forged = sign_hs256(secret, &json!({"alg": algorithm, "typ": "JWT"}), &claims);
                assert_eq!(server.refused(&format!("/chat/demo?auth={forged}"), &[]).status, 401, "{algorithm}");
            }
            let forged = sign_hs512(secret, &json!({"alg": "HS512", "typ": "JWT"}), &claims);
            assert_eq!(server.refused(&format!("/chat/demo?auth={forged}"), &[]).status, 401);
        }
        let unsigned = format!("{}.", signed_part(&json!({"alg": "none"}), &claims));
        assert_eq!(server.refused(&format!("/chat/demo?auth={unsigned}"), &[]).status, 401);
        server.enter(&token, DEMO);
    }
}

#[test]
fn a_token_of_another_key_is_refused_and_of_the_same_key_believed() {
    let private = private_key(P256);
    let one = Server::with().env("JWT_PRIVATE_KEY", &private).start();
    let same = Server::with().env("JWT_PRIVATE_KEY", &private).start();
    let other = Server::with().env("JWT_PRIVATE_KEY", private_key(P256)).start();
    let token = one.token(ALICE);
    assert_eq!(other.refused(&format!("/chat/demo?auth={token}"), &[]).reason(), "token_bad_signature");
    same.enter(&token, DEMO).say_and_hear("hello");
}

#[test]
fn without_any_key_a_secret_is_made_kept_and_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = Server::with().without("JWT_PRIVATE_KEY").start();
    let token = server.token(ALICE);
    assert_eq!(header_of(&token)["alg"], "HS256");
    for name in support::server::files_in(&server.data_dir()) {
        let path = server.data_dir().join(&name);
        let mode = path.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} is open to others: {mode:o}");
    }
    server.terminate();
    Client::open(server.restart().address, &format!("/chat/demo?auth={token}")).say_and_hear("the same secret");
}

#[test]
fn a_weak_secret_stops_the_start() {
    let output = Server::with().env("JWT_PRIVATE_KEY", "secret").run(&["serve", "--demo"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("JWT_PRIVATE_KEY"));
}

/// It signs stream tokens elsewhere: whoever runs this server may have no say in it.
#[test]
fn a_weak_secret_of_another_program_is_warned_of() {
    let server = Server::with().env("STREAM_JWT_SECRET", "secret").start();
    server.logs(&["WARN", "STREAM_JWT_SECRET", "has 6 bytes; with less than 32"]);
}

#[test]
fn tokens_of_an_earlier_key_are_believed_while_it_is_named_and_new_ones_are_signed_with_the_new_key() {
    let (old, new) = (private_key(P256), private_key(ED25519));
    let mut server = Server::with().env("JWT_PRIVATE_KEY", &old).start();
    let (token, access) = (server.token(ALICE), server.access_token(ALICE));
    server.terminate();
    let changed = server.setup().clone().env("JWT_PRIVATE_KEY", &new);
    let older = format!("{}{}", public_key(&private_key(RSA)), public_key(&old));
    let mut server = changed.clone().env("JWT_OLD_KEYS", older).start();
    server.enter(&token, DEMO).say_and_hear("still here");
    assert_eq!(server.get_with_bearer("/ws_ticket", &access).status, 200);
    assert_eq!(header_of(&server.token(ALICE))["alg"], "EdDSA");
    server.terminate();
    let server = changed.start();
    let refused = server.get_with_bearer("/ws_ticket", &access);
    assert_eq!((refused.status, refused.reason().as_str()), (401, "token_bad_signature"));
}

#[test]
fn an_earlier_key_that_can_not_be_used_stops_the_start_with_one_line() {
    let output = Server::with().env("JWT_OLD_KEYS", "too short").run(&["serve", "--demo"]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
    assert!(said.contains("JWT_OLD_KEYS in the environment can't be used") && !said.contains("too short"), "{said}");
}
