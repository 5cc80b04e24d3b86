//! Whose request it is: the peer's, or behind a trusted proxy the one that `X-Forwarded-For` names.
//! Seen to fail with the first address of that header believed, whoever sends it.

use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{ALICE, Server, http::post_with, server::Setup};

const PROXY: &str = "127.0.0.0/8";

fn behind_a_proxy() -> Setup {
    Server::with().env("TRUSTED_PROXIES", PROXY).env("LOGIN_RATE", "2")
}

/// A failed login of an account that nobody else tries, as a proxy would hand it on.
fn attempt(server: &Server, forwarded: &[&str]) -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    attempt_as(server, &format!("nobody{}@propromo.example", NEXT.fetch_add(1, Ordering::Relaxed)), forwarded)
}

fn attempt_as(server: &Server, email: &str, forwarded: &[&str]) -> u16 {
    let body = json!({"email": email, "password": "wrong"}).to_string();
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(forwarded.iter().map(|value| ("X-Forwarded-For", *value)));
    server.connect().send(post_with("/login", &headers, body)).response().status
}

#[test]
fn logins_are_counted_by_the_clients_address() {
    let server = behind_a_proxy().start();
    for _ in 0..2 {
        assert_eq!(attempt(&server, &["203.0.113.1"]), 401);
    }
    assert_eq!(attempt(&server, &["203.0.113.1"]), 429);
    assert_eq!(attempt(&server, &["203.0.113.2"]), 401);
}

#[test]
fn what_a_client_puts_before_the_proxys_word_does_not_count() {
    let server = behind_a_proxy().start();
    for spoofed in ["198.51.100.1, 203.0.113.1", "198.51.100.2, 203.0.113.1"] {
        assert_eq!(attempt(&server, &[spoofed]), 401);
    }
    assert_eq!(attempt(&server, &["198.51.100.3, 203.0.113.1"]), 429);
    assert_eq!(attempt(&server, &["198.51.100.3", "203.0.113.1"]), 429, "two lines are one list");
    assert_eq!(attempt(&server, &["rubbish, 203.0.113.1"]), 429);
    assert_eq!(attempt(&server, &["203.0.113.1, 127.0.0.2"]), 429, "trusted proxies are skipped from the right");
}

#[test]
fn without_a_trusted_proxy_the_header_is_not_believed() {
    let server = Server::with().env("LOGIN_RATE", "2").start();
    assert_eq!(attempt(&server, &["203.0.113.1"]), 401);
    assert_eq!(attempt(&server, &["203.0.113.2"]), 401);
    assert_eq!(attempt(&server, &["203.0.113.3"]), 429);
}

#[test]
fn an_untrusted_peer_is_not_believed_either() {
    let server = Server::with().env("TRUSTED_PROXIES", "10.0.0.0/8, 2001:db8::/32").env("LOGIN_RATE", "2").start();
    assert_eq!(attempt(&server, &["203.0.113.1"]), 401);
    assert_eq!(attempt(&server, &["203.0.113.2"]), 401);
    assert_eq!(attempt(&server, &["203.0.113.3"]), 429);
}

#[test]
fn addresses_of_one_ipv6_network_count_as_one() {
    let server = behind_a_proxy().start();
    assert_eq!(attempt(&server, &["2001:db8:1:2::1"]), 401);
    assert_eq!(attempt(&server, &["2001:db8:1:2:ffff::7"]), 401);
    assert_eq!(attempt(&server, &["2001:db8:1:2:8000::"]), 429);
    assert_eq!(attempt(&server, &["2001:db8:1:3::1"]), 401);
}

#[test]
fn an_ipv4_address_written_as_ipv6_is_that_address() {
    let server = behind_a_proxy().start();
    assert_eq!(attempt(&server, &["203.0.113.1"]), 401);
    assert_eq!(attempt(&server, &["::ffff:203.0.113.1"]), 401);
    assert_eq!(attempt(&server, &["203.0.113.1"]), 429);
    assert_eq!(attempt(&server, &["::ffff:203.0.113.2"]), 401, "not the whole of IPv4 as one network");
}

#[test]
fn wrong_logins_are_counted_by_account_too_from_wherever_they_come() {
    let server = behind_a_proxy().env("LOGIN_RATE", "1").start();
    // One address after the other, each wrong for the first time: ten times the rate.
    for n in 1..=10 {
        let email = if n % 2 == 0 { ALICE.email } else { "Alice@Propromo.Example" };
        assert_eq!(attempt_as(&server, email, &[&format!("203.0.113.{n}")]), 401);
    }
    let refused = (11..40).filter(|n| attempt_as(&server, ALICE.email, &[&format!("203.0.113.{n}")]) == 429).count();
    assert!(refused > 0, "there is no bound");
    assert_eq!(attempt_as(&server, "nobody@propromo.example", &["203.0.113.99"]), 401);
}

#[test]
fn the_log_names_the_client_not_the_proxy() {
    let server = behind_a_proxy().start();
    server.refused("/chat/demo?auth=rubbish", &[("X-Forwarded-For", "203.0.113.77")]);
    server.logs(&["token_malformed", "203.0.113.77"]);
    // The connection itself refuses this one, before anybody reads the body.
    let head =
        "POST /login HTTP/1.1\r\nHost: chat.test\r\nX-Forwarded-For: 203.0.113.78\r\nContent-Length: 99999999\r\n\r\n";
    assert_eq!(server.connect().send(head).response().status, 413);
    server.logs(&["body_too_large", "203.0.113.78"]);
}
