//! Skeletons of room titles that are older than the check for look-alikes.

use crate::likeness::skeleton;
use rusqlite::Connection;

/// Notes the skeletons of titles that have none yet. Of two that look the same, the older one keeps it.
pub(super) fn note(connection: &Connection) -> rusqlite::Result<()> {
    let rooms = connection
        .prepare("SELECT id, title FROM chat_rooms WHERE skeleton IS NULL ORDER BY id")?
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
    for (id, title) in rooms {
        let skeleton = skeleton(&title);
        let known = connection.prepare_cached("SELECT 1 FROM chat_rooms WHERE skeleton = ?1")?.exists([&skeleton])?;
        if !known {
            // Another process may do the same.
            connection
                .prepare_cached("UPDATE OR IGNORE chat_rooms SET skeleton = ?1 WHERE id = ?2 AND title = ?3")?
                .execute((&skeleton, id, &title))?;
        }
    }
    Ok(())
}
