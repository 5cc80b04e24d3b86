//! Opens the accounts for commands.

use super::failure::Failure;
use crate::{
    config::{
        settings::{DATA_DIR, DATABASE_URL},
        sources::Settings,
        value::Database,
    },
    store::{
        accounts::Accounts,
        postgres::{accounts::PostgresAccounts, sessions::PostgresSessions},
        sessions::Sessions,
        sqlite::{accounts::SqliteAccounts, sessions::SqliteSessions},
    },
};
use std::{
    fs::DirBuilder,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
    time::Duration,
};

/// The user of a command sees that it failed, and can run it again.
pub const NO_PATIENCE: Duration = Duration::ZERO;

/// Opens the accounts of either kind, for reading.
pub fn accounts(database: &Database) -> Result<Box<dyn Accounts>, Failure> {
    match database {
        Database::Sqlite(path) => Ok(Box::new(open_embedded(path)?)),
        Database::Postgres(url) => Ok(Box::new(PostgresAccounts::open(url, NO_PATIENCE)?)),
    }
}

/// Opens the sessions, wherever the accounts are kept.
pub fn sessions(database: &Database) -> Result<Box<dyn Sessions>, Failure> {
    match database {
        Database::Sqlite(path) => Ok(Box::new(SqliteSessions::beside(&open_embedded(path)?))),
        Database::Postgres(url) => Ok(Box::new(PostgresSessions::open(url, NO_PATIENCE)?)),
    }
}

/// Opens the embedded accounts, for changes. Accounts in PostgreSQL belong to another program.
pub fn embedded_accounts(settings: &Settings) -> Result<SqliteAccounts, Failure> {
    match settings.database()? {
        Database::Sqlite(path) => {
            let is_new = !path.exists();
            if is_new
                && !settings.is_given(&DATA_DIR)
                && !settings.is_given(&DATABASE_URL)
                && let Some(sentence) = of_the_service(Path::new(SERVICE_DATA), &path)
            {
                return Err(Failure::Failed(sentence));
            }
            let store = open_embedded(&path)?;
            if is_new {
                let place = path.canonicalize().unwrap_or(path);
                let _ = writeln!(
                    io::stderr(),
                    "propromo-chat: a new store was made, {}; the server finds it with the same DATA_DIR and DATABASE_URL",
                    place.display()
                );
            }
            Ok(store)
        }
        Database::Postgres(_) => Err(Failure::Failed(
            "DATABASE_URL names a PostgreSQL database; its accounts and monitors belong to Propromo, so change them there"
                .into(),
        )),
    }
}

/// The data directory of the service that `systemd/install.sh` and the Debian package set up.
const SERVICE_DATA: &str = "/var/lib/propromo-chat";

/// Why no store is created at `path`, if so: without a directory, on a machine with the service, the user means the
/// service's.
fn of_the_service(data: &Path, path: &Path) -> Option<String> {
    data.is_dir().then(|| {
        format!(
            "there is no store in {} (DATA_DIR), and the service of this machine keeps its own in {1}; for that one: runuser \
             -u propromo-chat -- propromo-chat --data-dir {1} …; to make another here: --data-dir ./data",
            path.parent().unwrap_or(path).display(),
            data.display()
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_the_service_no_store_is_made_by_mistake() {
        let service = tempfile::tempdir().unwrap();
        let sentence = of_the_service(service.path(), Path::new("./data/chat.db")).unwrap();
        let data_dir = format!("--data-dir {}", service.path().display());
        assert!(sentence.contains("no store in ./data") && sentence.contains(&data_dir), "{sentence}");
        assert_eq!(of_the_service(&service.path().join("none"), Path::new("./data/chat.db")), None);
    }
}
