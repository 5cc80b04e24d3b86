//! Moderators and mutes, in the accounts' file.

use super::accounts::SqliteAccounts;
use crate::{
    message::RoomName,
    store::{
        accounts::UserId,
        error::StoreError,
        moderation::{Moderation, Rights},
    },
};
use rusqlite::OptionalExtension;
use std::time::{SystemTime, UNIX_EPOCH};

impl Moderation for SqliteAccounts {
    fn rights(&self, asked: &[(UserId, &RoomName)]) -> Result<Vec<Rights>, StoreError> {
        self.tables().with("tell what accounts may do", |connection| {
            let mut look_up = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM moderators JOIN monitors ON monitors.id = monitor
                                WHERE account = ?1 AND monitor_hash = ?2),
                    (SELECT until FROM mutes WHERE account = ?1 AND room = ?3)",
            )?;
            asked
                .iter()
                .map(|(user, room)| {
                    let monitor = Some(room.local()).filter(|_| room.is_monitor());
                    look_up.query_row((user.0, monitor, room.as_str()), |row| Ok(Rights::of(row.get(0)?, row.get(1)?)))
                })
                .collect()
        })
    }

    fn mute(&self, room: &RoomName, user: UserId, until: u64, most: Option<u64>) -> Result<bool, StoreError> {
        self.tables().with("mute an account", |connection| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
            let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            tx.execute("DELETE FROM mutes WHERE until < ?1", [now])?;
            if let Some(most) = most {
                let others: i64 = tx.query_row(
                    "SELECT count(*) FROM mutes WHERE account = ?1 AND room <> ?2 AND room NOT LIKE 'monitor:%'",
                    (user.0, room.as_str()),
                    |row| row.get(0),
                )?;
                if others.unsigned_abs() >= most {
                    return Ok(false);
                }
            }
            tx.execute(
                "INSERT INTO mutes (account, room, until) VALUES (?1, ?2, ?3)
                 ON CONFLICT (account, room) DO UPDATE SET until = excluded.until",
                (user.0, room.as_str(), i64::try_from(until).unwrap_or(i64::MAX)),
            )?;
            tx.commit()?;
            Ok(true)
        })
    }

    fn unmute(&self, room: &RoomName, user: UserId) -> Result<bool, StoreError> {
        self.tables().with("let an account speak again", |connection| {
            let gone =
                connection.execute("DELETE FROM mutes WHERE account = ?1 AND room = ?2", (user.0, room.as_str()))?;
            Ok(gone > 0)
        })
    }

    fn appoint(&self, monitor_hash: &str, user: UserId, moderator: bool) -> Result<bool, StoreError> {
        self.tables().with("change who moderates", |connection| {
            let monitor: Option<i64> = connection
                .query_row("SELECT id FROM monitors WHERE monitor_hash = ?1", [monitor_hash], |row| row.get(0))
                .optional()?;
            let Some(monitor) = monitor else { return Ok(false) };
            let change = if moderator {
                "INSERT INTO moderators (monitor, account) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
            } else {
                "DELETE FROM moderators WHERE monitor = ?1 AND account = ?2"
            };
            Ok(connection.execute(change, (monitor, user.0))? > 0)
        })
    }

    fn moderators(&self, monitor_hash: &str) -> Result<Vec<String>, StoreError> {
        self.tables().with("list who moderates", |connection| {
            connection
                .prepare_cached(
                    "SELECT email FROM monitors JOIN moderators ON monitor = monitors.id JOIN users ON users.id = account
                     WHERE monitor_hash = ?1 ORDER BY email",
                )?
                .query_map([monitor_hash], |row| row.get(0))?
                .collect()
        })
    }
}
