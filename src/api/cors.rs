//! Which other sites' pages may read our answers (Fetch Standard §3.2): those of `ORIGIN_ALLOWLIST`.

use crate::{
    auth::origin::OriginAllowlist,
    http::{head::Method, reply::Reply, request::Request},
};

/// Adds the CORS headers that the request's origin is entitled to.
///
/// An empty list lets any page open a WebSocket, as PROTOCOL.md has it, but no other site read an answer:
/// that must be asked for by naming it.
pub fn permit(origins: &OriginAllowlist, request: &Request, reply: &mut Reply) {
    if *origins != OriginAllowlist::default() {
        permit_if(|origin| origins.admit(Some(origin), false).is_ok(), request, reply);
    }
}

fn permit_if(admits: impl FnOnce(&str) -> bool, request: &Request, reply: &mut Reply) {
    let mut add = |name, value: &str| reply.headers.push((name, value.to_owned()));
    // Also without an origin: a shared cache must not give one site's answer to another.
    add("Vary", "Origin");
    let Some(origin) = request.header("origin").filter(|origin| admits(origin)) else { return };
    add("Access-Control-Allow-Origin", origin);
    if request.method == Method::Options && request.header("access-control-request-method").is_some() {
        add("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE");
        add("Access-Control-Allow-Headers", "authorization, content-type");
        add("Access-Control-Max-Age", "600");
    } else {
        add("Access-Control-Expose-Headers", "retry-after, x-request-id, x-room-key");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITE: &str = "https://app.example.org";

    fn permitted(request: &Request) -> Reply {
        let mut reply = Reply::empty(204);
        permit_if(|origin| origin == SITE, request, &mut reply);
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
    fn without_a_list_no_site_is_named() {
        let mut reply = Reply::empty(204);
        let request = Request::bare(Method::Get, "/").with_header("origin", SITE);
        permit(&OriginAllowlist::default(), &request, &mut reply);
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}
