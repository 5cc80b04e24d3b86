//! Sessions of logged-in users, in the schema `chat`.

use super::{
    connection::{Session as Connected, Typed},
    database::Database,
    error::OpenError,
};
use crate::store::{
    accounts::UserId,
    error::StoreError,
    sessions::{Digest, Session, Sessions, Spent},
};
use postgres::Row;
use std::time::Duration;

const STORE: &str = "account store";

/// Connections that a command needs.
const FEW: u32 = 2;

const FIND: &str = "SELECT id, account, epoch, begun, used, current, spent FROM chat.sessions WHERE id = $1";

const OF_ACCOUNT: &str = "
    SELECT id, account, epoch, begun, used, current, spent FROM chat.sessions
    WHERE account = $1 ORDER BY used DESC, begun DESC";

const FORGET: &str = "DELETE FROM chat.sessions WHERE used <= $1";

pub(super) const INSERT: &str = "INSERT INTO chat.sessions (id, account, epoch, begun, used, current, spent)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// The new session stays, whatever the clocks say.
const GIVE_WAY: &str = "
    DELETE FROM chat.sessions WHERE id IN (
        SELECT id FROM chat.sessions WHERE account = $1 AND id <> $2 ORDER BY used DESC, begun DESC OFFSET $3)";

const ADVANCE: &str = "UPDATE chat.sessions SET used = $3, current = $4, spent = $5 WHERE id = $1 AND current = $2";

const END: &str = "DELETE FROM chat.sessions WHERE id = $1";

const END_ALL: &str = "DELETE FROM chat.sessions WHERE account = $1";

/// The sessions that all nodes share.
pub struct PostgresSessions {
    database: Database,
}

impl PostgresSessions {
    /// Connects, for a command. Tries an unreachable server again until `patience` is over.
    pub fn open(url: &str, patience: Duration) -> Result<PostgresSessions, OpenError> {
        Ok(PostgresSessions::of(Database::open(url, FEW, patience, |_| Ok(()))?))
    }

    pub(super) fn of(database: Database) -> PostgresSessions {
        PostgresSessions { database }
    }
}

impl Sessions for PostgresSessions {
    fn begin(&self, session: &Session, most: usize, since: i64) -> Result<usize, StoreError> {
        let Session { id, account, epoch, begun, used, current, spent } = session.clone();
        let (id, current, spent, most) = (id.to_vec(), current.to_vec(), Spent::encode(&spent), most.saturating_sub(1));
        let gone = self.database.write(STORE, "begin a session", move |connected: &mut Connected| {
            let mut transaction = connected.client.transaction()?;
            transaction.execute_typed(FORGET, &[since.typed()])?;
            let row = [
                id.typed(),
                account.0.typed(),
                epoch.typed(),
                begun.typed(),
                used.typed(),
                current.typed(),
                spent.typed(),
            ];
            transaction.execute_typed(INSERT, &row)?;
            let most = most as i64;
            let gone = transaction.execute_typed(GIVE_WAY, &[account.0.typed(), id.typed(), most.typed()])?;
            transaction.commit()?;
            Ok(gone)
        })?;
        Ok(gone as usize)
    }

    fn find(&self, id: &Digest) -> Result<Option<Session>, StoreError> {
        let (what, id) = ("look up a session", id.to_vec());
        let rows = self.database.read(STORE, what, move |connected| connected.query(FIND, &[id.typed()]))?;
        Ok(rows.first().and_then(session))
    }

    fn advance(&self, from: &Digest, to: &Session) -> Result<bool, StoreError> {
        let (id, from, used) = (to.id.to_vec(), from.to_vec(), to.used);
        let (current, spent) = (to.current.to_vec(), Spent::encode(&to.spent));
        let changed = self.database.write(STORE, "renew a session", move |connected: &mut Connected| {
            let row = [id.typed(), from.typed(), used.typed(), current.typed(), spent.typed()];
            connected.client.execute_typed(ADVANCE, &row)
        })?;
        Ok(changed == 1)
    }

    fn end(&self, id: &Digest) -> Result<bool, StoreError> {
        let id = id.to_vec();
        let work = move |connected: &mut Connected| connected.client.execute_typed(END, &[id.typed()]);
        Ok(self.database.write(STORE, "end a session", work)? == 1)
    }

    fn end_all(&self, account: UserId) -> Result<usize, StoreError> {
        let work = move |connected: &mut Connected| connected.client.execute_typed(END_ALL, &[account.0.typed()]);
        Ok(self.database.write(STORE, "end sessions", work)? as usize)
    }

    fn of_account(&self, account: UserId) -> Result<Vec<Session>, StoreError> {
        let what = "list sessions";
        let rows =
            self.database.read(STORE, what, move |connected| connected.query(OF_ACCOUNT, &[account.0.typed()]))?;
        Ok(rows.iter().filter_map(session).collect())
    }
}

/// Reads a row of [`FIND`]; the table's own checks make sure that it can be read.
fn session(row: &Row) -> Option<Session> {
    Some(Session {
        id: row.get::<_, &[u8]>(0).try_into().ok()?,
        account: UserId(row.get(1)),
        epoch: row.get(2),
        begun: row.get(3),
        used: row.get(4),
        current: row.get::<_, &[u8]>(5).try_into().ok()?,
        spent: Spent::decode(row.get(6)),
    })
}
