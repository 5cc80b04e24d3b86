//! CORS (Fetch Standard §3.2): the sites of `ORIGIN_ALLOWLIST` may read our answers. Pages of others may only send what
//! does no harm.

use crate::{
    auth::origin::OriginAllowlist,
    http::{head::Method, reply::Reply, request::Request},
    refusal::{Reason, Refusal},
};

/// Adds the CORS headers for a request with this method and these headers, as far as its origin is allowed.
///
/// With an empty list any page may open a WebSocket, as PROTOCOL.md says, but no other site may read an answer: for
/// that the list must name it.
pub fn permit<'a>(
    origins: &OriginAllowlist,
    method: Method,
    header: impl Fn(&str) -> Option<&'a str>,
    reply: &mut Reply,
) {
    if *origins != OriginAllowlist::default() {
        permit_if(|origin| origins.admit(Some(origin), false).is_ok(), method, header, reply);
    }
}

fn permit_if<'a>(
    admits: impl FnOnce(&str) -> bool,
    method: Method,
    header: impl Fn(&str) -> Option<&'a str>,
    reply: &mut Reply,
) {
    let mut add = |name, value: &str| reply.headers.push((name, value.to_owned()));
    // Also without an origin: a shared cache must not give one site's answer to another.
    add("Vary", "Origin");
    let Some(origin) = header("origin").filter(|origin| admits(origin)) else { return };
    add("Access-Control-Allow-Origin", origin);
    if method == Method::Options && header("access-control-request-method").is_some() {
        add("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE");
        // Headers that a site's libraries add to each request (`X-Requested-With`, `traceparent`) mean nothing here and
        // do no harm, so any header may be sent.
        let asked = header("access-control-request-headers").filter(|names| are_names(names));
        add("Access-Control-Allow-Headers", asked.unwrap_or("authorization, content-type"));
        add("Access-Control-Max-Age", "600");
    } else {
        add("Access-Control-Expose-Headers", "retry-after, x-request-id, x-room-key");
    }
}

/// Whether a text is a list of header names (RFC 9110 §5.6.1): nothing else is echoed in an answer.
fn are_names(list: &str) -> bool {
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    list.len() <= 1024 && list.split(',').all(|name| name.trim_matches([' ', '\t']).bytes().all(is_name_byte))
}

/// Refuses requests that a page of another site can send without asking for permission (Fetch §2.2.2). Such a page
/// sends `Origin`, and needs permission (CORS) to send JSON labelled as JSON. Programs may label their JSON as they
/// like.
pub fn not_from_another_site(request: &Request) -> Result<(), Refusal> {
    let media = request.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
    match request.header("origin") {
        Some(_) if !media.trim().eq_ignore_ascii_case("application/json") => {
            Err(Refusal::new(Reason::UnsupportedMediaType, "A page must send JSON, and say so in `Content-Type`."))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "https://app.example.org";

    fn permitted(request: &Request) -> Reply {
        let mut reply = Reply::empty(204);
        permit_if(|origin| origin == SITE, request.method, |name| request.header(name), &mut reply);
        reply
    }

    #[test]
    fn a_page_of_a_listed_site_may_read_the_answer() {
        let reply = permitted(&Request::bare(Method::Post, "/login").with_header("origin", SITE));
        assert_eq!(reply.header("access-control-allow-origin"), Some(SITE));
        assert_eq!(reply.header("vary"), Some("Origin"));
    }

    #[test]
    fn a_page_of_another_site_may_not() {
        let reply = permitted(&Request::bare(Method::Post, "/login").with_header("origin", "https://evil.example"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
        assert_eq!(reply.header("vary"), Some("Origin"));
    }

    #[test]
    fn a_preflight_is_told_which_headers_it_may_send() {
        let asks = Request::bare(Method::Options, "/login")
            .with_header("origin", SITE)
            .with_header("access-control-request-method", "POST");
        let reply = permitted(&asks);
        assert_eq!(reply.header("access-control-allow-headers"), Some("authorization, content-type"));
        assert!(reply.header("access-control-allow-methods").unwrap().contains("POST"));
    }

    #[test]
    fn a_preflight_may_send_what_it_asks_for() {
        let asks = |names: &str| {
            let asks = Request::bare(Method::Options, "/login")
                .with_header("origin", SITE)
                .with_header("access-control-request-method", "POST")
                .with_header("access-control-request-headers", names);
            permitted(&asks).header("access-control-allow-headers").unwrap().to_owned()
        };
        assert_eq!(asks("content-type,x-requested-with, traceparent"), "content-type,x-requested-with, traceparent");
        for odd in ["x-a: b", "a\u{fffd}", &"a".repeat(1025)] {
            assert_eq!(asks(odd), "authorization, content-type", "{odd}");
        }
    }

    #[test]
    fn without_a_list_no_site_is_named() {
        let mut reply = Reply::empty(204);
        let request = Request::bare(Method::Get, "/").with_header("origin", SITE);
        permit(&OriginAllowlist::default(), request.method, |name| request.header(name), &mut reply);
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}
