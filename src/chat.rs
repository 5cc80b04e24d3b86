//! The server's parts, put together once and shared by every thread.

use crate::{
    auth::password::Passwords,
    config::{Config, Database, Storage},
    door::{chitchat::names::Names, places::Places},
    http::{limits::LoginLimits, room_limits::RoomLimits},
    metrics::Metrics,
    room::Rooms,
    socket::sessions::Sessions,
    store::{
        Accounts, Ledger, MessageLog,
        chat_rooms::ChatRooms,
        postgres::{self, Postgres},
        sqlite::{Embedded, EmbeddedOptions, data_dir::DataDir},
    },
};
use std::{sync::Arc, thread};

/// Logins that may wait while others are being hashed; half of what the gateway takes at a time, so
/// that a storm of logins leaves room for other requests.
const WAITING_LOGINS: usize = crate::http::gateway::POOL_SIZE / 2;

/// Everything that a request or a connection may need.
pub struct Chat {
    pub config: Config,
    pub accounts: Arc<dyn Accounts>,
    pub ledger: Arc<dyn Ledger>,
    pub log: Arc<dyn MessageLog>,
    /// What the rooms door knows of its rooms, and who is called what in them.
    pub chat_rooms: Arc<dyn ChatRooms>,
    pub names: Names,
    pub rooms: Rooms,
    pub sessions: Sessions,
    pub passwords: Passwords,
    /// Sockets that are open without a token, until their first message.
    pub unauthenticated: Places,
    pub login_limits: LoginLimits,
    pub room_limits: RoomLimits,
    pub metrics: Metrics,
    /// Held so that no other process uses the same data; let go last.
    _data_dir: DataDir,
}

impl Chat {
    /// Opens the stores and starts the engine's threads.
    pub fn open(config: Config) -> Result<Arc<Chat>, StartError> {
        let (accounts_file, postgres) = match &config.database {
            Database::Sqlite(path) => (Some(path.as_path()), None),
            Database::Postgres(url) => {
                (None, Some(Postgres::open(url, postgres::START_PATIENCE).map_err(StartError::new)?))
            }
        };
        if !matches!(config.storage, Storage::Embedded) {
            return Err(StartError::new("messages in Redis are not supported yet; unset CHAT_STORAGE_URL"));
        }
        let stores = Embedded::open(EmbeddedOptions {
            data_dir: &config.data_dir,
            accounts: accounts_file,
            history_max: config.history_max,
            durability: config.durability,
        })
        .map_err(StartError::new)?;
        let (accounts, chat_rooms): (Arc<dyn Accounts>, Arc<dyn ChatRooms>) = match postgres {
            Some(Postgres { accounts, chat_rooms }) => (accounts, chat_rooms),
            None => (stores.accounts, stores.chat_rooms),
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = |error| StartError(format!("can't start the engine's threads: {error}"));
        Ok(Arc::new(Chat {
            rooms: Rooms::start(stores.log.clone(), cores).map_err(threads)?,
            sessions: Sessions::start().map_err(threads)?,
            passwords: Passwords::new((cores / 2).max(1), WAITING_LOGINS),
            unauthenticated: Places::new(config.limits.max_unauthenticated),
            login_limits: LoginLimits::new(config.limits.login_rate),
            room_limits: RoomLimits::new(&config.limits),
            names: Names::default(),
            metrics: Metrics::default(),
            accounts,
            chat_rooms,
            ledger: stores.ledger,
            log: stores.log,
            _data_dir: stores.data_dir,
            config,
        }))
    }
}

/// The server can't start, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl StartError {
    pub fn new(sentence: impl ToString) -> StartError {
        StartError(sentence.to_string())
    }
}
