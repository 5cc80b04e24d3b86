//! Where a request presents its token: every place that section 1 of the protocol lists, judged together.

use crate::{
    auth::token::has_token_shape,
    http::{head::Head, negotiation},
    refusal::{Reason, Refusal},
};
use std::fmt;

/// The query parameters that carry a token. The name says nothing about the kind of token.
const PARAMETERS: [&str; 4] = ["auth", "ticket", "token", "t"];

/// A token as a request presents it, not verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    pub token: String,
    /// Whether the path's second segment is the token (`/channel/<JWT>/`), and so not a room's name.
    pub in_path: bool,
}

/// The token that `head` presents, if any.
///
/// The same token in two places is one token. Two different tokens are refused: they may let in different people, and
/// the server must not guess.
pub fn presented(head: &Head) -> Result<Option<Presented>, Refusal> {
    let mut query = Vec::new();
    for name in PARAMETERS {
        query.extend(head.query_values(name)?);
    }
    TokenSources {
        query: &query,
        authorization: &head.header_values("authorization").collect::<Vec<_>>(),
        protocols: &head.header_values(PROTOCOLS).collect::<Vec<_>>(),
        segments: &head.segments()?,
    }
    .find()
}

/// Whether a query parameter for a token is there but empty.
pub fn is_empty(head: &Head) -> bool {
    let values = PARAMETERS.iter().filter_map(|name| head.query_values(name).ok()).flatten();
    values.into_iter().any(|value| value.is_empty())
}

/// What the `101` must name as `Sec-WebSocket-Protocol`, if the client offers any: browsers close a socket whose server
/// chose none. Every character of it is a token character (RFC 9110 §5.6.2).
pub fn subprotocol(head: &Head) -> Option<&str> {
    Offer::read(head.header_values(PROTOCOLS)).chosen()
}

const PROTOCOLS: &str = "sec-websocket-protocol";

/// Everything that may carry a token, decoded: query values, header lines, path segments.
struct TokenSources<'a> {
    query: &'a [String],
    authorization: &'a [&'a str],
    protocols: &'a [&'a str],
    segments: &'a [String],
}

impl TokenSources<'_> {
    fn find(&self) -> Result<Option<Presented>, Refusal> {
        let offer = Offer::read(self.protocols.iter().copied());
        let in_path = match self.segments {
            [first, second, ..] if first == "channel" && has_token_shape(second) => Some(second.as_str()),
            _ => None,
        };
        let query = self.query.iter().map(String::as_str).filter(|value| !value.is_empty());
        let bearers = self.authorization.iter().copied().filter_map(negotiation::bearer);

        let mut tokens = query.chain(bearers).chain(offer.tokens.iter().copied()).chain(in_path);
        let Some(token) = tokens.next() else { return Ok(None) };
        if tokens.any(|other| other != token) {
            return Err(Reason::TokenAmbiguous.into());
        }
        Ok(Some(Presented { token: token.to_owned(), in_path: in_path.is_some() }))
    }
}

/// What a client offers as `Sec-WebSocket-Protocol` (RFC 6455 §4.1), the only header that a page can set in browsers.
#[derive(Default)]
struct Offer<'a> {
    tokens: Vec<&'a str>,
    /// A bare token.
    bare: Option<&'a str>,
    /// The whole `bearer.<token>`.
    prefixed: Option<&'a str>,
    /// The first entry that is only a name.
    name: Option<&'a str>,
}

impl<'a> Offer<'a> {
    fn read(lines: impl Iterator<Item = &'a str>) -> Offer<'a> {
        let mut offer = Offer::default();
        // Other characters could get into the head of our answer, so such entries are ignored.
        let entries = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| is_rfc_token(entry));
        for entry in entries {
            match entry.strip_prefix("bearer.") {
                Some(token) if !token.is_empty() => {
                    offer.tokens.push(token);
                    offer.prefixed.get_or_insert(entry);
                }
                _ if has_token_shape(entry) => {
                    offer.tokens.push(entry);
                    offer.bare.get_or_insert(entry);
                }
                _ => {
                    offer.name.get_or_insert(entry);
                }
            }
        }
        offer
    }

    /// The offered protocol to echo. A name means nothing to this server, but a client that offers one expects it back.
    fn chosen(&self) -> Option<&'a str> {
        // `bearer.<token>` itself only if the client offered no real name beside it.
        self.bare.or(self.name).or(self.prefixed)
    }
}

/// Whether this is a token in the sense of RFC 9110 §5.6.2.
fn is_rfc_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("in_path", &self.in_path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln";
    const OTHER: &str = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjJ9.c2ln";

    fn find(
        query: &[&str],
        authorization: &[&str],
        protocols: &[&str],
        segments: &[&str],
    ) -> Result<Option<Presented>, Refusal> {
        let query: Vec<_> = query.iter().map(|value| value.to_string()).collect();
        let segments: Vec<_> = segments.iter().map(|segment| segment.to_string()).collect();
        TokenSources { query: &query, authorization, protocols, segments: &segments }.find()
    }

    fn chosen(lines: &[&str]) -> Option<String> {
        Offer::read(lines.iter().copied()).chosen().map(str::to_owned)
    }

    fn one(query: &[&str], authorization: &[&str], protocols: &[&str], segments: &[&str]) -> Presented {
        find(query, authorization, protocols, segments).unwrap().expect("a token is presented")
    }

    #[test]
    fn a_token_is_found_in_the_query() {
        assert_eq!(one(&[TOKEN], &[], &[], &[]).token, TOKEN);
    }

    #[test]
    fn a_token_is_found_behind_bearer_in_any_case() {
        for header in [format!("Bearer {TOKEN}"), format!("bearer   {TOKEN}"), format!("BEARER {TOKEN} ")] {
            assert_eq!(one(&[], &[&header], &[], &[]).token, TOKEN);
        }
    }

    #[test]
    fn another_authorization_scheme_carries_no_token() {
        assert_eq!(find(&[], &["Basic YTpi", "Bearer", "Bearer "], &[], &[]).unwrap(), None);
    }

    #[test]
    fn a_bare_token_as_protocol_is_echoed() {
        assert_eq!(one(&[], &[], &[TOKEN], &[]).token, TOKEN);
        assert_eq!(chosen(&[TOKEN]).as_deref(), Some(TOKEN));
    }

    #[test]
    fn of_bearer_and_a_real_name_only_the_name_is_echoed() {
        for offer in [format!("chat, bearer.{TOKEN}"), format!("bearer.{TOKEN},chat ,later")] {
            assert_eq!(one(&[], &[], &[&offer], &[]).token, TOKEN);
            assert_eq!(chosen(&[&offer]).as_deref(), Some("chat"));
        }
    }

    #[test]
    fn an_offer_may_be_spread_over_header_lines() {
        let lines = ["chat", &format!("bearer.{TOKEN}")];
        assert_eq!(one(&[], &[], &lines, &[]).token, TOKEN);
        assert_eq!(chosen(&lines).as_deref(), Some("chat"));
    }

    #[test]
    fn bearer_alone_is_echoed_whole_since_browsers_insist_on_some_choice() {
        let offer = format!("bearer.{TOKEN}");
        assert_eq!(chosen(&[&offer]), Some(offer));
    }

    #[test]
    fn names_of_protocols_are_no_tokens_and_the_first_is_echoed() {
        let names = "v1.2.3, chat, v12.stomp, bearer.";
        assert_eq!(find(&[], &[], &[names], &[]).unwrap(), None);
        assert_eq!(chosen(&[names]).as_deref(), Some("v1.2.3"));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn what_could_break_the_answers_head_is_never_echoed() {
        let offer = format!("evil\r\nSet-Cookie: a=b, bearer.{TOKEN}");
        assert_eq!(chosen(&[&offer]), Some(format!("bearer.{TOKEN}")));
    }

    #[test]
    fn a_token_is_found_as_path_segment_of_a_channel() {
        let presented = one(&[], &[], &[], &["channel", TOKEN]);
        assert_eq!((presented.token.as_str(), presented.in_path), (TOKEN, true));
    }

    #[test]
    fn a_rooms_name_is_no_token() {
        assert_eq!(find(&[], &[], &[], &["channel", "lobby"]).unwrap(), None);
        assert_eq!(find(&[], &[], &[], &["chat", TOKEN]).unwrap(), None);
    }

    #[test]
    fn an_empty_parameter_is_no_token() {
        assert_eq!(find(&["", ""], &[], &[], &[]).unwrap(), None);
    }

    #[test]
    fn the_same_token_in_every_place_is_one_token() {
        let presented = one(
            &[TOKEN, TOKEN],
            &[&format!("Bearer {TOKEN}")],
            &[&format!("bearer.{TOKEN}, chat")],
            &["channel", TOKEN],
        );
        assert_eq!(presented.token, TOKEN);
    }

    #[test]
    fn two_different_tokens_are_refused_wherever_they_are() {
        let bearer = format!("Bearer {OTHER}");
        let offer = format!("bearer.{OTHER}");
        for attempt in [
            find(&[TOKEN, OTHER], &[], &[], &[]),
            find(&[TOKEN], &[&bearer], &[], &[]),
            find(&[TOKEN], &[], &[&offer], &[]),
            find(&[], &[], &[TOKEN, OTHER], &[]),
            find(&[TOKEN], &[], &[], &["channel", OTHER]),
        ] {
            assert_eq!(attempt.unwrap_err().reason, Reason::TokenAmbiguous);
        }
    }

    #[test]
    fn two_tokens_that_differ_only_in_the_signatures_text_are_two() {
        let rewritten = format!("{TOKEN}A");
        assert_eq!(find(&[TOKEN, &rewritten], &[], &[], &[]).unwrap_err().reason, Reason::TokenAmbiguous);
    }

    #[test]
    fn debug_output_holds_no_token() {
        let shown = format!("{:?}", one(&[], &[], &[TOKEN], &[]));
        assert!(!shown.contains("eyJ"), "{shown}");
    }
}
