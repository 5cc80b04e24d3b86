//! A `postgres://` URL, read once: where to connect, how, and how long to wait.

use super::{
    failure::Failure,
    tls::{self, Tls, Trust},
};
use percent_encoding::percent_decode_str;
use postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
    error::SqlState,
};
use std::{path::PathBuf, time::Duration};

/// How long one address of the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sent bytes may stay unacknowledged (RFC 5482). This ends connections to a host that vanished.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Times are read as UTC, whatever the server's or the role's setting. A pooler knows this setting, and applies it to
/// each connection that it lends.
const SESSION: &str = "SET TimeZone = 'UTC'";

/// With these the server ends work that no caller waits for any more (see [`connection`](super::connection)).
///
/// They are sent when the connection is opened, never by `SET`: behind a pooler in transaction mode that would change a
/// connection that is lent to others next. A pooler refuses or ignores them.
const OPTIONS: &str = "-c statement_timeout=5s -c lock_timeout=4s -c idle_in_transaction_session_timeout=15s";

/// A PostgreSQL server and database.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: Option<Tls>,
}

/// The contents of a URL, before the files that it names are read.
#[derive(Debug)]
pub struct Url {
    config: Config,
    trust: Option<Trust>,
}

impl Url {
    /// Reads a URL as libpq does, but with fewer options. The error does not quote the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Url, String> {
        let mut tls = TlsOptions::default();
        let rest = tls.taken_out_of(url)?;
        let mut config: Config = rest.parse().map_err(|error: postgres::Error| Failure::from(error).to_string())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("it names no host; for a Unix socket add ?host=/var/run/postgresql".into());
        }
        let has = |name: &str| parameters(&rest).1.iter().any(|(known, _)| *known == name);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if !has("keepalives_idle") {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if !has("keepalives_interval") {
            config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if !has("keepalives_retries") {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if config.get_application_name().is_none() {
            config.application_name("propromo-chat");
        }
        // PostgreSQL has no TLS on Unix sockets, and libpq ignores sslmode there.
        let local =
            config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let (mode, trust) = if local { (SslMode::Disable, None) } else { tls.decided()? };
        config.ssl_mode(mode);
        // A server's notices, such as "relation exists already", are of no use here.
        config.notice_callback(|_| {});
        Ok(Url { config, trust })
    }

    /// Reads the certificates that the URL names.
    pub(super) fn target(self) -> Result<Target, String> {
        let tls = self.trust.map(|trust| tls::connector(&trust)).transpose()?;
        Ok(Target { config: self.config, tls })
    }
}

impl Target {
    /// Opens a connection. It may wait as long as the server takes: call it where that does no harm.
    pub fn connect(&self) -> Result<Client, postgres::Error> {
        let mut config = self.config.clone();
        let of_user = self.config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        config.options(&format!("{of_user}{OPTIONS}"));
        let mut client = match self.open(&config) {
            // Only a pooler does not know these options. Without them the caller's own deadlines hold.
            Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => self.open(&self.config)?,
            outcome => outcome?,
        };
        client.batch_execute(SESSION)?;
        Ok(client)
    }

    fn open(&self, config: &Config) -> Result<Client, postgres::Error> {
        match &self.tls {
            None => config.connect(NoTls),
            Some(tls) => config.connect(tls.clone()),
        }
    }
}

/// The options that the crate `postgres` doesn't know, or knows only in part.
#[derive(Default)]
struct TlsOptions {
    mode: Option<String>,
    root: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsOptions {
    /// Takes our options out of the URL, and returns the rest of it.
    fn taken_out_of(&mut self, url: &str) -> Result<String, String> {
        let (base, parameters) = parameters(url);
        let mut others = Vec::new();
        for (name, value) in parameters {
            let decoded = || {
                let text = percent_decode_str(value).decode_utf8().map_err(|_| format!("its {name} is not UTF-8"))?;
                Ok::<_, String>(text.into_owned())
            };
            match name {
                "sslmode" => self.mode = Some(decoded()?),
                "sslrootcert" => self.root = Some(decoded()?.into()),
                "sslcert" => self.certificate = Some(decoded()?.into()),
                "sslkey" => self.key = Some(decoded()?.into()),
                _ => others.push(format!("{name}={value}")),
            }
        }
        Ok(if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) })
    }

    /// Decides like libpq: `require` alone trusts any certificate, but a given root is used.
    fn decided(self) -> Result<(SslMode, Option<Trust>), String> {
        let identity = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("sslcert and sslkey go together; give both or none".into()),
        };
        let (mode, verify_chain, verify_name) = match self.mode.as_deref() {
            Some("disable") => return Ok((SslMode::Disable, None)),
            None | Some("allow" | "prefer") => (SslMode::Prefer, false, false),
            Some("require") => (SslMode::Require, self.root.is_some(), false),
            Some("verify-ca") => (SslMode::Require, true, false),
            Some("verify-full") => (SslMode::Require, true, true),
            Some(_) => return Err("its sslmode is none of disable, prefer, require, verify-ca, verify-full".into()),
        };
        Ok((mode, Some(Trust { verify_chain, verify_name, root: self.root, identity })))
    }
}

/// The URL up to its `?`, and its parameters in encoded form.
fn parameters(url: &str) -> (&str, Vec<(&str, &str)>) {
    // A password may hold an unescaped `?`; the first `@` ends it.
    let credentials = url.find('@').map_or(0, |at| at + 1);
    let Some(question) = url[credentials..].find('?').map(|at| credentials + at) else { return (url, Vec::new()) };
    let pairs = url[question + 1..].split('&').filter(|pair| !pair.is_empty());
    (&url[..question], pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_url_says_where_and_as_whom() {
        let Url { config, .. } = url("postgres://chat:s%3Acret@db.example:6543/propromo?application_name=x");
        assert_eq!(config.get_hosts(), [Host::Tcp("db.example".into())]);
        assert_eq!((config.get_user(), config.get_password()), (Some("chat"), Some(&b"s:cret"[..])));
        assert_eq!((config.get_dbname(), config.get_ports()), (Some("propromo"), &[6543][..]));
        assert_eq!(config.get_application_name(), Some("x"));
    }

    #[test]
    fn each_sslmode_trusts_what_libpq_would() {
        let trust = |text: &str| {
            let Url { config, trust } = url(&format!("postgres://db/chat{text}"));
            (config.get_ssl_mode(), trust.map(|trust| (trust.verify_chain, trust.verify_name)))
        };
        assert_eq!(trust(""), (SslMode::Prefer, Some((false, false))));
        assert_eq!(trust("?sslmode=disable"), (SslMode::Disable, None));
        assert_eq!(trust("?sslmode=require"), (SslMode::Require, Some((false, false))));
        assert_eq!(trust("?sslmode=require&sslrootcert=/ca.pem"), (SslMode::Require, Some((true, false))));
        assert_eq!(trust("?sslmode=verify-ca"), (SslMode::Require, Some((true, false))));
        assert_eq!(trust("?sslmode=verify-full"), (SslMode::Require, Some((true, true))));
        assert_eq!(url("postgres://db/chat?sslrootcert=%2Fca.pem").trust.unwrap().root, Some("/ca.pem".into()));
    }

    #[test]
    fn a_unix_socket_needs_no_tls() {
        let Url { config, trust } = url("postgres:///chat?host=/run/postgresql&sslmode=require");
        assert_eq!(config.get_ssl_mode(), SslMode::Disable);
        assert!(trust.is_none());
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (text, word) in [
            ("postgres://chat:s3cret@db:x/chat", "port"),
            ("postgres://chat:s3cret@db/chat?sslmode=maybe", "sslmode"),
            ("postgres://chat:s3cret@db/chat?sslcert=a", "sslkey"),
            ("postgres://chat:s3cret@db/chat?color=red", "color"),
            ("postgres:///chat", "host"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(word) && !error.contains("s3cret"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_url_panics(rest in "[a-z0-9:@/?&=%,\\[\\]é-]{0,40}") {
            let _ = Url::parse(&format!("postgres://{rest}"));
        }
    }
}
