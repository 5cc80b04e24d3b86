//! `ORIGIN_ALLOWLIST`: which pages may open a WebSocket.

use support::{ALICE, Client, Server};

fn admitted(server: &Server, origin: Option<&str>) -> bool {
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let headers: Vec<_> = origin.map(|origin| ("Origin", origin)).into_iter().collect();
    match Client::try_open(server.address, &path, &headers) {
        Ok(_) => true,
        Err(refusal) => {
            assert_eq!((refusal.status, refusal.reason().as_str()), (403, "origin_denied"), "{origin:?}");
            false
        }
    }
}

#[test]
fn an_empty_list_admits_any_origin() {
    let server = Server::start();
    for origin in [None, Some("https://anything.example"), Some("null")] {
        assert!(admitted(&server, origin), "{origin:?}");
    }
}

#[test]
fn the_host_is_compared_label_by_label() {
    let server = Server::with().env("ORIGIN_ALLOWLIST", "localhost, *.example.org,chat.example").start();
    for origin in [
        "http://localhost",
        "http://localhost:3000",
        "https://LocalHost:8443",
        "https://a.example.org",
        "https://A.Example.ORG:444",
        "https://chat.example",
    ] {
        assert!(admitted(&server, Some(origin)), "{origin}");
    }
    for origin in [
        "https://evil.example",
        "https://evilexample.org",
        "https://a.example.org.evil.example",
        "https://localhost.evil.example",
        "https://notlocalhost",
        "https://sub.chat.example",
        "https://evil.example/localhost",
        "https://localhost@evil.example",
        "https://evil.example#localhost",
        "null",
        "",
        "localhost.evil.example",
    ] {
        assert!(!admitted(&server, Some(origin)), "{origin}");
    }
}

#[test]
fn a_client_without_origin_passes() {
    let server = Server::with().env("ORIGIN_ALLOWLIST", "chat.example").start();
    assert!(admitted(&server, None));
}

#[test]
fn a_client_without_origin_is_refused_where_one_is_required() {
    let server = Server::with().env("ORIGIN_ALLOWLIST", "chat.example").env("ORIGIN_REQUIRED", "true").start();
    assert!(!admitted(&server, None));
    assert!(admitted(&server, Some("https://chat.example")));
}
