//! The archive of many nodes, in the schema `chat`: messages beyond those that Redis keeps are added and read here.

use super::{
    connection::{Session, Typed},
    database::Database,
    error::OpenError,
    migrations,
};
use crate::{
    message::{MessageId, RoomName},
    store::{
        archived::{Became, ChangeRow, Place, Portion, Position, Row},
        error::StoreError,
        search::{Query, words},
    },
};
use postgres::Transaction;
use sha2::{Digest, Sha256};
use std::time::Duration;

pub(super) const STORE: &str = "message archive";

/// Bytes of the longest word that PostgreSQL accepts.
const MAX_WORD: usize = 2046;

const POSITION: &str = "upto::text, generation, gone::text, gap::text, kept";

const INSERT_MESSAGES: &str = "
    INSERT INTO chat.messages (room, id, body, edit, reactions, words)
    SELECT $1, id::uuid, body, edit, reactions, words::tsvector
    FROM unnest($2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[]) AS new (id, body, edit, reactions, words)
    ON CONFLICT (room, id) DO NOTHING";

const INSERT_CHANGES: &str = "
    INSERT INTO chat.changes (room, id, of, change)
    SELECT $1, id::uuid, of::uuid, change FROM unnest($2::text[], $3::text[], $4::bytea[]) AS new (id, of, change)
    ON CONFLICT (room, id) DO NOTHING";

const DELETE_MESSAGES: &str = "
    DELETE FROM chat.messages USING unnest($2::text[], $3::text[]) AS place (first, last)
    WHERE room = $1 AND id BETWEEN first::uuid AND last::uuid";

/// The first text of an edited message is removed: see `wire::without_text`.
const CHANGE_MESSAGES: &str = "
    UPDATE chat.messages AS old
    SET edit = coalesce(new.edit, old.edit),
        body = CASE WHEN new.edit IS NULL THEN body ELSE substr(body, 1, 6 + (get_byte(body, 0) << 8) + get_byte(body, 1)
            + CASE WHEN get_byte(body, 2) = 255 THEN 0
                ELSE (get_byte(body, 3) << 16) + (get_byte(body, 4) << 8) + get_byte(body, 5) END) END,
        reactions = coalesce(new.reactions, old.reactions),
        words = coalesce(new.words::tsvector, old.words)
    FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::text[]) AS new (first, last, edit, reactions, words)
    WHERE room = $1 AND id BETWEEN first::uuid AND last::uuid";

const ADVANCE: &str = "
    UPDATE chat.archive SET upto = $2::text::uuid, gap = greatest(gap, $3::text::uuid), kept = greatest(0, kept + $4)
    WHERE room = $1";

/// What is gone comes last in this order, so it can be left out afterwards. Beside `id <`, PostgreSQL would take it that
/// next to nothing is left, and read and sort the rest of the room for each page.
///
/// The column is named with its table, here and below: `id` alone means the output, as text, which no index has in order.
pub(in crate::store) const NEWEST: &str = "
    SELECT id::text, body, edit, reactions FROM (
        SELECT id, body, edit, reactions FROM chat.messages
        WHERE room = $1 AND id < $2::text::uuid ORDER BY id DESC LIMIT $3) AS page
    WHERE id > (SELECT gone FROM chat.archive WHERE room = $1)
    ORDER BY page.id DESC";

const SEARCH: &str = "
    SELECT id::text, body, edit, reactions FROM (
        SELECT id, body, edit, reactions FROM chat.messages
        WHERE room = $1 AND id < $2::text::uuid AND words @@ $4::text::tsquery ORDER BY id DESC LIMIT $3) AS page
    WHERE id > (SELECT gone FROM chat.archive WHERE room = $1)
    ORDER BY page.id DESC";

/// How many messages of a room one look for the beginning of a word reads.
const LOOKED_THROUGH: i64 = 1000;

/// The last message that such a look reads, if there are so many.
const END_OF_LOOK: &str = "
    SELECT id::text FROM (
        SELECT id FROM chat.messages
        WHERE room = $1 AND id < $2::text::uuid ORDER BY id DESC LIMIT 1 OFFSET $3) AS last
    WHERE id > (SELECT gone FROM chat.archive WHERE room = $1)";

/// Never by the index of words: for the beginning of a word that would read the lists of all words that begin so, in all
/// rooms, and anybody can make these long. The limit, and `MATERIALIZED`, keep PostgreSQL from doing so.
pub(in crate::store) const LOOK_THROUGH: &str = "
    WITH look AS MATERIALIZED (
        SELECT id, body, edit, reactions, words FROM chat.messages
        WHERE room = $1 AND id < $2::text::uuid ORDER BY id DESC LIMIT $5)
    SELECT id::text, body, edit, reactions FROM look
    WHERE words @@ $4::text::tsquery AND id > (SELECT gone FROM chat.archive WHERE room = $1)
    ORDER BY look.id DESC LIMIT $3";

/// What is gone comes first here. `uuid_cmp` hides from PostgreSQL that this is a bound of the range, for the same reason.
pub(in crate::store) const MESSAGES_BETWEEN: &str = "
    SELECT id::text, body, edit, reactions FROM chat.messages
    WHERE room = $1 AND id > $2::text::uuid AND id < $3::text::uuid
        AND uuid_cmp(id, (SELECT gone FROM chat.archive WHERE room = $1)) > 0
    ORDER BY messages.id LIMIT $4";

pub(in crate::store) const CHANGES_BETWEEN: &str = "
    SELECT changes.id::text, of::text, change, edit
    FROM chat.changes LEFT JOIN chat.messages ON messages.room = changes.room AND messages.id = changes.of
    WHERE changes.room = $1 AND changes.id > $2::text::uuid AND changes.id < $3::text::uuid
        AND uuid_cmp(changes.id, (SELECT gone FROM chat.archive WHERE room = $1)) > 0
    ORDER BY changes.id LIMIT $4";

/// A deleted message is known by the change that deleted it.
const KNOWN: &str = "
    SELECT upto::text, generation, gone::text, gap::text, kept,
        EXISTS (SELECT 1 FROM chat.messages WHERE room = $1 AND id = $2::text::uuid)
        OR EXISTS (SELECT 1 FROM chat.changes WHERE room = $1 AND id = $2::text::uuid)
        OR EXISTS (SELECT 1 FROM chat.changes WHERE room = $1 AND of = $2::text::uuid AND get_byte(change, 0) = 1)
    FROM chat.archive WHERE room = $1";

/// A deleted message is known by its change; an erased one comes before what is gone.
const MISSING: &str = "
    SELECT asked.room, asked.id FROM unnest($1::text[], $2::text[]) AS asked (room, id)
    WHERE NOT EXISTS (SELECT 1 FROM chat.messages AS kept WHERE kept.room = asked.room AND kept.id = asked.id::uuid)
        AND NOT EXISTS (SELECT 1 FROM chat.changes WHERE changes.room = asked.room AND changes.of = asked.id::uuid)
        AND NOT EXISTS (SELECT 1 FROM chat.archive WHERE archive.room = asked.room AND archive.gone >= asked.id::uuid)";

const ROOMS: &str = "
    SELECT room FROM chat.archive
    WHERE room > $1
        AND EXISTS (SELECT 1 FROM chat.messages WHERE messages.room = archive.room AND id > archive.gone)
    ORDER BY room LIMIT $2";

/// The archive of all rooms.
pub struct PostgresArchive {
    pub(super) database: Database,
}

impl PostgresArchive {
    pub(super) fn of(database: Database) -> PostgresArchive {
        PostgresArchive { database }
    }

    /// Connects, for one command.
    pub fn open(url: &str, patience: Duration) -> Result<PostgresArchive, OpenError> {
        let shown = crate::redact::without_password(url);
        let database = Database::open(url, 2, patience, |first| migrations::migrate(first, &shown))?;
        Ok(PostgresArchive { database })
    }

    /// How far each of these rooms is archived.
    pub fn positions(&self, rooms: &[RoomName]) -> Result<Vec<Position>, StoreError> {
        let names: Vec<String> = rooms.iter().map(|room| room.as_str().to_owned()).collect();
        let rows = self.database.read(STORE, "say how far rooms are archived", move |session| {
            let sql = format!("SELECT room, {POSITION} FROM chat.archive WHERE room = ANY($1)");
            session.query(&sql, &[names.typed()])
        })?;
        let known = |room: &RoomName| rows.iter().find(|row| row.get::<_, &str>(0) == room.as_str());
        Ok(rooms.iter().map(|room| known(room).map(|row| position(row, 1)).unwrap_or_default()).collect())
    }

    /// Up to `limit` archived rooms after `after`, in the order of their names, and up to where each is archived.
    pub fn archived_rooms(
        &self,
        after: Option<&RoomName>,
        limit: usize,
    ) -> Result<Vec<(RoomName, MessageId)>, StoreError> {
        let (after, limit) = (after.map_or(String::new(), |room| room.as_str().to_owned()), limit as i64);
        let rows = self.database.read(STORE, "list the rooms", move |session| {
            let sql = "SELECT room, upto::text FROM chat.archive WHERE room > $1 ORDER BY room LIMIT $2";
            session.query(sql, &[after.typed(), limit.typed()])
        })?;
        Ok(rows.iter().map(|row| (RoomName::from_store(row.get(0)), id(row.get(1)))).collect())
    }

    /// The newest archived entry of any room.
    pub fn newest_of_all(&self) -> Result<MessageId, StoreError> {
        let rows = self.database.read(STORE, "name the newest message", |session| {
            session.query("SELECT upto::text FROM chat.archive ORDER BY archive.upto DESC LIMIT 1", &[])
        })?;
        Ok(rows.first().map_or(MessageId::BEFORE_ALL, |row| id(row.get(0))))
    }

    /// Adds these parts of rooms, in one transaction. Returns for each whether its position was as expected, so that it
    /// was added.
    pub fn take_in(&self, portions: Vec<(RoomName, Portion)>) -> Result<Vec<bool>, StoreError> {
        self.database.write(STORE, "take in messages", move |session: &mut Session| {
            let mut transaction = session.client.transaction()?;
            // All nodes use the same order, so that no two wait for each other.
            let mut order: Vec<usize> = (0..portions.len()).collect();
            order.sort_by_key(|place| &portions[*place].0);
            let mut taken = vec![false; portions.len()];
            for place in order {
                let (room, portion) = &portions[place];
                taken[place] = take_in_one(&mut transaction, room, portion)?;
            }
            transaction.commit()?;
            Ok(taken)
        })
    }

    /// Up to `limit` messages before this one, newest first. With a query, only those that have all its words.
    pub fn newest(
        &self,
        room: &RoomName,
        before: MessageId,
        limit: usize,
        query: Option<&Query>,
    ) -> Result<Vec<Row>, StoreError> {
        let query = query.map(|query| words_wanted(room, query));
        let (room, before, limit) = (room.as_str().to_owned(), before.to_string(), limit as i64);
        let rows = self.database.read(STORE, "read messages", move |session| match query {
            None => session.query(NEWEST, &[room.typed(), before.typed(), limit.typed()]),
            Some(query) => session.query(SEARCH, &[room.typed(), before.typed(), limit.typed(), query.typed()]),
        })?;
        Ok(rows.iter().map(row).collect())
    }

    /// Up to `limit` messages before this one that have all words of the query, newest first, among some thousand of the
    /// room; and before which message to go on.
    pub fn look_through(
        &self,
        room: &RoomName,
        before: MessageId,
        limit: usize,
        query: &Query,
    ) -> Result<(Vec<Row>, Option<MessageId>), StoreError> {
        let query = words_wanted(room, query);
        let (room, before, limit) = (room.as_str().to_owned(), before.to_string(), limit as i64);
        let (rows, end) = self.database.read(STORE, "look through messages", move |session| {
            let (last, all) = (LOOKED_THROUGH - 1, LOOKED_THROUGH);
            let end = session.query(END_OF_LOOK, &[room.typed(), before.typed(), last.typed()])?;
            let parameters = [room.typed(), before.typed(), limit.typed(), query.typed(), all.typed()];
            Ok((session.query(LOOK_THROUGH, &parameters)?, end))
        })?;
        let rows: Vec<Row> = rows.iter().map(row).collect();
        let end = end.first().map(|row| id(row.get(0)));
        let next = if rows.len() as i64 == limit { rows.last().map(|row| row.id) } else { end };
        Ok((rows, next))
    }

    /// Up to `limit` messages, and as many changes, between two ids; oldest first.
    pub fn between(
        &self,
        room: &RoomName,
        after: MessageId,
        before: MessageId,
        limit: usize,
    ) -> Result<(Vec<Row>, Vec<ChangeRow>), StoreError> {
        let (room, limit) = (room.as_str().to_owned(), limit as i64);
        let (after, before) = (after.to_string(), before.to_string());
        let (messages, changes) = self.database.read(STORE, "read messages", move |session| {
            let parameters = [room.typed(), after.typed(), before.typed(), limit.typed()];
            // Changes first: the messages, read afterwards, may include a later change, but lack none.
            let changes = session.query(CHANGES_BETWEEN, &parameters)?;
            Ok((session.query(MESSAGES_BETWEEN, &parameters)?, changes))
        })?;
        let change = |row: &postgres::Row| ChangeRow {
            id: id(row.get(0)),
            of: id(row.get(1)),
            change: row.get(2),
            edit: row.get(3),
        };
        Ok((messages.iter().map(row).collect(), changes.iter().map(change).collect()))
    }

    /// Up to `limit` messages between two ids, oldest first.
    pub fn newer(
        &self,
        room: &RoomName,
        after: MessageId,
        before: MessageId,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let (room, limit) = (room.as_str().to_owned(), limit as i64);
        let (after, before) = (after.to_string(), before.to_string());
        let rows = self.database.read(STORE, "read messages", move |session| {
            session.query(MESSAGES_BETWEEN, &[room.typed(), after.typed(), before.typed(), limit.typed()])
        })?;
        Ok(rows.iter().map(row).collect())
    }

    /// The message with this id.
    pub fn one(&self, room: &RoomName, of: MessageId) -> Result<Option<Row>, StoreError> {
        let (room, of) = (room.as_str().to_owned(), of.to_string());
        let rows = self.database.read(STORE, "read a message", move |session| {
            let sql = "
                SELECT id::text, body, edit, reactions FROM chat.messages
                WHERE room = $1 AND id = $2::text::uuid AND id > (SELECT gone FROM chat.archive WHERE room = $1)";
            session.query(sql, &[room.typed(), of.typed()])
        })?;
        Ok(rows.first().map(row))
    }

    /// Those of these messages that exist.
    pub fn these(&self, room: &RoomName, ids: &[MessageId]) -> Result<Vec<Row>, StoreError> {
        let room = room.as_str().to_owned();
        let ids: Vec<String> = ids.iter().map(MessageId::to_string).collect();
        let rows = self.database.read(STORE, "read messages", move |session| {
            let sql = "
                SELECT id::text, body, edit, reactions FROM chat.messages
                WHERE room = $1 AND id = ANY($2::text[]::uuid[])
                    AND id > (SELECT gone FROM chat.archive WHERE room = $1)";
            session.query(sql, &[room.typed(), ids.typed()])
        })?;
        Ok(rows.iter().map(row).collect())
    }

    /// Those of these messages that the archive has never had.
    pub fn missing(&self, messages: Vec<(RoomName, MessageId)>) -> Result<Vec<(RoomName, MessageId)>, StoreError> {
        const SOME: usize = 1000;
        let mut missing = Vec::new();
        for some in messages.chunks(SOME) {
            let rooms: Vec<String> = some.iter().map(|(room, _)| room.as_str().to_owned()).collect();
            let ids: Vec<String> = some.iter().map(|(_, id)| id.to_string()).collect();
            let rows = self.database.read(STORE, "look for messages", move |session| {
                session.query(MISSING, &[rooms.typed(), ids.typed()])
            })?;
            missing.extend(rows.iter().map(|row| (RoomName::from_store(row.get(0)), id(row.get(1)))));
        }
        Ok(missing)
    }

    /// How far a room is archived, and whether this is one of its entries.
    pub fn standing(&self, room: &RoomName, of: MessageId) -> Result<(Position, bool), StoreError> {
        let (room, of) = (room.as_str().to_owned(), of.to_string());
        let rows = self
            .database
            .read(STORE, "look for an entry", move |session| session.query(KNOWN, &[room.typed(), of.typed()]))?;
        Ok(rows.first().map_or((Position::default(), false), |row| (position(row, 0), row.get(5))))
    }

    /// Up to `limit` rooms with messages after `after`, in the order of their names.
    pub fn rooms(&self, after: Option<&RoomName>, limit: usize) -> Result<Vec<RoomName>, StoreError> {
        let (after, limit) = (after.map_or(String::new(), |room| room.as_str().to_owned()), limit as i64);
        let rows = self
            .database
            .read(STORE, "list the rooms", move |session| session.query(ROOMS, &[after.typed(), limit.typed()]))?;
        Ok(rows.iter().map(|row| RoomName::from_store(row.get(0))).collect())
    }
}

/// Adds a part of a room. Returns whether the room's position was as the part expected.
fn take_in_one(transaction: &mut Transaction<'_>, room: &RoomName, portion: &Portion) -> Result<bool, postgres::Error> {
    let Portion { from, upto, gap, messages, changes, became } = portion;
    let room_name = room.as_str();
    let locked = format!("SELECT {POSITION} FROM chat.archive WHERE room = $1 FOR UPDATE");
    let known = transaction.query_typed(&locked, &[room_name.typed()])?.first().map(|row| position(row, 0));
    match known {
        Some(known) if known.upto != from.upto || known.generation != from.generation => return Ok(false),
        Some(_) => {}
        None if *from != Position::default() => return Ok(false),
        None => {
            let begin = "INSERT INTO chat.archive (room, upto) VALUES ($1, '00000000-0000-0000-0000-000000000000')
                ON CONFLICT DO NOTHING";
            if transaction.execute_typed(begin, &[room_name.typed()])? == 0 {
                return Ok(false);
            }
        }
    }
    let mut kept = 0;
    if !messages.is_empty() {
        let ids: Vec<String> = messages.iter().map(|row| row.id.to_string()).collect();
        let bodies: Vec<Vec<u8>> = messages.iter().map(|row| row.body.clone()).collect();
        let edits: Vec<Option<Vec<u8>>> = messages.iter().map(|row| row.edit.clone()).collect();
        let reactions: Vec<Option<Vec<u8>>> = messages.iter().map(|row| row.reactions.clone()).collect();
        let words: Vec<String> = messages.iter().map(|row| words_of(room, &row.text().unwrap_or_default())).collect();
        kept += transaction.execute_typed(
            INSERT_MESSAGES,
            &[room_name.typed(), ids.typed(), bodies.typed(), edits.typed(), reactions.typed(), words.typed()],
        )? as i64;
    }
    if !changes.is_empty() {
        let ids: Vec<String> = changes.iter().map(|row| row.id.to_string()).collect();
        let of: Vec<String> = changes.iter().map(|row| row.of.to_string()).collect();
        let all: Vec<Vec<u8>> = changes.iter().map(|row| row.change.clone()).collect();
        transaction.execute_typed(INSERT_CHANGES, &[room_name.typed(), ids.typed(), of.typed(), all.typed()])?;
    }
    let (deleted, changed): (Vec<_>, Vec<_>) = became.iter().partition(|(_, became)| became.is_deleted);
    if !deleted.is_empty() {
        let (first, last) = ends(&deleted);
        kept -= transaction.execute_typed(DELETE_MESSAGES, &[room_name.typed(), first.typed(), last.typed()])? as i64;
    }
    if !changed.is_empty() {
        let (first, last) = ends(&changed);
        let edits: Vec<Option<Vec<u8>>> = changed.iter().map(|(_, became)| became.edit.clone()).collect();
        let reactions: Vec<Option<Vec<u8>>> = changed.iter().map(|(_, became)| became.reactions.clone()).collect();
        let words: Vec<Option<String>> =
            changed.iter().map(|(_, became)| became.text().map(|text| words_of(room, text))).collect();
        transaction.execute_typed(
            CHANGE_MESSAGES,
            &[room_name.typed(), first.typed(), last.typed(), edits.typed(), reactions.typed(), words.typed()],
        )?;
    }
    let (upto, gap) = (upto.to_string(), gap.to_string());
    transaction.execute_typed(ADVANCE, &[room_name.typed(), upto.typed(), gap.typed(), kept.typed()])?;
    Ok(true)
}

fn ends(places: &[&(Place, Became)]) -> (Vec<String>, Vec<String>) {
    places.iter().map(|(place, _)| (place.from.to_string(), place.to.to_string())).unzip()
}

pub(super) fn position(row: &postgres::Row, at: usize) -> Position {
    Position {
        upto: id(row.get(at)),
        generation: row.get(at + 1),
        gone: id(row.get(at + 2)),
        gap: id(row.get(at + 3)),
        kept: row.get::<_, i64>(at + 4).unsigned_abs(),
    }
}

fn row(row: &postgres::Row) -> Row {
    Row { id: id(row.get(0)), body: row.get(1), edit: row.get(2), reactions: row.get(3) }
}

/// Reads an id that this program wrote.
pub(super) fn id(text: &str) -> MessageId {
    MessageId::parse(text).unwrap_or(MessageId::BEFORE_ALL)
}

/// The words of a text, and the word for its room, as a `tsvector`. A word is letters and digits, so nothing needs
/// escaping.
fn words_of(room: &RoomName, text: &str) -> String {
    let mut all = format!("'{}'", word_of_room(room));
    for word in words(text) {
        let end = (0..=word.len().min(MAX_WORD)).rev().find(|end| word.is_char_boundary(*end)).unwrap_or(0);
        all.push_str(" '");
        all.push_str(&word[..end]);
        all.push('\'');
    }
    all
}

/// A query's words as a `tsquery`.
fn words_wanted(room: &RoomName, query: &Query) -> String {
    let mut all = format!("'{}'", word_of_room(room));
    for (word, is_open) in query.words() {
        all.push_str(" & '");
        all.push_str(word);
        all.push_str(if is_open { "':*" } else { "'" });
    }
    all
}

/// The word that stands for a room. No word of a text has a colon.
pub(super) fn word_of_room(room: &RoomName) -> String {
    let digest = Sha256::digest(room.as_str());
    format!("r:{}", base16ct::lower::encode_string(&digest[..8]))
}
