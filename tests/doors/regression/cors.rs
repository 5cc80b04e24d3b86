//! What a page of another site could not send, or not read.

use support::{ALICE, Response, Server, http::post_with};

const SITE: &str = "https://app.propromo.example";

fn allowing() -> Server {
    Server::with().env("ORIGIN_ALLOWLIST", "app.propromo.example").env("MAX_BODY", "1000").start()
}

fn readable(answer: &Response) -> bool {
    answer.header("access-control-allow-origin") == Some(SITE)
        && answer.header("vary").is_some_and(|names| names.contains("Origin"))
}

fn preflight(server: &Server, origin: &str, headers: &str) -> Response {
    let request = format!(
        "OPTIONS /login HTTP/1.1\r\nHost: chat.test\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: {headers}\r\n\r\n"
    );
    server.connect().send(request).response()
}

/// axios as Laravel sets it up, a form's token, and what tracing adds.
#[test]
fn the_headers_that_libraries_add_were_not_allowed() {
    let server = allowing();
    for headers in ["content-type,x-requested-with", "x-csrf-token, x-xsrf-token", "traceparent,tracestate,baggage"] {
        let answer = preflight(&server, SITE, headers);
        assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, Some(headers)));
        assert!(readable(&answer));
        let refused = preflight(&server, "https://evil.example", headers);
        assert_eq!(refused.header("access-control-allow-origin"), None);
        assert_eq!(refused.header("access-control-allow-headers"), None);
    }
}

#[test]
fn a_page_could_not_read_why_its_request_was_refused() {
    let server = allowing();
    let origin = ("Origin", SITE);
    let json = ("Content-Type", "application/json");
    let request = |path: &str, headers: &[(&str, &str)], body: &str| {
        server.connect().send_what_fits(post_with(path, headers, body)).response()
    };
    for (answer, status) in [
        (request("/login", &[origin, json], &"x".repeat(2000)), 413),
        (request("/login", &[origin, json], "{}"), 400),
        (request("/nowhere", &[origin], ""), 404),
        (request("/login", &[origin, ("Content-Type", "text/xml")], "<x/>"), 415),
        (request("/%zz", &[origin], ""), 400),
        (server.connect().send(support::http::get("/channel/", &[origin])).response(), 426),
        (server.refused("/chat/demo", &[origin]), 400),
    ] {
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(readable(&answer), "{answer:?}");
    }
    let elsewhere = request("/login", &[("Origin", "https://evil.example"), json], &"x".repeat(2000));
    assert_eq!((elsewhere.status, elsewhere.header("access-control-allow-origin")), (413, None));
}

#[test]
fn without_a_list_no_page_of_another_site_reads_anything() {
    let server = Server::start();
    let answer = server.connect().send(post_with("/login", &[("Origin", SITE)], "{}")).response();
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, None));
    let headers = [("Origin", SITE)];
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    assert!(support::Client::try_open(server.address, &path, &headers).is_ok());
}
