//! Who has begun which channels and streams, in the file of the accounts.

use super::{accounts::SqliteAccounts, tables::Tables};
use crate::{
    message::RoomName,
    store::{
        channels::{Beginner, Channels, YOUNG},
        error::StoreError,
        moving::Begun,
    },
};
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

pub struct SqliteChannels {
    tables: Tables,
}

impl SqliteChannels {
    /// The channels in the file of `accounts`.
    pub fn beside(accounts: &SqliteAccounts) -> SqliteChannels {
        SqliteChannels { tables: accounts.tables().clone() }
    }
}

/// What this beginner has begun, for a move to another store.
pub(super) fn begun(connection: &Connection, beginner: &str) -> rusqlite::Result<Vec<Begun>> {
    connection
        .prepare_cached("SELECT room, begun FROM channels WHERE beginner = ?1 ORDER BY room")?
        .query_map([beginner], |row| {
            let at = UNIX_EPOCH + Duration::from_millis(row.get::<_, i64>(1)?.unsigned_abs());
            Ok(Begun { room: RoomName::from_store(row.get_ref(0)?.as_str()?), at })
        })?
        .collect()
}

impl SqliteChannels {
    /// What was begun by those who have no account, by beginner, for a move to another store.
    pub fn begun_without_account(&self) -> Result<BTreeMap<String, Vec<Begun>>, StoreError> {
        self.tables.with("list who has begun channels", |connection| {
            let beginners: Vec<String> = connection
                .prepare_cached("SELECT DISTINCT beginner FROM channels WHERE beginner NOT LIKE 'account:%'")?
                .query_map((), |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            beginners.into_iter().map(|beginner| Ok((beginner.clone(), begun(connection, &beginner)?))).collect()
        })
    }
}

impl Channels for SqliteChannels {
    fn begin(&self, room: &RoomName, beginner: Beginner<'_>, now: Timestamp, most: u64) -> Result<bool, StoreError> {
        let (room, beginner, now) = (room.as_str(), beginner.to_string(), now.as_millisecond());
        self.tables.with("note who begins a channel", |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let is_young = tx
                .prepare_cached("SELECT 1 FROM channels WHERE room = ?1 AND begun > ?2")?
                .exists((room, now - YOUNG.as_millis() as i64))?;
            if is_young {
                return Ok(true);
            }
            let others: i64 = tx
                .prepare_cached("SELECT count(*) FROM channels WHERE beginner = ?1 AND room <> ?2")?
                .query_row((&beginner, room), |row| row.get(0))?;
            if others.unsigned_abs() >= most {
                return Ok(false);
            }
            tx.prepare_cached(
                "INSERT INTO channels (room, beginner, begun) VALUES (?1, ?2, ?3)
                 ON CONFLICT (room) DO UPDATE SET beginner = excluded.beginner, begun = excluded.begun",
            )?
            .execute((room, &beginner, now))?;
            tx.commit()?;
            Ok(true)
        })
    }

    fn begun_by(&self, beginner: Beginner<'_>, before: Timestamp, most: usize) -> Result<Vec<RoomName>, StoreError> {
        self.tables.with("list the channels of one beginner", |connection| {
            connection
                .prepare_cached(
                    "SELECT room FROM channels WHERE beginner = ?1 AND begun < ?2 ORDER BY random() LIMIT ?3",
                )?
                .query_map((beginner.to_string(), before.as_millisecond(), most as i64), |row| {
                    Ok(RoomName::from_store(row.get_ref(0)?.as_str()?))
                })?
                .collect()
        })
    }

    fn forget(&self, rooms: &[RoomName], before: Timestamp) -> Result<(), StoreError> {
        self.tables.with("forget who began a channel", |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for room in rooms {
                tx.prepare_cached("DELETE FROM channels WHERE room = ?1 AND begun < ?2")?
                    .execute((room.as_str(), before.as_millisecond()))?;
            }
            tx.commit()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    fn fresh() -> suite::Opened<SqliteChannels> {
        suite::Opened::new(|dir| SqliteChannels::beside(&SqliteAccounts::open(&dir.join("chat.db")).unwrap()))
    }

    suite::channels!(fresh);

    #[test]
    fn the_channels_of_a_removed_account_are_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let accounts = SqliteAccounts::open(&dir.path().join("chat.db")).unwrap();
        accounts.seed_demo().unwrap();
        let (channels, of) = (SqliteChannels::beside(&accounts), Beginner::Account(crate::store::accounts::UserId(1)));
        assert!(channels.begin(&RoomName::channel("a"), of, Timestamp::UNIX_EPOCH, 1).unwrap());
        assert_eq!(channels.begun_by(of, Timestamp::now(), 9).unwrap().len(), 1);
        accounts
            .tables()
            .with("remove", |connection| connection.execute("DELETE FROM users WHERE id = 1", ()))
            .unwrap();
        assert!(channels.begun_by(of, Timestamp::now(), 9).unwrap().is_empty());
    }
}
