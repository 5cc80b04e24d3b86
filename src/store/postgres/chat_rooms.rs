//! The rooms of the rooms door, in the schema `chat`.

use super::{
    accounts::is_text,
    belongings::MOVED,
    connection::{Parameter, Session, Typed},
    database::Database,
};
use crate::{
    likeness::skeleton,
    store::{
        chat_rooms::{
            Access, ChatRoom, ChatRooms, Created, FIRST, Moving, RoomBounds, RoomFields, RoomKey, Updated, title_key,
        },
        error::StoreError,
    },
};
use jiff::Timestamp;
use postgres::{Row, Transaction, error::SqlState};
use std::time::{Duration, SystemTime};

const STORE: &str = "room store";

/// Whether the database takes no writes; fails if it can't be read.
const PROBE: &str = "
    SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean, EXISTS (SELECT FROM chat.rooms)";

const READ_ONLY: &str = "the database takes no writes: it is a hot standby, or set to read only";

/// The columns of [`room`].
macro_rules! columns {
    () => {
        "id, title, description, visibility, password, creator, created_at, updated_at, version"
    };
}

const LIST: &str =
    concat!("SELECT ", columns!(), " FROM chat.rooms WHERE visibility <> 'hidden' AND id > $1 ORDER BY id LIMIT $2");
const UNTOUCHED: &str =
    concat!("SELECT ", columns!(), " FROM chat.rooms WHERE id > $1 AND updated_at < $2 ORDER BY id LIMIT $3");
const BY_ID: &str = concat!("SELECT ", columns!(), " FROM chat.rooms WHERE id = $1");
const BY_TITLE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM chat.rooms WHERE title_key = $1 OR skeleton = $2 ORDER BY title_key = $1 DESC LIMIT 1"
);

const CREATE: &str = concat!(
    "INSERT INTO chat.rooms (title, title_key, description, visibility, password, creator, created_at, updated_at, skeleton,
        made_from)
     SELECT $1, $2, $3, $4, $5, $6, $7, $7, $8, $10 WHERE (SELECT count(*) FROM chat.rooms) < $9
     RETURNING ",
    columns!()
);

const MADE_FROM: &str = "SELECT count(*) FROM chat.rooms WHERE made_from = $1";

const UPDATE: &str = concat!(
    "UPDATE chat.rooms
     SET title = $1, title_key = $2, description = $3, visibility = $4, password = $5, creator = $6, updated_at = $7,
         skeleton = CASE WHEN title = $1 THEN skeleton ELSE $8 END, version = version + 1
     WHERE id = $9 AND version = $10
     RETURNING ",
    columns!()
);

/// The room's messages are to be erased, even if they can't be reached now.
const DELETE: &str = "
    WITH deleted AS (DELETE FROM chat.rooms WHERE id = $1 AND version = $2 RETURNING id)
    INSERT INTO chat.tasks (kind, about, since)
    SELECT 'room', 'chitchat:' || id, extract(epoch FROM clock_timestamp())::bigint FROM deleted";

const IMPORT: &str = "
    INSERT INTO chat.rooms
        (title, title_key, description, visibility, password, creator, updated_at, skeleton, id, version, created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7,
        CASE WHEN NOT EXISTS (SELECT FROM chat.rooms WHERE skeleton = $8) THEN $8 END, $9, $10, $11
    ON CONFLICT DO NOTHING";

/// Replaces the room that exists from the start, if nobody has changed it. Its new age shows that this was done.
const IMPORT_FIRST: &str = "
    UPDATE chat.rooms
    SET title = $1, title_key = $2, description = $3, visibility = $4, password = $5, creator = $6, updated_at = $7,
        skeleton = CASE WHEN NOT EXISTS (SELECT FROM chat.rooms WHERE skeleton = $8 AND id <> 1) THEN $8 END,
        version = $10, created_at = $11
    WHERE id = $9 AND id = 1 AND version = 1 AND created_at <> $11";

const IS_MOVED: &str = "SELECT EXISTS (SELECT FROM chat.moved WHERE what = $1)";

/// New numbers continue above those of both stores.
const CONTINUE: &str = "
    WITH own AS (SELECT pg_get_serial_sequence('chat.rooms', 'id') AS sequence)
    SELECT setval(sequence, greatest($1::bigint, nextval(sequence))) FROM own";

const WITHOUT_SKELETON: &str = "SELECT id, title FROM chat.rooms WHERE skeleton IS NULL ORDER BY id";

const NOTE_SKELETON: &str = "
    UPDATE chat.rooms SET skeleton = $1
    WHERE id = $2 AND NOT EXISTS (SELECT FROM chat.rooms WHERE skeleton = $1)";

/// Notes the skeletons of titles that are older than this check. Of two that look the same, the older one keeps it.
pub(super) fn note_skeletons(transaction: &mut Transaction<'_>) -> Result<(), postgres::Error> {
    if transaction.query_typed(WITHOUT_SKELETON, &[])?.is_empty() {
        return Ok(());
    }
    transaction.batch_execute("LOCK TABLE chat.rooms IN SHARE ROW EXCLUSIVE MODE")?;
    for row in transaction.query_typed(WITHOUT_SKELETON, &[])? {
        let (id, title): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        transaction.execute_typed(NOTE_SKELETON, &[skeleton(&title).typed(), id.typed()])?;
    }
    Ok(())
}

/// The rooms that all nodes share.
pub struct PostgresChatRooms {
    database: Database,
}

impl PostgresChatRooms {
    pub(super) fn of(database: Database) -> PostgresChatRooms {
        PostgresChatRooms { database }
    }

    /// Imports the rooms of another store with their numbers, all or none. A room whose number or title is taken here
    /// is skipped. Returns how many were imported now, and how many by earlier calls.
    pub fn import(&self, moving: Moving) -> Result<(usize, usize), StoreError> {
        let Moving { rooms, last_id } = moving;
        self.database.write(STORE, "take over rooms", move |session| {
            let mut transaction = session.client.transaction()?;
            transaction.batch_execute("LOCK TABLE chat.rooms IN SHARE ROW EXCLUSIVE MODE")?;
            let (mut taken, mut before) = (0, 0);
            for room in &rooms {
                // A room that was imported and deleted since must not come back.
                let mark = format!("room:{}:{}", room.id, room.created_at.as_millisecond());
                if transaction.query_typed_one(IS_MOVED, &[mark.typed()])?.get(0) {
                    before += 1;
                    continue;
                }
                let columns = Columns::of(&room.fields, room.updated_at);
                let created = system_time(room.created_at);
                let parameters = columns.and(&[room.id.typed(), room.version.typed(), created.typed()]);
                let replaced = if room.id == 1 { transaction.execute_typed(IMPORT_FIRST, &parameters)? } else { 0 };
                let inserted = if replaced == 0 { transaction.execute_typed(IMPORT, &parameters)? } else { 0 };
                if replaced + inserted > 0 {
                    transaction.execute_typed(MOVED, &[mark.typed()])?;
                    taken += 1;
                }
            }
            transaction.query_typed(CONTINUE, &[last_id.typed()])?;
            transaction.commit()?;
            Ok((taken, before))
        })
    }
}

impl ChatRooms for PostgresChatRooms {
    fn list(&self, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError> {
        let (what, most) = ("list the rooms", bounded(most));
        let rows =
            self.database.read(STORE, what, move |session| session.query(LIST, &[after.typed(), most.typed()]))?;
        rows.iter().map(|row| room(row).map_err(unreadable(what))).collect()
    }

    fn untouched(&self, before: Timestamp, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError> {
        let (what, before, after, most) = ("list the rooms", system_time(before), after.max(FIRST), bounded(most));
        let rows = self.database.read(STORE, what, move |session| {
            session.query(UNTOUCHED, &[after.typed(), before.typed(), most.typed()])
        })?;
        rows.iter().map(|row| room(row).map_err(unreadable(what))).collect()
    }

    fn find(&self, key: RoomKey<'_>) -> Result<Option<ChatRoom>, StoreError> {
        let what = "look up a room";
        let rows = match key {
            RoomKey::Id(id) => self.database.read(STORE, what, move |session| session.query(BY_ID, &[id.typed()]))?,
            RoomKey::Title(title) if !is_text(title) => return Ok(None),
            RoomKey::Title(title) => {
                let (key, skeleton) = (title_key(title), skeleton(title));
                self.database
                    .read(STORE, what, move |session| session.query(BY_TITLE, &[key.typed(), skeleton.typed()]))?
            }
        };
        rows.first().map(room).transpose().map_err(unreadable(what))
    }

    fn create(&self, fields: &RoomFields, now: Timestamp, bounds: RoomBounds) -> Result<Created, StoreError> {
        let what = "make a room";
        let columns = Columns::of(fields, now);
        let most = i64::try_from(bounds.all).unwrap_or(i64::MAX);
        let address = bounds.of_address.map(|(address, _)| address.to_vec());
        let (made, is_address_full) = self.database.write(STORE, what, move |session| {
            let mut is_address_full = false;
            let made = written(session, |session| {
                let mut transaction = session.client.transaction()?;
                // Otherwise two that count at once would both find a place for the last room.
                transaction.batch_execute("LOCK TABLE chat.rooms IN SHARE ROW EXCLUSIVE MODE")?;
                if let Some((_, most)) = bounds.of_address {
                    let count: i64 = transaction.query_typed_one(MADE_FROM, &[address.typed()])?.get(0);
                    is_address_full = count.unsigned_abs() >= most;
                    if is_address_full {
                        return Ok(Vec::new());
                    }
                }
                let rows = transaction.query_typed(CREATE, &columns.and(&[most.typed(), address.typed()]))?;
                transaction.commit()?;
                Ok(rows)
            })?;
            Ok((made, is_address_full))
        })?;
        match made {
            Written::TitleTaken => Ok(Created::TitleTaken),
            Written::Nothing if is_address_full => Ok(Created::AddressFull),
            Written::Nothing => Ok(Created::Full),
            Written::Row(row) => room(&row).map(Created::Room).map_err(unreadable(what)),
        }
    }

    fn update(&self, current: &ChatRoom, fields: &RoomFields, now: Timestamp) -> Result<Updated, StoreError> {
        let what = "change a room";
        let columns = Columns::of(fields, now);
        let (id, version) = (current.id, current.version);
        let changed = self.database.write(STORE, what, move |session| {
            written(session, |session| session.query(UPDATE, &columns.and(&[id.typed(), version.typed()])))
        })?;
        match changed {
            Written::TitleTaken => Ok(Updated::TitleTaken),
            Written::Nothing => Ok(Updated::Stale),
            Written::Row(row) => room(&row).map(Updated::Room).map_err(unreadable(what)),
        }
    }

    fn delete(&self, current: &ChatRoom) -> Result<bool, StoreError> {
        let (id, version) = (current.id, current.version);
        let deleted = self.database.write(STORE, "delete a room", move |session| {
            session.client.execute_typed(DELETE, &[id.typed(), version.typed()])
        })?;
        Ok(deleted == 1)
    }

    fn probe(&self) -> Result<(), StoreError> {
        let rows = self.database.read(STORE, "be read", |session| session.query(PROBE, &[]))?;
        match rows.first().map(|row| row.get(0)) {
            Some(true) => Err(StoreError { store: STORE, what: "be written", source: READ_ONLY.into() }),
            _ => Ok(()),
        }
    }
}

fn bounded(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// A room's fields as the table's columns.
struct Columns {
    title: String,
    title_key: String,
    description: String,
    visibility: &'static str,
    password: Option<String>,
    creator: Option<Vec<u8>>,
    now: SystemTime,
    skeleton: String,
}

impl Columns {
    fn of(fields: &RoomFields, now: Timestamp) -> Columns {
        Columns {
            title: fields.title.clone(),
            title_key: title_key(&fields.title),
            description: fields.description.clone(),
            visibility: fields.access.visibility(),
            password: fields.access.password_hash().map(str::to_owned),
            creator: fields.creator.map(Vec::from),
            now: system_time(now),
            skeleton: skeleton(&fields.title),
        }
    }

    /// All of these, in the order in which the statements number them, and then `others`.
    fn and<'a>(&'a self, others: &[Parameter<'a>]) -> Vec<Parameter<'a>> {
        let Columns { title, title_key, description, visibility, password, creator, now, skeleton } = self;
        let these = [
            title.typed(),
            title_key.typed(),
            description.typed(),
            visibility.typed(),
            password.typed(),
            creator.typed(),
            now.typed(),
            skeleton.typed(),
        ];
        these.into_iter().chain(others.iter().cloned()).collect()
    }
}

/// The time to the millisecond, as clients see it. The clock is after 1970.
fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(time.as_millisecond().try_into().unwrap_or(0))
}

enum Written {
    Row(Row),
    TitleTaken,
    /// No row matched the condition.
    Nothing,
}

/// The title is the only field of a room that must be unique.
fn written(
    session: &mut Session,
    work: impl FnOnce(&mut Session) -> Result<Vec<Row>, postgres::Error>,
) -> Result<Written, postgres::Error> {
    match work(session) {
        Ok(rows) => Ok(rows.into_iter().next().map_or(Written::Nothing, Written::Row)),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(Written::TitleTaken),
        Err(error) => Err(error),
    }
}

/// Reads a row of [`columns`]; the error says what is wrong with it.
fn room(row: &Row) -> Result<ChatRoom, String> {
    let unreadable = |error: postgres::Error| error.to_string();
    let access = match (row.try_get(3).map_err(unreadable)?, row.try_get(4).map_err(unreadable)?) {
        ("public", None) => Access::Public,
        ("private", Some(password_hash)) => Access::Private { password_hash },
        ("hidden", Some(password_hash)) => Access::Hidden { password_hash },
        _ => return Err("visibility and password don't fit together".into()),
    };
    let time = |column: usize| -> Result<Timestamp, String> {
        let time: SystemTime = row.try_get(column).map_err(unreadable)?;
        Timestamp::try_from(time).map_err(|_| "a time is out of range".into())
    };
    let creator: Option<&[u8]> = row.try_get(5).map_err(unreadable)?;
    let creator = creator.map(<[u8; 32]>::try_from).transpose().map_err(|_| "the creator's key is no SHA-256")?;
    Ok(ChatRoom {
        id: row.try_get(0).map_err(unreadable)?,
        fields: RoomFields {
            title: row.try_get(1).map_err(unreadable)?,
            description: row.try_get(2).map_err(unreadable)?,
            access,
            creator,
        },
        created_at: time(6)?,
        updated_at: time(7)?,
        version: row.try_get(8).map_err(unreadable)?,
    })
}

fn unreadable(what: &'static str) -> impl Fn(String) -> StoreError {
    move |why| StoreError { store: STORE, what, source: format!("a row of chat.rooms can't be read: {why}").into() }
}
