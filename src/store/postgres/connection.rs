//! One connection, on a thread of its own, so that nobody waits for it longer than they want to.
//!
//! The crate `postgres` waits for an answer as long as the connection lives. The server's
//! `statement_timeout` ends slow statements, `tcp_user_timeout` and keepalives end connections to
//! hosts that vanished; but a server that is stopped, or whose disk hangs, keeps its connections open
//! and says nothing. So the caller hands its work to the connection's thread and waits for the answer
//! with a deadline; past it the connection is given up, and its thread ends when the server, or the
//! network, ends the connection. There are at most [`MOST`] of them.

use super::{failure::Failure, target::Target};
use crate::vital;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use postgres::{Client, Row, Statement, error::SqlState, types::ToSql};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Threads, those of connections that were given up among them.
pub(super) const MOST: usize = 24;

/// For a connection to be made, from the first packet to the last word of the handshake.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Rustls and SCRAM need some, the rest is shallow.
const STACK: usize = 512 * 1024;

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// A handle on the connection. Dropping it closes the connection, as soon as its thread is free.
pub(super) struct Connection {
    jobs: Sender<Job>,
    usable: bool,
}

/// The connection itself, for those who work on its thread.
pub(super) struct Session {
    pub client: Client,
    prepared: HashMap<&'static str, Statement>,
}

impl Connection {
    /// Connects; `threads` counts the threads of all connections.
    pub fn open(target: &Target, threads: &Arc<AtomicUsize>) -> Result<Connection, Failure> {
        let counted = Counted::one_more(threads)?;
        // One job at a time: who waits for an answer in vain gives up the connection.
        let (jobs, work) = bounded(1);
        let (opened, is_open) = bounded(1);
        let target = target.clone();
        thread::Builder::new()
            .name("postgres".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let _counted = counted;
                run(&target, &opened, &work);
            })
            .map_err(Failure::Thread)?;
        match is_open.recv_timeout(CONNECT_PATIENCE) {
            Ok(Ok(())) => Ok(Connection { jobs, usable: true }),
            Ok(Err(error)) => Err(error.into()),
            Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut(CONNECT_PATIENCE)),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Ended),
        }
    }

    /// Does `work` and waits up to `patience` for its outcome.
    ///
    /// After [`Failure::TimedOut`] nobody knows whether it was done.
    pub fn run<T: Send + 'static>(
        &mut self,
        patience: Duration,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = bounded(1);
        // A caller that has given up needs no answer.
        let job: Job = Box::new(move |session| drop(answer.send(work(session))));
        let outcome = match self.jobs.try_send(job) {
            Err(_) => Err(Failure::Ended),
            Ok(()) => match answered.recv_timeout(patience) {
                Ok(outcome) => outcome.map_err(Failure::from),
                Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut(patience)),
                Err(RecvTimeoutError::Disconnected) => Err(Failure::Ended),
            },
        };
        if let Err(failure) = &outcome {
            self.usable &= !failure.is_of_the_connection();
        }
        outcome
    }

    pub fn is_usable(&self) -> bool {
        self.usable
    }
}

fn run(target: &Target, opened: &Sender<Result<(), postgres::Error>>, work: &Receiver<Job>) {
    let client = match target.connect() {
        Ok(client) => client,
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(())).is_err() {
        return;
    }
    let mut session = Session { client, prepared: HashMap::new() };
    for job in work {
        vital::may_panic("postgres");
        job(&mut session);
    }
}

impl Session {
    /// The rows that a statement gives; it is prepared once a connection.
    pub fn query(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        match self.query_prepared(sql, parameters) {
            // Its tables were changed since, or a proxy forgot it: neither is wrong with it anew.
            Err(error) if error.code().is_some_and(|code| STALE.contains(code)) => {
                self.prepared.clear();
                self.query_prepared(sql, parameters)
            }
            outcome => outcome,
        }
    }

    fn query_prepared(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        let statement = match self.prepared.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql)?;
                self.prepared.insert(sql, statement.clone());
                statement
            }
        };
        self.client.query(&statement, parameters)
    }
}

/// "cached plan must not change result type" and "prepared statement does not exist".
const STALE: [SqlState; 2] = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME];

/// A thread, counted as long as it runs.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one_more(threads: &Arc<AtomicUsize>) -> Result<Counted, Failure> {
        if threads.fetch_add(1, Ordering::AcqRel) >= MOST {
            threads.fetch_sub(1, Ordering::AcqRel);
            return Err(Failure::Crowded(MOST));
        }
        Ok(Counted(threads.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
