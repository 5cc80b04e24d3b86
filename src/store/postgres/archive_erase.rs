//! Erases from the archive. First a room's row notes what is gone: nothing reads that any more, and no copy brings it
//! back. Then the rows are deleted, some at a time.

use super::{
    archive::{PostgresArchive, STORE, word_of_room},
    connection::{Session, Typed},
};
use crate::{
    message::{MessageId, RoomName},
    store::error::StoreError,
};

/// Rows that one statement deletes or moves.
const AT_A_TIME: i64 = 1000;

const FORGET: &str = "
    INSERT INTO chat.archive AS old (room, upto, generation, gone) VALUES ($1, $2::text::uuid, 1, $2::text::uuid)
    ON CONFLICT (room) DO UPDATE SET generation = old.generation + 1, upto = greatest(old.upto, excluded.upto),
        gone = greatest(old.gone, excluded.gone)";

const FORGET_ALL: &str = "UPDATE chat.archive SET generation = generation + 1, gone = upto WHERE room = $1";

const FORGET_OLDER: &str = "
    UPDATE chat.archive SET generation = generation + 1, gone = greatest(gone, (
        SELECT id FROM (
            (SELECT id FROM chat.messages WHERE room = $1 AND id < $2::text::uuid ORDER BY id DESC LIMIT 1)
            UNION ALL
            (SELECT id FROM chat.changes WHERE room = $1 AND id < $2::text::uuid ORDER BY id DESC LIMIT 1)
        ) AS old ORDER BY id DESC LIMIT 1))
    WHERE room = $1
        AND ($3 OR EXISTS (SELECT 1 FROM chat.messages WHERE room = $1 AND id < $2::text::uuid)
            OR EXISTS (SELECT 1 FROM chat.changes WHERE room = $1 AND id < $2::text::uuid))";

/// The oldest messages beyond the limit, at most this many at a time.
const FORGET_BEYOND: &str = "
    UPDATE chat.archive SET gone = greatest(gone, (
        SELECT id FROM chat.messages WHERE room = $1 AND id > gone ORDER BY id LIMIT 1 OFFSET least(kept - $2, $3) - 1))
    WHERE room = $1 AND kept > $2";

const SWEEP_MESSAGES: &str = "
    WITH swept AS (
        DELETE FROM chat.messages WHERE room = $1 AND id IN (
            SELECT id FROM chat.messages
            WHERE room = $1 AND id <= (SELECT gone FROM chat.archive WHERE room = $1) ORDER BY id LIMIT $2)
        RETURNING 1)
    SELECT count(*) FROM swept";

const SWEEP_CHANGES: &str = "
    DELETE FROM chat.changes WHERE room = $1 AND id IN (
        SELECT id FROM chat.changes
        WHERE room = $1 AND id <= (SELECT gone FROM chat.archive WHERE room = $1) ORDER BY id LIMIT $2)";

const COUNT: &str = "UPDATE chat.archive SET kept = greatest(0, kept + $2) WHERE room = $1";

const BEGIN_OTHER: &str = "
    INSERT INTO chat.archive (room, upto) SELECT $2, upto FROM chat.archive WHERE room = $1 ON CONFLICT DO NOTHING";

const MOVE: &str = "
    UPDATE chat.messages
    SET room = $2, words = array_to_tsvector(array_replace(tsvector_to_array(words), $3, $4))
    WHERE room = $1 AND id IN (
        SELECT id FROM chat.messages
        WHERE room = $1 AND id > (SELECT gone FROM chat.archive WHERE room = $1) ORDER BY id LIMIT $5)";

impl PostgresArchive {
    /// Forgets a room up to this entry; `None`: everything archived.
    pub fn forget(&self, room: &RoomName, upto: Option<MessageId>) -> Result<(), StoreError> {
        let (name, upto) = (room.as_str().to_owned(), upto.map(|upto| upto.to_string()));
        self.database.write(STORE, "forget a room", move |session: &mut Session| match upto {
            Some(upto) => session.client.execute_typed(FORGET, &[name.typed(), upto.typed()]),
            None => session.client.execute_typed(FORGET_ALL, &[name.typed()]),
        })?;
        self.sweep(room)
    }

    /// Deletes everything older than this Unix millisecond. `anyway`: Redis had something older a moment ago, which may
    /// still be on its way here.
    pub fn forget_before(&self, room: &RoomName, before: u64, anyway: bool) -> Result<(), StoreError> {
        let name = room.as_str().to_owned();
        let before = MessageId(uuid::Uuid::from_u128(u128::from(before) << 80)).to_string();
        let changed = self.database.write(STORE, "delete old messages", move |session: &mut Session| {
            session.client.execute_typed(FORGET_OLDER, &[name.typed(), before.typed(), anyway.typed()])
        })?;
        if changed > 0 { self.sweep(room) } else { Ok(()) }
    }

    /// Deletes some of the oldest messages of a room that has more than `most`.
    pub fn forget_beyond(&self, room: &RoomName, most: u64) -> Result<(), StoreError> {
        let (name, most) = (room.as_str().to_owned(), i64::try_from(most).unwrap_or(i64::MAX));
        let changed = self.database.write(STORE, "delete old messages", move |session: &mut Session| {
            session.client.execute_typed(FORGET_BEYOND, &[name.typed(), most.typed(), AT_A_TIME.typed()])
        })?;
        if changed > 0 { self.sweep(room) } else { Ok(()) }
    }

    /// Deletes the rows of what is gone.
    pub fn sweep(&self, room: &RoomName) -> Result<(), StoreError> {
        loop {
            let name = room.as_str().to_owned();
            let swept = self.database.write(STORE, "delete messages", move |session: &mut Session| {
                let mut transaction = session.client.transaction()?;
                let parameters = [name.typed(), AT_A_TIME.typed()];
                let messages: i64 = transaction.query_typed_one(SWEEP_MESSAGES, &parameters)?.get(0);
                let changes = transaction.execute_typed(SWEEP_CHANGES, &parameters)?;
                transaction.execute_typed(COUNT, &[name.typed(), (-messages).typed()])?;
                transaction.commit()?;
                Ok(messages.unsigned_abs().max(changes))
            })?;
            if swept < AT_A_TIME.unsigned_abs() {
                return Ok(());
            }
        }
    }

    /// Moves a room's messages to another room. Its changes stay, and are deleted with it.
    pub fn move_to(&self, room: &RoomName, to: &RoomName) -> Result<(), StoreError> {
        const WHAT: &str = "set a room's messages aside";
        let (name, other) = (room.as_str().to_owned(), to.as_str().to_owned());
        self.database.write(STORE, WHAT, move |session: &mut Session| {
            let mut transaction = session.client.transaction()?;
            transaction.execute_typed(BEGIN_OTHER, &[name.typed(), other.typed()])?;
            transaction.commit()
        })?;
        loop {
            let (name, other) = (room.as_str().to_owned(), to.as_str().to_owned());
            let (word, other_word) = (word_of_room(room), word_of_room(to));
            let moved = self.database.write(STORE, WHAT, move |session: &mut Session| {
                let mut transaction = session.client.transaction()?;
                let parameters = [name.typed(), other.typed(), word.typed(), other_word.typed(), AT_A_TIME.typed()];
                let moved = transaction.execute_typed(MOVE, &parameters)? as i64;
                transaction.execute_typed(COUNT, &[name.typed(), (-moved).typed()])?;
                transaction.execute_typed(COUNT, &[other.typed(), moved.typed()])?;
                transaction.commit()?;
                Ok(moved)
            })?;
            if moved < AT_A_TIME {
                return Ok(());
            }
        }
    }
}
