//! Sessions of logged-in users, in the file of the accounts.

use super::{accounts::SqliteAccounts, tables::Tables};
use crate::store::{
    accounts::UserId,
    error::StoreError,
    sessions::{Digest, Session, Sessions, Spent},
};
use rusqlite::{OptionalExtension, Row, TransactionBehavior};

/// The columns of [`session`].
const COLUMNS: &str = "id, account, epoch, begun, used, current, spent";

pub struct SqliteSessions {
    tables: Tables,
}

impl SqliteSessions {
    /// The sessions in the file of `accounts`.
    pub fn beside(accounts: &SqliteAccounts) -> SqliteSessions {
        SqliteSessions { tables: accounts.tables().clone() }
    }
}

impl Sessions for SqliteSessions {
    fn begin(&self, session: &Session, most: usize, since: i64) -> Result<usize, StoreError> {
        self.tables.with("begin a session", |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.prepare_cached("DELETE FROM sessions WHERE used <= ?1")?.execute([since])?;
            tx.prepare_cached(&format!("INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"))?
                .execute((
                    session.id,
                    session.account.0,
                    &session.epoch,
                    session.begun,
                    session.used,
                    session.current,
                    Spent::encode(&session.spent),
                ))?;
            // The new session stays, whatever the clocks say.
            let gone = tx
                .prepare_cached(
                    "DELETE FROM sessions WHERE id IN (
                         SELECT id FROM sessions WHERE account = ?1 AND id <> ?2
                         ORDER BY used DESC, begun DESC LIMIT -1 OFFSET ?3)",
                )?
                .execute((session.account.0, session.id, most.saturating_sub(1) as i64))?;
            tx.commit()?;
            Ok(gone)
        })
    }

    fn find(&self, id: &Digest) -> Result<Option<Session>, StoreError> {
        self.tables.with("look up a session", |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"))?
                .query_row([id], session)
                .optional()
        })
    }

    fn advance(&self, from: &Digest, to: &Session) -> Result<bool, StoreError> {
        self.tables.with("renew a session", |connection| {
            let update = "UPDATE sessions SET used = ?3, current = ?4, spent = ?5 WHERE id = ?1 AND current = ?2";
            let changed = connection.prepare_cached(update)?.execute((
                to.id,
                from,
                to.used,
                to.current,
                Spent::encode(&to.spent),
            ))?;
            Ok(changed == 1)
        })
    }

    fn end(&self, id: &Digest) -> Result<bool, StoreError> {
        self.tables.with("end a session", |connection| {
            Ok(connection.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id])? == 1)
        })
    }

    fn end_all(&self, account: UserId) -> Result<usize, StoreError> {
        self.tables.with("end sessions", |connection| {
            connection.prepare_cached("DELETE FROM sessions WHERE account = ?1")?.execute([account.0])
        })
    }

    fn of_account(&self, account: UserId) -> Result<Vec<Session>, StoreError> {
        self.tables.with("list sessions", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM sessions WHERE account = ?1 ORDER BY used DESC, begun DESC"
                ))?
                .query_map([account.0], session)?
                .collect()
        })
    }
}

/// Reads a row of [`COLUMNS`].
fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        account: UserId(row.get(1)?),
        epoch: row.get(2)?,
        begun: row.get(3)?,
        used: row.get(4)?,
        current: row.get(5)?,
        spent: Spent::decode(row.get_ref(6)?.as_blob()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    fn demo() -> suite::Opened<SqliteSessions> {
        suite::Opened::new(|dir| {
            let accounts = SqliteAccounts::open(&dir.join("chat.db")).unwrap();
            accounts.seed_demo().unwrap();
            SqliteSessions::beside(&accounts)
        })
    }

    suite::sessions!(demo);

    #[test]
    fn the_sessions_of_a_removed_account_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        let accounts = SqliteAccounts::open(&dir.path().join("chat.db")).unwrap();
        accounts.seed_demo().unwrap();
        let sessions = SqliteSessions::beside(&accounts);
        let session = suite::new_session(1, 100);
        sessions.begin(&session, 10, 0).unwrap();
        accounts.remove_account("alice@propromo.example", None).unwrap();
        assert_eq!(sessions.find(&session.id).unwrap(), None);
    }
}
