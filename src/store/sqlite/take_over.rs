//! Takes over what many nodes have stored: makes a new `log.db`, and notes which tokens are spent.
//!
//! In Redis each room has a sequence of ids of its own; here all rooms share one sequence of keys (see `log/ids.rs`).
//! An entry whose key another room's entry has gets the next free one, so three digits of its id change. What refers
//! to it is changed with it.
//!
//! The file has another name until it is complete. It notes how far each room is, so that an interrupted move goes on
//! there.

use super::{
    database::{self, DiskSync, Tuning},
    error::{StoreOpenError, failed},
    import::room_id,
    ledger,
    log::{self, ids},
};
use crate::{
    entry::{Change, ChangeKind, Entry},
    message::{Message, MessageId, RoomName},
    store::{
        error::StoreError,
        journal::{Changed, Outcome},
        moving::Mark,
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};
use uuid::Uuid;

/// The file until it is complete.
const INCOMPLETE: &str = "moving.db";

/// Where the messages come from, up to where rooms are copied, and which entries have another id than before.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS source (url TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS copied (room TEXT PRIMARY KEY, last BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS moved (
        room INTEGER NOT NULL, old BLOB NOT NULL, new BLOB NOT NULL, PRIMARY KEY (room, old)
    ) WITHOUT ROWID;";

const TUNING: Tuning = Tuning {
    sync: DiskSync::Checkpoint,
    autocheckpoint: 1000,
    cache_kib: 32 * 1024,
    query_only: false,
    busy: database::BUSY,
};

/// A `log.db` that is being filled.
pub struct NewLog {
    tables: Connection,
    data_dir: PathBuf,
}

/// What belongs to the messages of an embedded installation.
pub fn of_messages(data_dir: &Path) -> Option<PathBuf> {
    ["log.db", "journal", "search.db"].into_iter().map(|name| data_dir.join(name)).find(|path| path.exists())
}

impl NewLog {
    /// Begins the file in this directory, or goes on with it.
    pub fn open(data_dir: &Path) -> Result<NewLog, StoreOpenError> {
        let path = data_dir.join(INCOMPLETE);
        let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.clone(), cause: cause.into() };
        log::prepare(&path)?;
        let tables = database::connect(&path, &TUNING).map_err(unusable)?;
        tables.execute_batch(TABLES).map_err(unusable)?;
        Ok(NewLog { tables, data_dir: data_dir.to_owned() })
    }

    pub fn incomplete(data_dir: &Path) -> PathBuf {
        data_dir.join(INCOMPLETE)
    }

    /// Notes where the messages come from. Returns `false` if an earlier run has taken them from elsewhere.
    pub fn begin(&mut self, source: &str) -> Result<bool, StoreError> {
        let begun = || -> rusqlite::Result<String> {
            self.tables.execute("INSERT INTO source SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM source)", [source])?;
            self.tables.query_row("SELECT url FROM source", (), |row| row.get(0))
        };
        Ok(begun().map_err(failed(log::STORE, "say where its messages come from"))? == source)
    }

    /// The last entry of a room that was copied, by its id before.
    pub fn copied(&self, room: &RoomName) -> Result<Option<MessageId>, StoreError> {
        let last = self
            .tables
            .prepare_cached("SELECT last FROM copied WHERE room = ?1")
            .and_then(|mut found| found.query_row([room.as_str()], |row| row.get(0)).optional());
        Ok(last.map_err(failed(log::STORE, "say how far the move is"))?.map(id))
    }

    /// Adds entries that follow those copied before, all or none. Returns how many got another id.
    pub fn take(&mut self, room: &RoomName, page: &[Entry]) -> Result<usize, StoreError> {
        let Some(last) = page.last() else { return Ok(0) };
        let mut take = || -> rusqlite::Result<usize> {
            let tx = self.tables.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut filling = Filling::begin(&tx, room)?;
            for entry in page {
                match entry {
                    Entry::Message(message) => filling.add_message(message)?,
                    Entry::Change(change) => filling.add_change(change)?,
                }
            }
            let Filling { moved, last: key, .. } = filling;
            tx.prepare_cached("UPDATE applied SET key = max(key, ?1)")?.execute([key])?;
            tx.prepare_cached("INSERT OR REPLACE INTO copied (room, last) VALUES (?1, ?2)")?
                .execute((room.as_str(), last.id().0.as_bytes()))?;
            tx.commit()?;
            Ok(moved)
        };
        take().map_err(failed(log::STORE, "take over messages"))
    }

    /// Notes that changes of a room are missing: whoever was away must reload it.
    pub fn lacks_changes(&mut self, room: &RoomName) -> Result<(), StoreError> {
        let note = self
            .tables
            .execute("UPDATE rooms SET changes_trimmed = (SELECT key FROM applied) WHERE name = ?1", [room.as_str()]);
        note.map(drop).map_err(failed(log::STORE, "take over messages"))
    }

    /// Gives the file the name under which the server looks for it.
    pub fn complete(self) -> Result<(), StoreError> {
        const WHAT: &str = "complete the new log";
        let (path, to) = (self.data_dir.join(INCOMPLETE), self.data_dir.join("log.db"));
        self.tables.close().map_err(|(_, error)| error).map_err(failed(log::STORE, WHAT))?;
        let renamed = || -> io::Result<()> {
            File::open(&path)?.sync_all()?;
            fs::rename(&path, &to)?;
            File::open(&self.data_dir)?.sync_all()
        };
        renamed().map_err(failed(log::STORE, WHAT))?;
        let tables = database::connect(&to, &TUNING);
        let tidied =
            tables.and_then(|tables| tables.execute_batch("DROP TABLE source; DROP TABLE copied; DROP TABLE moved"));
        tidied.map_err(failed(log::STORE, WHAT))
    }
}

/// A page on its way into the tables.
struct Filling<'t> {
    tx: &'t Transaction<'t>,
    name: &'t RoomName,
    /// The room's number.
    room: i64,
    /// The key of the room's last entry.
    last: i64,
    /// How many entries got another id.
    moved: usize,
}

impl<'t> Filling<'t> {
    fn begin(tx: &'t Transaction<'t>, name: &'t RoomName) -> rusqlite::Result<Filling<'t>> {
        let room = room_id(tx, name)?;
        let last = tx
            .prepare_cached(
                "SELECT max(coalesce((SELECT max(key) FROM by_room WHERE room = ?1), 0),
                     coalesce((SELECT max(key) FROM changes WHERE room = ?1), 0))",
            )?
            .query_row([room], |row| row.get(0))?;
        Ok(Filling { tx, name, room, last, moved: 0 })
    }

    fn add_message(&mut self, message: &Message) -> rusqlite::Result<()> {
        let placed = self.next(message.id)?;
        let (key, is_reacted) = (ids::key(placed), !message.reactions.is_empty());
        let reply_to = message.reply_to.map(|of| self.now(of)).transpose()?;
        self.tx
            .prepare_cached(
                "INSERT INTO messages (key, room, tail, sender, text, extra, name, reply_to, edited, reacted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute((
                key,
                self.room,
                ids::tail(placed),
                &*message.sender,
                &*message.text,
                message.extra.as_deref(),
                message.name.as_deref(),
                reply_to.map(|of| of.0.into_bytes()),
                message.edited.map(|edit| edit.0.into_bytes()),
                is_reacted.then_some(1),
            ))?;
        self.tx.prepare_cached("INSERT INTO by_room (room, key) VALUES (?1, ?2)")?.execute((self.room, key))?;
        log::authors::note(self.tx, (self.room, self.name), &message.sender)?;
        let mut add = self.tx.prepare_cached("INSERT INTO reactions (of, emoji, user, key) VALUES (?1, ?2, ?3, ?4)")?;
        // Who reacts from now on comes after these.
        let each = message
            .reactions
            .iter()
            .flat_map(|reaction| reaction.users.iter().map(move |user| (&reaction.emoji, user)));
        for (place, (emoji, user)) in (0i64..).zip(each) {
            add.execute((key, &**emoji, &**user, place))?;
        }
        Ok(())
    }

    /// The message is as it is now already, unless an earlier run has copied it.
    fn add_change(&mut self, change: &Change) -> rusqlite::Result<()> {
        let outcome = match &change.kind {
            ChangeKind::Edited(text) => Outcome::Text(text.clone().unwrap_or_default()),
            ChangeKind::Deleted => Outcome::Nothing,
            ChangeKind::Reacted { emoji, on } => Outcome::Reacted { emoji: (**emoji).into(), on: *on },
        };
        let changed = Changed { of: self.changed(change.of)?, by: change.by.clone(), outcome };
        let placed = self.next(change.id)?;
        log::change::make(self.tx, self.room, placed, &changed).map(drop)
    }

    /// The id that the room's next entry gets: its own, unless another entry has its key.
    fn next(&mut self, own: MessageId) -> rusqlite::Result<MessageId> {
        let placed = self.place(own, self.last + 1)?;
        self.last = ids::key(placed);
        Ok(placed)
    }

    /// The message that a change refers to. One that is gone gets a row, so that its key is not another message's.
    fn changed(&mut self, own: MessageId) -> rusqlite::Result<MessageId> {
        let of = self.now(own)?;
        let is_there = self
            .tx
            .prepare_cached("SELECT 1 FROM messages WHERE key = ?1 AND room = ?2 AND tail = ?3")?
            .exists((ids::key(of), self.room, ids::tail(of)))?;
        if is_there {
            return Ok(of);
        }
        let of = self.place(own, 0)?;
        self.tx
            .prepare_cached(
                "INSERT INTO messages (key, room, tail, sender, text, deleted) VALUES (?1, ?2, ?3, '', '', 1)",
            )?
            .execute((ids::key(of), self.room, ids::tail(of)))?;
        Ok(of)
    }

    /// The first free place from that of this id on, and from `least` on.
    fn place(&mut self, own: MessageId, least: i64) -> rusqlite::Result<MessageId> {
        let mut taken = self.tx.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM messages WHERE key = ?1) OR EXISTS (SELECT 1 FROM changes WHERE key = ?1)",
        )?;
        let mut key = ids::key(own).max(least);
        while taken.query_row([key], |row| row.get::<_, bool>(0))? {
            key += 1;
        }
        let placed = ids::join(key, ids::tail(own));
        if placed != own {
            self.tx.prepare_cached("INSERT INTO moved (room, old, new) VALUES (?1, ?2, ?3)")?.execute((
                self.room,
                own.0.as_bytes(),
                placed.0.as_bytes(),
            ))?;
            self.moved += 1;
        }
        Ok(placed)
    }

    /// The id that an entry of before has now.
    fn now(&self, own: MessageId) -> rusqlite::Result<MessageId> {
        let new = self
            .tx
            .prepare_cached("SELECT new FROM moved WHERE room = ?1 AND old = ?2")?
            .query_row((self.room, own.0.as_bytes()), |row| row.get(0))
            .optional()?;
        Ok(new.map_or(own, id))
    }
}

fn id(bytes: [u8; 16]) -> MessageId {
    MessageId(Uuid::from_bytes(bytes))
}

/// Notes in the ledger of this directory that tokens are spent.
pub fn note_spent(data_dir: &Path, marks: &[Mark]) -> Result<(), StoreOpenError> {
    let path = data_dir.join("ledger.db");
    let unusable = |cause: rusqlite::Error| StoreOpenError::File { path: path.clone(), cause: cause.into() };
    database::prepare(&path, &ledger::MIGRATIONS, ledger::VERSION)?;
    let mut connection = database::connect(&path, &TUNING).map_err(unusable)?;
    let mut note = || -> rusqlite::Result<()> {
        let tx = connection.transaction()?;
        for Mark { token, until } in marks {
            let until = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            tx.prepare_cached(
                "INSERT INTO spent (token, until) VALUES (?1, ?2)
                 ON CONFLICT (token) DO UPDATE SET until = max(until, excluded.until)",
            )?
            .execute((&token.0, until.cast_signed()))?;
        }
        tx.commit()
    };
    note().map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::Reaction,
        store::{
            log::MessageLog,
            sqlite::log::{LogOptions, SqliteLog},
        },
    };

    /// An id of this place, as a room in Redis gives it: the rest is the room's.
    fn id_of(room: u64, key: i64) -> MessageId {
        ids::join((1_700_000_000_000 << 12) + key, room as i64)
    }

    fn said(id: MessageId, text: &str) -> Message {
        Message::new(id, "alice".into(), text)
    }

    fn change(id: MessageId, of: MessageId, kind: ChangeKind) -> Entry {
        Entry::Change(Change { id, of, by: "alice".into(), kind })
    }

    fn edit(id: MessageId, of: MessageId, text: Option<&str>) -> Entry {
        change(id, of, ChangeKind::Edited(text.map(Into::into)))
    }

    fn fill(data_dir: &Path, rooms: &[(&RoomName, &[&[Entry]])]) -> usize {
        let mut new = NewLog::open(data_dir).unwrap();
        assert!(new.begin("redis://one").unwrap() && !new.begin("redis://other").unwrap());
        let pages = rooms.iter().flat_map(|(room, pages)| pages.iter().map(move |page| (room, page)));
        pages.map(|(room, page)| new.take(room, page).unwrap()).sum()
    }

    fn completed(data_dir: &Path) -> SqliteLog {
        NewLog::open(data_dir).unwrap().complete().unwrap();
        SqliteLog::open(&data_dir.join("log.db"), LogOptions::keeping(None)).unwrap()
    }

    // Seen to fail where keys were not looked for, where what refers to a moved entry stayed, and where messages that are gone
    // got no row: then an edit showed another room's text.
    #[test]
    fn entries_of_two_rooms_at_one_place_are_all_there_in_the_order_of_their_rooms() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (RoomName::channel("one"), RoomName::channel("other"));
        let room = |room: u64| {
            let at = |key| id_of(room, key);
            let text = |what: &str| format!("{what} of {room}");
            let edited = Message { edited: Some(at(3)), ..said(at(0), &text("edited")) };
            let reply = Message { reply_to: Some(at(0)), ..said(at(1), &text("reply")) };
            [
                Entry::Message(edited),
                Entry::Message(reply),
                Entry::Message(said(at(2), &text("last"))),
                edit(at(3), at(0), Some(&text("edited"))),
                // Of a message that is not kept any more, and of one that was deleted.
                edit(at(4), id_of(room, -7), None),
                edit(at(5), id_of(room, -9), None),
                change(at(6), id_of(room, -9), ChangeKind::Deleted),
            ]
        };
        let (first, second) = (room(1), room(2));
        let moved = fill(dir.path(), &[(&one, &[&first[..2], &first[2..]]), (&other, &[&second[..4], &second[4..]])]);
        assert_eq!(moved, 9, "all of the other room, with what was deleted there");
        let log = completed(dir.path());
        for (name, number) in [(&one, 1), (&other, 2)] {
            let history = log.history(name, None, 10).unwrap();
            let texts: Vec<_> = history.iter().map(|message| message.text.to_string()).collect();
            assert_eq!(texts, ["edited", "reply", "last"].map(|what| format!("{what} of {number}")));
            let [message, reply, last] = &history[..] else { panic!("{} messages", history.len()) };
            assert_eq!(reply.reply_to, Some(message.id));
            let changes = log.since(name, last.id, 10).unwrap().unwrap();
            let [Entry::Change(edit), Entry::Change(gone), ..] = &changes[..] else {
                panic!("{} changes", changes.len())
            };
            assert_eq!((changes.len(), edit.of, message.edited), (4, message.id, Some(edit.id)));
            assert!(gone.kind == ChangeKind::Edited(None), "not the text of another room's message");
        }
        assert_eq!(log.history(&one, None, 1).unwrap()[0].id, id_of(1, 2), "ids stay where they can");
        assert!(log.since(&other, id_of(2, 2), 10).unwrap().is_none(), "who knows the id of before reloads");
    }

    // Seen to fail where changes were left out.
    #[test]
    fn what_became_of_messages_after_they_were_copied_is_copied_too() {
        let dir = tempfile::tempdir().unwrap();
        let room = RoomName::channel("room");
        let at = |key| id_of(1, key);
        let thumbs = |users: &[&str]| Reaction {
            emoji: "👍".into(),
            users: users.iter().map(|user| (*user).into()).collect(),
        };
        let messages: Vec<Entry> = (0..3)
            .map(|n| Entry::Message(Message { reactions: vec![thumbs(&["bob", "alice"])], ..said(at(n), "before") }))
            .collect();
        fill(dir.path(), &[(&room, &[&messages])]);
        assert!(NewLog::open(dir.path()).unwrap().copied(&room).unwrap() == Some(at(2)));
        let reacted = |on| ChangeKind::Reacted { emoji: "👍".into(), on };
        let changes = [
            edit(at(3), at(0), Some("after")),
            edit(at(4), at(1), None),
            change(at(5), at(1), ChangeKind::Deleted),
            change(at(6), at(2), reacted(false)),
        ];
        fill(dir.path(), &[(&room, &[&changes])]);
        let mut new = NewLog::open(dir.path()).unwrap();
        new.lacks_changes(&room).unwrap();
        drop(new);
        let log = completed(dir.path());
        let history = log.history(&room, None, 10).unwrap();
        let shown: Vec<_> = history.iter().map(|message| (&*message.text, message.reactions.clone())).collect();
        assert_eq!(shown, [("after", vec![thumbs(&["bob", "alice"])]), ("before", vec![thumbs(&["bob"])])]);
        assert!(log.since(&room, at(2), 10).unwrap().is_none(), "changes are missing");
    }
}
