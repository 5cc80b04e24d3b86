//! Reads accounts from the tables of the Propromo (Laravel) database, and changes nothing there.
//!
//! Laravel's migrations choose the types of the columns, so each query casts them: an enumeration, a number instead of
//! a boolean, or a time with or without its zone make no difference.

use super::{
    connection::{Session, Typed},
    database::Database,
    error::OpenError,
};
use crate::{
    likeness::same_email,
    store::{
        accounts::{Account, Accounts, Entrant, Epoch, Membership, Monitor, UserId},
        error::StoreError,
        moderation::Rights,
    },
};
use postgres::Row;
use std::time::Duration;

pub(super) const STORE: &str = "account store";

/// Connections that a command needs.
const FEW: u32 = 2;

/// Of accounts whose addresses differ in case only, the exact match comes first. Addresses that `lower` of the database
/// makes equal may still differ for this program ([`same_email`]).
const BY_EMAIL: &str = "
    SELECT id::bigint, coalesce(name::text, ''), email::text, coalesce(password::text, '')
    FROM users WHERE lower(email::text) = lower($1) ORDER BY email::text = $1 DESC, id LIMIT 20";

const BY_ID: &str = "
    SELECT id::bigint, coalesce(name::text, ''), email::text, coalesce(password::text, '')
    FROM users WHERE id = $1::bigint AND email IS NOT NULL";

/// Like [`BY_EMAIL`], but here an address that only the database takes for equal may hide another.
const DISPLAY_NAMES: &str = "
    SELECT found.name, found.email
    FROM unnest($1::text[]) WITH ORDINALITY AS asked (email, place)
    LEFT JOIN LATERAL
        (SELECT coalesce(name::text, '') AS name, email::text AS email FROM users
         WHERE lower(email::text) = lower(asked.email) ORDER BY email::text = asked.email DESC, id LIMIT 1) AS found
    ON true ORDER BY place";

const IS_MONITOR: &str = "SELECT EXISTS (SELECT 1 FROM monitors WHERE monitor_hash::text = $1)";

const MEMBERS: &str = "
    SELECT DISTINCT users.id::bigint, users.email::text
    FROM monitors JOIN monitor_user ON monitor_id = monitors.id JOIN users ON users.id = user_id
    WHERE monitor_hash::text = $1 AND users.email IS NOT NULL ORDER BY 1 LIMIT $2";

/// The session's time zone is UTC, so a time without a zone counts as UTC, as in Laravel.
const MONITORS_OF: &str = r#"
    SELECT monitor_hash::text, organization_name::text, type::text, title::text, short_description::text,
        public::text,
        to_char(created_at::timestamptz, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        to_char(updated_at::timestamptz, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        project_url::text
    FROM monitors
    WHERE id IN (SELECT monitor_id FROM monitor_user WHERE user_id = $1::bigint) AND monitor_hash IS NOT NULL
    ORDER BY id"#;

/// NULL: there is no such monitor.
const MEMBERSHIPS: &str = "
    SELECT EXISTS (SELECT 1 FROM users WHERE id = asked.account),
        (SELECT bool_or(EXISTS (SELECT 1 FROM monitor_user WHERE monitor_id = monitors.id AND user_id = asked.account))
         FROM monitors WHERE monitor_hash::text = asked.hash)
    FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS asked (account, hash, place) ORDER BY place";

/// NULL: there is no such account.
const EPOCHS: &str = "
    SELECT (SELECT coalesce(password::text, '') FROM users WHERE id = asked.account),
        coalesce((SELECT count FROM chat.revocations WHERE account = asked.account), 0)
    FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (account, place) ORDER BY place";

const REVOKE: &str = "
    INSERT INTO chat.revocations AS known VALUES ($1, 1) ON CONFLICT (account) DO UPDATE SET count = known.count + 1";

/// The name is NULL if there is no such account.
const ENTRANT: &str = "
    SELECT (SELECT coalesce(name::text, '') FROM users WHERE id = $1::bigint),
        (SELECT bool_or(EXISTS (SELECT 1 FROM monitor_user WHERE monitor_id = monitors.id AND user_id = $1::bigint))
         FROM monitors WHERE monitor_hash::text = $2::text),
        EXISTS (SELECT 1 FROM chat.moderators JOIN monitors ON monitors.id = monitor
                WHERE account = $1::bigint AND monitor_hash::text = $2::text),
        (SELECT until FROM chat.mutes WHERE account = $1::bigint AND room =
            CASE WHEN EXISTS (SELECT 1 FROM monitors WHERE monitor_hash::text = $2::text) THEN 'monitor:'
            ELSE 'channel:' END || $2::text)";

const ACCESS_CHANGES: &str = "SELECT changes FROM chat.access";

const ANNOUNCE_ACCESS_CHANGE: &str = "UPDATE chat.access SET changes = changes + 1";

const PROBE: &str = "
    SELECT EXISTS (SELECT 1 FROM users), EXISTS (SELECT 1 FROM monitors), EXISTS (SELECT 1 FROM monitor_user)";

/// Accounts in the Propromo database.
///
/// Email addresses are matched regardless of case. In a large table this needs an index on `lower(email)`, which only
/// the owner of the table may make.
pub struct PostgresAccounts {
    database: Database,
}

impl PostgresAccounts {
    /// Connects, to read accounts only. Tries an unreachable server again until `patience` is over.
    pub fn open(url: &str, patience: Duration) -> Result<PostgresAccounts, OpenError> {
        Ok(PostgresAccounts::of(Database::open(url, FEW, patience, |_| Ok(()))?))
    }

    pub(super) fn of(database: Database) -> PostgresAccounts {
        PostgresAccounts { database }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }
}

impl Accounts for PostgresAccounts {
    fn by_email(&self, email: &str) -> Result<Option<Account>, StoreError> {
        if !is_text(email) {
            return Ok(None);
        }
        let typed = email.to_owned();
        let rows = self
            .database
            .read(STORE, "look up an account", move |session| session.query(BY_EMAIL, &[typed.typed()]))?;
        Ok(rows.iter().map(account).find(|account| same_email(&account.email, email)))
    }

    fn by_id(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        let rows =
            self.database.read(STORE, "look up an account", move |session| session.query(BY_ID, &[user.0.typed()]))?;
        Ok(rows.first().map(account))
    }

    fn display_names(&self, emails: &[&str]) -> Result<Vec<Option<String>>, StoreError> {
        let asked: Vec<String> = emails.iter().map(|email| as_text(email)).collect();
        let rows = self
            .database
            .read(STORE, "look up names", move |session| session.query(DISPLAY_NAMES, &[asked.typed()]))?;
        let name = |(row, asked): (&Row, &&str)| {
            let found: Option<&str> = row.get(1);
            found.filter(|found| same_email(found, asked)).and_then(|_| row.get(0))
        };
        Ok(rows.iter().zip(emails).map(name).collect())
    }

    fn is_monitor(&self, monitor_hash: &str) -> Result<bool, StoreError> {
        let hash = as_text(monitor_hash);
        let rows = self
            .database
            .read(STORE, "look up a monitor", move |session| session.query(IS_MONITOR, &[hash.typed()]))?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    fn members(&self, monitor_hash: &str, limit: usize) -> Result<Vec<(UserId, String)>, StoreError> {
        let (hash, limit) = (as_text(monitor_hash), limit as i64);
        let what = "list a monitor's members";
        let rows =
            self.database.read(STORE, what, move |session| session.query(MEMBERS, &[hash.typed(), limit.typed()]))?;
        Ok(rows.iter().map(|row| (UserId(row.get(0)), row.get(1))).collect())
    }

    fn monitors_of(&self, user: UserId) -> Result<Vec<Monitor>, StoreError> {
        let rows = self
            .database
            .read(STORE, "list an account's monitors", move |session| session.query(MONITORS_OF, &[user.0.typed()]))?;
        Ok(rows.iter().map(monitor).collect())
    }

    fn memberships(&self, asked: &[(UserId, &str)]) -> Result<Vec<Membership>, StoreError> {
        let accounts: Vec<i64> = asked.iter().map(|(user, _)| user.0).collect();
        let hashes: Vec<String> = asked.iter().map(|(_, monitor_hash)| as_text(monitor_hash)).collect();
        let rows = self.database.read(STORE, "look up a membership", move |session| {
            session.query(MEMBERSHIPS, &[accounts.typed(), hashes.typed()])
        })?;
        Ok(rows.iter().map(|row| Membership::of(row.get(0), row.get(1))).collect())
    }

    fn epochs(&self, users: &[UserId]) -> Result<Vec<Option<Epoch>>, StoreError> {
        let accounts: Vec<i64> = users.iter().map(|user| user.0).collect();
        let what = "tell whether access was revoked";
        let rows = self.database.read(STORE, what, move |session| session.query(EPOCHS, &[accounts.typed()]))?;
        let epoch = |row: &Row| row.get::<_, Option<&str>>(0).map(|hash| Epoch::of(hash, row.get(1)));
        Ok(rows.iter().map(epoch).collect())
    }

    fn revoke(&self, user: UserId) -> Result<(), StoreError> {
        let work = move |session: &mut Session| session.client.execute_typed(REVOKE, &[user.0.typed()]);
        self.database.write(STORE, "revoke access", work).map(drop)
    }

    fn entrant(&self, user: UserId, monitor_hash: &str) -> Result<Entrant, StoreError> {
        // No monitor has the empty hash, which replaces a hash that is not valid text.
        let hash = if is_text(monitor_hash) { monitor_hash.to_owned() } else { String::new() };
        let what = "look up a membership";
        let rows =
            self.database.read(STORE, what, move |session| session.query(ENTRANT, &[user.0.typed(), hash.typed()]))?;
        let entrant = |row: &Row| Entrant::of(row.get(0), row.get(1), Rights::of(row.get(2), row.get(3)));
        Ok(rows.first().map_or_else(|| Entrant::of(None, None, Rights::default()), entrant))
    }

    fn access_changes(&self) -> Result<i64, StoreError> {
        let what = "tell whether somebody lost access";
        let rows = self.database.read(STORE, what, |session| session.query(ACCESS_CHANGES, &[]))?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    fn announce_access_change(&self) -> Result<(), StoreError> {
        let what = "announce that somebody lost access";
        self.database.write(STORE, what, |session| session.client.execute_typed(ANNOUNCE_ACCESS_CHANGE, &[])).map(drop)
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.database.read(STORE, "be read", |session| session.query(PROBE, &[]))?;
        Ok(())
    }
}

/// Reads a row of [`BY_EMAIL`] or [`BY_ID`].
fn account(row: &Row) -> Account {
    Account { id: UserId(row.get(0)), name: row.get(1), email: row.get(2), password_hash: row.get(3) }
}

/// Reads a row of [`MONITORS_OF`], whose casts decide the types.
fn monitor(row: &Row) -> Monitor {
    Monitor {
        monitor_hash: row.get(0),
        organization_name: row.get(1),
        kind: row.get(2),
        title: row.get(3),
        short_description: row.get(4),
        public: row.get::<_, Option<&str>>(5).is_some_and(is_true),
        created_at: row.get(6),
        updated_at: row.get(7),
        project_url: row.get(8),
    }
}

/// Reads a boolean, or the number or letter used instead.
fn is_true(text: &str) -> bool {
    matches!(text, "true" | "t" | "1")
}

/// PostgreSQL's text holds no NUL, so no table has a value with one, and a query for it would fail.
pub(super) fn as_text(text: &str) -> String {
    // No monitor has the empty hash, and no account the empty address, which replace text with a NUL.
    if is_text(text) { text.to_owned() } else { String::new() }
}

/// Whether a text column may hold this.
pub(super) fn is_text(text: &str) -> bool {
    !text.contains('\0')
}
