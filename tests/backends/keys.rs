//! `API_KEYS`: who may call `/api/v1`, and what its log says.

use rustix::process::Signal;
use serde_json::{Value, json};
use support::{
    Server,
    api::{MASTER, api_keys, call, call_with, only},
};

/// An id of no message.
const NOTHING: &str = "0190a5c0-0000-7000-8000-000000000000";

/// Scopes of which one is enough, method and path of every call.
const CALLS: &[(&[&str], &str, &str)] = &[
    (&["tokens"], "POST", "/api/v1/tokens"),
    (&["publish"], "POST", "/api/v1/rooms/channel%3Alobby/messages"),
    (&["read"], "GET", "/api/v1/rooms/channel%3Alobby/messages"),
    (&["read"], "GET", "/api/v1/rooms/channel%3Alobby/presence"),
    (&["moderate"], "POST", "/api/v1/users/nobody/disconnect"),
    (&["moderate"], "POST", "/api/v1/notices"),
    (&["publish", "moderate"], "PATCH", "/api/v1/rooms/channel%3Alobby/messages/0190a5c0-0000-7000-8000-000000000000"),
    (&["publish", "moderate"], "DELETE", "/api/v1/rooms/channel%3Alobby/messages/0190a5c0-0000-7000-8000-000000000000"),
    (&["read"], "GET", "/api/v1/rooms"),
    (&["moderate"], "GET", "/api/v1/users/nobody/messages"),
    (&["moderate"], "DELETE", "/api/v1/users/nobody/messages"),
    (&["moderate"], "PUT", "/api/v1/rooms/channel%3Alobby/mutes/nobody"),
    (&["moderate"], "DELETE", "/api/v1/rooms/channel%3Alobby/mutes/nobody"),
];

#[test]
fn every_call_is_tried_here() {
    let tried: Vec<_> = CALLS.iter().map(|(_, method, path)| (*method, pattern(path))).collect();
    for (method, path) in propromo_chat::facade::described::endpoints().filter(|(_, path)| path.starts_with("/api/v1"))
    {
        assert!(tried.contains(&(method, path.to_owned())), "{method} {path}");
    }
}

fn pattern(path: &str) -> String {
    path.replace("channel%3Alobby", ":room").replace("nobody", ":user").replace(NOTHING, ":id")
}

#[test]
fn without_keys_there_is_nothing_there() {
    let server = Server::start();
    for (_, method, path) in CALLS {
        for method in [method, "OPTIONS", "GET"] {
            assert_eq!(server.call(method, path, None).status, 404, "{method} {path}");
        }
    }
    assert_eq!(server.call("POST", "/api/v1/tokens", None).reason(), "not_found");
}

#[test]
fn a_key_without_the_scope_is_refused_each_call() {
    let server = Server::with_api().start();
    for (scopes, method, path) in CALLS {
        for other in ["tokens", "publish", "read", "moderate"].iter().filter(|other| !scopes.contains(*other)) {
            let answer = call(server.address, &only(other), method, path, Some(json!({})));
            assert_eq!((answer.status, answer.reason()), (403, "scope_missing".into()), "{other}: {method} {path}");
        }
        for scope in *scopes {
            let answer = call(server.address, &only(scope), method, path, Some(json!({})));
            assert_ne!(answer.status, 403, "{scope}: {method} {path}: {}", answer.text());
        }
    }
}

#[test]
fn no_key_a_wrong_one_and_a_page_are_refused_each_call() {
    let server = Server::with_api().env("LOGIN_RATE", "0").start();
    for (_, method, path) in CALLS {
        let refused = |headers: &[(&str, &str)]| {
            let answer = call_with(server.address, headers, method, path, Some(json!({})));
            (answer.status, answer.reason())
        };
        let bearer = format!("Bearer {MASTER}");
        assert_eq!(refused(&[]), (401, "token_missing".into()), "{method} {path}");
        assert_eq!(refused(&[("Authorization", &format!("{bearer}x"))]), (401, "wrong_credentials".into()));
        assert_eq!(
            refused(&[("Authorization", &bearer), ("Authorization", "Bearer x")]),
            (400, "token_ambiguous".into())
        );
        for origin in ["http://chat.test", "null", "https://evil.example"] {
            let headers = [("Authorization", &*bearer), ("Origin", origin)];
            assert_eq!(refused(&headers), (403, "origin_denied".into()), "{method} {path}");
        }
    }
}

#[test]
fn an_access_token_is_no_key() {
    let server = Server::with_api().start();
    let token = server.access(support::ALICE);
    assert_eq!(call(server.address, &token, "POST", "/api/v1/tokens", None).reason(), "wrong_credentials");
}

#[test]
fn who_guesses_keys_is_heard_no_more_for_a_while() {
    let server = Server::with_api().env("LOGIN_RATE", "3/min").start();
    let guess = |key: &str| call(server.address, key, "POST", "/api/v1/tokens", Some(json!({})));
    // Good ones count for nothing.
    for _ in 0..10 {
        assert_eq!(guess(MASTER).reason(), "invalid_fields");
    }
    // At the turn of a minute the count starts again, and some more are let through.
    let refused = (0..8).map(|n| guess(&format!("{MASTER}{n}"))).find(|answer| answer.status == 429);
    let refused = refused.expect("an end to guessing");
    assert_eq!(refused.reason(), "rate_limited");
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|n| n <= 60)));
    assert_eq!(guess(MASTER).status, 429, "nor is a right one, which could be found out by that");
}

#[test]
fn keys_are_read_again_and_one_that_was_taken_out_is_refused() {
    let setup = Server::with().file("keys", &api_keys());
    let server = setup.clone().env("API_KEYS_FILE", setup.path("keys")).start();
    let status = |key: &str| call(server.address, key, "POST", "/api/v1/tokens", Some(json!({}))).status;
    assert_eq!(status(MASTER), 400);
    let setup = setup.file("keys", &format!("# only one is left\nother tokens {}\n", only("other")));
    server.signal(Signal::HUP);
    server.logs(&["the API keys were read again", "other"]);
    assert_eq!((status(MASTER), status(&only("other"))), (401, 400));
    let _setup = setup.file("keys", "other nothing-at-all");
    server.signal(Signal::HUP);
    server.logs(&["API keys could not be read again", "line 1"]);
    assert_eq!(status(&only("other")), 400, "the ones before stay");
}

#[test]
fn a_line_that_can_not_be_read_is_named_and_never_shown() {
    let secret = "a-secret-that-must-never-be-shown-anywhere";
    for (lines, number) in [
        (format!("site tokens {secret}\nci {secret}"), 2),
        (format!("Site tokens {secret}"), 1),
        (format!("site dance {secret}"), 1),
        (format!("site tokens {secret}\nother tokens {secret}"), 2),
        ("site tokens short-secret".to_owned(), 1),
    ] {
        for command in [&["serve", "--demo"][..], &["check"]] {
            let output = Server::with().env("API_KEYS", &lines).run(command);
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(&format!("line {number} of API_KEYS")), "{said}");
            assert!(!said.contains(secret) && !said.contains("short-secret"), "{said}");
        }
    }
}

#[test]
fn the_keys_command_makes_a_line_that_works() {
    let output = Server::with().run(&["keys", "api", "ci", "tokens,publish"]);
    assert!(output.status.success());
    let line = String::from_utf8(output.stdout).expect("text");
    let secret = line.trim_end().strip_prefix("ci tokens,publish ").expect("a line").to_owned();
    let server = Server::with().env("API_KEYS", line.trim_end()).start();
    assert_eq!(call(server.address, &secret, "POST", "/api/v1/tokens", Some(json!({}))).status, 400);
    for wrong in [&["ci"][..], &["C I", "read"], &["ci", "all"], &["ci", "read", "more"], &[]] {
        let output = Server::with().run(&[&["keys", "api"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn each_call_leaves_a_line_with_the_keys_name_and_no_secret() {
    let server = Server::with_api().env("LOG_FORMAT", "json").env("LOG_LEVEL", "debug").start();
    let made = server.call("POST", "/api/v1/tokens", Some(json!({"user": support::ALICE.email})));
    server.call("POST", "/api/v1/tokens", Some(json!({"user": "nobody@propromo.example"})));
    call(server.address, &only("read"), "POST", "/api/v1/tokens", None);
    server.logs(&["\"scope_missing\"", "API call"]);
    let log = server.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let calls: Vec<_> = lines.iter().filter(|line| line["message"] == "API call").collect();
    let told = |call: &Value| ["key", "what", "of", "outcome"].map(|name| call[name].as_str().unwrap().to_owned());
    assert_eq!(told(calls[0]), ["site", "make a token", support::ALICE.email, "201"]);
    assert_eq!(told(calls[1]), ["site", "make a token", "nobody@propromo.example", "user_not_found"]);
    assert_eq!(told(calls[2]), ["read-only", "make a token", "", "scope_missing"]);
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    for secret in [MASTER.to_owned(), only("read"), token] {
        assert!(!log.contains(&secret), "{log}");
    }
}
