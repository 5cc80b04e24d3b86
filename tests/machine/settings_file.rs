//! The settings file, and what `check` and `serve` say of the same mistakes.

use std::{fs, os::unix::fs::PermissionsExt, process::Output};
use support::{server::Setup, *};

/// A setup that reads `config.toml` in its directory, and nothing of this machine's.
#[track_caller]
fn with_file(text: &str) -> Setup {
    let setup = Server::with().file("config.toml", text);
    let path = setup.path("config.toml");
    setup.env("CONFIG", path)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn a_settings_file_sets_what_flags_and_environment_leave_open() {
    let text = "message_rate = \"5/s\"\nmax_body = 2048\nedit_window = \"15m\"\norigin_allowlist = [\"a.example\", \"b.example\"]\n";
    let setup = with_file(text).env("MAX_BODY", "1KiB").file(".env", "EDIT_WINDOW=1h\n");
    let output = setup.run(&["check"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let path = setup.path("config.toml").display().to_string();
    let shown =
        |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    assert_eq!(shown("MESSAGE_RATE "), format!("5/s  (line 1 of {path})"));
    assert_eq!(shown("MAX_BODY "), "1KiB  (environment)");
    assert_eq!(shown("EDIT_WINDOW "), "1h  (.env)");
    assert_eq!(shown("ORIGIN_ALLOWLIST "), format!("a.example,b.example  (line 4 of {path})"));
    // A server that does so, too: 1,500 bytes are more than the environment allows.
    let server = setup.start();
    assert_eq!(server.post("/login", "application/json", "x".repeat(1500)).status, 413);
}

#[test]
fn the_start_says_in_one_line_what_was_read_from_where() {
    let setup = with_file("message_rate = 5\nstream_publish_key = \"very-s3cret\"\n").file(".env", "EDIT_WINDOW=1h\n");
    let path = setup.path("config.toml").display().to_string();
    let server = setup.flag("--max-body", "2KiB").start();
    let from = format!("message_rate, stream_publish_key from {path}");
    server.logs(&[
        "settings: CONFIG, LISTEN, DATA_DIR, JWT_PRIVATE_KEY, ",
        " from environment",
        &from,
        "EDIT_WINDOW from .env",
        "--max-body from flags",
    ]);
    assert!(!server.log().contains("s3cret"), "{}", server.log());
}

#[test]
fn every_mistake_in_the_file_is_told_by_its_line() {
    let setup = with_file("listen = \":0\"\nmesage_rate = 5\nwhatever = 1\n");
    for command in ["check", "serve", "token"] {
        let arguments: &[&str] = if command == "token" { &["token", "--email", "a@b.c"] } else { &[command] };
        let output = setup.run(arguments);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("config.toml: mesage_rate is no setting; did you mean message_rate?"), "{said}");
        assert!(said.contains("line 3 of ") && said.contains(": whatever is no setting"), "{said}");
    }
    let output = with_file("max_body = \"64k\"\n").run(&["check"]);
    let said = said(&output);
    assert!(
        said.contains("wrong: max_body in line 1 of ") && said.contains("is \"64k\"; it should be a size"),
        "{said}"
    );
}

#[test]
fn config_init_writes_all_settings_as_comments_and_nothing_over() {
    let setup = Server::with();
    let output = setup.run(&["config", "init", "chat.toml"]);
    assert!(output.status.success(), "{}", said(&output));
    let written = fs::read_to_string(setup.path("chat.toml")).expect("the file");
    assert!(
        written.contains("\n#token_ttl = \"5m\"\n") && written.contains("\n#origin_required = false\n"),
        "{written}"
    );
    let mode = fs::metadata(setup.path("chat.toml")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777 & !0o640, 0, "{mode:o}");
    // It says nothing yet, so everything is as without it.
    let setup = setup.env("CONFIG", "chat.toml");
    let output = setup.run(&["check"]);
    assert!(output.status.success() && !said(&output).contains(" of chat.toml"), "{}", said(&output));
    let again = setup.run(&["config", "init", "chat.toml"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("chat.toml exists already"), "{}", said(&again));
    assert_eq!(fs::read_to_string(setup.path("chat.toml")).expect("the file"), written);
    let nowhere = setup.run(&["config", "init", "no/such/chat.toml"]);
    assert!(said(&nowhere).contains("there is no directory for no/such/chat.toml"), "{}", said(&nowhere));
    assert_eq!(String::from_utf8_lossy(&setup.run(&["config", "init", "-"]).stdout), written);
}

/// What `check` says of each setting but CONFIG, without where it is from; how many are from a file; its last line.
#[track_caller]
fn judged(setup: &Setup) -> (Vec<String>, usize, String) {
    let output = setup.run(&["check"]);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let (settings, verdict) = said.split_once("\n\n").expect("an empty line after the settings");
    let settings: Vec<_> = settings.lines().filter(|line| !line.starts_with("CONFIG ")).collect();
    let from_file = settings.iter().filter(|line| line.contains("  (line ")).count();
    let values = settings.iter().map(|line| line.split("  (").next().unwrap_or_default().trim().to_owned()).collect();
    (values, from_file, verdict.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn what_config_init_writes_means_the_defaults_when_every_comment_sign_is_taken_away() {
    let plain = Server::with();
    let written = String::from_utf8(plain.run(&["config", "init", "-"]).stdout).expect("text");
    let all = written.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let full = plain.clone().file("config.toml", &all.collect::<Vec<_>>().join("\n"));
    let path = full.path("config.toml");
    let full = full.env("CONFIG", path);
    let (values, from_file, verdict) = judged(&plain);
    assert_eq!((from_file, verdict.as_str()), (0, "all is well"));
    let (same, from_file, verdict) = judged(&full);
    assert_eq!((same, verdict.as_str()), (values, "all is well"));
    // All that have a default; this test's environment sets some others.
    assert!(from_file > 60, "{from_file}");
    assert_eq!(full.start().get("/healthz").status, 200);
}

/// Mistakes: their names, and setups that make them. (A Redis that is away is none to `serve`, which waits for it, and an
/// address in use none to `check`, since the server itself may be who uses it.)
fn mistakes() -> Vec<(&'static str, Setup)> {
    let with = Server::with;
    let in_file = |name: &'static str| with().file("a file", "").env(name, "a file/x");
    let pem = "-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----";
    let broken = with();
    fs::create_dir(broken.data_dir()).expect("a directory");
    fs::write(broken.data_dir().join("chat.db"), "no database".repeat(500)).expect("a file");
    vec![
        ("a settings file that is not there", with().env("CONFIG", "nowhere.toml")),
        ("a settings file that is a directory", with().env("CONFIG", ".")),
        ("a settings file that is no TOML", with_file("listen")),
        ("a key that is no setting", with_file("lisen = 1")),
        ("a value that can't be read", with_file("max_body = \"64k\"")),
        ("an .env that can't be read", with().file(".env", "JWT_PRIVATE_KEY 's3cret")),
        ("a number that is none", with().env("MAX_HEAD", "x")),
        ("a level that is none", with().env("LOG_LEVEL", "loud")),
        ("two settings that don't go together", with().env("PING_INTERVAL", "2m")),
        ("one address for two things", with().env("LISTEN", "127.0.0.1:1").env("ADMIN_LISTEN", "127.0.0.1:1")),
        ("a key that is too short", with().env("JWT_PRIVATE_KEY", "short")),
        ("a key that is none", with().env("JWT_PRIVATE_KEY", pem)),
        ("a secret that is a path", with().env("STREAM_PUBLISH_KEY", "/run/secrets/key")),
        ("a secret given twice", with().env("JWT_PRIVATE_KEY_FILE", "x")),
        ("a secret's file that is not there", with().without("JWT_PRIVATE_KEY").env("JWT_PRIVATE_KEY_FILE", "x")),
        ("a public key alone", with().without("JWT_PRIVATE_KEY").env("JWT_PUBLIC_KEY", "x".repeat(40))),
        (
            "an old key that is none",
            with().env("JWT_OLD_KEYS", "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----"),
        ),
        ("a backend's key that is none", with().env("API_KEYS", "backend all")),
        ("a certificate that is not there", with().env("TLS_CERT", "x.pem").env("TLS_KEY", "y.pem")),
        ("a certificate without a key", with().env("TLS_CERT", "x.pem")),
        ("a database of another kind", with().env("DATABASE_URL", "mysql://db/x")),
        ("storage of another kind", with().env("CHAT_STORAGE_URL", "http://cache")),
        ("a data directory in a file", in_file("DATA_DIR")),
        ("a database that is none", broken),
        ("an address of another machine", with().env("LISTEN", "192.0.2.1:1993")),
        ("an admin address of another machine", with().env("ADMIN_LISTEN", "192.0.2.1:1993")),
        ("a database that is away", with().env("DATABASE_URL", "postgres://chat@127.0.0.1:1/chat")),
    ]
}

#[test]
fn check_and_serve_end_with_the_same_code_for_the_same_mistake() {
    let mut differ = String::new();
    for (mistake, setup) in mistakes() {
        let (check, serve) = (setup.run(&["check"]), setup.run(&["serve"]));
        let codes = (check.status.code(), serve.status.code());
        let one =
            |output: &Output| String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
        if codes.0 != codes.1 || codes.0 == Some(0) {
            differ += &format!("{mistake}: {codes:?}\n  {}\n  {}\n", one(&check), one(&serve));
        }
        if !one(&serve).starts_with("propromo-chat: ") {
            differ += &format!("{mistake}: serve ends with {:?}\n", one(&serve));
        }
    }
    assert!(differ.is_empty(), "{differ}");
}
