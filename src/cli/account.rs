//! `account`: manages the accounts of the embedded store.

use super::{
    accounts::embedded_accounts,
    ask,
    erase::{self, Disposal},
    export,
    failure::{Failure, say},
};
use crate::{
    auth::password::Passwords,
    config::{sources::Settings, value::Storage},
    store::{
        accounts::{Accounts, MAX_EMAIL},
        erasure::Task,
        sqlite::{
            accounts::SqliteAccounts,
            admin::{AccountSummary, AdminError, NewAccount},
        },
    },
};
use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::Timestamp;

pub const NAME: &str = "account";

pub fn command() -> Command {
    let email = || Arg::new("email").value_name("EMAIL").required(true).value_parser(email).help("Its email address");
    Command::new(NAME)
        .about("Add, list, change and remove accounts of the embedded store; revoke access")
        .after_help("The store is the one of DATABASE_URL and DATA_DIR (--data-dir); a server may be running on it.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            Command::new("add")
                .about("Add an account; asks for its password twice")
                .arg(email())
                .arg(Arg::new("name").long("name").value_name("NAME").help("The person's name [the part before the @]"))
                .arg(
                    Arg::new("monitor")
                        .long("monitor")
                        .value_name("HASH")
                        .action(ArgAction::Append)
                        .help("A monitor whose chat the account may enter; may be repeated"),
                )
                .arg(ask::password_stdin()),
        )
        .subcommand(Command::new("list").about("List accounts: email, name and monitors, separated by tabs"))
        .subcommand(
            Command::new("passwd")
                .about("Change an account's password and log the account out everywhere; asks for the password twice")
                .arg(email())
                .arg(ask::password_stdin()),
        )
        .subcommand(
            Command::new("remove")
                .about("Remove an account and close its connections; asks what to do with its messages")
                .long_about(
                    "Removes EMAIL and closes its connections. With --erase-messages its messages in monitors and channels are \
                     erased, for everybody who sees them, and from every file of DATA_DIR or every key of Redis; with \
                     --keep-messages they are kept. Without either you are asked on the terminal. Messages of other accounts \
                     stay, including replies to erased ones, and so do reactions.",
                )
                .arg(email())
                .args(erase::flags()),
        )
        .subcommand(
            Command::new("erase")
                .about("Erase all messages of an account, even after it was removed; wherever accounts and messages are kept")
                .arg(email()),
        )
        .subcommand(
            Command::new("export")
                .about("Print everything that is kept about a person, as lines of JSON; wherever accounts and messages are kept")
                .long_about(
                    "Prints one JSON object per line: the account, its memberships, mutes, sessions (without anything that \
                     could log in) and read marks, its messages in their present state, and its edits, deletions and \
                     reactions. Messages and changes are found even after the account was removed. A server may be running.",
                )
                .arg(email()),
        )
        .subcommand(
            Command::new("revoke")
                .about("Log an account out everywhere: close its connections and end its tokens, on every server")
                .long_about(
                    "Ends all tokens that EMAIL was given so far, and closes all its connections, on every server that uses \
                     these accounts. The account may log in again; this prints what it can then enter. All servers also check \
                     at once whether others who are connected still have access, as each does every RECHECK_INTERVAL. Servers \
                     on the embedded store notice by themselves when these commands take access away or change a password; \
                     for accounts in PostgreSQL, which Propromo changes, this command makes the servers notice at once.",
                )
                .arg(email()),
        )
        .subcommand(
            Command::new("sessions")
                .about("List the browsers in which an account stays logged in, or log all of them out")
                .long_about(
                    "Lists the browsers in which EMAIL stays logged in by a cookie (SESSION_TTL): when each session began, \
                     and when it was last renewed, in UTC, separated by a tab; wherever the accounts are kept. With --end all \
                     of them are logged out: the next time a page renews its session, the user must log in. Open connections \
                     go on; `account revoke` closes them too.",
                )
                .arg(email())
                .arg(Arg::new("end").long("end").action(ArgAction::SetTrue).help("Log all of them out")),
        )
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let email = || matches.get_one::<String>("email").map_or("", String::as_str);
    match name {
        "revoke" => return revoke(email(), settings),
        "sessions" => return sessions(email(), matches.get_flag("end"), settings),
        "export" => return export::run(email(), settings),
        "erase" => return erase_messages(email(), settings),
        _ => {}
    }
    let store = embedded_accounts(settings)?;
    match name {
        "add" => {
            let monitors: Vec<String> = matches.get_many("monitor").unwrap_or_default().cloned().collect();
            let local_part = email().split('@').next().unwrap_or_default();
            let name = matches.get_one::<String>("name").map_or(local_part, String::as_str);
            // Reported before anybody has typed a password twice.
            if store.by_email(email())?.is_some() {
                return Err(AdminError::AccountExists(email().to_owned()).into());
            }
            let password_hash = &new_hash(matches)?;
            store.add_account(&NewAccount { name, email: email(), password_hash, monitors: &monitors })?;
            say(format_args!("account {} added", email()))?;
            if monitors.is_empty() { say(what_follows(&store, email())?) } else { Ok(()) }
        }
        "list" => {
            for AccountSummary { email, name, monitors, .. } in store.accounts()? {
                say(format_args!("{}\t{}\t{}", column(&email), column(&name), column(&monitors.join(" "))))?;
            }
            Ok(())
        }
        "passwd" => {
            if store.by_email(email())?.is_none() {
                return Err(no_account(email()));
            }
            store.set_password(email(), &new_hash(matches)?)?;
            say(format_args!("password of {} changed", email()))
        }
        _ => remove(&store, email(), matches, settings),
    }
}

/// An account without a monitor can't log in on the page: says what to do about it.
fn what_follows(store: &SqliteAccounts, email: &str) -> Result<String, Failure> {
    let known = store.monitors()?;
    let first = match known.first() {
        Some(monitor) => format!("`propromo-chat monitor join '{}' {email}`", column(&monitor.monitor_hash)),
        None => format!("`propromo-chat monitor add HASH` and `propromo-chat monitor join HASH {email}`"),
    };
    Ok(format!("it is in no monitor yet, and sees only rooms that are open to everybody; {first} lets it into a chat"))
}

fn remove(store: &SqliteAccounts, email: &str, matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let account = store.by_email(email)?.ok_or_else(|| no_account(email))?;
    let disposal = erase::disposal(matches, &format!("What becomes of what {} has said?", account.email))?;
    if disposal == Disposal::Keep {
        store.remove_account(email, None)?;
        return say(format_args!(
            "account {email} removed; its messages stay, `propromo-chat account erase {email}` erases them"
        ));
    }
    let task = Task::Sender(account.email.clone());
    let is_embedded = settings.storage()? == Storage::Embedded;
    let left = store.remove_account(email, Some(&task).filter(|_| is_embedded))?;
    say(format_args!("account {email} removed"))?;
    erase::tell(erase::go_on(settings, &task, left)?)
}

fn erase_messages(email: &str, settings: &Settings) -> Result<(), Failure> {
    let store = super::accounts::accounts(&settings.database()?)?;
    let email = store.by_email(email)?.map_or_else(|| email.to_owned(), |account| account.email);
    erase::confirm(&format!("All that {email} has said is erased, and can't be brought back."))?;
    erase::tell(erase::run(settings, &Task::Sender(email))?)
}

fn revoke(email: &str, settings: &Settings) -> Result<(), Failure> {
    let store = super::accounts::accounts(&settings.database()?)?;
    let account = store.by_email(email)?;
    let monitors = account.as_ref().map_or(Ok(Vec::new()), |account| store.monitors_of(account.id))?;
    match &account {
        Some(account) => store.revoke(account.id)?,
        None => store.announce_access_change()?,
    }
    let hashes: Vec<&str> = monitors.iter().map(|monitor| monitor.monitor_hash.as_str()).collect();
    match (account, &hashes[..]) {
        (None, _) => say(format_args!("there is no account {email}; all its connections are closed within seconds")),
        (Some(_), []) => say(format_args!(
            "{email} is logged out: its tokens have ended, all its connections are closed within seconds; it has access to \
             no monitor"
        )),
        (Some(_), hashes) => say(format_args!(
            "{email} is logged out: its tokens have ended, all its connections are closed within seconds; it may log in \
             again, and has access to {}",
            column(&hashes.join(" "))
        )),
    }
}

/// Lists the browsers in which an account stays logged in, or logs all of them out.
fn sessions(email: &str, end: bool, settings: &Settings) -> Result<(), Failure> {
    let database = settings.database()?;
    let accounts = super::accounts::accounts(&database)?;
    let account = accounts.by_email(email)?.ok_or_else(|| no_account(email))?;
    let store = super::accounts::sessions(&database)?;
    if end {
        let ended = store.end_all(account.id)?;
        let sessions = if ended == 1 { "session" } else { "sessions" };
        return say(format_args!("{ended} {sessions} of {email} ended"));
    }
    let epoch = accounts.epoch(account.id)?;
    let oldest = Timestamp::now().as_second().saturating_sub_unsigned(settings.sessions()?.ttl.as_secs());
    for session in store.of_account(account.id)? {
        let revoked = epoch.as_ref().is_none_or(|epoch| epoch.ended(Some(&session.epoch)));
        // Such a session ends when it is next used.
        if !revoked && session.used > oldest {
            say(format_args!("{}\t{}", time(session.begun), time(session.used)))?;
        }
    }
    Ok(())
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string())
}

/// The error for an email address without an account.
pub fn no_account(email: &str) -> Failure {
    Failure::Failed(format!("there is no account {email}; `propromo-chat account list` shows all"))
}

/// Text that breaks neither a column nor a terminal.
pub fn column(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Checks an email address as far as a server must: RFC 5321 §4.5.3.1 bounds it, and §4.1.2 forbids much more.
pub fn email(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@').unwrap_or_default();
    let sound = !local.is_empty()
        && !domain.is_empty()
        && text.len() <= MAX_EMAIL
        && !text.contains(|c: char| c.is_control() || c.is_whitespace());
    sound.then(|| text.to_owned()).ok_or_else(|| "an email address such as ann@example.org is needed".into())
}

fn new_hash(matches: &ArgMatches) -> Result<String, Failure> {
    let password = ask::new_password(matches.get_flag("password-stdin"))?;
    Passwords::hash(&password).map_err(|refusal| Failure::Failed(refusal.sentence.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_has_two_parts() {
        assert_eq!(email(" ann@example.org ").as_deref(), Ok("ann@example.org"));
        for text in ["", "ann", "@example.org", "ann@", "an n@example.org", "ann@exa\u{7}mple.org"] {
            assert!(email(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_column_holds_no_control_characters() {
        assert_eq!(column("Ann\t\u{1b}[2J"), "Ann  [2J");
    }
}
