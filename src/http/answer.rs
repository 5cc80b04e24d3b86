//! Answers that the connection thread gives by itself, and the `Connection` header of every answer.

use super::reply::Reply;
use std::{borrow::Cow, time::SystemTime};

/// What happens to the connection after an answer (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Kept, which is the default of HTTP/1.1.
    Kept,
    /// Kept, with a header that says so: the client asked, and an HTTP/1.0 client needs it.
    KeptAsAsked,
    Closed,
}

impl Persistence {
    /// The option for the `Connection` header.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Persistence::Kept => None,
            Persistence::KeptAsAsked => Some("keep-alive"),
            Persistence::Closed => Some("close"),
        }
    }
}

/// The bytes of an answer. A HEAD request gets no body, but the body's length (RFC 9110 §9.3.2).
pub fn encode(reply: &Reply, persistence: Persistence, to_head_request: bool) -> Vec<u8> {
    let phrase = tiny_http::StatusCode(reply.status).default_reason_phrase();
    let mut bytes = format!("HTTP/1.1 {} {phrase}\r\n", reply.status).into_bytes();
    let mut header = |name: &str, value: &str| {
        for part in [name, ": ", value, "\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
    };
    header("Server", SERVER);
    header("Date", &httpdate::fmt_http_date(SystemTime::now()));
    for (name, value) in reply.headers.iter().filter(|(name, value)| is_fit(name, value)) {
        header(name, value);
    }
    // A sender of `Upgrade` must list it in `Connection` (RFC 9110 §7.8).
    let offers_upgrade = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    let connection: Option<Cow<str>> = match persistence.option() {
        Some(option) if offers_upgrade => Some(format!("{option}, upgrade").into()),
        None if offers_upgrade => Some("upgrade".into()),
        option => option.map(Cow::from),
    };
    if let Some(connection) = connection {
        header("Connection", &connection);
    }
    let bodiless = is_bodiless(reply.status);
    if !bodiless {
        header("Content-Length", &reply.body.len().to_string());
    }
    bytes.extend_from_slice(b"\r\n");
    if !bodiless && !to_head_request {
        bytes.extend_from_slice(&reply.body);
    }
    bytes
}

/// Whether answers of this status have no body, whatever length they state (RFC 9112 §6.3).
pub fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// Whether a header can be sent. If not, it is left out and logged: with a line break in the value, its author could
/// write headers and bodies of their own.
pub fn is_fit(name: &str, value: &str) -> bool {
    let fit = value.bytes().all(|byte| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic());
    if !fit {
        tracing::error!(name, "a header of a reply can't be sent; it is left out");
    }
    fit
}

/// The `Server` header of every answer. It names no version, which would only help scanners.
pub const SERVER: &str = "propromo-chat";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::{Reason, Refusal};
    use std::time::Duration;

    fn text(refusal: &Refusal, persistence: Persistence, to_head_request: bool) -> String {
        String::from_utf8(encode(&Reply::from(refusal.clone()), persistence, to_head_request)).unwrap()
    }

    #[test]
    fn a_refusal_is_json_with_its_reason() {
        let answer = text(&Reason::BadRequest.into(), Persistence::Closed, false);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["reason"], "bad_request");
    }

    #[test]
    fn part_of_a_second_counts_as_a_whole_one() {
        let refusal = Refusal::from(Reason::RateLimited).retry_after(Duration::from_millis(1001));
        assert!(text(&refusal, Persistence::Kept, false).contains("\r\nRetry-After: 2\r\n"));
    }

    #[test]
    fn upgrade_required_says_to_what() {
        let answer = text(&Reason::UpgradeRequired.into(), Persistence::Kept, false);
        for header in ["Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13"] {
            assert!(answer.contains(&format!("\r\n{header}\r\n")), "{answer}");
        }
    }

    #[test]
    fn a_head_request_gets_the_length_alone() {
        let answer = text(&Reason::NotFound.into(), Persistence::Kept, true);
        assert!(answer.contains("Content-Length: ") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}
