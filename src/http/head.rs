//! A request head (RFC 9112 §3–5), parsed once and bounded. The parser is in [`super::parse`].

use crate::{
    refusal::{Reason, Refusal},
    request_id::RequestId,
};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;

/// A complete, unambiguous request head. The body has not been read yet.
#[derive(Clone, Debug)]
pub struct Head {
    pub method: Method,
    /// The path as it was sent, still percent-encoded. It begins with `/`, except for [`WHOLE_SERVER`].
    pub path: String,
    /// The query as it was sent, without the `?`.
    pub query: Option<String>,
    /// Names in lower case, values without surrounding white space, in order. Cookies of other programs are left out.
    /// Bytes of a value that are not UTF-8 become U+FFFD (RFC 9110 §5.5 treats them as opaque).
    pub headers: Vec<(String, String)>,
    /// How the body is delimited.
    pub body: BodyLength,
    /// Whether another request may follow on this connection.
    pub keep_alive: bool,
    /// `Connection: upgrade` with `Upgrade: websocket` on a GET.
    pub upgrade: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// The client's address, behind `TRUSTED_PROXIES`.
    pub client: IpAddr,
    /// Whether the client uses TLS, with this server or with one of our proxies.
    pub secure: bool,
    /// The id of the request in the log.
    pub id: RequestId,
}

/// The path of `OPTIONS *`, which asks about the server as a whole (RFC 9110 §9.3.7).
pub const WHOLE_SERVER: &str = "*";

/// How a request body is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// This many bytes; zero if the request has no body.
    Known(u64),
    Chunked,
}

/// The methods that this server knows (RFC 9110 §9.3, RFC 5789).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// Known, so that they are refused as methods that are not allowed (RFC 9110 §9.1); no endpoint allows them.
    Trace,
    Query,
}

impl Head {
    /// The first value of a header. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a header, in order. `name` is in lower case.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The path's segments. Each is percent-decoded (RFC 3986 §2.1) after splitting, so `%2F` stays inside its segment:
    /// `/chat/a%2Fb` gives `["chat", "a/b"]`. A trailing slash gives no empty segment.
    ///
    /// Refuses broken escapes, bytes that are not UTF-8, and NUL.
    pub fn segments(&self) -> Result<Vec<String>, Refusal> {
        segments(&self.path)
    }

    /// All values of a query parameter, decoded. `+` is a space only in forms: here it stays `+`.
    ///
    /// Refuses a value that can't be decoded. Other parameters are not decoded.
    pub fn query_values(&self, name: &str) -> Result<Vec<String>, Refusal> {
        query_values(self.query.as_deref(), name)
    }
}

impl Method {
    /// The method with this name; names are case-sensitive (RFC 9110 §9.1).
    pub fn from_name(name: &str) -> Option<Method> {
        use Method::*;
        [Get, Head, Post, Put, Patch, Delete, Options, Trace, Query].into_iter().find(|method| method.as_str() == name)
    }

    /// The name of the method on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Query => "QUERY",
        }
    }
}

/// The decoded segments of a path; see [`Head::segments`].
///
/// `.` and `..` are ordinary segments: no path here is the path of a file.
pub fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split('/').map(decode).collect()
}

/// All values of a query parameter; see [`Head::query_values`].
pub fn query_values(query: Option<&str>, name: &str) -> Result<Vec<String>, Refusal> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| decode(key).is_ok_and(|key| key == name)).map(|(_, value)| decode(value)).collect()
}

/// Percent-decodes text that must be well-formed, UTF-8, and without NUL.
pub(super) fn decode(text: &str) -> Result<String, Refusal> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b == b'%') {
        match rest[at + 1..] {
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = &rest[at + 3..],
            _ => return Err(Refusal::new(Reason::BadRequest, "A % in the address is not followed by two hex digits.")),
        }
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Refusal::new(Reason::BadRequest, "The address, percent-decoded, is not UTF-8."))?;
    if decoded.contains('\0') {
        return Err(Refusal::new(Reason::BadRequest, "The address holds a NUL."));
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn get(target: &str) -> Head {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        Head::parse(request.as_bytes(), Ipv4Addr::LOCALHOST.into(), &[]).unwrap().unwrap().0
    }

    #[test]
    fn an_encoded_slash_stays_inside_its_segment() {
        assert_eq!(get("/chat/%242y%2412%24W3pH/x%2Fy").segments().unwrap(), ["chat", "$2y$12$W3pH", "x/y"]);
    }

    #[test]
    fn a_trailing_slash_gives_no_segment() {
        assert_eq!(get("/channel/").segments().unwrap(), ["channel"]);
        assert!(get("/").segments().unwrap().is_empty());
    }

    #[test]
    fn dots_are_ordinary_segments() {
        assert_eq!(get("/a/../%2e%2e/b").segments().unwrap(), ["a", "..", "..", "b"]);
    }

    #[test]
    fn a_broken_escape_a_nul_and_bad_utf8_are_refused() {
        for path in ["/%zz", "/%2", "/a%", "/%00", "/%ff"] {
            assert_eq!(get(path).segments().unwrap_err().reason, Reason::BadRequest, "{path}");
        }
    }

    #[test]
    fn every_value_of_a_query_parameter_is_found() {
        let head = get("/x?t=a%3Db&u=1&t=c+d&t&%74=e");
        assert_eq!(head.query_values("t").unwrap(), ["a=b", "c+d", "", "e"]);
        assert!(head.query_values("v").unwrap().is_empty());
    }

    #[test]
    fn only_what_is_read_of_a_query_must_be_readable() {
        let head = get("/?utm_term=50%off&%=x&name=caf%e9&t=a%zz&auth=b");
        assert_eq!(head.query_values("auth").unwrap(), ["b"]);
        for broken in ["t", "name", "utm_term"] {
            assert_eq!(head.query_values(broken).unwrap_err().reason, Reason::BadRequest, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(segments in prop::collection::vec("[^\0]{1,12}", 1..5), value in "[^\0]*") {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let path: String = segments.iter().map(|s| format!("/{}", encode(s))).collect();
            let head = get(&format!("{path}?k={}", encode(&value)));
            prop_assert_eq!(head.segments().unwrap(), segments);
            prop_assert_eq!(head.query_values("k").unwrap(), vec![value]);
        }
    }
}
