//! The one cookie of this server (RFC 6265).

/// The name of the session cookie.
pub const SESSION: &str = "propromo_session";

/// Longer values, in bytes, are ignored.
const MAX: usize = 256;

/// Our part of a `Cookie` header. The rest belongs to other programs on this host: it may hold anything, and this
/// server does not use it.
pub fn ours(header: &str) -> Option<String> {
    let is_value = |value: &str| {
        (1..=MAX).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let pairs = header.split(';').filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='));
    let ours: Vec<_> = pairs.filter(|(name, value)| *name == SESSION && is_value(value)).collect();
    let ours: Vec<_> = ours.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!ours.is_empty()).then(|| ours.join("; "))
}

/// The values in what [`ours`] returned.
pub fn values(header: &str) -> impl Iterator<Item = &str> {
    header.split("; ").filter_map(|pair| pair.split_once('=')).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_cookie_is_left() {
        for (sent, left) in [
            ("propromo_session=aB-_9", Some("propromo_session=aB-_9")),
            ("a=1; propromo_session=x;b=\u{fffd}", Some("propromo_session=x")),
            ("propromo_session=x; propromo_session=y", Some("propromo_session=x; propromo_session=y")),
            ("Propromo_Session=x; xpropromo_session=y; other=propromo_session=z", None),
            ("propromo_session=", None),
            ("propromo_session=a b", None),
            ("propromo_session=a\u{e4}", None),
            ("", None),
        ] {
            assert_eq!(ours(sent).as_deref(), left, "{sent}");
        }
        assert_eq!(ours(&format!("propromo_session={}", "a".repeat(257))), None);
        assert_eq!(values("propromo_session=x; propromo_session=y").collect::<Vec<_>>(), ["x", "y"]);
    }
}
