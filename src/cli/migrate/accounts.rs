//! Accounts on the move: SQLite's go along in their file, PostgreSQL's are Propromo's and only compared.

use crate::{
    cli::failure::{Failure, say},
    store::{accounts::Accounts, sqlite::accounts::SqliteAccounts},
};
use std::path::Path;

/// Accounts named in a line.
const NAMED: usize = 5;

/// The accounts' file at `path`, where the nodes will look for it: the old one, or if there is none yet a copy of it.
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

/// Says which accounts could not log in any more.
pub(super) fn compare(old: &SqliteAccounts, new: &dyn Accounts) -> Result<(), Failure> {
    let all = old.accounts()?;
    let mut missing = Vec::new();
    for account in &all {
        if new.by_email(&account.email)?.is_none() {
            missing.push(account.email.as_str());
        }
    }
    match &missing[..] {
        [] => say(format_args!("accounts: all {} are in PostgreSQL already", all.len())),
        missing => say(format_args!(
            "accounts: not copied; {} of {} are not in PostgreSQL and must be made in Propromo: {}{}",
            missing.len(),
            all.len(),
            missing[..missing.len().min(NAMED)].join(", "),
            if missing.len() > NAMED { " …" } else { "" }
        )),
    }
}

/// Whether two paths lead to one file.
pub(super) fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}
