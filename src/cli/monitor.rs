//! `monitor`: manages the projects of the embedded store, whose chats accounts may enter.

use super::{
    account::{self, column},
    accounts::embedded_accounts,
    erase::{self, Disposal},
    failure::{Failure, say},
};
use crate::{
    config::{sources::Settings, value::Storage},
    message::RoomName,
    store::{
        accounts::{Accounts, Monitor},
        erasure::Task,
        sqlite::{accounts::SqliteAccounts, admin::AdminError},
    },
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::{Timestamp, Unit};

pub const NAME: &str = "monitor";

pub fn command() -> Command {
    let hash = || Arg::new("hash").value_name("HASH").required(true).value_parser(hash);
    let email = || Arg::new("email").value_name("EMAIL").required(true).value_parser(account::email);
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new(NAME)
        .about("Add, list and remove monitors of the embedded store, and their members")
        .after_help("The store is the one of DATABASE_URL and DATA_DIR (--data-dir); a server may be running on it.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("add")
                .about("Add a monitor; its hash is the address of its chat")
                .arg(hash())
                .arg(text("title", "TITLE", "The project's title"))
                .arg(text("organization", "NAME", "The organization that the project belongs to"))
                .arg(text("type", "TYPE", "The kind of monitor, such as USER or ORGANIZATION"))
                .arg(text("description", "TEXT", "A short description"))
                .arg(text("url", "URL", "The project's address"))
                .arg(Arg::new("public").long("public").action(ArgAction::SetTrue).help("The project is public")),
        )
        .subcommand(Command::new("list").about("List monitors: hash, title and organization, separated by tabs"))
        .subcommand(Command::new("remove")
                .about("Remove a monitor and close its room; asks what to do with its messages")
                .long_about(
                    "Removes the monitor and closes its room. With --erase-messages its messages are erased, from every file of \
                     DATA_DIR or every key of Redis. With --keep-messages they are set aside: no monitor with the same hash \
                     shows them, but backends can read them (`removed:…` in the list of rooms), and `account export` and \
                     `account erase` find them. Without either you are asked on the terminal.",
                )
                .arg(hash())
                .args(erase::flags()))
        .subcommand(Command::new("join").about("Let an account into a monitor's chat").arg(hash()).arg(email()))
        .subcommand(Command::new("leave").about("Take an account out of a monitor's chat").arg(hash()).arg(email()))
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let store = embedded_accounts(settings)?;
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let (hash, email) = match name {
        "join" | "leave" => (text("hash").unwrap_or_default(), text("email").unwrap_or_default()),
        "list" => Default::default(),
        _ => (text("hash").unwrap_or_default(), String::new()),
    };
    match name {
        "add" => {
            begin_anew(&store, &hash, settings)?;
            let now = Timestamp::now();
            let now = Some(now.round(Unit::Second).unwrap_or(now).to_string());
            let monitor = Monitor {
                monitor_hash: hash,
                organization_name: text("organization"),
                kind: text("type"),
                title: text("title"),
                short_description: text("description"),
                public: matches.get_flag("public"),
                created_at: now.clone(),
                updated_at: now,
                project_url: text("url"),
            };
            store.add_monitor(&monitor)?;
            say(format_args!("monitor {} added", monitor.monitor_hash))
        }
        "list" => {
            for monitor in store.monitors()? {
                let or_empty = |text: &Option<String>| column(text.as_deref().unwrap_or_default());
                let (title, organization) = (or_empty(&monitor.title), or_empty(&monitor.organization_name));
                say(format_args!("{}\t{title}\t{organization}", column(&monitor.monitor_hash)))?;
            }
            Ok(())
        }
        "join" => {
            store.join(&email, &hash)?;
            say(format_args!("{email} may enter {hash}"))
        }
        "leave" => {
            store.leave(&email, &hash)?;
            say(format_args!("{email} may no longer enter {hash}"))
        }
        _ => {
            if !store.is_monitor(&hash)? {
                return Err(AdminError::NothingToRemove(hash).into());
            }
            let room = RoomName::monitor(&hash);
            let (task, done) = match erase::disposal(matches, &format!("What becomes of what was said in {hash}?"))? {
                Disposal::Erase => (Task::Room(room), "its messages are erased"),
                Disposal::Keep => (Task::SetAside(room), "its messages are kept where no other monitor shows them"),
            };
            let is_embedded = settings.storage()? == Storage::Embedded;
            let left = store.remove_monitor(&hash, Some(&task).filter(|_| is_embedded))?;
            say(format_args!("monitor {hash} removed"))?;
            erase::go_on(settings, &task, left)?;
            say(done)
        }
    }
}

/// Sets aside the messages of an earlier monitor with this hash: members of the new one must not see them.
fn begin_anew(store: &SqliteAccounts, hash: &str, settings: &Settings) -> Result<(), Failure> {
    let room = RoomName::monitor(hash);
    if !store.is_monitor(hash)? && erase::has_messages(settings, &room)? {
        erase::run(settings, &Task::SetAside(room))?;
    }
    Ok(())
}

/// The column `monitor_hash` of the Propromo table holds 255 characters.
fn hash(text: &str) -> Result<String, String> {
    let sound = !text.is_empty() && text.chars().count() <= 255 && !text.contains(char::is_control);
    sound
        .then(|| text.to_owned())
        .ok_or_else(|| "a monitor's hash has 1 to 255 characters, none of them a control character".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_as_laravel_makes_it_is_taken() {
        assert!(hash("$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12").is_ok());
        assert!(hash("").is_err());
        assert!(hash("a\nb").is_err());
    }
}
