//! The embedded store: SQLite files, each with one writing connection.
//!
//! | file | what | who writes |
//! |---|---|---|
//! | `chat.db` (or `DATABASE_URL`) | [`accounts`], [`chat_rooms`], [`channels`], [`sessions`], [`reads`], [`tasks`] | admin commands, also while the server runs; requests that make or change a room; the first message of a channel; logins that stay; the thread `reads` |
//! | `log.db` | [`log`]: messages | the log's own thread, from the journal in `journal/`, which the log's writer appends to |
//! | `search.db` | [`search`]: words of messages, made from the log | the thread that follows the log |
//! | `ledger.db` | [`ledger`]: spent tokens | the ledger's own thread, one transaction per batch |
//! | `webhooks.db`, with `WEBHOOK_URL` | [`outbox`]: how far webhooks have got | the threads that send them |
//!
//! SQLite lets one connection write to a file at a time. Since each job has its own file, a handshake that spends its
//! token never waits for a batch of messages, and neither waits for an admin.
//!
//! All files are in WAL mode: readers and the writer don't wait for each other, and a commit is one `write` to the end
//! of a file, which survives any end of the process (see [`Durability`](crate::config::Durability)).

pub mod accounts;
pub mod admin;
pub mod backup;
mod belongings;
pub mod channels;
pub mod chat_rooms;
pub mod data_dir;
pub mod database;
pub mod demo;
pub mod error;
pub mod import;
pub mod ledger;
pub mod log;
mod moderation;
#[cfg(test)]
mod no_trace;
pub mod outbox;
pub mod reads;
pub mod saved;
pub mod search;
pub mod sessions;
mod skeletons;
mod slack;
mod tables;
pub mod take_over;
pub mod tasks;

use self::{
    accounts::SqliteAccounts,
    channels::SqliteChannels,
    chat_rooms::SqliteChatRooms,
    data_dir::DataDir,
    ledger::SqliteLedger,
    log::{LogOptions, SqliteLog},
    reads::SqliteReads,
    search::SqliteSearch,
    sessions::SqliteSessions,
    tasks::SqliteTasks,
};
use error::StoreOpenError;
use std::{path::Path, sync::Arc};

/// The whole embedded store, and the lock on its directory.
pub struct Embedded {
    pub accounts: Arc<SqliteAccounts>,
    pub chat_rooms: Arc<SqliteChatRooms>,
    pub channels: Arc<SqliteChannels>,
    pub sessions: Arc<SqliteSessions>,
    pub reads: Arc<SqliteReads>,
    pub tasks: Arc<SqliteTasks>,
    pub log: Arc<SqliteLog>,
    pub ledger: Arc<SqliteLedger>,
    /// Follows the log.
    pub search: Arc<SqliteSearch>,
    /// Declared last, so that it is dropped last. Keep it for as long as the stores are in use.
    pub data_dir: DataDir,
}

/// Where the embedded store is, and what its messages survive.
#[derive(Clone)]
pub struct EmbeddedOptions<'a> {
    pub data_dir: &'a Path,
    /// The accounts' file; `None`: `chat.db` in the data directory.
    pub accounts: Option<&'a Path>,
    pub log: LogOptions,
}

impl Embedded {
    /// Claims the data directory, makes what is missing, and brings old files up to date.
    pub fn open(options: EmbeddedOptions<'_>) -> Result<Embedded, StoreOpenError> {
        let data_dir = DataDir::claim(options.data_dir)?;
        let in_data_dir = |name: &str| data_dir.path().join(name);
        let accounts = options.accounts.map_or_else(|| in_data_dir("chat.db"), Path::to_owned);
        let accounts = SqliteAccounts::open(&accounts)?;
        let durability = options.log.durability;
        let log = Arc::new(SqliteLog::open(&in_data_dir("log.db"), options.log)?);
        Ok(Embedded {
            search: Arc::new(SqliteSearch::open(&in_data_dir("search.db"), log.clone())?),
            chat_rooms: Arc::new(SqliteChatRooms::beside(&accounts)),
            channels: Arc::new(SqliteChannels::beside(&accounts)),
            sessions: Arc::new(SqliteSessions::beside(&accounts)),
            reads: Arc::new(SqliteReads::beside(&accounts)),
            tasks: Arc::new(SqliteTasks::beside(&accounts)),
            accounts: Arc::new(accounts),
            log,
            ledger: Arc::new(SqliteLedger::open(&in_data_dir("ledger.db"), durability)?),
            data_dir,
        })
    }
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
        EmbeddedOptions { data_dir: dir, accounts: None, log: LogOptions::keeping(None) }
    }

    #[test]
    fn what_was_stored_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let room = RoomName::channel("lobby");
        let draft = Draft::new(room.clone(), "alice".into(), "hi");
        let token = SignedPart([7; 32]);
        let until = SystemTime::now() + Duration::from_secs(60);
        {
            let store = Embedded::open(options(dir.path())).unwrap();
            store.accounts.seed_demo().unwrap();
            store.log.append(&[draft.into()]).unwrap();
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
