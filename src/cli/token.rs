//! `token`: signs a token with the server's own keys, for scripts.

use super::{
    account,
    accounts::accounts,
    ask,
    failure::{Failure, say},
};
use crate::{
    auth::token::{Grant, Issued, Kind},
    config::{settings::TOKEN_TTL, sources::Settings},
    store::accounts::Epoch,
};
use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use std::time::{Duration, SystemTime};

pub const NAME: &str = "token";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Sign a token with the configured keys and print it")
        .after_help(
            "The keys are those of the server: the same settings, or the same DATA_DIR (--data-dir).\n\n\
             Example:\n  wscat -c \"ws://localhost:1993/chat/demo?auth=$(propromo-chat token --email alice@propromo.example)\"",
        )
        .arg(
            Arg::new("email")
                .long("email")
                .value_name("EMAIL")
                .required(true)
                .value_parser(account::email)
                .help("The account that the token is for; it must exist"),
        )
        .arg(Arg::new("room").long("room").value_name("ROOM").help("The only room that the token opens [any of the account's]"))
        .arg(
            Arg::new("ttl")
                .long("ttl")
                .value_name("TIME")
                .value_parser(ttl)
                .help("How long it is valid [TOKEN_TTL, or ACCESS_TTL for an access token]"),
        )
        .arg(
            Arg::new("kind")
                .long("kind")
                .value_name("KIND")
                .value_parser(PossibleValuesParser::new(["connection", "access"]))
                .default_value("connection")
                .help("connection: opens one WebSocket, once; access: identifies you to HTTP endpoints"),
        )
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let email = matches.get_one::<String>("email").map_or("", String::as_str);
    let room = matches.get_one::<String>("room").map(String::as_str);
    let lives = settings.token_lives()?;
    let (kind, life) = match matches.get_one::<String>("kind").map(String::as_str) {
        Some("access") if room.is_some() => {
            return Err(Failure::Usage("an access token opens no room; leave out --room, or --kind access".into()));
        }
        Some("access") => (Kind::Access, lives.access),
        _ => (Kind::Connection(Issued::Login), lives.connection),
    };
    let database = settings.database()?;
    let accounts = accounts(&database)?;
    let account = accounts.by_email(email)?.ok_or_else(|| account::no_account(email))?;
    let epoch = accounts.epoch(account.id)?;
    // The demo keys work here like any others: only a server that starts refuses them.
    let keys = settings.keyring(true, &mut ask::passphrase)?;
    let ttl = matches.get_one::<Duration>("ttl").copied().unwrap_or(life);
    let (user, email, epoch) = (account.id, account.email.as_str(), epoch.as_ref().map(Epoch::as_str));
    let grant = Grant { kind, user, email, room, epoch, ttl };
    say(keys.sign(&grant, SystemTime::now()).token)
}

fn ttl(text: &str) -> Result<Duration, String> {
    TOKEN_TTL.form.time(text).map_err(|expected| format!("it should be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_bounded_as_the_setting_is() {
        assert_eq!(ttl("60"), Ok(Duration::from_secs(60)));
        assert_eq!(ttl("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(ttl("0").is_err());
        assert!(ttl("999999999999").is_err());
    }
}
