//! A webhook endpoint: its URL, the kinds of events, and the addresses that it may have.

use super::value::Expected;
use std::{fmt, net::IpAddr};
use ureq::http::Uri;

/// The kinds of events, as in `WEBHOOK_EVENTS` and in each event's `type`.
pub const EVENTS: &[&str] = &["message.created", "message.edited", "message.deleted", "member.joined", "member.left"];

/// The URL of an endpoint. Its path may be a secret, so only its host is ever shown.
#[derive(Clone)]
pub struct WebhookUrl(Uri);

impl WebhookUrl {
    pub fn parse(text: &str) -> Result<WebhookUrl, Expected> {
        let expected = || "the https:// URL of an endpoint, without user, password and fragment".to_owned();
        let uri: Uri = text.trim().parse().map_err(|_| expected())?;
        let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().is_some_and(|host| !host.is_empty());
        if plain && scheme && host && !text.contains('#') { Ok(WebhookUrl(uri)) } else { Err(expected()) }
    }

    pub fn uri(&self) -> &Uri {
        &self.0
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The address, if the URL has an address instead of a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.host()?.trim_matches(['[', ']']).parse().ok()
    }

    /// The part of it that may be shown.
    pub fn host(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/…", self.0.scheme_str().unwrap_or_default(), self.host())
    }
}

/// IPv4 networks that are not part of the internet (IANA's special-purpose registries, RFC 6890).
const PRIVATE: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// The same within 2000::/3; outside of that no IPv6 address is part of the internet.
const PRIVATE_6: [&str; 4] = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"];

/// Whether an address belongs to the internet, and so neither to this machine nor to a private network. An IPv4 address
/// inside an IPv6 address counts as itself.
pub fn is_public(address: IpAddr) -> bool {
    let is_in = |networks: &[&str], address: &IpAddr| {
        networks
            .iter()
            .filter_map(|network| network.parse::<ipnet::IpNet>().ok())
            .any(|network| network.contains(address))
    };
    match address.to_canonical() {
        IpAddr::V4(four) => !is_in(&PRIVATE, &IpAddr::V4(four)),
        IpAddr::V6(six) => match six.segments() {
            // NAT64 (RFC 6052).
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                is_public(IpAddr::V4((u32::from(high) << 16 | u32::from(low)).into()))
            }
            _ => is_in(&["2000::/3"], &six.into()) && !is_in(&PRIVATE_6, &six.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_told_apart() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
            let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            let url = WebhookUrl::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(url.address(), Some(address.parse().unwrap()));
        }
        for address in
            ["93.184.216.34", "172.32.0.1", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::93.184.216.34"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
