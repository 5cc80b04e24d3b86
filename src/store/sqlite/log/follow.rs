//! Reading on from an entry: for clients that come back, and for those who tell others what was stored.

use super::{Page, SqliteLog, as_limit, change, columns, ids, is_whole_after, known_room, message, read_each};
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
    store::{error::StoreError, log::in_order},
};

impl SqliteLog {
    /// [`MessageLog::since`](crate::store::log::MessageLog::since), without asking whether `after` is an entry, and whether all
    /// that followed it is kept.
    pub fn after(&self, room: &RoomName, after: MessageId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(self.follow(room, after, limit, false)?.unwrap_or_default())
    }

    /// Gives each room that has entries after this id, with its last, as long as `each` wants more.
    pub fn rooms_after(
        &self,
        after: MessageId,
        mut each: impl FnMut(RoomName, MessageId) -> bool,
    ) -> Result<(), StoreError> {
        self.read("name the rooms that have news", |connection| {
            let mut newer = connection.prepare_cached(
                "SELECT rooms.name, max(key) FROM
                     (SELECT room, key FROM messages WHERE key > ?1 UNION ALL SELECT room, key FROM changes WHERE key > ?1) newer
                 JOIN rooms ON rooms.id = newer.room WHERE rooms.name IS NOT NULL GROUP BY rooms.id",
            )?;
            let mut rows = newer.query([ids::key(after)])?;
            while let Some(row) = rows.next()? {
                if !each(RoomName::from_store(row.get_ref(0)?.as_str()?), ids::join(row.get(1)?, 0)) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// An id that is not less than any that was given out.
    pub fn last_id(&self) -> MessageId {
        ids::join(self.unindexed.last(), i64::MAX)
    }

    /// Up to `limit` entries after `after`; if they must be `whole`, `None` unless `after` is an entry and all that followed is kept.
    pub(super) fn follow(
        &self,
        room: &RoomName,
        after: MessageId,
        limit: usize,
        whole: bool,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        self.read("read what somebody has missed", |connection| {
            let Some(room) = known_room(connection, room)? else { return Ok(None) };
            let key = ids::key(after);
            let (newest, last) = self.unindexed.of_room(room, key + 1..);
            // One view of the log: trimming in between must not go unnoticed.
            let view = connection.transaction()?;
            if whole && !is_whole_after(&view, room, after)? {
                return Ok(None);
            }
            let mut page = Page::default();
            let mut older = view.prepare_cached(concat!(
                "SELECT ",
                columns!(),
                " FROM by_room CROSS JOIN messages USING (key)
                 WHERE by_room.room = ?1 AND key > ?2 AND key < ?3 ORDER BY key LIMIT ?4",
            ))?;
            let range = (room, key, newest.first().unwrap_or(&i64::MAX), as_limit(limit));
            page.fill(older.query_map(range, |row| message(&view, row))?)?;
            let rest = newest.len().min(limit - page.messages.len());
            read_each(&view, newest[..rest].iter(), &mut page)?;
            // What is newer than `last` was stored after the list of the newest messages was made.
            let changes = change::read(&view, room, key, last, limit)?;
            Ok(Some(in_order(page.messages, changes, limit)))
        })
    }
}
