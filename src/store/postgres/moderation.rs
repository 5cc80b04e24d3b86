//! Moderators and mutes, in the schema `chat`.

use super::{
    accounts::{PostgresAccounts, STORE, as_text},
    connection::{Session, Typed},
};
use crate::{
    message::RoomName,
    store::{
        accounts::UserId,
        error::StoreError,
        moderation::{Moderation, Rights},
    },
};

const RIGHTS: &str = "
    SELECT EXISTS (SELECT 1 FROM chat.moderators JOIN monitors ON monitors.id = monitor
                   WHERE account = asked.account AND monitor_hash::text = asked.hash),
        (SELECT until FROM chat.mutes WHERE account = asked.account AND room = asked.room)
    FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (account, hash, room, place)
    ORDER BY place";

const FORGET_OVER: &str = "DELETE FROM chat.mutes WHERE until < (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

/// One account's mutes are counted one after the other, on all nodes.
const LOCK_MUTES: &str = "SELECT pg_advisory_xact_lock(hashtext('mutes of ' || $1))";

const OTHER_MUTES: &str =
    "SELECT count(*) FROM chat.mutes WHERE account = $1 AND room <> $2 AND room NOT LIKE 'monitor:%'";

const MUTE: &str = "
    INSERT INTO chat.mutes AS known (account, room, until) VALUES ($1, $2, $3)
    ON CONFLICT (account, room) DO UPDATE SET until = excluded.until";

const UNMUTE: &str = "DELETE FROM chat.mutes WHERE account = $1 AND room = $2";

const APPOINT: &str = "
    INSERT INTO chat.moderators (monitor, account)
    SELECT id::bigint, $2 FROM monitors WHERE monitor_hash::text = $1 ON CONFLICT DO NOTHING";

const DISMISS: &str = "
    DELETE FROM chat.moderators
    WHERE account = $2 AND monitor IN (SELECT id::bigint FROM monitors WHERE monitor_hash::text = $1)";

const MODERATORS: &str = "
    SELECT DISTINCT users.email::text
    FROM monitors JOIN chat.moderators ON monitor = monitors.id JOIN users ON users.id = account
    WHERE monitor_hash::text = $1 AND users.email IS NOT NULL ORDER BY 1";

impl Moderation for PostgresAccounts {
    fn rights(&self, asked: &[(UserId, &RoomName)]) -> Result<Vec<Rights>, StoreError> {
        let accounts: Vec<i64> = asked.iter().map(|(user, _)| user.0).collect();
        // No monitor has the empty hash.
        let hash = |room: &RoomName| if room.is_monitor() { as_text(room.local()) } else { String::new() };
        let hashes: Vec<String> = asked.iter().map(|(_, room)| hash(room)).collect();
        let rooms: Vec<String> = asked.iter().map(|(_, room)| as_text(room.as_str())).collect();
        let rows = self.database().read(STORE, "tell what accounts may do", move |session| {
            session.query(RIGHTS, &[accounts.typed(), hashes.typed(), rooms.typed()])
        })?;
        Ok(rows.iter().map(|row| Rights::of(row.get(0), row.get(1))).collect())
    }

    fn mute(&self, room: &RoomName, user: UserId, until: u64, most: Option<u64>) -> Result<bool, StoreError> {
        let (room, until) = (as_text(room.as_str()), i64::try_from(until).unwrap_or(i64::MAX));
        self.database().write(STORE, "mute an account", move |session: &mut Session| {
            let mut transaction = session.client.transaction()?;
            transaction.execute_typed(FORGET_OVER, &[])?;
            if let Some(most) = most {
                transaction.query_typed(LOCK_MUTES, &[user.0.typed()])?;
                let others: i64 = transaction.query_typed_one(OTHER_MUTES, &[user.0.typed(), room.typed()])?.get(0);
                if others.unsigned_abs() >= most {
                    return Ok(false);
                }
            }
            transaction.execute_typed(MUTE, &[user.0.typed(), room.typed(), until.typed()])?;
            transaction.commit()?;
            Ok(true)
        })
    }

    fn unmute(&self, room: &RoomName, user: UserId) -> Result<bool, StoreError> {
        let room = as_text(room.as_str());
        let gone = self.database().write(STORE, "let an account speak again", move |session: &mut Session| {
            session.client.execute_typed(UNMUTE, &[user.0.typed(), room.typed()])
        })?;
        Ok(gone > 0)
    }

    fn appoint(&self, monitor_hash: &str, user: UserId, moderator: bool) -> Result<bool, StoreError> {
        let hash = as_text(monitor_hash);
        let change = if moderator { APPOINT } else { DISMISS };
        let changed = self.database().write(STORE, "change who moderates", move |session: &mut Session| {
            session.client.execute_typed(change, &[hash.typed(), user.0.typed()])
        })?;
        Ok(changed > 0)
    }

    fn moderators(&self, monitor_hash: &str) -> Result<Vec<String>, StoreError> {
        let hash = as_text(monitor_hash);
        let rows = self
            .database()
            .read(STORE, "list who moderates", move |session| session.query(MODERATORS, &[hash.typed()]))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
