//! PostgreSQL, for many nodes: Propromo's accounts, and the chat's own tables in the schema `chat`.
//!
//! ```text
//! accounts ─┐                                         ┌─▶ connection ─▶ PostgreSQL
//!           ├─▶ database (pool, time-outs, outages) ──┼─▶ connection ─▶
//! rooms ────┘                                         └─▶ …  (a thread each)
//! ```
//!
//! Every wait has a limit: 3 s for a free connection, 6 s for an answer, and half a second each while the server is
//! known to be away. The pool reconnects by itself.

pub mod accounts;
pub mod archive;
mod archive_erase;
pub mod belongings;
pub mod channels;
pub mod chat_rooms;
mod connection;
mod database;
pub mod error;
mod failure;
mod migrations;
mod moderation;
pub mod reads;
pub mod sessions;
mod target;
pub mod tasks;
#[cfg(test)]
mod tests;
mod tls;

use self::{
    accounts::PostgresAccounts, archive::PostgresArchive, channels::PostgresChannels, chat_rooms::PostgresChatRooms,
    database::Database, reads::PostgresReads, sessions::PostgresSessions, tasks::PostgresTasks,
};
use error::OpenError;
use std::{sync::Arc, time::Duration};

pub use target::Url;

/// How long a start waits for an unreachable server. Nodes and their database are often started together, and the
/// database takes longer.
pub const START_PATIENCE: Duration = Duration::from_secs(30);

/// The stores in PostgreSQL.
pub struct Postgres {
    pub accounts: Arc<PostgresAccounts>,
    pub chat_rooms: Arc<PostgresChatRooms>,
    pub channels: Arc<PostgresChannels>,
    pub sessions: Arc<PostgresSessions>,
    pub reads: Arc<PostgresReads>,
    pub tasks: Arc<PostgresTasks>,
    /// With many nodes: messages that Redis no longer has.
    pub archive: Arc<PostgresArchive>,
    /// The number of connections now.
    pub connections: Box<dyn Fn() -> u32 + Send + Sync>,
}

impl Postgres {
    /// Connects and brings the schema `chat` up to date. Tries an unreachable server again until `patience` is over.
    /// What waiting can't mend (a wrong password, no such database) fails at once. `pool`: the most connections.
    pub fn open(url: &str, pool: u32, patience: Duration) -> Result<Postgres, OpenError> {
        let shown = crate::redact::without_password(url);
        let database = Database::open(url, pool, patience, |first| migrations::migrate(first, &shown))?;
        Ok(Postgres {
            accounts: Arc::new(PostgresAccounts::of(database.clone())),
            chat_rooms: Arc::new(PostgresChatRooms::of(database.clone())),
            channels: Arc::new(PostgresChannels::of(database.clone())),
            sessions: Arc::new(PostgresSessions::of(database.clone())),
            reads: Arc::new(PostgresReads::of(database.clone())),
            tasks: Arc::new(PostgresTasks::of(database.clone())),
            archive: Arc::new(PostgresArchive::of(database.clone())),
            connections: Box::new(move || database.connections()),
        })
    }

    /// Finds out whether [`Postgres::open`] would succeed, without waiting and without changing anything.
    pub fn check(url: &str) -> Result<PostgresAccounts, OpenError> {
        let shown = crate::redact::without_password(url);
        Ok(PostgresAccounts::of(Database::open(url, 1, Duration::ZERO, |first| migrations::dry_run(first, &shown))?))
    }
}
