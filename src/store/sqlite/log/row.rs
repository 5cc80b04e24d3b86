//! Reads one row of the tables as a message.

use super::{
    ids,
    state::{Reacted, by_emoji},
    tail::Overlay,
};
use crate::message::{Message, MessageId};
use rusqlite::{Connection, Row};
use uuid::Uuid;

/// The message of this row of `columns!()` as it is now; `None`: it was deleted.
pub(in crate::store::sqlite) fn shown(
    view: &Connection,
    row: &Row<'_>,
    overlay: &Overlay,
) -> rusqlite::Result<Option<Message>> {
    match overlay.get(row.get(0)?) {
        Some(now) => Ok(now.as_ref().map(|state| state.message())),
        None => message(view, row).map(Some),
    }
}

/// The columns that [`message`] reads.
macro_rules! columns {
    () => {
        "key, tail, sender, text, extra, name, reply_to, edited, reacted"
    };
}
pub(in crate::store::sqlite) use columns;

/// Reads `columns!()`, with reactions.
fn message(view: &Connection, row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message { reactions: by_emoji(reactions(view, row)?), ..bare_message(row)? })
}

/// Reads `columns!()`, without reactions.
pub(super) fn bare_message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let id = |place| row.get::<_, Option<[u8; 16]>>(place).map(|id| id.map(|id| MessageId(Uuid::from_bytes(id))));
    Ok(Message {
        name: row.get_ref(5)?.as_str_or_null()?.map(Into::into),
        extra: row.get_ref(4)?.as_str_or_null()?.map(Into::into),
        reply_to: id(6)?,
        edited: id(7)?,
        ..Message::new(ids::join(row.get(0)?, row.get(1)?), row.get_ref(2)?.as_str()?.into(), row.get_ref(3)?.as_str()?)
    })
}

/// The reactions, in order, to the message of this row of `columns!()`.
pub(super) fn reactions(view: &Connection, row: &Row<'_>) -> rusqlite::Result<Vec<Reacted>> {
    if row.get::<_, Option<bool>>(8)? != Some(true) {
        return Ok(Vec::new());
    }
    let mut all = view.prepare_cached("SELECT emoji, user FROM reactions WHERE of = ?1 ORDER BY key")?;
    let key: i64 = row.get(0)?;
    all.query_map([key], |row| Ok((row.get_ref(0)?.as_str()?.into(), row.get_ref(1)?.as_str()?.into())))?.collect()
}
