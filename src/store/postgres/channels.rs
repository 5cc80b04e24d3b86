//! Who has begun which channels and streams, in the schema `chat`.

use super::{
    accounts::as_text,
    connection::{Session, Typed},
    database::Database,
};
use crate::{
    message::RoomName,
    store::{
        channels::{Beginner, Channels, YOUNG},
        error::StoreError,
        moving::Begun,
    },
};
use jiff::Timestamp;
use postgres::Transaction;
use std::time::SystemTime;

const STORE: &str = "account store";

/// One beginner's beginnings are counted one after the other, on all nodes.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('channels of ' || $1))";

const IS_YOUNG: &str = "SELECT EXISTS (SELECT FROM chat.channels WHERE room = $1 AND begun > $2)";

const OTHERS: &str = "SELECT count(*) FROM chat.channels WHERE beginner = $1 AND room <> $2";

const BEGIN: &str = "
    INSERT INTO chat.channels (room, beginner, begun) VALUES ($1, $2, $3)
    ON CONFLICT (room) DO UPDATE SET beginner = excluded.beginner, begun = excluded.begun";

const TAKE: &str =
    "INSERT INTO chat.channels (room, beginner, begun) VALUES ($1, $2, $3) ON CONFLICT (room) DO NOTHING";

const BEGUN_BY: &str = "SELECT room FROM chat.channels WHERE beginner = $1 AND begun < $2 ORDER BY random() LIMIT $3";

const FORGET: &str = "DELETE FROM chat.channels WHERE room = ANY($1::text[]) AND begun < $2";

/// The beginnings that all nodes share.
pub struct PostgresChannels {
    database: Database,
}

impl PostgresChannels {
    pub(super) fn of(database: Database) -> PostgresChannels {
        PostgresChannels { database }
    }
}

/// Notes what somebody has begun elsewhere, apart from rooms that were begun here since. Returns how many those are.
pub(super) fn take(tx: &mut Transaction<'_>, beginner: &str, begun: &[Begun]) -> Result<usize, postgres::Error> {
    let mut taken = 0;
    for Begun { room, at } in begun {
        let row = [as_text(room.as_str()), beginner.to_owned()];
        taken += tx.execute_typed(TAKE, &[row[0].typed(), row[1].typed(), at.typed()])? as usize;
    }
    Ok(taken)
}

impl Channels for PostgresChannels {
    fn begin(&self, room: &RoomName, beginner: Beginner<'_>, now: Timestamp, most: u64) -> Result<bool, StoreError> {
        let (room, beginner) = (as_text(room.as_str()), beginner.to_string());
        let now = SystemTime::from(now);
        self.database.write(STORE, "note who begins a channel", move |session: &mut Session| {
            let mut transaction = session.client.transaction()?;
            transaction.query_typed(LOCK, &[beginner.typed()])?;
            let old = now - YOUNG;
            if transaction.query_typed_one(IS_YOUNG, &[room.typed(), old.typed()])?.get(0) {
                return Ok(true);
            }
            let others: i64 = transaction.query_typed_one(OTHERS, &[beginner.typed(), room.typed()])?.get(0);
            let may = others.unsigned_abs() < most;
            if may {
                transaction.execute_typed(BEGIN, &[room.typed(), beginner.typed(), now.typed()])?;
                transaction.commit()?;
            }
            Ok(may)
        })
    }

    fn begun_by(&self, beginner: Beginner<'_>, before: Timestamp, most: usize) -> Result<Vec<RoomName>, StoreError> {
        let (beginner, before, most) = (beginner.to_string(), SystemTime::from(before), most as i64);
        let rows = self.database.read(STORE, "list the channels of one beginner", move |session| {
            session.query(BEGUN_BY, &[beginner.typed(), before.typed(), most.typed()])
        })?;
        Ok(rows.iter().map(|row| RoomName::from_store(row.get(0))).collect())
    }

    fn forget(&self, rooms: &[RoomName], before: Timestamp) -> Result<(), StoreError> {
        let rooms: Vec<String> = rooms.iter().map(|room| as_text(room.as_str())).collect();
        let before = SystemTime::from(before);
        self.database.write(STORE, "forget who began a channel", move |session: &mut Session| {
            session.client.execute_typed(FORGET, &[rooms.typed(), before.typed()]).map(drop)
        })
    }
}
