//! The rooms of the rooms door in SQLite, in the file of the accounts.

use super::{accounts::SqliteAccounts, tables::Tables, tasks};
use crate::{
    likeness::skeleton,
    message::RoomName,
    store::{
        chat_rooms::{
            Access, ChatRoom, ChatRooms, Created, FIRST, Moving, RoomBounds, RoomFields, RoomKey, Updated, title_key,
        },
        erasure::Task,
        error::StoreError,
    },
};
use jiff::Timestamp;
use rusqlite::{ErrorCode, OptionalExtension, Row, ToSql, TransactionBehavior, ffi, named_params, types::Type};

const COLUMNS: &str = "id, title, description, visibility, password, creator, created_at, updated_at, version";

pub struct SqliteChatRooms {
    tables: Tables,
}

impl SqliteChatRooms {
    /// The rooms in the file of `accounts`.
    pub fn beside(accounts: &SqliteAccounts) -> SqliteChatRooms {
        SqliteChatRooms { tables: accounts.tables().of("room store") }
    }

    /// Everything needed to have the same rooms in another store.
    pub fn moving(&self) -> Result<Moving, StoreError> {
        self.tables.with("read its rooms", |connection| {
            let rooms = connection
                .prepare(&format!("SELECT {COLUMNS} FROM chat_rooms ORDER BY id"))?
                .query_map((), room)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let last_id =
                connection
                    .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'chat_rooms'", (), |row| row.get(0))?;
            Ok(Moving { rooms, last_id })
        })
    }
}

impl ChatRooms for SqliteChatRooms {
    fn list(&self, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError> {
        self.tables.with("list the rooms", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM chat_rooms WHERE visibility <> 'hidden' AND id > ?1 ORDER BY id LIMIT ?2"
                ))?
                .query_map((after, bounded(most)), room)?
                .collect()
        })
    }

    fn untouched(&self, before: Timestamp, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError> {
        self.tables.with("list the rooms", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM chat_rooms WHERE id > ?1 AND updated_at < ?2 ORDER BY id LIMIT ?3"
                ))?
                .query_map((after.max(FIRST), before.as_millisecond(), bounded(most)), room)?
                .collect()
        })
    }

    fn find(&self, key: RoomKey<'_>) -> Result<Option<ChatRoom>, StoreError> {
        let by = |condition: &str, values: &[&dyn ToSql]| {
            self.tables.with("look up a room", |connection| {
                connection
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM chat_rooms WHERE {condition}"))?
                    .query_row(values, room)
                    .optional()
            })
        };
        match key {
            RoomKey::Id(id) => by("id = ?1", &[&id]),
            RoomKey::Title(title) => by(
                "title_key = ?1 OR skeleton = ?2 ORDER BY title_key = ?1 DESC LIMIT 1",
                &[&title_key(title), &skeleton(title)],
            ),
        }
    }

    fn create(&self, fields: &RoomFields, now: Timestamp, bounds: RoomBounds) -> Result<Created, StoreError> {
        let made = self.tables.with("make a room", |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some((address, most)) = bounds.of_address {
                let count: i64 = tx
                    .prepare_cached("SELECT count(*) FROM chat_rooms WHERE made_from = ?1")?
                    .query_row([address], |row| row.get(0))?;
                if count.unsigned_abs() >= most {
                    return Ok(None);
                }
            }
            let made = unless_title_taken(
                tx.prepare_cached(&format!(
                        "INSERT INTO chat_rooms
                             (title, title_key, skeleton, description, visibility, password, creator, created_at,
                              updated_at, made_from)
                         SELECT :title, :title_key, :skeleton, :description, :visibility, :password, :creator, :now, :now,
                             :made_from
                         WHERE (SELECT count(*) FROM chat_rooms) < :most
                         RETURNING {COLUMNS}"
                    ))?
                    .query_row(
                        named_params! {
                            ":title": fields.title,
                            ":title_key": title_key(&fields.title),
                            ":skeleton": skeleton(&fields.title),
                            ":description": fields.description,
                            ":visibility": fields.access.visibility(),
                            ":password": fields.access.password_hash(),
                            ":creator": fields.creator,
                            ":now": now.as_millisecond(),
                            ":most": i64::try_from(bounds.all).unwrap_or(i64::MAX),
                            ":made_from": bounds.of_address.map(|(address, _)| address),
                        },
                        room,
                    ),
            )?;
            tx.commit()?;
            Ok(Some(made))
        })?;
        Ok(match made {
            Some(Written::Room(room)) => Created::Room(room),
            Some(Written::TitleTaken) => Created::TitleTaken,
            Some(Written::Nothing) => Created::Full,
            None => Created::AddressFull,
        })
    }

    fn update(&self, current: &ChatRoom, fields: &RoomFields, now: Timestamp) -> Result<Updated, StoreError> {
        let changed = self.tables.with("change a room", |connection| {
            unless_title_taken(
                connection
                    .prepare_cached(&format!(
                        "UPDATE chat_rooms
                         SET title = :title, title_key = :title_key, description = :description,
                             skeleton = CASE WHEN title = :title THEN skeleton ELSE :skeleton END,
                             visibility = :visibility, password = :password, creator = :creator,
                             updated_at = :now, version = version + 1
                         WHERE id = :id AND version = :version
                         RETURNING {COLUMNS}"
                    ))?
                    .query_row(
                        named_params! {
                            ":title": fields.title,
                            ":title_key": title_key(&fields.title),
                            ":skeleton": skeleton(&fields.title),
                            ":description": fields.description,
                            ":visibility": fields.access.visibility(),
                            ":password": fields.access.password_hash(),
                            ":creator": fields.creator,
                            ":now": now.as_millisecond(),
                            ":id": current.id,
                            ":version": current.version,
                        },
                        room,
                    ),
            )
        })?;
        Ok(match changed {
            Written::Room(room) => Updated::Room(room),
            Written::TitleTaken => Updated::TitleTaken,
            Written::Nothing => Updated::Stale,
        })
    }

    fn delete(&self, current: &ChatRoom) -> Result<bool, StoreError> {
        self.tables.with("delete a room", |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let deleted = tx
                .prepare_cached("DELETE FROM chat_rooms WHERE id = ?1 AND version = ?2")?
                .execute((current.id, current.version))?;
            if deleted == 1 {
                tasks::ask(&tx, &Task::Room(RoomName::chitchat(current.id)))?;
            }
            tx.commit()?;
            Ok(deleted == 1)
        })
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.tables.with("be read", |connection| {
            connection.prepare_cached("SELECT 1 FROM chat_rooms LIMIT 1")?.exists(())?;
            Ok(())
        })
    }
}

fn bounded(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

enum Written {
    Room(ChatRoom),
    TitleTaken,
    /// No row matched the condition.
    Nothing,
}

/// The title is the only field of a room that must be unique.
fn unless_title_taken(written: rusqlite::Result<ChatRoom>) -> rusqlite::Result<Written> {
    match written {
        Ok(room) => Ok(Written::Room(room)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Written::Nothing),
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == ErrorCode::ConstraintViolation
                && failure.extended_code == ffi::SQLITE_CONSTRAINT_UNIQUE =>
        {
            Ok(Written::TitleTaken)
        }
        Err(error) => Err(error),
    }
}

/// Reads a row of [`COLUMNS`].
fn room(row: &Row<'_>) -> rusqlite::Result<ChatRoom> {
    let unreadable = |column: usize, kind: Type, what: &'static str| {
        rusqlite::Error::FromSqlConversionFailure(column, kind, what.into())
    };
    let visibility: String = row.get(3)?;
    let access = match (visibility.as_str(), row.get(4)?) {
        ("public", None) => Access::Public,
        ("private", Some(password_hash)) => Access::Private { password_hash },
        ("hidden", Some(password_hash)) => Access::Hidden { password_hash },
        _ => return Err(unreadable(3, Type::Text, "visibility and password don't fit together")),
    };
    let time = |column: usize| {
        Timestamp::from_millisecond(row.get(column)?)
            .map_err(|_| unreadable(column, Type::Integer, "the time is out of range"))
    };
    Ok(ChatRoom {
        id: row.get(0)?,
        fields: RoomFields { title: row.get(1)?, description: row.get(2)?, access, creator: row.get(5)? },
        created_at: time(6)?,
        updated_at: time(7)?,
        version: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    fn fresh() -> suite::Opened<SqliteChatRooms> {
        suite::Opened::new(|dir| SqliteChatRooms::beside(&SqliteAccounts::open(&dir.join("chat.db")).unwrap()))
    }

    suite::chat_rooms!(fresh);

    // Rooms that look the same and were made by an earlier version keep their titles, and can be changed.
    #[test]
    fn rooms_that_are_older_than_the_rule_keep_their_titles() {
        let dir = tempfile::tempdir().unwrap();
        let open = || SqliteChatRooms::beside(&SqliteAccounts::open(&dir.path().join("chat.db")).unwrap());
        let rooms = open();
        let fields = |title: &str| RoomFields {
            title: title.to_owned(),
            description: String::new(),
            access: Access::Public,
            creator: None,
        };
        let create = |rooms: &SqliteChatRooms, title: &str| {
            rooms.create(&fields(title), Timestamp::now(), RoomBounds { all: 10, of_address: None }).unwrap()
        };
        create(&rooms, "Admin");
        create(&rooms, "another");
        // Cyrillic.
        let old = "UPDATE chat_rooms SET skeleton = NULL; UPDATE chat_rooms SET title = 'Аdmin', title_key = 'аdmin' WHERE id = 3";
        rooms.tables.with("be as before", |connection| connection.execute_batch(old)).unwrap();
        drop(rooms);
        let rooms = open();
        let found = |title: &str| rooms.find(RoomKey::Title(title)).unwrap().map(|room| room.id);
        assert_eq!([found("Admin"), found("Аdmin"), found("ADМIN")], [Some(2), Some(3), Some(2)]);
        assert!(matches!(create(&rooms, "АDМIN"), Created::TitleTaken));
        let theirs = rooms.find(RoomKey::Id(3)).unwrap().unwrap();
        let described = RoomFields { description: "still here".to_owned(), ..theirs.fields.clone() };
        assert!(matches!(rooms.update(&theirs, &described, Timestamp::now()).unwrap(), Updated::Room(_)));
    }

    #[test]
    fn rooms_survive_a_restart_also_when_the_first_was_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let open = || SqliteChatRooms::beside(&SqliteAccounts::open(&dir.path().join("chat.db")).unwrap());
        let rooms = open();
        let first = rooms.find(RoomKey::Id(1)).unwrap().unwrap();
        assert!(rooms.delete(&first).unwrap());
        let fields = RoomFields { title: "Kept".to_owned(), ..first.fields };
        rooms.create(&fields, Timestamp::now(), RoomBounds { all: 10, of_address: None }).unwrap();
        drop(rooms);
        let titles: Vec<_> = open().list(0, 10).unwrap().into_iter().map(|room| room.fields.title).collect();
        assert_eq!(titles, ["Kept"]);
    }
}
