//! `moderator`: manages who may delete anybody's messages in a monitor's room, and mute its members.

use super::{
    account::{self, column, no_account},
    accounts::accounts,
    failure::{Failure, say},
};
use crate::{
    config::sources::Settings,
    store::accounts::{Accounts, Membership, UserId},
};
use clap::{Arg, ArgMatches, Command};

pub const NAME: &str = "moderator";

pub fn command() -> Command {
    let hash = || Arg::new("hash").value_name("MONITOR").required(true).help("The monitor's hash");
    let email = || Arg::new("email").value_name("EMAIL").required(true).value_parser(account::email);
    Command::new(NAME)
        .about("Manage the moderators of a monitor's room, who may delete any message and mute members")
        .after_help(
            "Moderators are kept with the accounts, in the store of DATABASE_URL and DATA_DIR (--data-dir); in PostgreSQL in the \
             schema chat, beside Propromo's tables. Running servers know of a change within seconds.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(Command::new("add").about("Make a member a moderator").arg(hash()).arg(email()))
        .subcommand(
            Command::new("remove").about("Make a moderator an ordinary member").arg(hash()).arg(email()),
        )
        .subcommand(Command::new("list").about("List a monitor's moderators, one email address per line").arg(hash()))
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let store = accounts(&settings.database()?)?;
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let hash = text("hash");
    if name == "list" {
        if !store.is_monitor(hash)? {
            return Err(no_monitor(hash));
        }
        return store.moderators(hash)?.iter().try_for_each(|email| say(column(email)));
    }
    let email = text("email");
    let user = store.by_email(email)?.ok_or_else(|| no_account(email))?.id;
    match name {
        "add" => {
            may_be_appointed(&*store, user, email, hash)?;
            let is_new = store.appoint(hash, user, true)?;
            let now = if is_new { "moderates" } else { "moderates already" };
            say(format_args!("{email} {now} {}", column(hash)))
        }
        _ => {
            if !store.is_monitor(hash)? {
                return Err(no_monitor(hash));
            }
            if !store.appoint(hash, user, false)? {
                return Err(Failure::Failed(format!(
                    "{email} is no moderator of the monitor {hash}; `propromo-chat moderator list '{hash}'` shows who is"
                )));
            }
            say(format_args!("{email} no longer moderates {}", column(hash)))
        }
    }
}

fn may_be_appointed(store: &dyn Accounts, user: UserId, email: &str, hash: &str) -> Result<(), Failure> {
    match store.membership(user, hash)? {
        Membership::Member => Ok(()),
        Membership::NoSuchMonitor => Err(no_monitor(hash)),
        Membership::NotAMember | Membership::NoAccount => {
            Err(Failure::Failed(format!("{email} is no member of the monitor {hash}, so it can't moderate there")))
        }
    }
}

fn no_monitor(hash: &str) -> Failure {
    Failure::Failed(format!(
        "there is no monitor {hash}; `propromo-chat monitor list` shows those of the embedded store"
    ))
}
