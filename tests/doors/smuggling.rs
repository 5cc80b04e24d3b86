//! Requests that two readers could understand differently (RFC 9112 §11.2) are refused, and nothing behind them is read.
//! Seen to fail with a `body_length` that takes the first length, any coding that ends in `chunked`, and line feeds alone.

use support::{Server, ends};

/// The request is refused, the connection ends, and the request hidden behind it is never answered.
#[track_caller]
fn assert_refused(request: &str) {
    let server = Server::start();
    let mut connection = server.connect();
    connection.send_what_fits(request);
    connection.send_what_fits("GET /nothing/here HTTP/1.1\r\nHost: chat.test\r\n\r\n");
    let answer = connection.response();
    assert!(matches!(answer.status, 400 | 501), "{} for {request:?}", answer.status);
    assert!(connection.try_response().is_err(), "what came behind was answered: {request:?}");
    assert!(ends(connection.stream()));
    assert_eq!(server.get("/").status, 200);
}

const START: &str = "POST /login HTTP/1.1\r\nHost: chat.test\r\nContent-Type: application/json\r\n";

#[test]
fn a_length_beside_a_transfer_encoding() {
    assert_refused(&format!("{START}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    assert_refused(&format!("{START}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"));
}

#[test]
fn two_lengths() {
    assert_refused(&format!("{START}Content-Length: 2\r\nContent-Length: 5\r\n\r\n{{}}"));
    assert_refused(&format!("{START}Content-Length: 2, 5\r\n\r\n{{}}"));
}

#[test]
fn a_length_that_is_no_plain_number() {
    for length in ["+2", "-2", "0x2", "2 2", "2.0", "two", "", "99999999999999999999999"] {
        assert_refused(&format!("{START}Content-Length: {length}\r\n\r\n{{}}"));
    }
}

#[test]
fn a_transfer_encoding_that_is_not_just_chunked() {
    for encoding in ["xchunked", "chunked, identity", "gzip, chunked", "identity", "\"chunked\"", "chunked;x=1", ""] {
        assert_refused(&format!("{START}Transfer-Encoding: {encoding}\r\n\r\n0\r\n\r\n"));
    }
    assert_refused(&format!("{START}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
    assert_refused(&START.replace("1.1", "1.0").replace("\r\nHost", "\r\nTransfer-Encoding: chunked\r\nHost"));
}

#[test]
fn a_folded_line() {
    assert_refused(&format!("{START}X-Folded: one\r\n two\r\nContent-Length: 0\r\n\r\n"));
    assert_refused(&format!("{START}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"));
}

#[test]
fn white_space_around_a_name() {
    assert_refused(&format!("{START}Content-Length : 0\r\n\r\n"));
    assert_refused(&format!("{START}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"));
    assert_refused("POST /login HTTP/1.1\r\n Host: chat.test\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn a_line_without_a_name_or_colon() {
    assert_refused(&format!("{START}: nameless\r\nContent-Length: 0\r\n\r\n"));
    assert_refused(&format!("{START}no colon here\r\nContent-Length: 0\r\n\r\n"));
}

#[test]
fn control_characters_in_a_head() {
    for bad in ["nul\0", "return\rhere"] {
        assert_refused(&format!("{START}X-Bad: {bad}\r\nContent-Length: 0\r\n\r\n"));
    }
    assert_refused("GET /\u{1} HTTP/1.1\r\nHost: chat.test\r\n\r\n");
}

#[test]
fn no_host_or_two_of_them() {
    assert_refused("GET / HTTP/1.1\r\n\r\n");
    assert_refused("GET / HTTP/1.1\r\nHost: chat.test\r\nHost: evil.example\r\n\r\n");
}

#[test]
fn a_request_line_that_is_none() {
    for line in ["GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET nowhere HTTP/1.1", "G\u{e9}T / HTTP/1.1", "HELLO"]
    {
        assert_refused(&format!("{line}\r\nHost: chat.test\r\n\r\n"));
    }
}

#[test]
fn a_chunk_whose_size_is_no_plain_number() {
    for size in ["+2", "-2", "0x2", "", "2 2", "fffffffffffffffff", "2\n"] {
        assert_refused(&format!("{START}Transfer-Encoding: chunked\r\n\r\n{size}\r\n{{}}\r\n0\r\n\r\n"));
    }
}

#[test]
fn a_chunk_that_does_not_end_where_it_says() {
    assert_refused(&format!("{START}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}xx0\r\n\r\n"));
}

#[test]
fn lines_that_end_in_a_line_feed_alone() {
    assert_refused("GET / HTTP/1.1\nHost: chat.test\n\n");
    assert_refused(&format!("{START}Content-Length: 0\n\r\n"));
    assert_refused(&format!("{START}X-Hidden: a\nContent-Length: 5\r\n\r\n"));
    assert_refused(&format!("{START}Transfer-Encoding: chunked\r\n\r\n2\n{{}}\n0\n\n"));
}

#[test]
fn a_chunk_extension_that_hides_a_line() {
    assert_refused(&format!("{START}Transfer-Encoding: chunked\r\n\r\n2;x=\ny\r\n{{}}\r\n0\r\n\r\n"));
    assert_refused(&format!("{START}Transfer-Encoding: chunked\r\n\r\n2;x=\ry\r\n{{}}\r\n0\r\n\r\n"));
}

#[test]
fn a_body_beside_an_upgrade() {
    let upgrade = "GET /chat/demo HTTP/1.1\r\nHost: chat.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_refused(&format!("{upgrade}Content-Length: 5\r\n\r\n"));
    assert_refused(&format!("{upgrade}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
}

#[test]
fn a_request_hidden_in_a_body_is_no_request() {
    let server = Server::start();
    let hidden = "GET /nothing/here HTTP/1.1\r\nHost: chat.test\r\n\r\n";
    // The door answers before a body is read; what is in it must not be taken for the next request.
    for head in ["GET /chat/demo", "GET /", "HEAD /", "DELETE /login", "POST /nothing"] {
        let mut connection = server.connect();
        let request = format!("{head} HTTP/1.1\r\nHost: chat.test\r\nContent-Length: {}\r\n\r\n", hidden.len());
        connection.send_what_fits(request + hidden);
        if head.starts_with("HEAD") {
            connection.response_to_head();
        } else {
            connection.response();
        }
        connection.send_what_fits(support::http::get("/", &[]));
        // The next answer, if the connection is kept, is that of the next request.
        assert!(
            connection.try_response().is_ok_and(|answer| answer.status == 200) || ends(connection.stream()),
            "{head}"
        );
    }
}

#[test]
fn a_trailer_changes_nothing() {
    let server = Server::start();
    let mut connection = server.connect();
    let trailer = "0\r\nContent-Length: 50\r\nX-Forwarded-For: 203.0.113.1\r\nHost: evil.example\r\n\r\n";
    connection.send(format!("{START}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n{trailer}"));
    assert_eq!(connection.response().status, 400);
    connection.send(support::http::get("/", &[]));
    assert_eq!(connection.response().status, 200);
}

#[test]
fn other_bytes_than_http() {
    let server = Server::start();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\xff\xfe\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
        let mut connection = server.connect();
        connection.send_what_fits(bytes).send_what_fits(b"\r\n\r\n");
        assert!(ends(connection.stream()), "{bytes:?}");
    }
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_client_cannot_pass_itself_off_as_the_gateway() {
    let server = Server::with().env("LOGIN_RATE", "1").start();
    let attempt = |email: &str, name: &str| {
        let headers = [("Content-Type", "application/json"), (name, "203.0.113.9")];
        let body = serde_json::json!({"email": email, "password": "wrong"}).to_string();
        server.connect().send(support::http::post_with("/login", &headers, body)).response().status
    };
    assert_eq!(attempt("one@propromo.example", "X-Nothing"), 401);
    for name in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client", "X-Client-Address", "Client-IP"] {
        assert_eq!(attempt(&format!("{name}@propromo.example"), name), 429, "{name}");
    }
}
