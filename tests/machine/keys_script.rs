//! `keys.sh`: what it makes is what the server takes, and it destroys nothing. Needs `openssl`.

use propromo_chat::facade::tokens::{KeyError, Keyring};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/keys.sh");
const PASSPHRASE: &str = "correct horse";

/// Runs the script in `dir`, where no terminal can be asked.
fn keys(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.arg(SCRIPT).args(arguments).current_dir(dir);
    command.env("JWT_PASSPHRASE", PASSPHRASE).stdin(Stdio::null()).output().expect("sh runs")
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join("keys").join(name)).expect("the script made it")
}

fn loaded(dir: &Path) -> Keyring {
    let mut passphrase = || -> Result<String, KeyError> { Ok(PASSPHRASE.into()) };
    Keyring::from_settings(&read(dir, "jwt.key"), Some(&read(dir, "jwt.pub")), &mut passphrase).unwrap()
}

#[test]
fn the_keys_it_makes_are_taken_by_the_server() {
    for (arguments, algorithm) in
        [(vec![], "RS512"), (vec!["ed25519"], "EdDSA"), (vec!["ed25519", "--encrypt"], "EdDSA")]
    {
        let dir = tempfile::tempdir().unwrap();
        let output = keys(dir.path(), &arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(loaded(dir.path()).algorithm(), algorithm);
        assert_eq!(read(dir.path(), "jwt.key").contains("ENCRYPTED"), arguments.contains(&"--encrypt"));
    }
}

#[test]
fn the_secret_it_makes_is_taken_by_the_server() {
    let dir = tempfile::tempdir().unwrap();
    assert!(keys(dir.path(), &["hs256"]).status.success());
    let never = &mut || panic!("a secret has no passphrase");
    assert_eq!(Keyring::from_settings(&read(dir.path(), "jwt.secret"), None, never).unwrap().algorithm(), "HS256");
}

#[test]
fn nobody_else_may_read_what_it_makes() {
    let dir = tempfile::tempdir().unwrap();
    keys(dir.path(), &["ed25519", "hs256"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("keys")), 0o700);
    for name in ["jwt.key", "jwt.pub", "jwt.secret"] {
        assert_eq!(mode(&dir.path().join("keys").join(name)), 0o600, "{name}");
    }
}

#[test]
fn keys_that_exist_are_left_alone_where_nobody_can_be_asked() {
    let dir = tempfile::tempdir().unwrap();
    keys(dir.path(), &["ed25519"]);
    let before = read(dir.path(), "jwt.key");
    let output = keys(dir.path(), &["ed25519"]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--force"), "{output:?}");
    assert_eq!(read(dir.path(), "jwt.key"), before);
}

#[test]
fn keys_that_are_replaced_are_kept_beside_the_new_ones() {
    let dir = tempfile::tempdir().unwrap();
    keys(dir.path(), &["ed25519"]);
    let before = read(dir.path(), "jwt.key");
    assert!(keys(dir.path(), &["ed25519", "--force"]).status.success());
    assert_ne!(read(dir.path(), "jwt.key"), before);
    let kept = fs::read_dir(dir.path().join("keys")).unwrap().map(|entry| entry.unwrap().path());
    assert!(kept.filter(|path| path.is_file()).any(|path| fs::read_to_string(path).unwrap() == before));
}

#[test]
fn it_runs_when_it_is_piped_into_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let script = fs::File::open(SCRIPT).unwrap();
    let status =
        Command::new("sh").args(["-s", "--", "hs256"]).current_dir(dir.path()).stdin(script).output().unwrap().status;
    assert!(status.success() && dir.path().join("keys/jwt.secret").exists());
}

#[test]
fn an_argument_it_does_not_know_stops_it_before_it_does_anything() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(keys(dir.path(), &["rs256"]).status.code(), Some(2));
    assert!(!dir.path().join("keys").exists());
}
