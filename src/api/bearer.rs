//! `Authorization: Bearer` (RFC 6750): identifies the caller by access token.

use crate::{
    auth::token::{Kind, Verified},
    chat::Chat,
    http::{negotiation, reply::Reply, request::Request},
    refusal::{Reason, Refusal},
};
use std::time::SystemTime;

/// Verifies the request's access token. A token of another kind is refused with `token_wrong_kind`.
pub fn access(chat: &Chat, request: &Request) -> Result<Verified, Refusal> {
    chat.config.keys.verify(token(request)?, |kind| kind == Kind::Access, SystemTime::now())
}

/// The token of the request. Refuses with `token_missing` if there is none, and with `token_ambiguous` if there are two
/// different ones.
pub fn token(request: &Request) -> Result<&str, Refusal> {
    let mut tokens = request.header_values("authorization").filter_map(negotiation::bearer);
    let first = tokens.next().ok_or_else(|| {
        Refusal::new(Reason::TokenMissing, "Send your access token in the header `Authorization: Bearer …`.")
    })?;
    if tokens.any(|other| other != first) { Err(Reason::TokenAmbiguous.into()) } else { Ok(first) }
}

/// The form of refusals of endpoints that need a bearer token: always 401 for a missing or wrong token, with a header
/// that says which of the two it was (RFC 6750 §3.1).
pub fn refused(refusal: Refusal) -> Reply {
    let status = match refusal.reason {
        Reason::TokenMissing => 401,
        reason => reason.status(),
    };
    let mut reply = Reply::refused(status, &refusal);
    if status == 401 && refusal.reason.word().starts_with("token_") && refusal.reason != Reason::TokenMissing {
        for (_, value) in reply.headers.iter_mut().filter(|(name, _)| *name == "WWW-Authenticate") {
            value.push_str(" error=\"invalid_token\"");
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Method;

    fn sent(values: &[&str]) -> Request {
        values.iter().fold(Request::bare(Method::Get, "/ws_ticket"), |r, value| r.with_header("authorization", value))
    }

    #[test]
    fn the_scheme_has_no_case() {
        for value in ["Bearer abc.def.ghi", "bearer abc.def.ghi", "BEARER  abc.def.ghi "] {
            assert_eq!(token(&sent(&[value])).unwrap(), "abc.def.ghi", "{value}");
        }
    }

    #[test]
    fn no_token_and_another_scheme_are_missing_tokens() {
        for values in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["abc.def.ghi"]] {
            assert_eq!(token(&sent(values)).unwrap_err().reason, Reason::TokenMissing, "{values:?}");
        }
    }

    #[test]
    fn two_different_tokens_are_refused() {
        assert_eq!(token(&sent(&["Bearer a", "Bearer b"])).unwrap_err().reason, Reason::TokenAmbiguous);
        assert_eq!(token(&sent(&["Bearer a", "Bearer a"])).unwrap(), "a");
    }

    #[test]
    fn a_missing_token_is_a_401_that_asks_for_one() {
        let reply = refused(Reason::TokenMissing.into());
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }

    #[test]
    fn a_token_that_is_not_taken_is_a_401_that_says_so() {
        let reply = refused(Reason::TokenExpired.into());
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    }

    #[test]
    fn a_wrong_password_is_no_invalid_token() {
        assert_eq!(refused(Reason::WrongCredentials.into()).header("www-authenticate"), Some("Bearer"));
    }
}
