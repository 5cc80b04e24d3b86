//! Tasks for the server, in the schema `chat`: where accounts are in PostgreSQL and messages are not in Redis.

use super::{
    connection::{Session, Typed},
    database::Database,
};
use crate::store::{
    erasure::{Asked, Standing, Task, Tasks},
    error::StoreError,
    postgres::{error::OpenError, migrations},
};
use postgres::Row;
use std::time::Duration;

const STORE: &str = "account store";

const ASK: &str = "
    INSERT INTO chat.tasks (kind, about, since)
    VALUES ($1, $2, extract(epoch FROM clock_timestamp())::bigint) RETURNING id";

const WAITING: &str = "SELECT id, kind, about, since FROM chat.tasks WHERE NOT done ORDER BY id";

const STANDING: &str = "SELECT erased, done FROM chat.tasks WHERE id = $1";

const NOTE: &str = "
    UPDATE chat.tasks SET erased = $2, done = $3, about = CASE WHEN $3 THEN '' ELSE about END WHERE id = $1";

const FORGET_DONE: &str = "DELETE FROM chat.tasks WHERE done AND id < $1";

pub struct PostgresTasks {
    database: Database,
}

impl PostgresTasks {
    pub(super) fn of(database: Database) -> PostgresTasks {
        PostgresTasks { database }
    }

    /// Connects, for one command.
    pub fn open(url: &str, patience: Duration) -> Result<PostgresTasks, OpenError> {
        let shown = crate::redact::without_password(url);
        let database = Database::open(url, 1, patience, |first| migrations::migrate(first, &shown))?;
        Ok(PostgresTasks { database })
    }
}

impl Tasks for PostgresTasks {
    fn ask(&self, task: &Task) -> Result<i64, StoreError> {
        let (kind, about) = task.columns();
        let (kind, about) = (kind.to_owned(), about.to_owned());
        let rows = self.database.write(STORE, "note what is to be erased", move |session: &mut Session| {
            session.client.query_typed(ASK, &[kind.typed(), about.typed()])
        })?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    fn waiting(&self) -> Result<Vec<Asked>, StoreError> {
        let rows =
            self.database.read(STORE, "tell what is to be erased", move |session| session.query(WAITING, &[]))?;
        let asked = |row: &Row| {
            let task = Task::of_columns(row.get(1), row.get(2))?;
            Some(Asked { id: row.get(0), task, since: row.get(3) })
        };
        Ok(rows.iter().filter_map(asked).collect())
    }

    fn standing(&self, id: i64) -> Result<Option<Standing>, StoreError> {
        let what = "tell what is erased";
        let rows = self.database.read(STORE, what, move |session| session.query(STANDING, &[id.typed()]))?;
        let standing = |row: &Row| Standing { erased: row.get::<_, i64>(0).unsigned_abs(), done: row.get(1) };
        Ok(rows.first().map(standing))
    }

    fn note(&self, id: i64, standing: Standing) -> Result<(), StoreError> {
        let Standing { erased, done } = standing;
        self.database.write(STORE, "note what is erased", move |session: &mut Session| {
            let mut transaction = session.client.transaction()?;
            transaction.execute_typed(NOTE, &[id.typed(), erased.cast_signed().typed(), done.typed()])?;
            if done {
                transaction.execute_typed(FORGET_DONE, &[id.typed()])?;
            }
            transaction.commit()
        })
    }
}
