//! What the commands `account …` and `monitor …` do to the accounts' file.

use super::{
    accounts::{MONITOR_COLUMNS, SqliteAccounts, monitor},
    tasks,
};
use crate::store::{
    accounts::{Monitor, UserId},
    erasure::Task,
    error::StoreError,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

/// An account to add.
#[derive(Clone, Copy)]
pub struct NewAccount<'a> {
    pub name: &'a str,
    pub email: &'a str,
    /// A bcrypt or argon2id hash, never the password.
    pub password_hash: &'a str,
    /// Hashes of the monitors that it becomes a member of; each must exist.
    pub monitors: &'a [String],
}

/// An account as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    pub id: UserId,
    pub name: String,
    pub email: String,
    /// Hashes of its monitors, oldest monitor first.
    pub monitors: Vec<String>,
}

/// An admin command failed; it changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "there is an account {0} already; `propromo-chat monitor join HASH {0}` lets it into a monitor's chat, \
         `propromo-chat account passwd {0}` changes its password"
    )]
    AccountExists(String),
    #[error("there is no account {0}; `propromo-chat account list` shows all")]
    NoSuchAccount(String),
    #[error("there is a monitor {0} already; `propromo-chat monitor join '{0}' EMAIL` lets an account into its chat")]
    MonitorExists(String),
    #[error(
        "there is no monitor {0}; `propromo-chat monitor list` shows all, `propromo-chat monitor add '{0}'` adds it"
    )]
    NoSuchMonitor(String),
    #[error("there is no monitor {0}; `propromo-chat monitor list` shows all")]
    NothingToRemove(String),
    #[error("{email} is no member of the monitor {monitor_hash}; `propromo-chat account list` shows who is")]
    NoMember { email: String, monitor_hash: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Each method is one transaction, and may run while a server has the file open.
impl SqliteAccounts {
    /// Adds an account, as a member of the named monitors.
    pub fn add_account(&self, account: &NewAccount<'_>) -> Result<UserId, AdminError> {
        self.change("add an account", |tx| {
            let added = tx.execute(
                "INSERT INTO users (id, name, email, password, created_at, updated_at)
                 VALUES ((SELECT last_account + 1 FROM access), ?1, ?2, ?3, strftime('%FT%TZ'), strftime('%FT%TZ'))",
                (account.name, account.email, account.password_hash),
            );
            match added {
                Err(error) if is_duplicate(&error) => {
                    return Ok(Err(AdminError::AccountExists(account.email.to_owned())));
                }
                other => other?,
            };
            let user = UserId(tx.last_insert_rowid());
            for hash in account.monitors {
                let Some(monitor) = monitor_id(tx, hash)? else {
                    return Ok(Err(AdminError::NoSuchMonitor(hash.clone())));
                };
                join(tx, user, monitor)?;
            }
            Ok(Ok(user))
        })
    }

    /// All accounts, oldest first.
    pub fn accounts(&self) -> Result<Vec<AccountSummary>, StoreError> {
        self.tables().with("list the accounts", |connection| {
            let tx = connection.transaction()?;
            let mut monitors = tx.prepare(
                "SELECT monitor_hash FROM monitors JOIN monitor_user ON monitor_id = monitors.id
                 WHERE user_id = ?1 ORDER BY monitors.id",
            )?;
            tx.prepare("SELECT id, name, email FROM users ORDER BY id")?
                .query_map((), |row| {
                    let id = row.get(0)?;
                    Ok(AccountSummary {
                        id: UserId(id),
                        name: row.get(1)?,
                        email: row.get(2)?,
                        monitors: monitors.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?,
                    })
                })?
                .collect()
        })
    }

    pub fn set_password(&self, email: &str, password_hash: &str) -> Result<(), AdminError> {
        self.change("change a password", |tx| {
            let changed = tx.execute(
                "UPDATE users SET password = ?2, updated_at = strftime('%FT%TZ') WHERE email = ?1",
                (email, password_hash),
            )?;
            Ok(if changed == 1 { Ok(()) } else { Err(AdminError::NoSuchAccount(email.to_owned())) })
        })
    }

    /// Removes an account and its memberships, and adds this task. Returns the task's number. Without a task, the
    /// account's messages stay in the rooms.
    pub fn remove_account(&self, email: &str, task: Option<&Task>) -> Result<Option<i64>, AdminError> {
        self.change("remove an account", |tx| {
            if tx.execute("DELETE FROM users WHERE email = ?1", [email])? != 1 {
                return Ok(Err(AdminError::NoSuchAccount(email.to_owned())));
            }
            Ok(Ok(task.map(|task| tasks::ask(tx, task)).transpose()?))
        })
    }

    /// Adds a monitor. `created_at` and `updated_at` default to now.
    pub fn add_monitor(&self, monitor: &Monitor) -> Result<(), AdminError> {
        self.change("add a monitor", |tx| match insert_monitor(tx, monitor) {
            Err(error) if is_duplicate(&error) => Ok(Err(AdminError::MonitorExists(monitor.monitor_hash.clone()))),
            other => other.map(Ok),
        })
    }

    /// All monitors, oldest first.
    pub fn monitors(&self) -> Result<Vec<Monitor>, StoreError> {
        self.tables().with("list the monitors", |connection| {
            connection
                .prepare(&format!("SELECT {MONITOR_COLUMNS} FROM monitors ORDER BY id"))?
                .query_map((), monitor)?
                .collect()
        })
    }

    /// Removes a monitor and its memberships, and adds this task. Returns the task's number.
    pub fn remove_monitor(&self, monitor_hash: &str, task: Option<&Task>) -> Result<Option<i64>, AdminError> {
        self.change("remove a monitor", |tx| {
            if tx.execute("DELETE FROM monitors WHERE monitor_hash = ?1", [monitor_hash])? != 1 {
                return Ok(Err(AdminError::NothingToRemove(monitor_hash.to_owned())));
            }
            Ok(Ok(task.map(|task| tasks::ask(tx, task)).transpose()?))
        })
    }

    /// Makes an account a member of a monitor, if it is not one yet.
    pub fn join(&self, email: &str, monitor_hash: &str) -> Result<(), AdminError> {
        self.change("add a member to a monitor", |tx| {
            Ok(match both(tx, email, monitor_hash)? {
                Ok((user, monitor)) => Ok(join(tx, user, monitor)?),
                Err(missing) => Err(missing),
            })
        })
    }

    /// Ends an account's membership of a monitor. A running server closes its connections there.
    pub fn leave(&self, email: &str, monitor_hash: &str) -> Result<(), AdminError> {
        self.change("remove a member from a monitor", |tx| {
            let (user, monitor) = match both(tx, email, monitor_hash)? {
                Ok(found) => found,
                Err(missing) => return Ok(Err(missing)),
            };
            let left =
                tx.execute("DELETE FROM monitor_user WHERE user_id = ?1 AND monitor_id = ?2", (user.0, monitor))?;
            let no_member = || AdminError::NoMember { email: email.to_owned(), monitor_hash: monitor_hash.to_owned() };
            Ok(if left == 1 { Ok(()) } else { Err(no_member()) })
        })
    }

    /// Runs `work` in a transaction that is committed only if both results are good: the outer one is the store's, the
    /// inner one says whether the command makes sense.
    pub(super) fn change<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, AdminError>>,
    ) -> Result<T, AdminError> {
        self.tables().with(what, |connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = work(&tx)?;
            if outcome.is_ok() {
                tx.commit()?;
            }
            Ok(outcome)
        })?
    }
}

pub(super) fn insert_monitor(connection: &Connection, monitor: &Monitor) -> rusqlite::Result<()> {
    connection
        .execute(
            &format!(
                "INSERT INTO monitors ({MONITOR_COLUMNS}) VALUES
                 (?1, ?2, ?3, ?4, ?5, ?6, coalesce(?7, strftime('%FT%TZ')), coalesce(?8, strftime('%FT%TZ')), ?9)"
            ),
            (
                &monitor.monitor_hash,
                &monitor.organization_name,
                &monitor.kind,
                &monitor.title,
                &monitor.short_description,
                monitor.public,
                &monitor.created_at,
                &monitor.updated_at,
                &monitor.project_url,
            ),
        )
        .map(drop)
}

fn join(connection: &Connection, user: UserId, monitor: i64) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO monitor_user (user_id, monitor_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            (user.0, monitor),
        )
        .map(drop)
}

fn both(
    connection: &Connection,
    email: &str,
    monitor_hash: &str,
) -> rusqlite::Result<Result<(UserId, i64), AdminError>> {
    let user: Option<i64> =
        connection.query_row("SELECT id FROM users WHERE email = ?1", [email], |row| row.get(0)).optional()?;
    let Some(user) = user else { return Ok(Err(AdminError::NoSuchAccount(email.to_owned()))) };
    let Some(monitor) = monitor_id(connection, monitor_hash)? else {
        return Ok(Err(AdminError::NoSuchMonitor(monitor_hash.to_owned())));
    };
    Ok(Ok((UserId(user), monitor)))
}

fn monitor_id(connection: &Connection, hash: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT id FROM monitors WHERE monitor_hash = ?1", [hash], |row| row.get(0)).optional()
}

fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        accounts::{Accounts, Membership},
        suite::Opened,
    };

    fn open() -> Opened<SqliteAccounts> {
        Opened::new(|dir| SqliteAccounts::open(&dir.join("chat.db")).unwrap())
    }

    fn dora(monitors: &[String]) -> NewAccount<'_> {
        NewAccount { name: "Dora", email: "dora@propromo.example", password_hash: "$2y$10$x", monitors }
    }

    fn red() -> Monitor {
        Monitor {
            monitor_hash: "red".into(),
            organization_name: Some("Colours".into()),
            kind: Some("USER".into()),
            title: Some("Red".into()),
            short_description: None,
            public: true,
            created_at: None,
            updated_at: None,
            project_url: Some("https://colours.example/red".into()),
        }
    }

    #[test]
    fn an_added_account_is_found_with_its_monitors() {
        let accounts = open();
        accounts.add_monitor(&red()).unwrap();
        let id = accounts.add_account(&dora(&["red".into()])).unwrap();
        let found = accounts.by_email("DORA@propromo.example").unwrap().unwrap();
        assert_eq!((found.id, &*found.name, &*found.password_hash), (id, "Dora", "$2y$10$x"));
        assert_eq!(accounts.membership(id, "red").unwrap(), Membership::Member);
    }

    #[test]
    fn an_added_monitor_is_kept_as_it_was_given_with_the_time_it_was_made() {
        let accounts = open();
        accounts.add_monitor(&red()).unwrap();
        let kept = accounts.monitors().unwrap().remove(0);
        assert!(kept.created_at.as_deref().is_some_and(|time| time.len() == 20 && time.ends_with('Z')));
        assert_eq!(Monitor { created_at: None, updated_at: None, ..kept }, red());
    }

    #[test]
    fn an_email_is_one_accounts_whatever_its_case() {
        let accounts = open();
        accounts.add_account(&dora(&[])).unwrap();
        let again = NewAccount { email: "Dora@Propromo.Example", ..dora(&[]) };
        assert!(matches!(accounts.add_account(&again), Err(AdminError::AccountExists(_))));
    }

    #[test]
    fn an_account_with_an_unknown_monitor_is_not_added_and_the_hint_says_what_to_do() {
        let accounts = open();
        let error = accounts.add_account(&dora(&["blue".into()])).unwrap_err().to_string();
        assert!(error.contains("monitor add 'blue'"), "{error}");
        assert!(accounts.accounts().unwrap().is_empty());
    }

    #[test]
    fn a_monitor_is_added_once() {
        let accounts = open();
        accounts.add_monitor(&red()).unwrap();
        assert!(matches!(accounts.add_monitor(&red()), Err(AdminError::MonitorExists(_))));
    }

    #[test]
    fn a_changed_password_is_the_one_that_is_read() {
        let accounts = open();
        accounts.add_account(&dora(&[])).unwrap();
        accounts.set_password("dora@propromo.example", "$2y$10$new").unwrap();
        let found = accounts.by_email("dora@propromo.example").unwrap().unwrap();
        assert_eq!(found.password_hash, "$2y$10$new");
    }

    #[test]
    fn a_removed_account_is_in_no_monitor() {
        let accounts = open();
        accounts.add_monitor(&red()).unwrap();
        let id = accounts.add_account(&dora(&["red".into()])).unwrap();
        accounts.remove_account("dora@propromo.example", None).unwrap();
        assert!(accounts.by_email("dora@propromo.example").unwrap().is_none());
        assert_eq!(accounts.membership(id, "red").unwrap(), Membership::NoAccount);
        let next = accounts.add_account(&dora(&[])).unwrap();
        assert!(next > id, "tokens of the removed account would be good for the new one");
    }

    #[test]
    fn a_removed_monitor_has_no_members() {
        let accounts = open();
        accounts.add_monitor(&red()).unwrap();
        let id = accounts.add_account(&dora(&["red".into()])).unwrap();
        accounts.remove_monitor("red", None).unwrap();
        assert!(accounts.monitors_of(id).unwrap().is_empty());
    }

    #[test]
    fn joining_shows_in_the_list_and_leaving_takes_it_away() {
        let accounts = open();
        accounts.add_monitor(&red()).unwrap();
        accounts.add_account(&dora(&[])).unwrap();
        accounts.join("dora@propromo.example", "red").unwrap();
        accounts.join("dora@propromo.example", "red").unwrap();
        assert_eq!(accounts.accounts().unwrap()[0].monitors, ["red"]);
        accounts.leave("dora@propromo.example", "red").unwrap();
        assert!(accounts.accounts().unwrap()[0].monitors.is_empty());
        let again = accounts.leave("dora@propromo.example", "red");
        assert!(matches!(again, Err(AdminError::NoMember { .. })));
    }

    #[test]
    fn commands_for_an_unknown_account_say_so() {
        let accounts = open();
        accounts.add_monitor(&red()).unwrap();
        let nobody = "nobody@propromo.example";
        for outcome in [
            accounts.set_password(nobody, "$2y$10$x"),
            accounts.remove_account(nobody, None).map(drop),
            accounts.join(nobody, "red"),
            accounts.leave(nobody, "red"),
        ] {
            assert!(matches!(outcome, Err(AdminError::NoSuchAccount(email)) if email == nobody));
        }
    }
}
