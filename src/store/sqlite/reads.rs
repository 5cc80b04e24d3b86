//! How far users have read, in the file of the accounts.

use super::{accounts::SqliteAccounts, tables::Tables};
use crate::{
    message::{MessageId, RoomName},
    store::{
        accounts::UserId,
        error::StoreError,
        reads::{Mark, Reads},
    },
};
use rusqlite::TransactionBehavior;
use std::collections::BTreeSet;
use uuid::Uuid;

pub struct SqliteReads {
    tables: Tables,
}

impl SqliteReads {
    /// The read marks in the file of `accounts`.
    pub fn beside(accounts: &SqliteAccounts) -> SqliteReads {
        SqliteReads { tables: accounts.tables().clone() }
    }
}

impl Reads for SqliteReads {
    fn advance(&self, marks: &[Mark], most: usize) -> Result<Vec<bool>, StoreError> {
        self.tables.with("keep how far somebody has read", |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut moved = Vec::with_capacity(marks.len());
            {
                // The account may have been removed meanwhile.
                let mut advance = tx.prepare_cached(
                    "INSERT INTO reads SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM users WHERE id = ?1)
                     ON CONFLICT (account, room) DO UPDATE SET id = excluded.id WHERE id < excluded.id",
                )?;
                let mut give_way = tx.prepare_cached(
                    "DELETE FROM reads WHERE account = ?1 AND room IN (
                         SELECT room FROM reads WHERE account = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
                )?;
                for Mark { account, room, id } in marks {
                    moved.push(advance.execute((account.0, room.as_str(), id.0.as_bytes()))? == 1);
                }
                for account in marks.iter().map(|mark| mark.account).collect::<BTreeSet<_>>() {
                    give_way.execute((account.0, most as i64))?;
                }
            }
            tx.commit()?;
            Ok(moved)
        })
    }

    fn of_account(&self, account: UserId) -> Result<Vec<(RoomName, MessageId)>, StoreError> {
        self.tables.with("look up how far somebody has read", |connection| {
            connection
                .prepare_cached("SELECT room, id FROM reads WHERE account = ?1 ORDER BY room")?
                .query_map([account.0], |row| {
                    let room = RoomName::from_store(row.get_ref(0)?.as_str()?);
                    Ok((room, MessageId(Uuid::from_bytes(row.get(1)?))))
                })?
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    fn demo() -> suite::Opened<SqliteReads> {
        suite::Opened::new(|dir| {
            let accounts = SqliteAccounts::open(&dir.join("chat.db")).unwrap();
            accounts.seed_demo().unwrap();
            SqliteReads::beside(&accounts)
        })
    }

    suite::reads!(demo);

    #[test]
    fn an_account_that_is_gone_holds_up_no_other() {
        let reads = demo();
        let room = RoomName::channel("r");
        let mark = |account| Mark { account: UserId(account), room: room.clone(), id: MessageId(Uuid::now_v7()) };
        assert_eq!(reads.advance(&[mark(1), mark(77)], 10).unwrap(), [true, false]);
        assert_eq!(reads.of_account(UserId(1)).unwrap().len(), 1);
    }
}
