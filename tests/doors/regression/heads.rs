//! Heads of requests that were refused for what nobody reads in them, and heads of answers.

use serde_json::json;
use support::{
    ALICE, Client, Response, Server,
    http::{get, post_with},
    ws::handshake,
};

/// A request with this line among its headers, which need not be text.
fn with_line(request: impl Into<Vec<u8>>, line: &[u8]) -> Vec<u8> {
    let request = request.into();
    let end = request.windows(2).position(|two| two == b"\r\n").expect("a request line") + 2;
    [&request[..end], line, b"\r\n", &request[end..]].concat()
}

#[track_caller]
fn answered(server: &Server, request: impl AsRef<[u8]>) -> Response {
    server.connect().send(request).response()
}

#[test]
fn a_header_that_nobody_reads_was_refused_for_its_bytes() {
    let server = Server::start();
    let body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    for line in [
        &b"Cookie: n=\xe9"[..],
        b"cf-ipcity: S\xe3o Paulo",
        "User-Agent: Größe/1".as_bytes(),
        b"Accept-Language: \xff",
        b"If-None-Match: \"\xe9\"",
    ] {
        let shown = String::from_utf8_lossy(line);
        assert_eq!(answered(&server, with_line(get("/", &[]), line)).status, 200, "{shown}");
        let login = post_with("/login", &[("Content-Type", "application/json")], &body);
        assert_eq!(answered(&server, with_line(login, line)).status, 200, "{shown}");
        let open = handshake(&format!("/chat/demo?auth={}", server.token(ALICE)), &[]);
        assert_eq!(answered(&server, with_line(open, line)).status, 101, "{shown}");
    }
}

#[test]
fn a_header_that_decides_something_is_still_refused_for_its_bytes() {
    let server = Server::with().env("STREAM_PUBLIC", "true").env("STREAM_PUBLISH_LOOPBACK", "true").start();
    let publish = || post_with("/stream", &[], "hello");
    assert_eq!(answered(&server, publish()).status, 202);
    // Left out instead, each would let somebody publish who is not this machine.
    for line in [&b"X-Forwarded-For: \xe9"[..], b"Forwarded: for=\xe9", b"Origin: https://\xe9.example"] {
        assert_eq!(answered(&server, with_line(publish(), line)).status, 400, "{}", String::from_utf8_lossy(line));
    }
    let server = Server::with().env("ORIGIN_ALLOWLIST", "chat.example").start();
    let open = handshake(&format!("/chat/demo?auth={}", server.token(ALICE)), &[]);
    assert_eq!(answered(&server, with_line(open, b"Origin: https://chat.example\xe9")).status, 403);
}

#[test]
fn a_stray_percent_in_a_parameter_that_nobody_reads_was_refused() {
    let server = Server::start();
    for query in ["utm_term=50%off", "q=100%", "name=caf%e9", "%=1", "a=%00"] {
        assert_eq!(server.get(&format!("/?{query}")).status, 200, "{query}");
        Client::open(server.address, &format!("/chat/demo?auth={}&{query}", server.token(ALICE)));
    }
    // What is read must be readable.
    for query in ["auth=50%off", "auth=%ff", "auth=%00"] {
        assert_eq!(server.refused(&format!("/chat/demo?{query}"), &[]).reason(), "bad_request", "{query}");
    }
    let ticket = server.ticket(ALICE);
    assert_eq!(server.refused(&format!("/channel/?ticket={ticket}&since=1%"), &[]).reason(), "bad_request");
    assert_eq!(server.post("/stream?key=%zz", "text/plain", "x").reason(), "bad_request");
}

/// HAProxy took the server out: this is what its plain `option httpchk` asked in older versions.
#[test]
fn options_of_the_whole_server_was_refused() {
    let server = Server::with().env("ADMIN_LISTEN", "127.0.0.1:0").start();
    for address in [server.address, server.admin_address()] {
        for request in ["OPTIONS * HTTP/1.1\r\nHost: chat.test\r\n\r\n", "OPTIONS * HTTP/1.0\r\n\r\n"] {
            let answer = support::Connection::open(address).send(request).response();
            assert_eq!(answer.status, 204, "{request}");
            assert!(answer.header("allow").is_some_and(|methods| methods.contains("GET")), "{answer:?}");
        }
    }
    assert_eq!(answered(&server, "GET * HTTP/1.1\r\nHost: chat.test\r\n\r\n").status, 400);
}

/// RFC 9110 §8.6.
#[test]
fn an_answer_without_a_body_stated_a_length() {
    let server = Server::with().env("ORIGIN_ALLOWLIST", "chat.example").start();
    let mut connection = server.connect();
    let options = "OPTIONS /login HTTP/1.1\r\nHost: chat.test\r\nConnection: keep-alive\r\n\r\n";
    let preflight = "OPTIONS /login HTTP/1.1\r\nHost: chat.test\r\nOrigin: https://chat.example\r\n\
                     Access-Control-Request-Method: POST\r\n\r\n";
    let etag = server.get("/").header("etag").expect("an ETag").to_owned();
    let unchanged = get("/", &[("If-None-Match", &etag)]);
    for (request, status) in [(options, 204), (preflight, 204), (&unchanged, 304)] {
        let answer = connection.send(request).response();
        assert_eq!((answer.status, answer.header("content-length")), (status, None), "{request}");
        assert!(answer.header("x-request-id").is_some() && answer.header("server").is_some(), "{answer:?}");
    }
    // All others do, and what follows on the connection is understood.
    let page = connection.send(get("/login", &[])).response();
    assert_eq!((page.status, page.header("content-length")), (405, Some(&*page.body.len().to_string())));
}

/// `new WebSocket(url + '?auth=' + token, ['chat'])`: without a choice a browser gives up (1006), and the token is spent.
#[test]
fn an_offer_of_names_alone_was_not_answered() {
    let server = Server::with().env("STREAM_PUBLIC", "true").start();
    let room = support::chats::public_room(&server, "Garden");
    for path in [
        format!("/chat/demo?auth={}", server.token(ALICE)),
        format!("/channel/?ticket={}", server.ticket(ALICE)),
        format!("/channel/garden?token={}", server.first_step(ALICE)),
        "/channel/".to_owned(),
        "/stream".to_owned(),
        "/".to_owned(),
        format!("/chats/{room}/ws"),
    ] {
        let offer = [("Sec-WebSocket-Protocol", "chat, later")];
        let Ok(client) = Client::try_open(server.address, &path, &offer) else { panic!("refused at {path}") };
        assert_eq!(client.opened.header("sec-websocket-protocol"), Some("chat"), "{path}");
        let client = Client::try_open(server.address, "/channel/", &[]).unwrap_or_else(|_| panic!("refused"));
        assert_eq!(client.opened.header("sec-websocket-protocol"), None);
    }
}

/// A method that is registered, and not taken here, is answered by those that are (RFC 9110 §9.1).
#[test]
fn trace_and_query_were_unknown_methods() {
    let server = Server::start();
    for method in ["TRACE", "QUERY"] {
        let answer = server.connect().send(format!("{method} /login HTTP/1.1\r\nHost: chat.test\r\n\r\n")).response();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")), "{method}");
    }
    let answer = server.connect().send("BREW /login HTTP/1.1\r\nHost: chat.test\r\n\r\n").response();
    assert_eq!(answer.status, 501);
}

#[test]
fn a_head_request_that_the_connection_refused_was_answered_with_a_body() {
    let server = Server::start();
    let request = "HEAD /chats HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 99999999\r\n\r\n";
    let mut connection = server.connect();
    let answer = connection.send(request).response_to_head();
    assert_eq!(answer.status, 413);
    assert!(connection.closes(), "RFC 9110 §9.3.2");
}
