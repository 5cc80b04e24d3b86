//! Where a token may stand in a request, and what is echoed of it.

use support::{ALICE, BOB, Client, DEMO, Server};

const PROTOCOL: &str = "Sec-WebSocket-Protocol";

#[track_caller]
fn open_with(server: &Server, headers: &[(&str, &str)]) -> Client {
    match Client::try_open(server.address, "/chat/demo", headers) {
        Ok(client) => client,
        Err(refusal) => panic!("refused: {} {}", refusal.status, refusal.text()),
    }
}

#[test]
fn a_token_may_stand_in_the_query_under_four_names() {
    let server = Server::start();
    for name in ["auth", "ticket", "token", "t"] {
        let path = format!("/chat/demo?{name}={}", server.token(ALICE));
        Client::open(server.address, &path).say_and_hear(name);
    }
}

#[test]
fn other_parameters_beside_the_token_do_not_matter() {
    let server = Server::start();
    let path = format!("/chat/demo?since&x=1&&auth={}&y=%20", server.token(ALICE));
    Client::open(server.address, &path).say_and_hear("hello");
}

#[test]
fn a_token_may_be_a_bearer_token() {
    let server = Server::start();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {}", server.token(ALICE));
        open_with(&server, &[("Authorization", &value)]).say_and_hear(scheme);
    }
}

#[test]
fn another_scheme_of_authorization_carries_no_token() {
    let server = Server::start();
    let value = format!("Basic {}", server.token(ALICE));
    assert_eq!(server.refused("/chat/demo", &[("Authorization", &value)]).reason(), "token_missing");
}

#[test]
fn a_bare_token_as_subprotocol_is_echoed_since_browsers_insist() {
    let server = Server::start();
    let token = server.token(ALICE);
    let mut client = open_with(&server, &[(PROTOCOL, &token)]);
    assert_eq!(client.opened.header("sec-websocket-protocol"), Some(token.as_str()));
    client.say_and_hear("hello");
}

#[test]
fn a_marked_token_beside_a_real_protocol_is_not_echoed() {
    let server = Server::start();
    for (before, after) in [("propromo.chat, ", ""), ("", ", propromo.chat"), ("propromo.chat,", "")] {
        let value = format!("{before}bearer.{}{after}", server.token(ALICE));
        let client = open_with(&server, &[(PROTOCOL, &value)]);
        assert_eq!(client.opened.header("sec-websocket-protocol"), Some("propromo.chat"), "{before}|{after}");
    }
}

#[test]
fn a_protocol_header_in_two_lines_is_one_list() {
    let server = Server::start();
    let marked = format!("bearer.{}", server.token(ALICE));
    let client = open_with(&server, &[(PROTOCOL, "propromo.chat"), (PROTOCOL, &marked)]);
    assert_eq!(client.opened.header("sec-websocket-protocol"), Some("propromo.chat"));
}

#[test]
fn no_protocol_is_chosen_when_none_was_offered() {
    let server = Server::start();
    assert_eq!(server.join(ALICE, DEMO).opened.header("sec-websocket-protocol"), None);
}

#[test]
fn the_same_token_at_several_places_is_one_token() {
    let server = Server::start();
    let token = server.token(ALICE);
    let path = format!("/chat/demo?auth={token}&ticket={token}");
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), (PROTOCOL, &token)];
    let Ok(mut client) = Client::try_open(server.address, &path, &headers) else { panic!("refused") };
    client.say_and_hear("hello");
}

#[test]
fn two_different_tokens_at_any_two_places_are_refused() {
    let server = Server::start();
    let (one, other) = (server.token(ALICE), server.token(BOB));
    let bearer = format!("Bearer {other}");
    let marked = format!("chat, bearer.{other}");
    for (query, header) in [
        (format!("auth={one}&auth={other}"), None),
        (format!("t={one}&token={other}"), None),
        (format!("auth={one}"), Some(("Authorization", &bearer))),
        (format!("auth={one}"), Some((PROTOCOL, &other))),
        (format!("auth={one}"), Some((PROTOCOL, &marked))),
    ] {
        let headers: Vec<_> = header.map(|(name, value)| (name, value.as_str())).into_iter().collect();
        let refusal = server.refused(&format!("/chat/demo?{query}"), &headers);
        assert_eq!(refusal.status, 400, "{query:.20} {header:?}");
    }
    server.enter(&one, DEMO);
    server.enter(&other, DEMO);
}

#[test]
fn a_good_token_does_not_make_up_for_a_bad_one() {
    let server = Server::start();
    let path = format!("/chat/demo?auth={}&t=rubbish", server.token(ALICE));
    assert_eq!(server.refused(&path, &[]).status, 400);
}
