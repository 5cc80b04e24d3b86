//! Parses the text of settings. Each error says what the text should be.

use super::quantity::{SIZE, Scale, TIME};
use crate::{
    auth::origin::OriginAllowlist,
    store::{postgres::Url, redis::address::Deployment, sqlite::database::Durability},
};
use ipnet::IpNet;
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What a text should be: the end of a sentence that begins with "should be".
pub type Expected = String;

/// Where accounts and monitors are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// The path of the SQLite file.
    Sqlite(PathBuf),
    /// A `postgres://` URL; may hold a password, so never log it.
    Postgres(String),
}

/// How long a message may be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditWindow {
    Always,
    Never,
    For(Duration),
}

impl EditWindow {
    /// Unix milliseconds: a message must have been said at this time or later to be edited at `now`.
    pub fn begins(self, now: SystemTime) -> u64 {
        match self {
            EditWindow::Always => 0,
            // Ids have 48 bits of milliseconds, so no message is that new.
            EditWindow::Never => (1 << 48) - 1,
            EditWindow::For(window) => {
                let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                now.saturating_sub(window).as_millis() as u64
            }
        }
    }
}

/// Where messages, spent tokens and presence are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Storage {
    /// In `DATA_DIR`, for one node.
    Embedded,
    /// A `redis://` URL; may hold a password, so never log it.
    Redis(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicRoomChanges {
    Anyone,
    Creator,
    Nobody,
}

/// Parses a whole number within `range`.
pub fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, Expected> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|n| range.contains(n))
        .ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

/// Parses a time of whole seconds; `range` is in seconds.
pub fn seconds(text: &str, range: RangeInclusive<u64>) -> Result<Duration, Expected> {
    let milliseconds = range.start().saturating_mul(1000)..=range.end().saturating_mul(1000);
    let time = TIME.parse(text).filter(|time| milliseconds.contains(time) && time % 1000 == 0);
    time.map(Duration::from_millis).ok_or_else(|| {
        format!("{}: a whole number of seconds, or such as 90s, 5m or 1h30m", of_a(&TIME, "time", &milliseconds))
    })
}

/// Parses a time; `range` is in milliseconds.
pub fn wait(text: &str, range: RangeInclusive<u64>) -> Result<Duration, Expected> {
    TIME.parse(text)
        .filter(|time| range.contains(time))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{}: a number of seconds, or such as 500ms, 5m or 1h30m", of_a(&TIME, "time", &range)))
}

/// Parses a number of bytes within `range`.
pub fn size(text: &str, range: RangeInclusive<u64>) -> Result<u64, Expected> {
    SIZE.parse(text)
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(|| format!("{}: a number of bytes, or such as 64KiB, 1MB or 2GiB", of_a(&SIZE, "size", &range)))
}

fn of_a(scale: &Scale, what: &str, range: &RangeInclusive<u64>) -> String {
    format!("a {what} from {} to {}", scale.format(*range.start()), scale.format(*range.end()))
}

/// Parses how long a message may be edited.
pub fn edit_window(text: &str) -> Result<EditWindow, Expected> {
    const LONGEST: u64 = 315_360_000_000;
    if text.trim() == "-1" {
        return Ok(EditWindow::Never);
    }
    match wait(text, 0..=LONGEST) {
        Ok(Duration::ZERO) => Ok(EditWindow::Always),
        Ok(window) => Ok(EditWindow::For(window)),
        Err(expected) => Err(format!("-1, or {expected}")),
    }
}

/// The unit of time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    Second,
    Minute,
}

impl Per {
    pub const fn suffix(self) -> &'static str {
        match self {
            Per::Second => "s",
            Per::Minute => "min",
        }
    }

    fn accepts(self, suffix: &str) -> bool {
        match self {
            Per::Second => ["s", "sec", "second"].contains(&suffix),
            Per::Minute => ["m", "min", "minute"].contains(&suffix),
        }
    }
}

/// Nothing could reach more than this per second, and five times as much still fits into 32 bits.
pub const MAX_RATE: u64 = 1_000_000;

/// Parses a rate: `20`, or `20/s` (`10/min`). 0 stands for no limit.
pub fn rate(text: &str, per: Per) -> Result<u64, Expected> {
    let (count, suffix) = match text.split_once('/') {
        Some((count, suffix)) => (count, Some(suffix.trim())),
        None => (text, None),
    };
    number(count, 0..=MAX_RATE)
        .ok()
        .filter(|_| suffix.is_none_or(|s| per.accepts(s)))
        .ok_or_else(|| format!("a number such as 20 or 20/{} (0: no limit)", per.suffix()))
}

pub fn switch(text: &str) -> Result<bool, Expected> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("true or false (also 1, yes, on, 0, no, off)".into()),
    }
}

/// An address of the doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    /// The path of a Unix socket, for a proxy on this machine.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Parses addresses and Unix sockets, separated by commas; at least one. With `everywhere`, a port alone means every
/// IPv4 address.
pub fn listen(text: &str, everywhere: bool) -> Result<Vec<Listen>, Expected> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let mut all = Vec::new();
    for entry in entries {
        let one = match entry.strip_prefix("unix:") {
            Some(path) if path.len() >= UNIX_PATH || path.contains('\0') || path.is_empty() => {
                return Err(format!("unix: and the path of a socket, of less than {UNIX_PATH} bytes"));
            }
            Some(path) => Listen::Unix(path.into()),
            None => {
                let mut address = address(entry)?;
                if everywhere && entry.parse::<u16>().is_ok() {
                    address.set_ip(Ipv4Addr::UNSPECIFIED.into());
                }
                Listen::Tcp(address)
            }
        };
        let any_port = matches!(one, Listen::Tcp(address) if address.port() == 0);
        if !any_port && all.contains(&one) {
            return Err(format!("addresses that differ; {one} stands there twice"));
        }
        all.push(one);
    }
    if all.is_empty() {
        Err("an address and port such as 127.0.0.1:1993, or several with commas".into())
    } else {
        Ok(all)
    }
}

/// The path of a socket must be shorter than this, in bytes (`sockaddr_un`).
const UNIX_PATH: usize = 108;

/// Parses the permissions of a file, in the form of `chmod`.
pub fn mode(text: &str) -> Result<u32, Expected> {
    let text = text.trim();
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "permissions in octal, such as 660".into())
}

/// Parses an address to bind: `HOST:PORT`, `:PORT` (every IPv4 address) or `PORT` (loopback).
pub fn address(text: &str) -> Result<SocketAddr, Expected> {
    address_with(text, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

fn address_with(
    text: &str,
    resolve: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>>,
) -> Result<SocketAddr, Expected> {
    let text = text.trim();
    let expected = || "an address and port such as 127.0.0.1:1993, [::1]:1993 or :1993".to_owned();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let port: u16 = port.parse().map_err(|_| expected())?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_') {
        return Err(expected());
    }
    let found = resolve(host, port).unwrap_or_default();
    let first_v4 = found.iter().find(|a| a.is_ipv4()).or(found.first());
    first_v4.copied().ok_or_else(|| format!("{}; this host name has no address here", expected()))
}

/// Parses hosts whose pages may connect, separated by commas.
pub fn origins(text: &str) -> Result<OriginAllowlist, Expected> {
    OriginAllowlist::parse(text).map_err(|why| {
        let why = why.strip_prefix("ORIGIN_ALLOWLIST: ").unwrap_or(&why);
        format!("a list of hosts such as localhost,*.example.org ({why})")
    })
}

/// Parses networks (CIDR) or single addresses, separated by commas or white space.
pub fn networks(text: &str) -> Result<Vec<IpNet>, Expected> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let net = entry.parse::<IpNet>().ok().map(|net| net.trunc());
            net.or_else(|| entry.parse::<IpAddr>().ok().map(IpNet::from))
                .ok_or_else(|| format!("a list of networks such as 10.0.0.0/8,::1; {} is none", entry.escape_debug()))
        })
        .collect()
}

/// Parses `sqlite:PATH` (with a leading `$DATA_DIR` filled in) or a `postgres://` URL.
pub fn database(text: &str, data_dir: &Path) -> Result<Database, Expected> {
    let expected = || "sqlite:PATH or a postgres:// URL".to_owned();
    let text = text.trim();
    let (scheme, rest) = text.split_once(':').ok_or_else(expected)?;
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.starts_with(':') || path.contains(['?', '\0']) {
                return Err(format!("{}; the path of a file, without options", expected()));
            }
            let path = match path.strip_prefix("$DATA_DIR").or_else(|| path.strip_prefix("${DATA_DIR}")) {
                Some(inside) if inside.starts_with('/') => data_dir.join(inside.trim_start_matches('/')),
                _ => PathBuf::from(path),
            };
            Ok(Database::Sqlite(path))
        }
        scheme @ ("postgres" | "postgresql") if rest.starts_with("//") => {
            let url = format!("{scheme}:{rest}");
            Url::parse(&url).map_err(|why| format!("{} that can be read ({why})", expected()))?;
            Ok(Database::Postgres(url))
        }
        _ => Err(expected()),
    }
}

/// Parses a Redis URL: one server, a cluster, or sentinels.
pub fn storage(text: &str) -> Result<Storage, Expected> {
    let text = text.trim();
    Deployment::parse(text)?;
    Ok(Storage::Redis(text.to_owned()))
}

/// What a token of `/login` opens if it is not for one chat only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginTokenUse {
    Once,
    /// Each chat of the account once.
    OncePerChat,
}

pub fn public_room_changes(text: &str) -> Result<PublicRoomChanges, Expected> {
    Ok(match word(text, PUBLIC_ROOM_CHANGES)? {
        "anyone" => PublicRoomChanges::Anyone,
        "creator" => PublicRoomChanges::Creator,
        _ => PublicRoomChanges::Nobody,
    })
}

pub const PUBLIC_ROOM_CHANGES: &[&str] = &["anyone", "creator", "nobody"];

pub fn login_token_use(text: &str) -> Result<LoginTokenUse, Expected> {
    Ok(if word(text, LOGIN_TOKEN_USE)? == "once" { LoginTokenUse::Once } else { LoginTokenUse::OncePerChat })
}

pub const LOGIN_TOKEN_USE: &[&str] = &["once", "once-per-chat"];

pub fn durability(text: &str) -> Result<Durability, Expected> {
    Ok(if word(text, DURABILITY)? == "power" { Durability::Power } else { Durability::Process })
}

pub const DURABILITY: &[&str] = &["process", "power"];

/// Finds `text` among `words`, in any case.
pub fn word(text: &str, words: &'static [&'static str]) -> Result<&'static str, Expected> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text.trim()));
    found.copied().ok_or_else(|| match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    })
}

/// Finds some of `words`, separated by commas, each once.
pub fn words(text: &str, words: &'static [&'static str]) -> Result<Vec<&'static str>, Expected> {
    let mut chosen = Vec::new();
    for part in text.split(',') {
        let word = word(part, words).map_err(|_| format!("some of {}", words.join(",")))?;
        if !chosen.contains(&word) {
            chosen.push(word);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offline(text: &str) -> Result<SocketAddr, Expected> {
        address_with(text, |host, port| match host {
            "localhost" => Ok(vec![([0, 0, 0, 0, 0, 0, 0, 1], port).into(), ([127, 0, 0, 1], port).into()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        })
    }

    #[test]
    fn an_address_may_leave_out_its_host() {
        for (text, address) in [
            ("127.0.0.1:1993", "127.0.0.1:1993"),
            ("[::1]:1993", "[::1]:1993"),
            ("0.0.0.0:0", "0.0.0.0:0"),
            (":1993", "0.0.0.0:1993"),
            ("8080", "127.0.0.1:8080"),
            ("localhost:1993", "127.0.0.1:1993"),
        ] {
            assert_eq!(offline(text).unwrap().to_string(), address, "{text}");
        }
    }

    #[test]
    fn an_address_without_a_port_is_refused() {
        for text in ["", "localhost", "127.0.0.1", "127.0.0.1:", "[::1]", "::1:x", "1:2:70000", "nowhere:80"] {
            assert!(offline(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_doors_may_have_several_addresses_and_unix_sockets() {
        let all =
            |text| listen(text, false).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(all("127.0.0.1:1993, [::1]:1993").as_deref(), Ok("127.0.0.1:1993 [::1]:1993"));
        assert_eq!(all("unix:/run/chat.sock,:80").as_deref(), Ok("unix:/run/chat.sock 0.0.0.0:80"));
        assert_eq!(all("127.0.0.1:0,127.0.0.1:0").as_deref(), Ok("127.0.0.1:0 127.0.0.1:0"));
        assert_eq!(listen("8080,[::1]:1", true).unwrap()[0], Listen::Tcp(([0, 0, 0, 0], 8080).into()));
        for text in [
            "",
            ",",
            "unix:",
            "127.0.0.1:1,x",
            "[::1]:1,[::1]:1",
            "unix:a,unix:a",
            &format!("unix:/{}", "x".repeat(107)),
        ] {
            assert!(all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!((mode("660"), mode("0600")), (Ok(0o660), Ok(0o600)));
        for text in ["", "8", "66", "888", "1777", "rw-rw----", "+660"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_outside_its_range_is_refused() {
        assert_eq!(number("10", 1..=10), Ok(10));
        for text in ["0", "11", "-1", "+1", "1.5", "1e3", "ten", "99999999999999999999999"] {
            assert!(number(text, 1..=10).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_outside_its_range_is_refused_with_what_would_be_right() {
        assert_eq!(seconds("1h", 1..=86_400), Ok(Duration::from_secs(3600)));
        assert_eq!(wait("500ms", 100..=1000), Ok(Duration::from_millis(500)));
        assert!(wait("99ms", 100..=1000).is_err() && wait("2", 100..=1000).is_err());
        for text in ["0", "2d", "1500ms", "soon"] {
            let expected = "a time from 1s to 1d: a whole number of seconds, or such as 90s, 5m or 1h30m";
            assert_eq!(seconds(text, 1..=86_400).unwrap_err(), expected, "{text}");
        }
        assert_eq!(
            size("64k", 1..=64 << 20).unwrap_err(),
            "a size from 1B to 64MiB: a number of bytes, or such as 64KiB, 1MB or 2GiB"
        );
    }

    #[test]
    fn an_edit_window_may_be_open_for_ever_or_never() {
        for (text, window) in [
            ("0", EditWindow::Always),
            ("-1", EditWindow::Never),
            ("15m", EditWindow::For(Duration::from_secs(900))),
            ("900", EditWindow::For(Duration::from_secs(900))),
        ] {
            assert_eq!(edit_window(text), Ok(window), "{text}");
        }
        assert!(edit_window("-2").unwrap_err().starts_with("-1, or a time from 0 to 3650d"));
    }

    #[test]
    fn a_rate_may_say_its_time() {
        assert_eq!(rate("20/s", Per::Second), Ok(20));
        assert_eq!(rate(" 10 / min ", Per::Minute), Ok(10));
        assert_eq!(rate("0", Per::Minute), Ok(0));
    }

    #[test]
    fn a_rate_in_another_time_is_refused() {
        assert!(rate("20/min", Per::Second).is_err());
        assert!(rate("20/", Per::Second).is_err());
    }

    #[test]
    fn a_single_address_is_a_network() {
        let nets = networks("10.1.2.3/8, ::1\n192.0.2.7").unwrap();
        assert_eq!(nets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128", "192.0.2.7/32"]);
    }

    #[test]
    fn a_sqlite_path_may_stand_in_the_data_directory() {
        let dir = Path::new("/var/lib/chat");
        let path = |text| match database(text, dir) {
            Ok(Database::Sqlite(path)) => path.display().to_string(),
            _ => panic!("{text}"),
        };
        assert_eq!(path("sqlite:$DATA_DIR/chat.db"), "/var/lib/chat/chat.db");
        assert_eq!(path("sqlite:///srv/chat.db"), "/srv/chat.db");
        assert_eq!(path("sqlite:some.db"), "some.db");
    }

    #[test]
    fn a_database_of_another_kind_is_refused() {
        for text in ["mysql://x/y", "sqlite:", "sqlite::memory:", "postgres:x", "chat.db"] {
            assert!(database(text, Path::new("data")).is_err(), "{text}");
        }
    }

    #[test]
    fn only_redis_stores_chats() {
        for text in ["redis://h", "rediss://u:p@h:6380/0", "redis+cluster://a,b", "redis-sentinel://a/name"] {
            assert!(storage(text).is_ok(), "{text}");
        }
        for text in ["http://h", "redis:h", "redisx://h", "redis+x://h"] {
            assert!(storage(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC*") {
            let _ = offline(&text);
            let _ = number(&text, 0..=u64::MAX);
            let _ = rate(&text, Per::Second);
            let _ = mode(&text);
            let _ = listen(&format!("unix:{text}"), false);
            let _ = networks(&text);
            let _ = database(&text, Path::new("data"));
            let _ = storage(&text);
        }
    }
}
