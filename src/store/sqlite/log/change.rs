//! Changes of messages: whether one may be, and what it does to the rows.

use super::ids;
use crate::{
    entry::{Change, ChangeKind, MAX_EMOJI, MAX_REACTING, NewChange, NewChangeKind, Reach, Unchangeable},
    message::{Message, MessageId, Reaction},
    store::log::{HasText, PAGE_BYTES},
};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

const EDITED: i64 = 0;
const DELETED: i64 = 1;
const REACTED: i64 = 2;
const UNREACTED: i64 = 3;

/// Makes a change under the id that `next` gives; without one if it may not be made, and then nothing is changed.
pub(super) fn make(
    tx: &Transaction<'_>,
    room: i64,
    change: &NewChange,
    next: impl FnOnce() -> (i64, i64),
) -> rusqlite::Result<Result<MessageId, Unchangeable>> {
    let of = ids::key(change.of);
    let found: Option<(i64, String, String)> = tx
        .prepare_cached("SELECT tail, sender, text FROM messages WHERE key = ?1 AND room = ?2 AND deleted IS NULL")?
        .query_row((of, room), |row| row.try_into())
        .optional()?;
    let Some((of_tail, sender, text)) = found.filter(|(tail, ..)| ids::join(of, *tail) == change.of) else {
        return Ok(Err(Unchangeable::NoSuchMessage));
    };
    let is_react = matches!(change.kind, NewChangeKind::React { .. });
    if !is_react && change.reach == Reach::Own && *sender != *change.by {
        return Ok(Err(Unchangeable::NotYours));
    }
    let refused = match &change.kind {
        NewChangeKind::Edit { since, .. } if change.of.millis() < *since => Some(Unchangeable::TooLate),
        NewChangeKind::Edit { text: new, .. } if *text == **new => Some(Unchangeable::Unchanged),
        NewChangeKind::React { emoji, on } => may_react(tx, of, emoji, &change.by, *on)?.err(),
        _ => None,
    };
    if let Some(why) = refused {
        return Ok(Err(why));
    }
    let (key, tail) = next();
    let id = ids::join(key, tail);
    let (kind, emoji) =
        match &change.kind {
            NewChangeKind::Edit { text, .. } => {
                tx.prepare_cached("UPDATE messages SET text = ?2, edited = ?3 WHERE key = ?1")?.execute((
                    of,
                    text,
                    id.0.as_bytes(),
                ))?;
                (EDITED, None)
            }
            NewChangeKind::Delete => {
                delete(tx, room, of)?;
                (DELETED, None)
            }
            NewChangeKind::React { emoji, on: true } => {
                tx.prepare_cached("INSERT INTO reactions (of, emoji, user, key) VALUES (?1, ?2, ?3, ?4)")?
                    .execute((of, emoji, &*change.by, key))?;
                tx.prepare_cached("UPDATE messages SET reacted = 1 WHERE key = ?1")?.execute([of])?;
                (REACTED, Some(emoji))
            }
            NewChangeKind::React { emoji, on: false } => {
                tx.prepare_cached("DELETE FROM reactions WHERE of = ?1 AND emoji = ?2 AND user = ?3")?.execute((
                    of,
                    emoji,
                    &*change.by,
                ))?;
                (UNREACTED, Some(emoji))
            }
        };
    tx.prepare_cached(
        "INSERT INTO changes (key, room, tail, of, of_tail, by, kind, emoji) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute((key, room, tail, of, of_tail, &*change.by, kind, emoji))?;
    Ok(Ok(id))
}

/// Takes all that a message says out of its row, which stays.
fn delete(tx: &Transaction<'_>, room: i64, of: i64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE messages SET text = '', extra = NULL, name = NULL, reply_to = NULL, edited = NULL, reacted = NULL,
         deleted = 1 WHERE key = ?1",
    )?
    .execute([of])?;
    tx.prepare_cached("DELETE FROM reactions WHERE of = ?1")?.execute([of])?;
    tx.prepare_cached("DELETE FROM by_room WHERE room = ?1 AND key = ?2")?.execute((room, of)).map(drop)
}

fn may_react(
    tx: &Transaction<'_>,
    of: i64,
    emoji: &str,
    by: &str,
    on: bool,
) -> rusqlite::Result<Result<(), Unchangeable>> {
    let is_on = tx
        .prepare_cached("SELECT 1 FROM reactions WHERE of = ?1 AND emoji = ?2 AND user = ?3")?
        .exists((of, emoji, by))?;
    if is_on == on {
        return Ok(Err(Unchangeable::Unchanged));
    }
    if !on {
        return Ok(Ok(()));
    }
    let (different, same): (i64, i64) = tx
        .prepare_cached(
            "SELECT count(DISTINCT emoji), count(*) FILTER (WHERE emoji = ?2) FROM reactions WHERE of = ?1",
        )?
        .query_row((of, emoji), |row| row.try_into())?;
    let full = (same == 0 && different >= MAX_EMOJI as i64) || same >= MAX_REACTING as i64;
    Ok(if full { Err(Unchangeable::TooManyEmoji) } else { Ok(()) })
}

/// Up to `limit` of a room's changes after `after` and up to `last`, oldest first; a page's worth of text at most.
pub(super) fn read(view: &Connection, room: i64, after: i64, last: i64, limit: usize) -> rusqlite::Result<Vec<Change>> {
    let mut found = view.prepare_cached(
        "SELECT changes.key, changes.tail, of, of_tail, by, kind, emoji, messages.text
         FROM changes LEFT JOIN messages ON kind = 0 AND messages.key = of AND deleted IS NULL
         WHERE changes.room = ?1 AND changes.key > ?2 AND changes.key <= ?3 ORDER BY changes.key LIMIT ?4",
    )?;
    let mut rows = found.query_map((room, after, last, i64::try_from(limit).unwrap_or(i64::MAX)), change)?;
    let (mut changes, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(change) = rows.next().transpose()?
    {
        bytes += change.text_len();
        changes.push(change);
    }
    Ok(changes)
}

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let kind: i64 = row.get(5)?;
    Ok(Change {
        id: ids::join(row.get(0)?, row.get(1)?),
        of: ids::join(row.get(2)?, row.get(3)?),
        by: row.get_ref(4)?.as_str()?.into(),
        kind: match kind {
            EDITED => ChangeKind::Edited(row.get_ref(7)?.as_str_or_null()?.map(Into::into)),
            DELETED => ChangeKind::Deleted,
            other => ChangeKind::Reacted { emoji: row.get_ref(6)?.as_str()?.into(), on: other == REACTED },
        },
    })
}

/// Whether a change of this id is kept in the room.
pub(super) fn is_kept(view: &Connection, room: i64, id: MessageId) -> rusqlite::Result<bool> {
    let tail: Option<i64> = view
        .prepare_cached("SELECT tail FROM changes WHERE key = ?1 AND room = ?2")?
        .query_row((ids::key(id), room), |row| row.get(0))
        .optional()?;
    Ok(tail.is_some_and(|tail| ids::join(ids::key(id), tail) == id))
}

/// Deletes up to `step` of a room's changes up to the key `through`, with what is left of messages that they deleted. The
/// key of the last; none if there were none.
pub(super) fn trim(tx: &Transaction<'_>, room: i64, through: i64, step: i64) -> rusqlite::Result<Option<i64>> {
    let last: Option<i64> = tx
        .prepare_cached(
            "SELECT max(key) FROM
             (SELECT key FROM changes WHERE room = ?1 AND key <= ?2 ORDER BY key LIMIT ?3)",
        )?
        .query_row((room, through, step), |row| row.get(0))?;
    if let Some(last) = last {
        tx.prepare_cached(
            "DELETE FROM messages WHERE deleted = 1
             AND key IN (SELECT of FROM changes WHERE room = ?1 AND key <= ?2 AND kind = 1)",
        )?
        .execute((room, last))?;
        tx.prepare_cached("DELETE FROM changes WHERE room = ?1 AND key <= ?2")?.execute((room, last))?;
    }
    Ok(last)
}

/// Adds who reacted to a message.
pub(super) fn read_reactions(view: &Connection, message: &mut Message) -> rusqlite::Result<()> {
    let mut all = view.prepare_cached("SELECT emoji, user FROM reactions WHERE of = ?1 ORDER BY key")?;
    let mut rows = all.query([ids::key(message.id)])?;
    while let Some(row) = rows.next()? {
        let (emoji, user) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?.into());
        match message.reactions.iter_mut().find(|reaction| *reaction.emoji == *emoji) {
            Some(reaction) => reaction.users.push(user),
            None => message.reactions.push(Reaction { emoji: emoji.into(), users: vec![user] }),
        }
    }
    Ok(())
}
