//! The chat's own tables, in the schema `chat`. The first node that starts makes them and brings them up to date.

use super::{
    chat_rooms,
    connection::{Connection, Session, Typed},
    error::OpenError,
};
use postgres::{Transaction, error::SqlState};
use std::time::Duration;

/// A released step never changes; changes are new steps.
const STEPS: &[&str] = &[
    include_str!("schema/chat-1.sql"),
    include_str!("schema/chat-2.sql"),
    include_str!("schema/chat-3.sql"),
    include_str!("schema/chat-4.sql"),
    include_str!("schema/chat-5.sql"),
    include_str!("schema/chat-6.sql"),
    include_str!("schema/chat-7.sql"),
    include_str!("schema/chat-8.sql"),
    include_str!("schema/chat-9.sql"),
    include_str!("schema/chat-10.sql"),
    include_str!("schema/chat-11.sql"),
];

/// Nodes that start together wait here for the first of them. The number must be unused elsewhere in the database: it
/// is `chat` in ASCII.
const LOCK: i64 = 0x6368_6174;

/// How long to wait for other nodes and for the steps. The session's own time-outs are too short for large tables.
const PATIENCE: Duration = Duration::from_secs(60);

/// Brings the schema up to date in one transaction: all missing steps, or none.
pub(super) fn migrate(connection: &mut Connection, url: &str) -> Result<(), OpenError> {
    run(connection, url, |transaction| transaction.commit())
}

/// Finds out whether [`migrate`] would succeed, and rolls everything back.
pub(super) fn dry_run(connection: &mut Connection, url: &str) -> Result<(), OpenError> {
    let is_read_only = connection.run(PATIENCE, |session| {
        let asked = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean";
        Ok(session.client.query_typed_one(asked, &[])?.get(0))
    });
    match is_read_only {
        Ok(false) => run(connection, url, |transaction| transaction.rollback()),
        Ok(true) => Err(OpenError::ReadOnly { url: url.to_owned() }),
        Err(failure) => Err(OpenError::Unusable { url: url.to_owned(), cause: failure.to_string() }),
    }
}

/// Another role may have made the tables that this role fills.
const MAY_ARCHIVE: &str = "
    SELECT bool_and(has_table_privilege(name, privilege))
    FROM unnest(ARRAY['chat.archive', 'chat.messages', 'chat.changes']) AS tables (name),
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privileges (privilege)";

type Ending = fn(Transaction<'_>) -> Result<(), postgres::Error>;

fn run(connection: &mut Connection, url: &str, ending: Ending) -> Result<(), OpenError> {
    match connection.run(PATIENCE, move |session| up_to_date(session, ending)) {
        Ok(Outcome::Done) => Ok(()),
        Ok(Outcome::TooNew { version }) => {
            Err(OpenError::TooNew { url: url.to_owned(), version, latest: STEPS.len() as i32 })
        }
        Ok(Outcome::MayNot { role, remedy }) => Err(OpenError::MayNot { url: url.to_owned(), role, remedy }),
        Err(failure) => Err(OpenError::Migration { url: url.to_owned(), cause: failure.to_string() }),
    }
}

enum Outcome {
    Done,
    TooNew {
        version: i32,
    },
    /// The role lacks a right; `remedy` gives it.
    MayNot {
        role: String,
        remedy: String,
    },
}

fn up_to_date(session: &mut Session, ending: Ending) -> Result<Outcome, postgres::Error> {
    match in_transaction(session, ending) {
        Ok(None) => may_not(session),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => may_not(session),
        Ok(Some(outcome)) => Ok(outcome),
        Err(error) => Err(error),
    }
}

fn may_not(session: &mut Session) -> Result<Outcome, postgres::Error> {
    let row = session.client.query_typed_one(
        "SELECT current_user::text, quote_ident(current_user), to_regnamespace('chat') IS NOT NULL",
        &[],
    )?;
    let (role, quoted, exists): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
    let remedy = if exists {
        format!("GRANT ALL ON SCHEMA chat TO {quoted}; GRANT ALL ON ALL TABLES IN SCHEMA chat TO {quoted}")
    } else {
        format!("CREATE SCHEMA chat AUTHORIZATION {quoted}")
    };
    Ok(Outcome::MayNot { role, remedy })
}

/// `None`: the role lacks a right, although no statement failed because of it.
fn in_transaction(session: &mut Session, ending: Ending) -> Result<Option<Outcome>, postgres::Error> {
    let mut transaction = session.client.transaction()?;
    transaction.batch_execute("SET LOCAL statement_timeout = '55s'; SET LOCAL lock_timeout = '55s'")?;
    transaction.query_typed("SELECT pg_advisory_xact_lock($1)", &[LOCK.typed()])?;
    let version = version(&mut transaction)?;
    let Some(missing) = usize::try_from(version).ok().and_then(|version| STEPS.get(version..)) else {
        return Ok(Some(Outcome::TooNew { version }));
    };
    for step in missing {
        transaction.batch_execute(step)?;
    }
    if !missing.is_empty() {
        transaction.execute_typed("UPDATE chat.schema_version SET version = $1", &[(STEPS.len() as i32).typed()])?;
    }
    if !transaction.query_typed_one(MAY_ARCHIVE, &[])?.get::<_, bool>(0) {
        return Ok(None);
    }
    chat_rooms::note_skeletons(&mut transaction)?;
    ending(transaction)?;
    Ok(Some(Outcome::Done))
}

/// How many steps were made; 0 in a new schema.
fn version(transaction: &mut Transaction<'_>) -> Result<i32, postgres::Error> {
    // Not IF NOT EXISTS: that needs the right to make it even if it exists.
    if !transaction.query_typed_one("SELECT to_regnamespace('chat') IS NOT NULL", &[])?.get::<_, bool>(0) {
        transaction.batch_execute("CREATE SCHEMA chat")?;
    }
    if !transaction.query_typed_one("SELECT to_regclass('chat.schema_version') IS NOT NULL", &[])?.get::<_, bool>(0) {
        transaction.batch_execute(
            "CREATE TABLE chat.schema_version (version integer NOT NULL);
             INSERT INTO chat.schema_version VALUES (0)",
        )?;
    }
    Ok(transaction.query_typed_one("SELECT version FROM chat.schema_version", &[])?.get(0))
}
