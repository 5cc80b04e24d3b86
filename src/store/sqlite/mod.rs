//! The embedded store: three SQLite files, each with one writing connection.
//!
//! | file | what | who writes |
//! |---|---|---|
//! | `chat.db` (or `DATABASE_URL`) | [`accounts`] and [`chat_rooms`] | admin commands, also while the server runs; who makes or changes a room |
//! | `log.db` | [`log`]: messages | who is at the log's desk, one transaction a batch |
//! | `ledger.db` | [`ledger`]: spent tokens | the ledger's own thread, one transaction a batch |
//!
//! SQLite lets one connection write to a file at a time. With a file a job, a handshake that spends
//! its token never waits for a batch of messages, and neither waits for an admin.
//!
//! All files are in WAL mode: readers and the writer don't wait for each other, and a commit is one
//! `write` to the end of a file, which outlives the process whatever kills it (see
//! [`Durability`]).

pub mod accounts;
pub mod admin;
pub mod backup;
pub mod chat_rooms;
pub mod data_dir;
pub mod database;
mod demo;
pub mod ledger;
pub mod log;
pub mod saved;

use self::{
    accounts::SqliteAccounts, chat_rooms::SqliteChatRooms, data_dir::DataDir, ledger::SqliteLedger, log::SqliteLog,
};
use super::error::StoreError;
use database::Durability;
use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// All of the embedded store, and the lock that makes it ours.
pub struct Embedded {
    pub accounts: Arc<SqliteAccounts>,
    pub chat_rooms: Arc<SqliteChatRooms>,
    pub log: Arc<SqliteLog>,
    pub ledger: Arc<SqliteLedger>,
    /// Declared last, so that it is let go last. Keep it for as long as the stores are in use.
    pub data_dir: DataDir,
}

/// Where the embedded store is, and what it promises.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedOptions<'a> {
    pub data_dir: &'a Path,
    /// The accounts' file; `None`: `chat.db` in the data directory.
    pub accounts: Option<&'a Path>,
    /// Messages kept a room; `None` keeps all.
    pub history_max: Option<u64>,
    pub durability: Durability,
}

impl Embedded {
    /// Claims the data directory, makes what is missing, brings old files up to date.
    pub fn open(options: EmbeddedOptions<'_>) -> Result<Embedded, StoreOpenError> {
        let data_dir = DataDir::claim(options.data_dir)?;
        let in_data_dir = |name: &str| data_dir.path().join(name);
        let accounts = options.accounts.map_or_else(|| in_data_dir("chat.db"), Path::to_owned);
        let accounts = SqliteAccounts::open(&accounts)?;
        Ok(Embedded {
            chat_rooms: Arc::new(SqliteChatRooms::beside(&accounts)),
            accounts: Arc::new(accounts),
            log: Arc::new(SqliteLog::open(&in_data_dir("log.db"), options.history_max, options.durability)?),
            ledger: Arc::new(SqliteLedger::open(&in_data_dir("ledger.db"), options.durability)?),
            data_dir,
        })
    }
}

/// The embedded store can't be used, and what to do about it. The sentence includes the cause.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    #[error(
        "can't use the data directory {}: {cause}; give this user a directory it may write to (DATA_DIR)",
        path.display()
    )]
    Directory { path: PathBuf, cause: io::Error },
    #[error(
        "the data directory {} is in use by another propromo-chat{}; stop it, or give this one a directory of its own \
         (DATA_DIR)",
        path.display(),
        holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
    )]
    InUse { path: PathBuf, holder: Option<u32> },
    #[error("can't open the database {}: {cause}", path.display())]
    File { path: PathBuf, cause: Box<dyn Error + Send + Sync> },
    #[error(
        "the database {} was written by a newer propromo-chat (its tables are version {version}, this one knows up to \
         {latest}); start that one, or restore a backup from before it",
        path.display()
    )]
    TooNew { path: PathBuf, version: u32, latest: u32 },
    #[error(
        "the database {} was written by an older propromo-chat; start this one on it once, which brings it up to date, \
         and stop it again",
        path.display()
    )]
    TooOld { path: PathBuf },
    #[error("can't bring the tables of the database {} up to date: {cause}", path.display())]
    Migration { path: PathBuf, cause: Box<rusqlite_migration::Error> },
    #[error("can't start the thread {name}: {cause}")]
    Thread { name: &'static str, cause: io::Error },
}

/// Turns a cause into the [`StoreError`] of this store and attempt.
fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
    store: &'static str,
    what: &'static str,
) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError { store, what, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::{Draft, RoomName},
        store::{
            accounts::Accounts,
            ledger::{Ledger, SignedPart},
            log::MessageLog,
        },
    };
    use std::time::{Duration, SystemTime};

    fn options(dir: &Path) -> EmbeddedOptions<'_> {
        EmbeddedOptions { data_dir: dir, accounts: None, history_max: None, durability: Durability::Process }
    }

    #[test]
    fn what_was_stored_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let room = RoomName::channel("lobby");
        let draft = Draft {
            room: room.clone(),
            sender: "alice".into(),
            text: "hi".into(),
            extra: None,
            kept: true,
            reference: None,
        };
        let token = SignedPart([7; 32]);
        let until = SystemTime::now() + Duration::from_secs(60);
        {
            let store = Embedded::open(options(dir.path())).unwrap();
            store.accounts.seed_demo().unwrap();
            store.log.append(&[draft]).unwrap();
            assert!(store.ledger.spend(&token, until).unwrap());
        }
        let store = Embedded::open(options(dir.path())).unwrap();
        assert!(store.accounts.by_email("alice@propromo.example").unwrap().is_some());
        assert_eq!(&*store.log.history(&room, None, 10).unwrap()[0].text, "hi");
        assert!(!store.ledger.spend(&token, until).unwrap());
    }

    #[test]
    fn a_second_server_on_the_same_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Embedded::open(options(dir.path())).unwrap();
        assert!(matches!(Embedded::open(options(dir.path())), Err(StoreOpenError::InUse { .. })));
    }

    #[test]
    fn an_account_can_be_added_while_the_server_runs() {
        let dir = tempfile::tempdir().unwrap();
        let server = Embedded::open(options(dir.path())).unwrap();
        SqliteAccounts::open(&dir.path().join("chat.db")).unwrap().seed_demo().unwrap();
        assert!(server.accounts.by_email("bob@propromo.example").unwrap().is_some());
    }
}
