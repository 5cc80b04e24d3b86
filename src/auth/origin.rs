//! The pages that may open a WebSocket: `ORIGIN_ALLOWLIST`, matched label by label.

use crate::refusal::{Reason, Refusal};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A parsed list such as `localhost,*.example.org`. An empty list allows any origin.
///
/// An entry is the host of an origin, perhaps with a port: `example.org`, `localhost:8080`, `[::1]`. Without a port it
/// matches every port. `*.example.org` matches `a.example.org` and `b.a.example.org`, but neither `example.org` itself
/// nor `badexample.org`; to allow both, list both. Case and a trailing dot do not matter. The scheme is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginAllowlist {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Pattern,
    /// `None` matches every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exactly(Host),
    /// `*.` and a name: matches one or more labels before this name.
    Below(String),
}

/// Names are in lower case and without a trailing dot. Addresses are compared as numbers, in whatever form they were
/// written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl OriginAllowlist {
    /// Parses the setting. Fails with a sentence that names the entry that can't be read.
    pub fn parse(text: &str) -> Result<OriginAllowlist, String> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(OriginAllowlist { entries: entries.map(Entry::parse).collect::<Result<_, _>>()? })
    }

    /// Checks the `Origin` header (RFC 6454 §7) of a handshake.
    ///
    /// Without the header (not a browser) it passes, unless `required`. With a list, an origin that is `null` or can't
    /// be read is refused.
    pub fn admit(&self, origin: Option<&str>, required: bool) -> Result<(), Refusal> {
        let Some(origin) = origin else {
            return if required {
                Err(Refusal::new(Reason::OriginDenied, "This server lets in only clients that send an Origin."))
            } else {
                Ok(())
            };
        };
        if self.entries.is_empty() {
            return Ok(());
        }
        let (host, port) = parse_origin(origin.trim()).ok_or(Reason::OriginDenied)?;
        if self.entries.iter().any(|entry| entry.matches(&host, port)) {
            Ok(())
        } else {
            Err(Reason::OriginDenied.into())
        }
    }
}

/// Whether an `Origin` is this server's own: whether the page came from the host that the request goes to.
///
/// With `secure`, the client uses TLS with this server or with one of our proxies; then a page that was loaded without
/// TLS is not ours.
pub fn is_own(origin: &str, host: &str, secure: bool) -> bool {
    let page = parse_origin(origin.trim());
    let default = match origin.trim().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
        Some("https") => 443,
        Some("http") if !secure => 80,
        _ => return false,
    };
    let here = split_port(host.trim()).and_then(|(name, port)| Some((Host::parse(name)?, port.unwrap_or(default))));
    match (page, here) {
        (Some((page, page_port)), Some((here, port))) => page == here && page_port == Some(port),
        _ => false,
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Entry, String> {
        let wrong = |what: &str| format!("ORIGIN_ALLOWLIST: `{text}` {what}");
        if text == "*" {
            return Err(wrong("would allow any origin; leave the list empty for that"));
        }
        if text.contains("://") {
            return Err(wrong("has a scheme; write only the host, as in `example.org` or `localhost:8080`"));
        }
        if !text.is_ascii() {
            return Err(wrong("must be written as browsers send it, in Punycode (`xn--…`)"));
        }
        if let Some(name) = text.strip_prefix("*.") {
            let (host, port) = split_port(name).ok_or_else(|| wrong("has a port that can't be read"))?;
            return match Host::parse(host) {
                Some(Host::Name(name)) => Ok(Entry { host: Pattern::Below(name), port }),
                _ => Err(wrong("can't be read: behind `*.` goes a name, as in `*.example.org`")),
            };
        }
        if text.contains('*') {
            return Err(wrong("can't be read: `*` stands for whole labels at the start, as in `*.example.org`"));
        }
        // Without brackets, an IPv6 address is unambiguous only if it is the whole text.
        let bare_v6 = text.parse().ok().map(|address| (Host::V6(address), None));
        let (host, port) =
            bare_v6.or_else(|| split_port(text).and_then(|(host, port)| Some((Host::parse(host)?, port)))).ok_or_else(
                || wrong("is no host, with or without a port, as in `example.org`, `localhost:8080` or `[::1]`"),
            )?;
        Ok(Entry { host: Pattern::Exactly(host), port })
    }

    fn matches(&self, host: &Host, port: Option<u16>) -> bool {
        let host_fits = match (&self.host, host) {
            (Pattern::Exactly(expected), host) => expected == host,
            (Pattern::Below(parent), Host::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
            }
            (Pattern::Below(_), Host::V4(_) | Host::V6(_)) => false,
        };
        host_fits && self.port.is_none_or(|expected| port == Some(expected))
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        if let Some(address) = text.strip_prefix('[') {
            return address.strip_suffix(']')?.parse().ok().map(Host::V6);
        }
        if let Ok(address) = text.parse() {
            return Some(Host::V4(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        // 63 octets in a label, 253 characters in all (RFC 1035 §2.3.4). Underscores are accepted, because some hosts
        // have them.
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        (name.len() <= 253 && name.split('.').all(label)).then_some(Host::Name(name))
    }
}

/// The host of `scheme://host[:port]` and its port; the scheme implies a missing port. `None` for `null`, for a list of
/// origins, and for anything with a path or a user.
fn parse_origin(origin: &str) -> Option<(Host, Option<u16>)> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme_fits = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let (host, port) = split_port(authority)?;
    let implied = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    scheme_fits.then_some((Host::parse(host)?, port.or(implied)))
}

/// Splits `:port` off the end; `None` if the colon is not followed by a port.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let host_end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(host_end);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admits(list: &str, origin: &str) -> bool {
        OriginAllowlist::parse(list).unwrap().admit(Some(origin), false).is_ok()
    }

    #[test]
    fn an_empty_list_admits_any_origin() {
        for origin in ["https://example.org", "null", "nonsense", ""] {
            assert!(admits("", origin) && admits(" , ", origin), "{origin}");
        }
    }

    #[test]
    fn a_host_is_admitted_under_every_scheme_and_port() {
        for origin in ["http://localhost", "https://localhost", "http://localhost:8080", "chrome-extension://localhost"]
        {
            assert!(admits("localhost,*.example.org", origin), "{origin}");
        }
    }

    #[test]
    fn case_and_a_trailing_dot_do_not_matter() {
        assert!(admits("Example.ORG", "https://EXAMPLE.org."));
        assert!(admits("example.org.", "HTTPS://example.Org"));
        assert!(admits("*.Example.org.", "https://A.example.org."));
    }

    #[test]
    fn a_wildcard_admits_one_or_more_labels_below() {
        assert!(admits("*.example.org", "https://a.example.org"));
        assert!(admits("*.example.org", "https://b.a.example.org:444"));
    }

    #[test]
    fn a_wildcard_does_not_admit_the_name_itself_nor_one_that_only_ends_alike() {
        for origin in
            ["https://example.org", "https://badexample.org", "https://.example.org", "https://a.example.org.evil.org"]
        {
            assert!(!admits("*.example.org", origin), "{origin}");
        }
    }

    #[test]
    fn a_wildcard_matches_no_address() {
        assert!(!admits("*.0.1", "http://127.0.0.1"));
    }

    #[test]
    fn a_name_does_not_admit_what_is_below_or_around_it() {
        for origin in
            ["https://a.example.org", "https://example.org.evil.org", "https://example.orgs", "https://xample.org"]
        {
            assert!(!admits("example.org", origin), "{origin}");
        }
    }

    #[test]
    fn a_port_in_an_entry_must_match() {
        assert!(admits("localhost:8080", "http://localhost:8080"));
        assert!(!admits("localhost:8080", "http://localhost:8081"));
        assert!(!admits("localhost:8080", "http://localhost"));
    }

    #[test]
    fn a_port_may_be_implied_by_the_scheme() {
        assert!(admits("example.org:443", "https://example.org") && admits("*.example.org:80", "http://a.example.org"));
        assert!(!admits("example.org:443", "http://example.org"));
    }

    #[test]
    fn addresses_compare_as_numbers() {
        for entry in ["[::1]", "::1", "[0:0:0:0:0:0:0:1]", "[::1]:8080"] {
            assert!(admits(entry, "http://[::1]:8080"), "{entry}");
        }
        assert!(admits("127.0.0.1", "http://127.0.0.1:3000"));
        assert!(!admits("[::1]", "http://[::2]"));
    }

    #[test]
    fn null_is_refused_when_there_is_a_list() {
        assert!(!admits("localhost", "null") && !admits("null", "null"));
    }

    #[test]
    fn an_origin_that_cannot_be_read_is_refused_when_there_is_a_list() {
        for origin in [
            "",
            "localhost",
            "://localhost",
            "http:/localhost",
            "http://",
            "http://localhost/",
            "http://localhost/path",
            "http://localhost:",
            "http://localhost:x",
            "http://localhost:99999",
            "http://localhost@evil.org",
            "http://evil.org http://localhost",
            "http://local host",
            "http://localhost:80:80",
            "http://[localhost]",
            "http://localhost?x",
            "http://localhost#x",
            "http://evil.org\\localhost",
            "http://localhost..",
        ] {
            assert!(!admits("localhost", origin), "{origin}");
        }
    }

    #[test]
    fn a_client_without_origin_passes_unless_one_is_required() {
        for list in ["", "localhost"] {
            let list = OriginAllowlist::parse(list).unwrap();
            assert_eq!(list.admit(None, false), Ok(()));
            assert_eq!(list.admit(None, true).unwrap_err().reason, Reason::OriginDenied);
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named_in_the_error() {
        for entry in [
            "*",
            "https://example.org",
            "ex*mple.org",
            "*.*.org",
            "*.",
            "a..b",
            "local host",
            "localhost:http",
            "[::1",
            "bücher.example",
            "*.[::1]",
            "example.org/path",
            ":80",
            "a.*",
        ] {
            let error = OriginAllowlist::parse(&format!("localhost,{entry}")).unwrap_err();
            assert!(error.contains(&format!("`{entry}`")), "{error}");
        }
    }

    #[test]
    fn a_page_of_the_host_that_is_asked_is_its_own() {
        for (origin, host) in [
            ("http://chat.example", "chat.example"),
            ("https://chat.example", "Chat.Example"),
            ("https://chat.example", "chat.example:443"),
            ("http://localhost:1993", "localhost:1993"),
            ("https://chat.example:8443", "chat.example:8443"),
            ("http://[::1]:1993", "[0:0::1]:1993"),
        ] {
            assert!(is_own(origin, host, false), "{origin} {host}");
        }
        assert!(is_own("https://chat.example", "chat.example", true));
    }

    #[test]
    fn no_other_page_is_its_own() {
        for (origin, host) in [
            ("https://evil.example", "chat.example"),
            ("https://chat.example.evil.example", "chat.example"),
            ("https://a.chat.example", "chat.example"),
            ("http://chat.example:8080", "chat.example"),
            ("http://chat.example", "chat.example:8080"),
            ("https://chat.example", "chat.example:80"),
            ("null", "chat.example"),
            ("null", "null"),
            ("", ""),
            ("https://", ""),
            ("chrome-extension://chat.example", "chat.example"),
            ("https://chat.example, https://evil.example", "chat.example"),
        ] {
            assert!(!is_own(origin, host, false), "{origin} {host}");
        }
        assert!(!is_own("http://chat.example", "chat.example", true), "a page without TLS");
    }

    proptest! {
        #[test]
        fn no_list_and_no_origin_makes_it_panic(list in ".{0,40}", origin in "([a-z]{1,5}://)?.{0,40}") {
            if let Ok(list) = OriginAllowlist::parse(&list) {
                let _ = list.admit(Some(&origin), true);
            }
        }
    }
}
