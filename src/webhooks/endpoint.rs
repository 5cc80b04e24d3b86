//! The webhook endpoint: one signed request for each event, to an address that may be connected to.

use crate::config::{endpoint::is_public, webhooks::WebhookSettings};
use parking_lot::Mutex;
use std::{
    io,
    net::{IpAddr, UdpSocket},
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use ureq::{
    Agent,
    config::Config,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

/// How many bytes of an answer are read, so that its connection can be used again.
const MAX_ANSWER: u64 = 64 << 10;

/// The longest pause that an endpoint may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// How long the addresses of the endpoint's name are used before the name is resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);

/// Where events are sent.
pub struct Endpoint {
    settings: WebhookSettings,
    agent: Agent,
}

/// Why an event was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("it answers {status}")]
    Refused { status: u16, pause: Option<Duration> },
    /// 410: the endpoint wants no more events.
    #[error("it answers 410: it is gone")]
    Gone,
    #[error("{0}")]
    Unreachable(String),
}

impl Endpoint {
    /// `connections` is how many may be kept open.
    pub fn new(settings: WebhookSettings, connections: usize) -> Endpoint {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // An endpoint that has moved needs a new WEBHOOK_URL: a redirect could lead to an address in our own
            // network.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy would resolve the name by itself.
            .proxy(None)
            .timeout_global(Some(settings.timeout))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .tls_config(TlsConfig::builder().root_certs(roots()).build())
            .user_agent(concat!("propromo-chat/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = Guarded {
            allow_private: settings.allow_private,
            names: DefaultResolver::default(),
            resolved: Mutex::default(),
        };
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Endpoint { settings, agent }
    }

    /// Sends one event. A 2xx answer accepts it.
    pub fn send(&self, id: &str, body: &[u8]) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let request = self
            .agent
            .post(self.settings.url.uri())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", self.settings.secrets.sign(id, now, body));
        let mut answer = request.send(body).map_err(|error| Failure::Unreachable(sentence(&error)))?;
        let status = answer.status().as_u16();
        let pause = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        // The content of the answer does not matter. If it is too long, its connection is not used again.
        let _ = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        match status {
            200..300 => Ok(()),
            410 => Err(Failure::Gone),
            status => {
                let pause = pause.map(|seconds| Duration::from_secs(seconds).min(MAX_PAUSE));
                Err(Failure::Refused { status, pause })
            }
        }
    }
}

/// The error without the URL: its path may be a secret.
fn sentence(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::BadUri(_) => "its URL can't be used".into(),
        error => error.to_string(),
    }
}

/// The certificate authorities that this machine trusts, or those that come with the server if it has none.
fn roots() -> RootCerts {
    static TRUSTED: LazyLock<Vec<Certificate<'static>>> = LazyLock::new(|| {
        let trusted = rustls_native_certs::load_native_certs().certs;
        trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
    });
    if TRUSTED.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(TRUSTED.clone())) }
}

/// Resolves the endpoint's name, and leaves out addresses that must not be connected to. The connection uses the
/// remaining addresses: the name is not resolved a second time.
///
/// ureq asks before each request, even if it has a connection, and resolves on a thread that it starts each time. So
/// the addresses are remembered for a moment. They are those of one name, since redirects are not followed.
#[derive(Debug)]
struct Guarded {
    allow_private: bool,
    names: DefaultResolver,
    resolved: Mutex<Option<(Instant, ResolvedSocketAddrs)>>,
}

impl Resolver for Guarded {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        if let Some((at, addresses)) = &*self.resolved.lock()
            && at.elapsed() < RESOLVE_EVERY
        {
            return Ok(addresses.clone());
        }
        let allowed = self.look_up(uri, config, timeout)?;
        *self.resolved.lock() = Some((Instant::now(), allowed.clone()));
        Ok(allowed)
    }
}

impl Guarded {
    fn look_up(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        if self.allow_private {
            return Ok(found);
        }
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip()) && !is_ours(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let why = "it has only addresses of this machine or of private networks, which WEBHOOK_ALLOW_PRIVATE does not allow";
            return Err(ureq::Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, why)));
        }
        Ok(allowed)
    }
}

/// Whether an address belongs to this machine: only those can be bound to.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::Timeout;

    fn resolve(guarded: &Guarded) -> Result<usize, ureq::Error> {
        let uri = Uri::from_static("http://localhost:9/");
        let timeout =
            NextTimeout { after: Duration::from_secs(30).into(), reason: Timeout::Global, ..NextTimeout::default() };
        guarded.resolve(&uri, &Config::default(), timeout).map(|addresses| addresses.len())
    }

    fn guarded(allow_private: bool) -> Guarded {
        Guarded { allow_private, names: DefaultResolver::default(), resolved: Mutex::default() }
    }

    #[test]
    fn a_name_is_resolved_once_in_a_while() {
        let guarded = guarded(true);
        let found = resolve(&guarded).unwrap();
        let at = |guarded: &Guarded| guarded.resolved.lock().as_ref().map(|(at, _)| *at);
        let first = at(&guarded).expect("remembered");
        assert_eq!((resolve(&guarded).unwrap(), at(&guarded)), (found, Some(first)));
        let before = first.checked_sub(RESOLVE_EVERY).expect("this machine has run for so long");
        guarded.resolved.lock().as_mut().unwrap().0 = before;
        resolve(&guarded).unwrap();
        assert!(at(&guarded) > Some(before), "resolved again");
    }

    #[test]
    fn what_must_not_be_connected_to_is_not_remembered() {
        let guarded = guarded(false);
        for _ in 0..2 {
            assert!(matches!(resolve(&guarded), Err(ureq::Error::Io(_))));
        }
        assert!(guarded.resolved.lock().is_none());
    }
}
