//! Reads what is kept for an account beside its row, for a move to another store. It changes nothing.

use super::{accounts::SqliteAccounts, channels, reads::SqliteReads, sessions::SqliteSessions};
use crate::{
    message::RoomName,
    store::{
        accounts::UserId, channels::Beginner, error::StoreError, moving::Belongings, reads::Reads, sessions::Sessions,
    },
};
use rusqlite::{Connection, OptionalExtension};
use std::time::{SystemTime, UNIX_EPOCH};

impl SqliteAccounts {
    /// What is kept for an account, without mutes that are over.
    pub fn belongings(&self, account: UserId, email: &str) -> Result<Belongings, StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let sessions = SqliteSessions::beside(self).of_account(account)?;
        let reads = SqliteReads::beside(self).of_account(account)?;
        self.tables().with("say what an account has", |connection| {
            Ok(Belongings {
                email: email.to_owned(),
                revocations: revocations(connection, account)?,
                sessions,
                reads,
                mutes: mutes(connection, account, now)?,
                moderates: connection
                    .prepare_cached(
                        "SELECT monitor_hash FROM moderators JOIN monitors ON monitors.id = monitor
                         WHERE account = ?1 ORDER BY 1",
                    )?
                    .query_map([account.0], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?,
                channels: channels::begun(connection, &Beginner::Account(account).to_string())?,
            })
        })
    }
}

fn revocations(connection: &Connection, account: UserId) -> rusqlite::Result<i64> {
    let count = connection
        .prepare_cached("SELECT count FROM revocations WHERE account = ?1")?
        .query_row([account.0], |row| row.get(0))
        .optional()?;
    Ok(count.unwrap_or(0))
}

fn mutes(connection: &Connection, account: UserId, now: i64) -> rusqlite::Result<Vec<(RoomName, u64)>> {
    connection
        .prepare_cached("SELECT room, until FROM mutes WHERE account = ?1 AND until > ?2 ORDER BY room")?
        .query_map((account.0, now), |row| {
            Ok((RoomName::from_store(row.get_ref(0)?.as_str()?), row.get::<_, i64>(1)?.unsigned_abs()))
        })?
        .collect()
}
