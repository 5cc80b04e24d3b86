//! The accounts, as commands open them.

use super::failure::Failure;
use crate::{
    config::{sources::Settings, value::Database},
    store::{accounts::Accounts, postgres::accounts::PostgresAccounts, sqlite::accounts::SqliteAccounts},
};
use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path, time::Duration};

/// A command is run by somebody who sees that it failed, and can run it again.
pub const NO_PATIENCE: Duration = Duration::ZERO;

/// The accounts, wherever they are kept, to read.
pub fn accounts(database: &Database) -> Result<Box<dyn Accounts>, Failure> {
    match database {
        Database::Sqlite(path) => Ok(Box::new(open_embedded(path)?)),
        Database::Postgres(url) => Ok(Box::new(PostgresAccounts::open(url, NO_PATIENCE)?)),
    }
}

/// The embedded accounts, to change. Those in PostgreSQL are another program's.
pub fn embedded_accounts(settings: &Settings) -> Result<SqliteAccounts, Failure> {
    match settings.database()? {
        Database::Sqlite(path) => open_embedded(&path),
        Database::Postgres(_) => Err(Failure::Failed(
            "DATABASE_URL names a PostgreSQL database; its accounts and monitors belong to Propromo, so change them there"
                .into(),
        )),
    }
}

pub fn open_embedded(path: &Path) -> Result<SqliteAccounts, Failure> {
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| Failure::Failed(format!("the directory {} can't be created: {e}", directory.display())))?;
    }
    Ok(SqliteAccounts::open(path)?)
}
