//! Tests against a real server, which they start.

use super::{
    Postgres,
    accounts::PostgresAccounts,
    channels::PostgresChannels,
    chat_rooms::PostgresChatRooms,
    connection::{Connection, most},
    error::OpenError,
    failure::Failure,
    reads::PostgresReads,
    sessions::PostgresSessions,
    target::Url,
    tasks::PostgresTasks,
};
use crate::store::{
    accounts::{Accounts, Membership, UserId},
    chat_rooms::ChatRooms,
    suite,
};
use std::{
    ops::Deref,
    sync::{Arc, Barrier, atomic::AtomicUsize},
    thread,
    time::{Duration, Instant},
};
use support::{
    PATIENCE,
    postgres::{Cluster, Database, PASSWORD},
};

/// A store, and the cluster that must live as long.
struct Opened<S> {
    store: Arc<S>,
    _cluster: Arc<Cluster>,
}

impl<S> Deref for Opened<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

fn opened<S>(open: impl FnOnce(&str) -> Arc<S>) -> Opened<S> {
    let cluster = Cluster::shared();
    let store = open(&cluster.database().url());
    Opened { store, _cluster: cluster }
}

fn accounts_of(database: &Database<'_>) -> PostgresAccounts {
    PostgresAccounts::open(&database.url(), Duration::ZERO).unwrap()
}

mod accounts {
    use super::*;

    fn demo() -> Opened<PostgresAccounts> {
        opened(|url| Postgres::open(url, 2, Duration::ZERO).unwrap().accounts)
    }

    suite::accounts!(demo);
}

mod sessions {
    use super::*;

    fn open() -> Opened<PostgresSessions> {
        opened(|url| Postgres::open(url, 8, Duration::ZERO).unwrap().sessions)
    }

    suite::sessions!(open);
}

mod reads {
    use super::*;

    fn open() -> Opened<PostgresReads> {
        opened(|url| Postgres::open(url, 2, Duration::ZERO).unwrap().reads)
    }

    suite::reads!(open);
}

mod channels {
    use super::*;

    fn open() -> Opened<PostgresChannels> {
        opened(|url| Postgres::open(url, 8, Duration::ZERO).unwrap().channels)
    }

    suite::channels!(open);
}

mod tasks {
    use super::*;

    fn open() -> Opened<PostgresTasks> {
        opened(|url| Postgres::open(url, 2, Duration::ZERO).unwrap().tasks)
    }

    suite::tasks!(open);
}

mod chat_rooms {
    use super::*;

    fn fresh() -> Opened<PostgresChatRooms> {
        opened(|url| Postgres::open(url, 2, Duration::ZERO).unwrap().chat_rooms)
    }

    suite::chat_rooms!(fresh);
}

#[test]
fn a_monitor_is_read_with_every_field() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    database.sql(
        "UPDATE monitors SET created_at = '2026-01-02 03:04:05', updated_at = NULL, project_url = NULL
         WHERE monitor_hash = 'demo'",
    );
    let accounts = accounts_of(&database);
    let alice = accounts.by_email("alice@propromo.example").unwrap().unwrap();
    let monitor = accounts.monitors_of(alice.id).unwrap().remove(0);
    assert_eq!(monitor.monitor_hash, "demo");
    assert_eq!(monitor.kind.as_deref(), Some("ORGANIZATION"));
    assert_eq!(monitor.title.as_deref(), Some("Demo"));
    assert_eq!(monitor.organization_name.as_deref(), Some("propromo-software"));
    assert!(monitor.public);
    assert_eq!(monitor.created_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!((monitor.updated_at, monitor.project_url), (None, None));
}

#[test]
fn columns_may_have_the_types_that_other_migrations_would_give_them() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    database.sql(
        "ALTER TABLE monitor_user DROP CONSTRAINT monitor_user_user_id_fkey,
                                  DROP CONSTRAINT monitor_user_monitor_id_fkey;
         CREATE TYPE kind AS ENUM ('ORGANIZATION', 'USER');
         ALTER TABLE users ALTER id TYPE integer, ALTER email TYPE text;
         ALTER TABLE monitor_user ALTER user_id TYPE integer, ALTER monitor_id TYPE integer;
         ALTER TABLE monitors ALTER id TYPE integer, ALTER type TYPE kind USING type::kind,
             ALTER public DROP DEFAULT, ALTER public DROP NOT NULL, ALTER public TYPE smallint USING public::int,
             ALTER created_at TYPE timestamptz(6) USING '2026-01-02T05:04:05.678+02'::timestamptz",
    );
    // A role's own settings must not change what is read.
    database.sql(&format!("ALTER DATABASE {} SET TimeZone = 'Asia/Tokyo'", database.name));
    let accounts = accounts_of(&database);
    let alice = accounts.by_email("ALICE@propromo.example").unwrap().unwrap();
    let monitors = accounts.monitors_of(alice.id).unwrap();
    assert_eq!(monitors.iter().map(|monitor| monitor.public).collect::<Vec<_>>(), [true, false]);
    assert_eq!(monitors[0].kind.as_deref(), Some("ORGANIZATION"));
    assert_eq!(monitors[0].created_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(accounts.membership(alice.id, "demo").unwrap(), Membership::Member);
}

#[test]
fn a_statement_is_prepared_anew_when_its_table_was_altered() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let target = Url::parse(&database.url()).unwrap().target().unwrap();
    let mut connection = Connection::open(&target, &Arc::default(), 1).unwrap();
    let mut columns = || {
        let rows = connection.run(Duration::from_secs(5), |session| session.query("SELECT * FROM users", &[]));
        rows.unwrap()[0].len()
    };
    let before = columns();
    database.sql("ALTER TABLE users ADD COLUMN nickname text");
    assert_eq!(columns(), before + 1);
}

#[test]
fn text_that_no_table_can_hold_is_not_found() {
    let cluster = Cluster::shared();
    let accounts = accounts_of(&cluster.database());
    assert!(accounts.by_email("alice\0@propromo.example").unwrap().is_none());
    assert_eq!(accounts.membership(UserId(1), "demo\0").unwrap(), Membership::NoSuchMonitor);
}

#[test]
fn of_two_addresses_that_differ_in_case_the_one_typed_is_found() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    database.sql("INSERT INTO users (name, email, password) VALUES ('Other', 'Alice@Propromo.Example', 'x')");
    let accounts = accounts_of(&database);
    for (typed, name) in [("alice@propromo.example", "Alice Demo"), ("Alice@Propromo.Example", "Other")] {
        assert_eq!(accounts.by_email(typed).unwrap().unwrap().name, name);
    }
}

#[test]
fn nodes_that_start_together_make_the_schema_once() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let (url, start) = (database.url(), Barrier::new(4));
    thread::scope(|scope| {
        let nodes: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    Postgres::open(&url, 2, Duration::ZERO).map(drop)
                })
            })
            .collect();
        for node in nodes {
            node.join().unwrap().unwrap();
        }
    });
    assert_eq!(database.sql("SELECT id, title FROM chat.rooms"), "1|Public Chat\n");
}

#[test]
fn a_check_changes_nothing() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    Postgres::check(&database.url()).unwrap().probe().unwrap();
    assert_eq!(database.sql("SELECT to_regnamespace('chat') IS NULL"), "t\n");
}

#[test]
fn a_role_that_may_not_make_the_schema_is_told_what_to_grant() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let role = database.reader();
    let url = database.url_of(&role, PASSWORD);
    may_once_granted(&database, &url);
    // Another role may not use what the first one has made either.
    let other = database.reader();
    may_once_granted(&database, &database.url_of(&other, PASSWORD));
}

/// Does what the error says, and no more.
fn may_once_granted(database: &Database<'_>, url: &str) {
    let error = Postgres::open(url, 2, Duration::ZERO).err().unwrap();
    assert!(matches!(error, OpenError::MayNot { .. }), "{error}");
    let told = error.to_string();
    assert!(!told.contains(PASSWORD));
    database.sql(told.split_once("let the owner of the database run: ").unwrap().1);
    let Postgres { accounts, chat_rooms, .. } = Postgres::open(url, 2, Duration::ZERO).unwrap();
    accounts.probe().unwrap();
    chat_rooms.probe().unwrap();
}

#[test]
fn a_schema_of_a_newer_program_is_refused() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    Postgres::open(&database.url(), 2, Duration::ZERO).unwrap();
    database.sql("UPDATE chat.schema_version SET version = 99");
    let error = Postgres::open(&database.url(), 2, Duration::ZERO).err().unwrap();
    assert!(matches!(error, OpenError::TooNew { version: 99, .. }), "{error}");
}

#[test]
fn what_no_waiting_helps_against_fails_at_once() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let begin = Instant::now();
    for (url, word) in [
        (database.url_of(support::postgres::OWNER, "wr0ng-password"), "password authentication failed"),
        (database.url().replace(&database.name, "no_such_database"), "does not exist"),
    ] {
        let error = Postgres::open(&url, 2, Duration::from_secs(600)).err().unwrap().to_string();
        assert!(error.contains(word) && !error.contains("wr0ng-password") && !error.contains(PASSWORD), "{error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_table_that_is_missing_is_named() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    database.sql("DROP TABLE monitor_user");
    let error = accounts_of(&database).probe().unwrap_err();
    assert!(error.source.to_string().contains("monitor_user"), "{}", error.source);
}

#[test]
fn a_restarted_server_is_noticed_by_nobody() {
    let cluster = Cluster::start();
    let accounts = accounts_of(&cluster.database());
    let at_once = Barrier::new(8);
    // Eight at a time, so that the pool holds more than one connection.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                at_once.wait();
                accounts.probe().unwrap();
            });
        }
    });
    cluster.stop();
    cluster.run();
    accounts.probe().unwrap();
}

#[test]
fn a_server_that_is_away_is_noticed_soon_and_found_again_when_it_is_back() {
    let cluster = Cluster::start();
    let accounts = accounts_of(&cluster.database());
    cluster.stop();
    accounts.probe().unwrap_err();
    let begin = Instant::now();
    accounts.probe().unwrap_err();
    // Waiting for a server that hangs takes nine seconds.
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    cluster.run();
    comes_back(&accounts);
}

/// Also over a Unix socket, which has no TCP options.
#[test]
fn a_server_that_hangs_keeps_nobody_for_long_and_is_found_again() {
    let cluster = Cluster::start();
    let database = cluster.database();
    for url in [database.url(), database.unix_url()] {
        let accounts = PostgresAccounts::open(&url, Duration::ZERO).unwrap();
        accounts.probe().unwrap();
        cluster.pause();
        let begin = Instant::now();
        thread::scope(|scope| {
            for _ in 0..30 {
                scope.spawn(|| accounts.probe().unwrap_err());
            }
        });
        // 3 s for a connection, 6 s for an answer, and some for a busy machine.
        assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
        cluster.resume();
        comes_back(&accounts);
    }
}

#[test]
fn a_server_that_hangs_costs_a_bounded_number_of_threads() {
    let cluster = Cluster::start();
    let target = Url::parse(&cluster.database().url()).unwrap().target().unwrap();
    let threads = Arc::new(AtomicUsize::new(0));
    let mut connections: Vec<_> = (0..most(8)).map(|_| Connection::open(&target, &threads, most(8)).unwrap()).collect();
    assert!(matches!(Connection::open(&target, &threads, most(8)), Err(Failure::Crowded(_))));
    cluster.pause();
    for connection in &mut connections {
        let lost = connection.run(Duration::ZERO, |session| session.query("SELECT 1", &[]));
        assert!(matches!(lost, Err(Failure::TimedOut(_))));
    }
    drop(connections);
    // Given up, but not gone: they still count.
    assert!(matches!(Connection::open(&target, &threads, most(8)), Err(Failure::Crowded(_))));
    cluster.resume();
    eventually(|| Connection::open(&target, &threads, most(8)).is_ok());
}

#[test]
fn a_slow_statement_is_ended_by_the_server() {
    let cluster = Cluster::shared();
    let target = Url::parse(&cluster.database().url()).unwrap().target().unwrap();
    let mut connection = Connection::open(&target, &Arc::default(), 1).unwrap();
    let slow = connection.run(Duration::from_secs(60), |session| session.query("SELECT pg_sleep(60)", &[]));
    assert!(slow.err().unwrap().to_string().contains("statement timeout"));
    assert!(connection.is_usable());
}

fn comes_back(accounts: &PostgresAccounts) {
    eventually(|| accounts.probe().is_ok());
}

fn eventually(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::park_timeout(Duration::from_millis(20));
    }
}
