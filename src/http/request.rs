//! A complete plain request, as endpoints see it.

use super::head::{self, Head, Method};
use crate::refusal::{Reason, Refusal};
use std::net::IpAddr;

/// The headers that endpoints may read; all others are dropped.
pub const PASSED_ON: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "content-encoding",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "idempotency-key",
    "if-modified-since",
    "if-none-match",
    "origin",
    "sec-websocket-protocol",
    "user-agent",
    "x-forwarded-for",
];

/// Those headers that only express a wish. If a value is not ASCII, the header is left out, as if it had not been sent.
/// The other headers decide who may do what, and leaving one out could let somebody in.
const WISHES: &[&str] =
    &["accept", "accept-encoding", "accept-language", "if-modified-since", "if-none-match", "user-agent"];

/// The headers of a request that endpoints get. Refuses with `bad_request` if one that decides something is not ASCII.
pub fn passed_on(head: &Head) -> Result<Vec<&(String, String)>, Refusal> {
    let mut headers: Vec<_> = head.headers.iter().filter(|(name, _)| PASSED_ON.contains(&name.as_str())).collect();
    headers.retain(|(name, value)| value.is_ascii() || !WISHES.contains(&name.as_str()));
    if headers.iter().any(|(_, value)| !value.is_ascii()) {
        return Err(Refusal::new(
            Reason::BadRequest,
            "A header that is read here holds characters that are not ASCII.",
        ));
    }
    Ok(headers)
}

/// A complete plain request.
///
/// It may hold a password or a token, so it has no `Debug`.
pub struct Request {
    pub method: Method,
    pub path: String,
    /// The path's decoded segments.
    pub segments: Vec<String>,
    pub query: Option<String>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub client: IpAddr,
    /// Whether the client uses TLS, with this server or with one of our proxies.
    pub secure: bool,
}

impl Request {
    /// Builds the request from its head, the segments of its path, the headers that endpoints get, and its body.
    pub fn of(head: &Head, segments: Vec<String>, headers: &[&(String, String)], body: &[u8]) -> Request {
        let length = ("content-length".to_owned(), body.len().to_string());
        Request {
            method: head.method,
            path: head.path.clone(),
            segments,
            query: head.query.clone(),
            headers: headers.iter().copied().cloned().chain([length]).collect(),
            body: body.to_vec(),
            client: head.client,
            secure: head.secure,
        }
    }

    /// The first value of a header. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header, in the order in which they were sent. `name` is in lower case.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter, decoded; see [`Head::query_values`].
    pub fn query_values(&self, name: &str) -> Result<Vec<String>, Refusal> {
        head::query_values(self.query.as_deref(), name)
    }

    /// Whether a proxy says that it forwards the request for another client.
    pub fn forwarded(&self) -> bool {
        self.header("x-forwarded-for").is_some() || self.header("forwarded").is_some()
    }
}

#[cfg(test)]
impl Request {
    /// A request without query, headers and body. `path` must not need decoding.
    pub(crate) fn bare(method: Method, path: &str) -> Request {
        Request {
            method,
            path: path.to_owned(),
            segments: path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
            query: None,
            headers: Vec::new(),
            body: Vec::new(),
            client: IpAddr::from([192, 0, 2, 1]),
            secure: false,
        }
    }

    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self.with_header("content-type", content_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_sent_twice_gives_its_first_value_and_all_values() {
        let request = Request::bare(Method::Get, "/").with_header("accept", "a").with_header("accept", "b");
        assert_eq!(request.header("accept"), Some("a"));
        assert_eq!(request.header_values("accept").collect::<Vec<_>>(), ["a", "b"]);
    }
}
