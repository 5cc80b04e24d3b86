//! The address of the client behind proxies, and whether the client uses TLS.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// The client's address: the last hop that none of our proxies vouches for.
///
/// `forwarded_for` are all values of `X-Forwarded-For`, in the order of the request. Anybody can write that header.
/// Only what a proxy in `trusted` appended is believed, so it is read from the right, beginning with `peer`. The walk
/// ends before an entry that is not an address.
pub fn client<'a>(peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'a str>, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    for entry in forwarded_for.rev().flat_map(|value| value.rsplit(',')) {
        if !is_trusted(client) {
            break;
        }
        match address(entry.trim()) {
            Some(hop) => client = hop,
            None => break,
        }
    }
    client
}

/// Whether one of our proxies says that the client uses TLS with it: `X-Forwarded-Proto`, or `proto` of `Forwarded`
/// (RFC 7239 §5.4).
pub fn is_secure<'a>(
    peer: IpAddr,
    mut protos: impl Iterator<Item = &'a str>,
    mut forwarded: impl Iterator<Item = &'a str>,
    trusted: &[IpNet],
) -> bool {
    let peer = peer.to_canonical();
    if !trusted.iter().any(|net| net.contains(&peer)) {
        return false;
    }
    // What the client itself wrote before it affects only the client's own cookie.
    let first = |value: &'a str| value.split(',').next().unwrap_or_default();
    let proto = protos.next().map(|value| first(value).trim());
    let proto = proto.or_else(|| {
        let mut parts = first(forwarded.next()?).split(';').filter_map(|part| part.trim().split_once('='));
        parts.find(|(name, _)| name.eq_ignore_ascii_case("proto")).map(|(_, value)| value.trim_matches('"'))
    });
    proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn address(entry: &str) -> Option<IpAddr> {
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || entry.parse().ok().map(|address: SocketAddr| address.ip());
    entry.parse().ok().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, forwarded_for: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(peer.parse().unwrap(), forwarded_for.iter().copied(), &trusted).to_string()
    }

    #[test]
    fn only_a_proxy_of_ours_can_say_that_the_client_speaks_tls() {
        let secure = |peer: &str, protos: &[&str], forwarded: &[&str]| {
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            is_secure(peer.parse().unwrap(), protos.iter().copied(), forwarded.iter().copied(), &trusted)
        };
        assert!(secure("10.0.0.1", &["https"], &[]) && secure("::ffff:10.0.0.1", &["HTTPS , http"], &[]));
        assert!(secure("10.0.0.1", &[], &["for=192.0.2.1;Proto=\"https\", for=10.0.0.2"]));
        assert!(!secure("203.0.113.5", &["https"], &["proto=https"]));
        for (protos, forwarded) in [(&["http"][..], &["proto=https"][..]), (&[], &["for=x"]), (&[""], &[]), (&[], &[])]
        {
            assert!(!secure("10.0.0.1", protos, forwarded), "{protos:?} {forwarded:?}");
        }
    }

    #[test]
    fn a_stranger_can_not_name_another_address() {
        assert_eq!(client_of("203.0.113.5", &["198.51.100.7"], &["10.0.0.0/8"]), "203.0.113.5");
    }

    #[test]
    fn the_nearest_hop_that_is_not_ours_is_the_client() {
        let forwarded = ["1.1.1.1, 198.51.100.7", "10.0.0.2"];
        assert_eq!(client_of("10.0.0.1", &forwarded, &["10.0.0.0/8"]), "198.51.100.7");
    }

    #[test]
    fn garbage_ends_the_walk_at_the_last_good_hop() {
        assert_eq!(client_of("10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.2");
        assert_eq!(client_of("10.0.0.1", &[""], &["10.0.0.0/8"]), "10.0.0.1");
    }

    #[test]
    fn with_none_but_proxies_the_first_is_the_client() {
        assert_eq!(client_of("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &["10.0.0.0/8"]), "10.0.0.3");
    }

    #[test]
    fn a_mapped_ipv4_address_is_that_ipv4_address() {
        assert_eq!(client_of("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], &["10.0.0.0/8"]), "198.51.100.7");
    }

    #[test]
    fn brackets_and_ports_are_understood() {
        for entry in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443"] {
            assert_eq!(client_of("10.0.0.1", &[entry], &["10.0.0.0/8"]), "2001:db8::1");
        }
        assert_eq!(client_of("10.0.0.1", &["198.51.100.7:4711"], &["10.0.0.0/8"]), "198.51.100.7");
    }
}
