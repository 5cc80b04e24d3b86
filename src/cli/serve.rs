//! `serve`: the server itself.

use super::{
    ask,
    failure::{Failure, say},
};
use crate::{
    auth::keys::error::KeyError,
    config::{
        Config, ceilings,
        layers::Sources,
        settings,
        sources::Settings,
        value::{Database, Listen},
    },
    server::{Server, reload},
    store::{
        accounts::Accounts,
        sqlite::demo::{self, DemoAccount},
    },
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

pub const NAME: &str = "serve";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Start the server")
        .after_help("Settings: see --help.")
        .after_long_help(settings::help())
        .arg(
            Arg::new("demo")
                .long("demo")
                .action(ArgAction::SetTrue)
                .help("Use the embedded store with the demo accounts, and print them; not for the open internet"),
        )
}

/// `flags` are the settings among the flags, for when settings are read again.
pub fn run(matches: &ArgMatches, settings: &Settings, flags: HashMap<String, String>) -> Result<(), Failure> {
    let demo = matches.get_flag("demo");
    let config = settings.config(demo, &mut ask::passphrase)?;
    tracing::info!("settings: {}", settings.summary());
    ceilings::raise_file_limit();
    let of_the_certificate = config.tls.iter().flat_map(|identity| identity.doubts());
    let need = ceilings::Need::of_connections(config.tls.is_some());
    if let Some(sentence) = ceilings::too_few_files(need) {
        return Err(Failure::Failed(sentence));
    }
    let too_low = ceilings::too_low(config.limits.max_connections, need);
    for doubt in settings.doubts()?.into_iter().chain(of_the_certificate).chain(too_low) {
        tracing::warn!("{doubt}");
    }
    let addresses = config.listen.iter().filter_map(|listen| match listen {
        Listen::Tcp(address) => Some(*address),
        Listen::Unix(_) => None,
    });
    if demo && addresses.clone().any(|address| !address.ip().is_loopback()) {
        tracing::warn!("other machines can reach the demo accounts, whose passwords everybody knows");
    }
    prepare_accounts(&config)?;
    let (demo, listen, encrypted) = (config.demo, addresses.clone().next(), config.tls.is_some());
    let reread = move || Settings::resolve(&Sources::gather(flags.clone())?);
    let reread_api_keys = reread.clone();
    let sources = reload::Sources {
        keys: Box::new(move || {
            let mut passphrase = || Err(KeyError("it is encrypted, and only JWT_PASSPHRASE can open it now".into()));
            reread()?.keyring(demo, &mut passphrase)
        }),
        api_keys: Box::new(move || reread_api_keys()?.api_keys()),
    };
    let server = Server::bind(config)?;
    if demo {
        match say(demo_notice(listen, encrypted)) {
            // The program that started us has read the first line and closed the pipe; that is no reason to stop.
            Ok(()) | Err(Failure::OutputClosed) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(server.run(sources)?)
}

/// Makes the demo accounts. Without `--demo`, warns about those of an earlier demo.
fn prepare_accounts(config: &Config) -> Result<(), Failure> {
    let Database::Sqlite(path) = &config.database else { return Ok(()) };
    let store = super::accounts::open_embedded(path)?;
    if config.demo {
        return Ok(store.seed_demo()?);
    }
    if store.accounts()?.is_empty() {
        tracing::info!(
            "there are no accounts yet in {}; make the first with `propromo-chat account add EMAIL`, with the same settings; \
             this server may go on running",
            path.display()
        );
    }
    for DemoAccount { email, .. } in demo::ACCOUNTS {
        if store.by_email(email)?.is_some() {
            tracing::warn!(
                "the demo account {email} is still there, and everybody knows its password; \
                 remove it with `propromo-chat account remove {email}`"
            );
        }
    }
    Ok(())
}

/// `listen` is the first address, if there is one.
fn demo_notice(listen: Option<SocketAddr>, encrypted: bool) -> String {
    let mut notice = String::from("demo accounts, which everybody knows (address, password, rooms):\n");
    let monitors = demo::MONITORS.join(", ");
    for DemoAccount { email, password, is_member, .. } in demo::ACCOUNTS {
        let monitors = if is_member { &monitors } else { "no room" };
        notice += &format!("  {email:<24}{password:<16}{monitors}\n");
    }
    let Some(listen) = listen else { return notice.trim_end().to_owned() };
    // Port 0 is known only once it is bound, in the line `listening on`.
    let port = if listen.port() == 0 { "PORT".into() } else { listen.port().to_string() };
    let host = match listen.ip() {
        ip if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST).to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let scheme = if encrypted { "https" } else { "http" };
    let url = format!("{scheme}://{host}:{port}");
    notice + &format!("open {url} in a browser, or try: propromo-chat talk {url} alice@propromo.example demo")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_notice_names_an_address_that_can_be_typed() {
        assert!(demo_notice(Some(([0, 0, 0, 0], 80).into()), false).contains("http://127.0.0.1:80 alice"));
        assert!(demo_notice("[::1]:1993".parse().ok(), true).contains("https://[::1]:1993 alice"));
        assert!(demo_notice(Some(([127, 0, 0, 1], 0).into()), false).contains("http://127.0.0.1:PORT alice"));
    }
}
