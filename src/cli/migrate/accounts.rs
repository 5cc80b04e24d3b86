//! Moves accounts: SQLite's move with their file; PostgreSQL's are Propromo's, and get what belongs to them.

use super::messages::counted;
use crate::{
    cli::{
        failure::{Failure, say},
        progress::Progress,
    },
    store::{
        moving::Belongings,
        postgres::{accounts::PostgresAccounts, belongings::Taken},
        sqlite::accounts::SqliteAccounts,
    },
};
use std::path::Path;

/// Accounts named in one line.
const NAMED: usize = 5;

/// The accounts' file at `path`, where the nodes will look for it: the old file, or a copy of it if there is none yet.
pub(super) fn copied(old: Option<SqliteAccounts>, path: &Path) -> Result<SqliteAccounts, Failure> {
    match old {
        Some(old) if super::accounts::same_file(old.path(), path) => {
            say(format_args!(
                "accounts and rooms: they stay in {}, which every node must be able to open",
                path.display()
            ))?;
            Ok(old)
        }
        Some(old) if !path.exists() => {
            old.copy_to(path)?;
            say(format_args!("accounts and rooms: copied to {}", path.display()))?;
            Ok(SqliteAccounts::open(path)?)
        }
        _ => {
            say(format_args!("accounts and rooms: those in {} stay as they are", path.display()))?;
            Ok(SqliteAccounts::open(path)?)
        }
    }
}

/// Gives accounts of the same addresses what belonged to them, and prints what could not be given.
pub(super) fn move_belongings(old: &SqliteAccounts, new: &PostgresAccounts) -> Result<(), Failure> {
    let all = old.accounts()?;
    let mut progress = Progress::new();
    let (mut missing, mut before, mut sum, mut lost) = (Vec::new(), 0, Taken::default(), Taken::default());
    for (done, account) in all.iter().enumerate() {
        progress.bar(done as u64, Some(all.len() as u64), "accounts looked at");
        let belongings = old.belongings(account.id, &account.email)?;
        match new.take(&belongings)? {
            Some(taken) => {
                before += usize::from(taken.before);
                sum.add(&taken);
            }
            None => {
                missing.push(account.email.as_str());
                lost.add(&had(&belongings));
            }
        }
    }
    progress.clear();
    match &missing[..] {
        [] => say(format_args!("accounts: all {} are in PostgreSQL already", all.len()))?,
        missing => say(format_args!(
            "accounts: not copied; {} of {} are not in PostgreSQL and must be made in Propromo: {}{}",
            missing.len(),
            all.len(),
            missing[..missing.len().min(NAMED)].join(", "),
            if missing.len() > NAMED { " …" } else { "" }
        ))?,
    }
    let were_before = if before > 0 { format!("; {before} had theirs before") } else { String::new() };
    say(format_args!("of accounts: {} copied{were_before}", listed(&sum)))?;
    if lost != Taken::default() {
        say(format_args!(
            "left out, since their accounts are missing: {}; run this again once those are there",
            listed(&lost)
        ))?;
    }
    if sum.ended > 0 {
        say(format_args!(
            "left out: {}, whose accounts have another password in PostgreSQL: they have to log in again",
            counted(sum.ended, "session")
        ))?;
    }
    if sum.elsewhere > 0 {
        say(format_args!(
            "left out: {} for monitors that are not in PostgreSQL; run this again once those are there",
            counted(sum.elsewhere, "moderator")
        ))?;
    }
    Ok(())
}

/// Everything that belonged to an account.
fn had(belongings: &Belongings) -> Taken {
    let Belongings { sessions, reads, mutes, moderates, channels, .. } = belongings;
    let (sessions, reads, mutes) = (sessions.len(), reads.len(), mutes.len());
    let (moderates, channels) = (moderates.len(), channels.len());
    Taken { sessions, reads, mutes, moderates, channels, ..Taken::default() }
}

fn listed(taken: &Taken) -> String {
    let Taken { sessions, reads, mutes, moderates, channels, .. } = *taken;
    let [sessions, reads] = [counted(sessions, "session"), counted(reads, "read mark")];
    let [mutes, moderates] = [counted(mutes, "mute"), counted(moderates, "moderator")];
    let channels = counted(channels, "begun channel");
    format!("{sessions}, {reads}, {mutes}, {moderates}, {channels}")
}

/// Whether two paths lead to one file.
pub(super) fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}
