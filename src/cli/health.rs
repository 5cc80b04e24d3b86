//! `health`: asks the server that runs with these settings whether it is healthy; for health checks of containers.

use super::failure::{Failure, say};
use crate::config::{
    settings::{ADMIN_LISTEN, TLS_CERT},
    sources::Settings,
    value::{self, Listen},
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use ureq::{Agent, tls::TlsConfig};

pub const NAME: &str = "health";

/// A healthy server answers at once.
const PATIENCE: Duration = Duration::from_secs(4);

pub fn command() -> Command {
    Command::new(NAME)
        .about("Ask the server that runs here whether it is healthy")
        .after_help("Exit codes: 0 it is healthy, 1 it is not, or does not run. Settings: see serve --help.")
        .arg(
            Arg::new("ready")
                .long("ready")
                .action(ArgAction::SetTrue)
                .help("Ask whether it can let clients in: then its stores must answer too"),
        )
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let listen = settings.listen()?.into_iter().find_map(|listen| match listen {
        Listen::Tcp(address) => Some(address),
        Listen::Unix(_) => None,
    });
    let admin = settings.optional(&ADMIN_LISTEN, value::address)?;
    let encrypted = admin.is_none() && settings.text(&TLS_CERT).is_some();
    let path = if matches.get_flag("ready") { "/readyz" } else { "/healthz" };
    let Some(address) = admin.or(listen) else {
        return Err(Failure::Usage(
            "LISTEN has only Unix sockets; ask there (curl --unix-socket PATH http://localhost/healthz), or give ADMIN_LISTEN".into(),
        ));
    };
    let url = url(address, encrypted, path)?;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        // The certificate is for the name that clients use. Nothing secret is sent.
        .tls_config(TlsConfig::builder().disable_verification(true).build());
    let answer = Agent::new_with_config(config.build()).get(&url).call();
    let mut answer = answer.map_err(|e| Failure::Failed(format!("{url} can't be reached: {e}")))?;
    let said = answer.body_mut().with_config().limit(4096).read_to_string().unwrap_or_default();
    match answer.status().as_u16() {
        200 => say(said.trim()),
        status => Err(Failure::Failed(format!("{url} answers {status}: {}", said.trim()))),
    }
}

fn url(listen: SocketAddr, encrypted: bool, path: &str) -> Result<String, Failure> {
    if listen.port() == 0 {
        return Err(Failure::Usage("LISTEN has port 0: nobody knows which one the server has chosen".into()));
    }
    let host: IpAddr = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if encrypted { "https" } else { "http" };
    Ok(format!("{scheme}://{}{path}", SocketAddr::new(host, listen.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        let url = |listen: &str| url(listen.parse().unwrap(), false, "/healthz").ok();
        assert_eq!(url("0.0.0.0:1993").as_deref(), Some("http://127.0.0.1:1993/healthz"));
        assert_eq!(url("[::]:1993").as_deref(), Some("http://[::1]:1993/healthz"));
        assert_eq!(url("192.0.2.1:80").as_deref(), Some("http://192.0.2.1:80/healthz"));
        assert_eq!(url("0.0.0.0:0"), None);
    }
}
