//! Accounts in SQLite: the server reads them here, and [`admin`](super::admin) commands write them.

use super::{
    database::{self, DiskSync, Tuning},
    error::{StoreOpenError, failed},
    skeletons,
    tables::Tables,
};
use crate::store::{
    accounts::{Account, Accounts, Entrant, Epoch, Membership, Monitor, UserId},
    error::StoreError,
    moderation::Rights,
};
use rusqlite::{OptionalExtension, Row};
use rusqlite_migration::{M, Migrations};
use std::{
    error::Error,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The store's name in errors.
const STORE: &str = "account store";

/// All tables of the file, in the order in which they were added.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("schema/accounts-1.sql")),
    M::up(include_str!("schema/chat_rooms-1.sql")),
    M::up(include_str!("schema/access-1.sql")),
    M::up(include_str!("schema/revocations-1.sql")),
    M::up(include_str!("schema/moderation-1.sql")),
    M::up(include_str!("schema/sessions-1.sql")),
    M::up(include_str!("schema/chat_rooms-2.sql")),
    M::up(include_str!("schema/reads-1.sql")),
    M::up(include_str!("schema/tasks-1.sql")),
    M::up(include_str!("schema/channels-1.sql")),
    M::up(include_str!("schema/chat_rooms-3.sql")),
];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

pub(super) const MONITOR_COLUMNS: &str =
    "monitor_hash, organization_name, type, title, short_description, public, created_at, updated_at, project_url";

/// The accounts' file. Admin commands may open it while a server has it open.
///
/// Email addresses are matched regardless of the case of their ASCII letters. Other letters must be typed as they were
/// stored, since folding them depends on the language.
pub struct SqliteAccounts {
    path: PathBuf,
    tables: Tables,
}

impl SqliteAccounts {
    /// Opens the file. Makes it, or brings it up to date, if necessary.
    pub fn open(path: &Path) -> Result<SqliteAccounts, StoreOpenError> {
        database::prepare(path, &MIGRATIONS, STEPS.len() as u32)?;
        let tuning = Tuning {
            // It is written by hand, a few times a day: a command that reported "done" must be done.
            sync: DiskSync::Commit,
            autocheckpoint: 1000,
            cache_kib: 2048,
            query_only: false,
            busy: database::BUSY,
        };
        let pool = database::pool(path, tuning)?;
        let unusable = |cause: Box<dyn Error + Send + Sync>| StoreOpenError::File { path: path.to_owned(), cause };
        let connection = pool.get().map_err(|error| unusable(error.into()))?;
        skeletons::note(&connection).map_err(|error| unusable(error.into()))?;
        drop(connection);
        Ok(SqliteAccounts { path: path.to_owned(), tables: Tables::new(pool, STORE) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the whole file, or nothing, to a path where there is no file yet.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        const WHAT: &str = "copy its file";
        let part = path.with_added_extension("part");
        let begin = || -> io::Result<()> {
            // Left by an earlier attempt that was interrupted.
            if part.exists() {
                fs::remove_file(&part)?;
            }
            // SQLite takes an empty file for a new one, and keeps its mode.
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map(drop)
        };
        begin().map_err(failed(STORE, WHAT))?;
        self.tables.with(WHAT, |connection| connection.execute("VACUUM INTO ?1", [part.to_string_lossy()]))?;
        // Unlike a rename, this fails if there is a file by now.
        fs::hard_link(&part, path).and_then(|()| fs::remove_file(&part)).map_err(failed(STORE, WHAT))
    }

    /// The tables of the file, for other stores that are in it too.
    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }
}

impl Accounts for SqliteAccounts {
    fn by_email(&self, email: &str) -> Result<Option<Account>, StoreError> {
        self.tables.with("look up an account", |connection| {
            connection
                .prepare_cached("SELECT id, name, email, password FROM users WHERE email = ?1")?
                .query_row([email], account)
                .optional()
        })
    }

    fn by_id(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.tables.with("look up an account", |connection| {
            connection
                .prepare_cached("SELECT id, name, email, password FROM users WHERE id = ?1")?
                .query_row([user.0], account)
                .optional()
        })
    }

    fn display_names(&self, emails: &[&str]) -> Result<Vec<Option<String>>, StoreError> {
        self.tables.with("look up names", |connection| {
            let mut look_up = connection.prepare_cached("SELECT name FROM users WHERE email = ?1")?;
            emails.iter().map(|email| look_up.query_row([email], |row| row.get(0)).optional()).collect()
        })
    }

    fn is_monitor(&self, monitor_hash: &str) -> Result<bool, StoreError> {
        self.tables.with("look up a monitor", |connection| {
            connection.prepare_cached("SELECT 1 FROM monitors WHERE monitor_hash = ?1")?.exists([monitor_hash])
        })
    }

    fn members(&self, monitor_hash: &str, limit: usize) -> Result<Vec<(UserId, String)>, StoreError> {
        self.tables.with("list a monitor's members", |connection| {
            connection
                .prepare_cached(
                    "SELECT users.id, users.email FROM monitors
                     JOIN monitor_user ON monitor_id = monitors.id JOIN users ON users.id = user_id
                     WHERE monitor_hash = ?1 ORDER BY users.id LIMIT ?2",
                )?
                .query_map((monitor_hash, limit as i64), |row| Ok((UserId(row.get(0)?), row.get(1)?)))?
                .collect()
        })
    }

    fn monitors_of(&self, user: UserId) -> Result<Vec<Monitor>, StoreError> {
        self.tables.with("list an account's monitors", |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {MONITOR_COLUMNS} FROM monitors
                     WHERE id IN (SELECT monitor_id FROM monitor_user WHERE user_id = ?1) ORDER BY id"
                ))?
                .query_map([user.0], monitor)?
                .collect()
        })
    }

    fn memberships(&self, asked: &[(UserId, &str)]) -> Result<Vec<Membership>, StoreError> {
        self.tables.with("look up a membership", |connection| {
            let mut look_up = connection.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1),
                    (SELECT EXISTS (SELECT 1 FROM monitor_user WHERE monitor_id = monitors.id AND user_id = ?1)
                     FROM monitors WHERE monitor_hash = ?2)",
            )?;
            asked
                .iter()
                .map(|(user, monitor_hash)| {
                    look_up.query_row((user.0, monitor_hash), |row| Ok(Membership::of(row.get(0)?, row.get(1)?)))
                })
                .collect()
        })
    }

    fn epochs(&self, users: &[UserId]) -> Result<Vec<Option<Epoch>>, StoreError> {
        self.tables.with("tell whether access was revoked", |connection| {
            let mut look_up = connection.prepare_cached(
                "SELECT password, coalesce((SELECT count FROM revocations WHERE account = users.id), 0)
                 FROM users WHERE id = ?1",
            )?;
            let epoch = |row: &Row<'_>| Ok(Epoch::of(row.get_ref(0)?.as_str()?, row.get(1)?));
            users.iter().map(|user| look_up.query_row([user.0], epoch).optional()).collect()
        })
    }

    fn revoke(&self, user: UserId) -> Result<(), StoreError> {
        self.tables.with("revoke access", |connection| {
            let add = "INSERT INTO revocations VALUES (?1, 1) ON CONFLICT (account) DO UPDATE SET count = count + 1";
            connection.execute(add, [user.0]).map(drop)
        })
    }

    fn entrant(&self, user: UserId, monitor_hash: &str) -> Result<Entrant, StoreError> {
        self.tables.with("look up a membership", |connection| {
            connection
                .prepare_cached(
                    "SELECT (SELECT name FROM users WHERE id = ?1),
                        (SELECT EXISTS (SELECT 1 FROM monitor_user WHERE monitor_id = monitors.id AND user_id = ?1)
                         FROM monitors WHERE monitor_hash = ?2),
                        (SELECT EXISTS (SELECT 1 FROM moderators WHERE monitor = monitors.id AND account = ?1)
                         FROM monitors WHERE monitor_hash = ?2),
                        (SELECT until FROM mutes WHERE account = ?1 AND room =
                         iif(EXISTS (SELECT 1 FROM monitors WHERE monitor_hash = ?2), 'monitor:', 'channel:') || ?2)",
                )?
                .query_row((user.0, monitor_hash), |row| {
                    let rights = Rights::of(row.get(2)?, row.get(3)?);
                    Ok(Entrant::of(row.get_ref(0)?.as_str_or_null()?, row.get(1)?, rights))
                })
        })
    }

    fn access_changes(&self) -> Result<i64, StoreError> {
        self.tables.with("tell whether somebody lost access", |connection| {
            connection.prepare_cached("SELECT changes FROM access")?.query_row((), |row| row.get(0))
        })
    }

    fn announce_access_change(&self) -> Result<(), StoreError> {
        self.tables.with("announce that somebody lost access", |connection| {
            connection.execute("UPDATE access SET changes = changes + 1", ()).map(drop)
        })
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.tables.with("be read", |connection| {
            connection.prepare_cached("SELECT 1 FROM users LIMIT 1")?.exists(())?;
            Ok(())
        })
    }
}

/// Reads `id, name, email, password`.
fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account { id: UserId(row.get(0)?), name: row.get(1)?, email: row.get(2)?, password_hash: row.get(3)? })
}

/// Reads a row of [`MONITOR_COLUMNS`].
pub(super) fn monitor(row: &Row<'_>) -> rusqlite::Result<Monitor> {
    Ok(Monitor {
        monitor_hash: row.get(0)?,
        organization_name: row.get(1)?,
        kind: row.get(2)?,
        title: row.get(3)?,
        short_description: row.get(4)?,
        public: row.get(5)?,
        created_at: row.get(6)?,
        updated_at: row.get(7)?,
        project_url: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    fn demo() -> suite::Opened<SqliteAccounts> {
        suite::Opened::new(|dir| {
            let accounts = SqliteAccounts::open(&dir.join("chat.db")).unwrap();
            accounts.seed_demo().unwrap();
            accounts
        })
    }

    suite::accounts!(demo);
}
