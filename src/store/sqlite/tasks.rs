//! Tasks for the server, in the file of the accounts.

use super::{accounts::SqliteAccounts, tables::Tables};
use crate::store::{
    erasure::{Asked, Standing, Task, Tasks},
    error::StoreError,
};
use rusqlite::{Connection, OptionalExtension};

pub struct SqliteTasks {
    tables: Tables,
}

impl SqliteTasks {
    /// The tasks in the file of `accounts`.
    pub fn beside(accounts: &SqliteAccounts) -> SqliteTasks {
        SqliteTasks { tables: accounts.tables().clone() }
    }
}

/// Adds a task, and returns its number.
pub(super) fn ask(connection: &Connection, task: &Task) -> rusqlite::Result<i64> {
    let (kind, about) = task.columns();
    connection.execute(
        "INSERT INTO tasks (kind, about, since) VALUES (?1, ?2, CAST(strftime('%s') AS INTEGER))",
        (kind, about),
    )?;
    Ok(connection.last_insert_rowid())
}

impl Tasks for SqliteTasks {
    fn ask(&self, task: &Task) -> Result<i64, StoreError> {
        self.tables.with("note what is to be erased", |connection| ask(connection, task))
    }

    fn waiting(&self) -> Result<Vec<Asked>, StoreError> {
        self.tables.with("tell what is to be erased", |connection| {
            let mut waiting =
                connection.prepare_cached("SELECT id, kind, about, since FROM tasks WHERE done = 0 ORDER BY id")?;
            let asked = waiting.query_map((), |row| {
                let task = Task::of_columns(row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
                let (id, since) = (row.get(0)?, row.get(3)?);
                Ok(task.map(|task| Asked { id, task, since }))
            })?;
            asked.filter_map(Result::transpose).collect()
        })
    }

    fn standing(&self, id: i64) -> Result<Option<Standing>, StoreError> {
        self.tables.with("tell what is erased", |connection| {
            connection
                .prepare_cached("SELECT erased, done FROM tasks WHERE id = ?1")?
                .query_row([id], |row| Ok(Standing { erased: row.get::<_, i64>(0)?.unsigned_abs(), done: row.get(1)? }))
                .optional()
        })
    }

    fn note(&self, id: i64, standing: Standing) -> Result<(), StoreError> {
        self.tables.with("note what is erased", |connection| {
            let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let Standing { erased, done } = standing;
            tx.execute(
                "UPDATE tasks SET erased = ?2, done = ?3, about = CASE WHEN ?3 THEN '' ELSE about END WHERE id = ?1",
                (id, erased.cast_signed(), done),
            )?;
            if done {
                tx.execute("DELETE FROM tasks WHERE done AND id < ?1", [id])?;
            }
            tx.commit()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    suite::tasks!(|| suite::Opened::new(|dir| {
        SqliteTasks::beside(&SqliteAccounts::open(&dir.join("chat.db")).unwrap())
    }));
}
