//! The answers of endpoints.

pub use super::request::Request;

use crate::refusal::{Reason, Refusal};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// What a page may load and do: use its own files and this server, nothing inline, and not inside a frame.
///
/// `'self'` in `connect-src` covers `ws:` and `wss:` to this server (CSP Level 3 §6.7.2.8). Naming those schemes would
/// allow every server.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// An answer to a plain request. The gateway adds its length, and drops the body for HEAD.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Any content. Unlike the other constructors, this one sets nothing about caching.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply::bare(status, body.into()).with("Content-Type", content_type)
    }

    /// JSON that must not be cached, because most of it holds tokens.
    pub fn json(status: u16, body: &(impl Serialize + ?Sized)) -> Reply {
        match serde_json::to_vec(body) {
            Ok(body) => Reply::written_json(status, body),
            Err(error) => {
                tracing::error!(%error, "an answer can't be written as JSON");
                Reply::from(Refusal::from(Reason::Internal))
            }
        }
    }

    /// The same, for JSON that is already written.
    pub fn written_json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply::new(status, "application/json", body).with("Cache-Control", "no-store")
    }

    pub fn text(status: u16, body: impl Into<String>) -> Reply {
        Reply::new(status, "text/plain; charset=utf-8", body.into()).with("Cache-Control", "no-store")
    }

    /// A page that must not be cached, under the home page's policy.
    pub fn html(status: u16, body: impl Into<String>) -> Reply {
        Reply::page(status, body.into()).with("Cache-Control", "no-store")
    }

    /// A page under the home page's policy. The caller decides about caching.
    pub fn page(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply::new(status, "text/html; charset=utf-8", body).with("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    }

    /// No content: for statuses such as 204 and 304.
    pub fn empty(status: u16) -> Reply {
        Reply::bare(status, Vec::new())
    }

    /// Adds a header. `value` must not contain a line break, which holds for all values of ours.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        let value = value.into();
        debug_assert!(!value.contains(['\r', '\n', '\0']), "{name} would be split");
        self.headers.push((name, value));
        self
    }

    /// The first value of a header, in any case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every reply starts here, so each carries these headers.
    fn bare(status: u16, body: Vec<u8>) -> Reply {
        Reply { status, headers: Vec::with_capacity(8), body }
            .with("X-Content-Type-Options", "nosniff")
            .with("Referrer-Policy", "no-referrer")
    }
}

impl From<Refusal> for Reply {
    /// `{"success":false,"reason":word,"message":sentence,"detail":{…}}` with the reason's status.
    fn from(refusal: Refusal) -> Reply {
        Reply::refused(refusal.reason.status(), &refusal)
    }
}

impl Reply {
    /// The usual body of a refusal, with the status that this endpoint's clients expect.
    pub fn refused(status: u16, refusal: &Refusal) -> Reply {
        let body = Refused {
            success: false,
            reason: refusal.reason.word(),
            message: &refusal.sentence,
            detail: refusal.detail.iter().copied().collect(),
        };
        Reply::json(status, &body).refusing(refusal)
    }

    /// A refusal in a door's own JSON.
    pub fn refused_with(status: u16, refusal: &Refusal, json: String) -> Reply {
        Reply::written_json(status, json).refusing(refusal)
    }

    /// Adds a field to a body that is a JSON object.
    pub fn with_field(mut self, name: &str, value: impl Into<serde_json::Value>) -> Reply {
        if let Ok(serde_json::Value::Object(mut object)) = serde_json::from_slice(&self.body) {
            object.insert(name.to_owned(), value.into());
            self.body = serde_json::Value::Object(object).to_string().into_bytes();
        }
        self
    }

    /// Adds the headers of a refusal.
    fn refusing(mut self, refusal: &Refusal) -> Reply {
        if let Some(wait) = refusal.retry_after {
            self = self.with("Retry-After", whole_seconds(wait).to_string());
        }
        match self.status {
            // A 401 must name a way to authenticate (RFC 9110 §15.5.2). Browsers open no dialog for this one.
            401 => self.with("WWW-Authenticate", "Bearer"),
            // Both are required with a 426 (RFC 9110 §15.5.22, RFC 6455 §4.4).
            426 => self.with("Upgrade", "websocket").with("Sec-WebSocket-Version", "13"),
            _ => self,
        }
    }
}

#[derive(Serialize)]
struct Refused<'a> {
    success: bool,
    reason: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    detail: BTreeMap<&'static str, &'static str>,
}

/// The seconds of `Retry-After`, rounded up and at least 1, so that a client that obeys is not too early (RFC 9110
/// §10.2.3).
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn body(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    #[test]
    fn a_refusal_says_word_and_sentence() {
        let reply = Reply::from(Refusal::from(Reason::RoomDenied));
        assert_eq!(reply.status, 403);
        let sentence = Reason::RoomDenied.sentence();
        assert_eq!(body(&reply), json!({"success": false, "reason": "room_denied", "message": sentence}));
    }

    #[test]
    fn a_refusal_names_the_fields_that_are_wrong() {
        let refusal = Refusal::from(Reason::InvalidFields).field("email", "is missing").field("password", "is missing");
        assert_eq!(body(&Reply::from(refusal))["detail"], json!({"email": "is missing", "password": "is missing"}));
    }

    #[test]
    fn the_time_to_wait_is_told_in_whole_seconds_rounded_up() {
        for (wait, told) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (5_999, "6"), (6_000, "6")] {
            let refusal = Refusal::from(Reason::RateLimited).retry_after(Duration::from_millis(wait));
            assert_eq!(Reply::from(refusal).header("retry-after"), Some(told), "{wait} ms");
        }
    }

    #[test]
    fn a_401_names_a_way_to_authenticate() {
        assert_eq!(Reply::from(Refusal::from(Reason::WrongCredentials)).header("www-authenticate"), Some("Bearer"));
    }

    #[test]
    fn every_kind_of_reply_forbids_sniffing_and_referrers() {
        let replies = [
            Reply::json(200, &json!({})),
            Reply::text(200, "ok"),
            Reply::html(200, "<!doctype html>"),
            Reply::page(200, "<!doctype html>"),
            Reply::empty(204),
            Reply::new(200, "text/css", ""),
            Reply::from(Refusal::from(Reason::NotFound)),
        ];
        for reply in replies {
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        }
    }

    #[test]
    fn json_is_never_kept() {
        assert_eq!(Reply::json(200, &json!({})).header("cache-control"), Some("no-store"));
    }

    #[test]
    fn pages_run_no_inline_script_or_style() {
        let policy = CONTENT_SECURITY_POLICY;
        assert!(policy.starts_with("default-src 'none'"));
        assert!(!policy.contains("unsafe"));
        assert_eq!(Reply::html(200, "").header("content-security-policy"), Some(policy));
    }
}
