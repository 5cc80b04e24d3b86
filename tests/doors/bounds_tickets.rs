//! Tokens that need no password: bounded by account and by address, since to sign one is dear with some keys.

use support::{ALICE, BOB, Response, Server, http::get, server::Setup};

fn few_tickets() -> Setup {
    Server::with().env("TICKET_RATE", "3").env("TRUSTED_PROXIES", "127.0.0.1")
}

fn ask(server: &Server, path: &str, access: &str, client: &str) -> Response {
    let bearer = format!("Bearer {access}");
    server.connect().send(get(path, &[("Authorization", &bearer), ("X-Forwarded-For", client)])).response()
}

// Seen to fail with TICKET_RATE=0: all are signed.
#[test]
fn an_account_gets_so_many_tickets_of_both_kinds_and_another_one_its_own() {
    let server = few_tickets().start();
    let alice = server.access_token(ALICE);
    let statuses = [("/ws_ticket", 1), ("/token/ws", 2), ("/ws_ticket", 3)]
        .map(|(path, n)| ask(&server, path, &alice, &format!("192.0.2.{n}")).status);
    assert_eq!(statuses, [200; 3]);
    for path in ["/ws_ticket", "/token/ws"] {
        let answer = ask(&server, path, &alice, "192.0.2.9");
        assert_eq!((answer.status, answer.reason().as_str()), (429, "rate_limited"));
        let wait = answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        assert!(wait.is_some_and(|seconds| (1..=20).contains(&seconds)), "{wait:?}");
    }
    assert_eq!(ask(&server, "/ws_ticket", &server.access_token(BOB), "192.0.2.9").status, 200);
}

// Seen to fail with TICKET_RATE=0: each gets a 401.
#[test]
fn an_address_is_heard_as_often_as_ten_accounts_whatever_its_tokens() {
    let server = few_tickets().start();
    let statuses: Vec<_> = (0..31).map(|_| ask(&server, "/ws_ticket", "rubbish", "192.0.2.1").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 30);
    assert_eq!(statuses[30], 429);
    assert_eq!(ask(&server, "/ws_ticket", &server.access_token(ALICE), "192.0.2.2").status, 200);
}

// Seen to fail with TICKET_RATE=0.
#[test]
fn tokens_for_each_chat_of_a_login_count_as_well() {
    let server = few_tickets().start();
    let body = serde_json::json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    let log_in = |path| server.post(path, "application/json", &body);
    // Of two chats each.
    assert_eq!(log_in("/login?tokens=per-chat").status, 200);
    let answer = log_in("/login?tokens=per-chat");
    assert_eq!((answer.status, answer.reason().as_str()), (429, "rate_limited"));
    assert_eq!(log_in("/login").status, 200, "one token is the login's own");
}
