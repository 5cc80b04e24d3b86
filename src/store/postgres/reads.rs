//! How far users have read, in the schema `chat`.

use super::{
    connection::{Session, Typed},
    database::Database,
};
use crate::{
    message::{MessageId, RoomName},
    store::{
        accounts::UserId,
        error::StoreError,
        reads::{Mark, Reads},
    },
};
use postgres::Row;
use std::collections::HashSet;

const STORE: &str = "account store";

/// All nodes use the same order, so that no two wait for each other.
pub(super) const ADVANCE: &str = "
    INSERT INTO chat.reads
    SELECT account, room, id::uuid FROM unnest($1::bigint[], $2::text[], $3::text[]) AS new (account, room, id)
    ORDER BY account, room
    ON CONFLICT (account, room) DO UPDATE SET id = excluded.id WHERE chat.reads.id < excluded.id
    RETURNING account, room";

const GIVE_WAY: &str = "
    DELETE FROM chat.reads WHERE (account, room) IN (
        SELECT account, room FROM (
            SELECT account, room, row_number() OVER (PARTITION BY account ORDER BY id DESC) AS place
            FROM chat.reads WHERE account = ANY($1::bigint[])) AS placed
        WHERE place > $2)";

const OF_ACCOUNT: &str = r#"SELECT room, id::text FROM chat.reads WHERE account = $1 ORDER BY room COLLATE "C""#;

/// The read marks that all nodes share.
pub struct PostgresReads {
    database: Database,
}

impl PostgresReads {
    pub(super) fn of(database: Database) -> PostgresReads {
        PostgresReads { database }
    }
}

impl Reads for PostgresReads {
    fn advance(&self, marks: &[Mark], most: usize) -> Result<Vec<bool>, StoreError> {
        let accounts: Vec<i64> = marks.iter().map(|mark| mark.account.0).collect();
        let rooms: Vec<String> = marks.iter().map(|mark| mark.room.as_str().to_owned()).collect();
        let ids: Vec<String> = marks.iter().map(|mark| mark.id.to_string()).collect();
        let most = most as i64;
        let rows = self.database.write(STORE, "keep how far somebody has read", move |session: &mut Session| {
            let mut transaction = session.client.transaction()?;
            let rows = transaction.query_typed(ADVANCE, &[accounts.typed(), rooms.typed(), ids.typed()])?;
            transaction.execute_typed(GIVE_WAY, &[accounts.typed(), most.typed()])?;
            transaction.commit()?;
            Ok(rows)
        })?;
        let moved: HashSet<(i64, &str)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(marks.iter().map(|mark| moved.contains(&(mark.account.0, mark.room.as_str()))).collect())
    }

    fn of_account(&self, account: UserId) -> Result<Vec<(RoomName, MessageId)>, StoreError> {
        let what = "look up how far somebody has read";
        let rows = self.database.read(STORE, what, move |session| session.query(OF_ACCOUNT, &[account.0.typed()]))?;
        let mark = |row: &Row| Some((RoomName::from_store(row.get(0)), MessageId::parse(row.get(1))?));
        Ok(rows.iter().filter_map(mark).collect())
    }
}
