//! Parses a request head, and refuses everything that two readers could understand differently (RFC 9112 §11.2).

use super::{
    client_address, cookie,
    head::{BodyLength, Head, Method, WHOLE_SERVER},
};
use crate::{
    refusal::{Reason, Refusal},
    request_id::{self, RequestId},
};
use ipnet::IpNet;
use std::net::IpAddr;

/// Most header lines in one request; more are refused with 431.
pub const MAX_HEADERS: usize = 64;

impl Head {
    /// Parses the head at the start of `bytes`. Returns it with its length in bytes, or `None` if it is not complete
    /// yet.
    ///
    /// `peer` is the other end of the connection, `trusted` the proxies whose `X-Forwarded-For` is believed. The caller
    /// bounds the size of the head. After a refusal nothing behind `bytes` can be understood either: close the
    /// connection.
    pub fn parse(bytes: &[u8], peer: IpAddr, trusted: &[IpNet]) -> Result<Option<(Head, usize)>, Refusal> {
        // Old clients send one empty line before a request (RFC 9112 §2.2). httparse would skip any number of them.
        let skipped = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
        let bytes = &bytes[skipped..];
        if matches!(bytes.first(), Some(b'\r' | b'\n')) && bytes != b"\r" {
            return Err(malformed("There is an empty line where a request should begin."));
        }

        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut slots);
        let length = match request.parse(bytes).map_err(unreadable)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        if has_bare_line_end(&bytes[..length]) {
            return Err(malformed("A line of the request does not end in CR LF."));
        }
        let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
            return Err(malformed("The request line can't be read."));
        };

        let mut headers = Vec::with_capacity(request.headers.len());
        for header in request.headers.iter() {
            let name = header.name.to_ascii_lowercase();
            let value = String::from_utf8_lossy(header.value);
            let value = value.trim_matches([' ', '\t']);
            match name.as_str() {
                "cookie" => headers.extend(cookie::ours(value).map(|ours| (name, ours))),
                _ => headers.push((name, value.to_owned())),
            }
        }
        let method = Method::from_name(method).ok_or(Reason::NotImplemented)?;
        let (path, query) = if method == Method::Options && target == WHOLE_SERVER {
            (WHOLE_SERVER.to_owned(), None)
        } else {
            self::target(target, &mut headers)?
        };
        host(&headers, minor)?;
        let body = body_length(&headers, minor)?;
        let upgrade = method == Method::Get
            && minor == 1
            && lists(&headers, "connection", "upgrade")
            && lists(&headers, "upgrade", "websocket");
        if upgrade && body != BodyLength::Known(0) {
            return Err(malformed("A request to open a WebSocket can't have a body."));
        }
        let keep_alive =
            !lists(&headers, "connection", "close") && (minor == 1 || lists(&headers, "connection", "keep-alive"));
        let head = Head {
            method,
            path,
            query,
            body,
            keep_alive,
            upgrade,
            expects_continue: expects_continue(&headers, minor)?,
            id: RequestId::given(one(&headers, request_id::HEADER), peer, trusted),
            client: client_address::client(peer, values(&headers, "x-forwarded-for"), trusted),
            secure: client_address::is_secure(
                peer,
                values(&headers, "x-forwarded-proto"),
                values(&headers, "forwarded"),
                trusted,
            ),
            headers,
        };
        Ok(Some((head, skipped + length)))
    }
}

/// The value of a header that is there once, in any case of `name`.
fn one<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    found.next().filter(|_| found.next().is_none())
}

fn malformed(sentence: &'static str) -> Refusal {
    Refusal::new(Reason::BadRequest, sentence)
}

fn unreadable(error: httparse::Error) -> Refusal {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => Refusal::new(Reason::HeadTooLarge, "The request has more than 64 headers."),
        Error::Version => Reason::HttpVersion.into(),
        Error::HeaderName => malformed("The name of a header can't be read."),
        Error::HeaderValue => malformed("The value of a header can't be read."),
        Error::NewLine => malformed("A line of the request does not end in CR LF."),
        Error::Status | Error::Token => malformed("The request line can't be read."),
    }
}

/// httparse accepts a lone LF as the end of a line; others do not (RFC 9112 §2.2 allows both).
fn has_bare_line_end(head: &[u8]) -> bool {
    let mut before = 0;
    head.iter().any(|&byte| {
        let bare = (byte == b'\n') != (before == b'\r');
        before = byte;
        bare
    })
}

/// The path and query of a request target (RFC 9112 §3.2). The host of an absolute target replaces `Host` (§3.2.2).
fn target(target: &str, headers: &mut Vec<(String, String)>) -> Result<(String, Option<String>), Refusal> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed("The address holds characters that must be percent-encoded."));
    }
    if target.contains('#') {
        return Err(malformed("The address holds a fragment (#), which is never sent."));
    }
    let origin_form = if target.starts_with('/') {
        target
    } else {
        let (authority, rest) = absolute(target)?;
        headers.retain(|(name, _)| name != "host");
        headers.push(("host".to_owned(), authority.to_owned()));
        rest
    };
    let (path, query) = match origin_form.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin_form, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    Ok((path.to_owned(), query.map(str::to_owned)))
}

/// Splits `http://authority/path?query` into the authority and the rest.
fn absolute(target: &str) -> Result<(&str, &str), Refusal> {
    let without_scheme = ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let Some(rest) = without_scheme else {
        return Err(malformed("The address must begin with a slash."));
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // Here an empty host is an error (RFC 9110 §4.2.1); in `Host` it is not.
    if authority.is_empty() {
        return Err(malformed("The address names no host."));
    }
    Ok((authority, rest))
}

/// Checks `Host`: exactly one in HTTP/1.1, at most one in 1.0, with a valid form (RFC 9112 §3.2).
fn host(headers: &[(String, String)], minor: u8) -> Result<(), Refusal> {
    let mut hosts = values(headers, "host");
    match (hosts.next(), hosts.next()) {
        (None, _) if minor == 0 => Ok(()),
        (None, _) => Err(malformed("The request has no Host header.")),
        (Some(_), Some(_)) => Err(malformed("The request has more than one Host header.")),
        (Some(host), None) => {
            let possible = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
            if host.bytes().all(possible) { Ok(()) } else { Err(malformed("The Host header names no host.")) }
        }
    }
}

/// How the body ends (RFC 9112 §6.3). Refuses what two readers could understand differently.
fn body_length(headers: &[(String, String)], minor: u8) -> Result<BodyLength, Refusal> {
    let mut lengths = values(headers, "content-length");
    let mut codings = values(headers, "transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(BodyLength::Known(0)),
        (Some(_), Some(_)) => Err(malformed("The request has both Content-Length and Transfer-Encoding.")),
        (Some(length), None) => {
            // Equal lengths could be merged (RFC 9110 §8.6), but no honest client sends two.
            if lengths.next().is_some() {
                return Err(malformed("The request has more than one Content-Length."));
            }
            // `parse` alone would accept "+5".
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            match length.parse() {
                Ok(length) if digits => Ok(BodyLength::Known(length)),
                _ => Err(malformed("The Content-Length is not a number.")),
            }
        }
        (None, Some(coding)) => {
            if minor == 0 {
                return Err(malformed("Transfer-Encoding does not exist in HTTP/1.0."));
            }
            if codings.next().is_some() || !coding.eq_ignore_ascii_case("chunked") {
                return Err(malformed("The only Transfer-Encoding that this server accepts is chunked."));
            }
            Ok(BodyLength::Chunked)
        }
    }
}

fn expects_continue(headers: &[(String, String)], minor: u8) -> Result<bool, Refusal> {
    let mut expected = false;
    for value in values(headers, "expect") {
        if !value.eq_ignore_ascii_case("100-continue") {
            return Err(Reason::ExpectationFailed.into());
        }
        expected = true;
    }
    // A 1.0 client does not understand a 100 (RFC 9110 §10.1.1).
    Ok(expected && minor == 1)
}

/// Whether any value of a list header (RFC 9110 §5.6.1) holds `token`, in any case.
fn lists(headers: &[(String, String)], name: &str, token: &str) -> bool {
    values(headers, name).any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(token)))
}

fn values<'a>(headers: &'a [(String, String)], name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
    headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn parse(request: &str) -> Result<Option<(Head, usize)>, Refusal> {
        Head::parse(request.as_bytes(), Ipv4Addr::new(192, 0, 2, 1).into(), &[])
    }

    fn parsed(request: &str) -> Head {
        parse(request).unwrap().unwrap().0
    }

    fn with(headers: &str) -> String {
        format!("POST /x HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
    }

    #[track_caller]
    fn refused(request: &str, reason: Reason) {
        assert_eq!(parse(request).unwrap_err().reason, reason, "{request:?}");
    }

    #[test]
    fn a_plain_request_is_understood() {
        let request =
            "POST /login?a=b HTTP/1.1\r\nHost: chat.example:1993\r\nContent-Length: 7\r\nX-Y:\t z \r\n\r\nbody";
        let (head, length) = parse(request).unwrap().unwrap();
        assert_eq!(&request[length..], "body");
        assert_eq!((head.method, head.path.as_str(), head.query.as_deref()), (Method::Post, "/login", Some("a=b")));
        assert_eq!(head.header("x-y"), Some("z"));
        assert_eq!(head.body, BodyLength::Known(7));
        assert!(head.keep_alive && !head.upgrade && !head.expects_continue);
    }

    #[test]
    fn a_part_of_a_head_is_waited_for() {
        let request = with("Content-Length: 0\r\n");
        for end in 0..request.len() {
            assert!(parse(&request[..end]).unwrap().is_none(), "{end}");
        }
    }

    #[test]
    fn two_ways_to_find_the_end_of_the_body_are_refused() {
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
        ] {
            refused(&with(headers), Reason::BadRequest);
        }
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::BadRequest);
    }

    #[test]
    fn lines_that_readers_split_differently_are_refused() {
        for request in [
            "GET / HTTP/1.1\nHost: x\n\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n: nameless\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            let refusal = parse(request).unwrap_err();
            assert!(matches!(refusal.reason, Reason::BadRequest | Reason::HttpVersion), "{request:?}: {refusal}");
        }
    }

    #[test]
    fn one_empty_line_before_a_request_is_skipped() {
        let request = "\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n";
        let (head, length) = parse(&format!("{request}rest")).unwrap().unwrap();
        assert_eq!((head.path.as_str(), length), ("/a", request.len()));
    }

    #[test]
    fn the_host_is_there_once_and_possible() {
        refused("GET / HTTP/1.1\r\n\r\n", Reason::BadRequest);
        refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Reason::BadRequest);
        refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Reason::BadRequest);
        refused("GET / HTTP/1.1\r\nHost: me@a\r\n\r\n", Reason::BadRequest);
        assert_eq!(parsed("GET / HTTP/1.0\r\n\r\n").header("host"), None);
    }

    #[test]
    fn an_absolute_target_gives_path_and_host() {
        let head = parsed("GET HTTP://chat.example:8080?x=y HTTP/1.1\r\nHost: other\r\n\r\n");
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/", Some("x=y")));
        assert_eq!(head.header("host"), Some("chat.example:8080"));
    }

    #[test]
    fn other_targets_are_refused() {
        for target in ["*", "example.org:80", "http://", "http://me@x/", "ftp://x/", "a", "/a#b", "/é"] {
            refused(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), Reason::BadRequest);
        }
    }

    #[test]
    fn versions_and_methods_that_are_not_spoken_have_their_own_answers() {
        refused("GET / HTTP/2.0\r\nHost: x\r\n\r\n", Reason::HttpVersion);
        refused("BREW / HTTP/1.1\r\nHost: x\r\n\r\n", Reason::NotImplemented);
        refused("get / HTTP/1.1\r\nHost: x\r\n\r\n", Reason::NotImplemented);
        refused(&with("Expect: 200-ok\r\n"), Reason::ExpectationFailed);
    }

    #[test]
    fn the_65th_header_is_one_too_many() {
        assert!(parse(&with(&"A: b\r\n".repeat(63))).is_ok());
        refused(&with(&"A: b\r\n".repeat(64)), Reason::HeadTooLarge);
    }

    #[test]
    fn a_header_may_hold_any_bytes() {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nA: b\xff\xc2\x85\r\n\r\n";
        let (head, length) = Head::parse(request, Ipv4Addr::LOCALHOST.into(), &[]).unwrap().unwrap();
        assert_eq!((head.header("a"), length), (Some("b\u{fffd}\u{85}"), request.len()));
    }

    #[test]
    fn the_whole_server_is_asked_about_by_options_alone() {
        assert_eq!(parsed("OPTIONS * HTTP/1.0\r\n\r\n").path, "*");
        refused("GET * HTTP/1.1\r\nHost: x\r\n\r\n", Reason::BadRequest);
        refused("OPTIONS *x HTTP/1.1\r\nHost: x\r\n\r\n", Reason::BadRequest);
    }

    #[test]
    fn connections_are_kept_as_their_version_says() {
        let kept = |version: &str, connection: &str| {
            parsed(&format!("GET / HTTP/{version}\r\nHost: x\r\nConnection: {connection}\r\n\r\n")).keep_alive
        };
        assert!(kept("1.1", "x"));
        assert!(!kept("1.1", "x, Close"));
        assert!(!kept("1.0", "x"));
        assert!(kept("1.0", "Keep-Alive"));
    }

    #[test]
    fn an_upgrade_needs_both_headers_and_a_get() {
        let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
        assert!(parsed(&format!("GET / HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n")).upgrade);
        assert!(!parsed("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n").upgrade);
        assert!(!parsed("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").upgrade);
        assert!(!parsed(&with(upgrade)).upgrade);
        refused(&format!("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n{upgrade}\r\n"), Reason::BadRequest);
    }

    #[test]
    fn a_100_is_expected_by_1_1_only() {
        assert!(parsed(&with("Expect: 100-Continue\r\n")).expects_continue);
        assert!(!parsed("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue);
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n";
        let proxy: IpAddr = Ipv4Addr::new(10, 0, 0, 1).into();
        let (head, _) = Head::parse(request, proxy, &["10.0.0.0/8".parse().unwrap()]).unwrap().unwrap();
        assert_eq!(head.client, Ipv4Addr::new(198, 51, 100, 7));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_or_read_too_far(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some((_, length))) = Head::parse(&bytes, Ipv4Addr::LOCALHOST.into(), &[]) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn what_follows_a_head_does_not_change_it(
            mutation in 0usize..80, byte in any::<u8>(), rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut bytes = with("Content-Length: 12\r\nConnection: close\r\nX: y\r\n").into_bytes();
            let at = mutation % bytes.len();
            bytes[at] = byte;
            let parse = |bytes: &[u8]| Head::parse(bytes, Ipv4Addr::LOCALHOST.into(), &[]);
            if let Ok(Some((head, length))) = parse(&bytes) {
                bytes.extend(&rest);
                let (again, same) = parse(&bytes).unwrap().unwrap();
                prop_assert_eq!(length, same);
                let again = Head { id: head.id.clone(), ..again };
                prop_assert_eq!(format!("{head:?}"), format!("{again:?}"));
            }
        }
    }
}
