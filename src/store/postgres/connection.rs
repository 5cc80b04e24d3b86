//! One connection, on its own thread, so that no caller waits for it longer than its deadline.
//!
//! The crate `postgres` waits for an answer as long as the connection lives. The server's `statement_timeout` ends slow
//! statements, and `tcp_user_timeout` and keepalives end connections to hosts that vanished. But a server that is
//! stopped, or whose disk hangs, keeps its connections open and sends nothing. So the caller hands its work to the
//! connection's thread and waits for the answer with a deadline. After the deadline the connection is given up, and its
//! thread ends when the server, or the network, ends the connection. There are at most [`most`] threads.
//!
//! Statements have no names: a pooler such as PgBouncer in transaction mode gives each transaction another connection
//! to the server, which does not know a named statement, or has another client's. A statement that is sent with the
//! types of its parameters takes one round trip either way.

use super::{failure::Failure, target::Target};
use crate::vital;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use postgres::{
    Client, Row,
    types::{ToSql, Type},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Threads, including those of connections that were given up.
pub(super) fn most(pool: u32) -> usize {
    3 * pool as usize
}

/// How long connecting may take, from the first packet to the end of the handshake.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Rustls and SCRAM need some stack; the rest needs little.
const STACK: usize = 512 * 1024;

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// A handle to the connection. Dropping it closes the connection as soon as its thread is free.
pub(super) struct Connection {
    jobs: Sender<Job>,
    usable: bool,
}

/// The connection itself, for work on its thread.
pub(super) struct Session {
    pub client: Client,
}

/// A parameter of a statement, with its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A Rust type that has one SQL type as a parameter.
pub(super) trait Typed: ToSql + Sync + Sized {
    const TYPE: Type;

    fn typed(&self) -> Parameter<'_> {
        (self, Self::TYPE)
    }
}

macro_rules! typed {
    ($($rust:ty: $type:ident;)*) => {
        $(impl Typed for $rust {
            const TYPE: Type = Type::$type;
        })*
    };
}

typed! {
    bool: BOOL;
    i32: INT4;
    i64: INT8;
    Vec<i64>: INT8_ARRAY;
    String: TEXT;
    &str: TEXT;
    Vec<String>: TEXT_ARRAY;
    Vec<u8>: BYTEA;
    Vec<Vec<u8>>: BYTEA_ARRAY;
    Vec<Option<Vec<u8>>>: BYTEA_ARRAY;
    Vec<Option<String>>: TEXT_ARRAY;
    std::time::SystemTime: TIMESTAMPTZ;
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: Type = T::TYPE;
}

impl Connection {
    /// Connects. `threads` counts the threads of all connections; `most` is its limit.
    pub fn open(target: &Target, threads: &Arc<AtomicUsize>, most: usize) -> Result<Connection, Failure> {
        let counted = Counted::one_more(threads, most)?;
        // One job at a time: a caller whose wait ends without an answer gives up the connection.
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
    /// After [`Failure::TimedOut`] it is unknown whether the work was done.
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
    let mut session = Session { client };
    for job in work {
        vital::may_panic("postgres");
        job(&mut session);
    }
}

impl Session {
    /// Runs a statement and returns its rows.
    pub fn query(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, postgres::Error> {
        self.client.query_typed(sql, parameters)
    }
}

/// A thread, counted for as long as it runs.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one_more(threads: &Arc<AtomicUsize>, most: usize) -> Result<Counted, Failure> {
        if threads.fetch_add(1, Ordering::AcqRel) >= most {
            threads.fetch_sub(1, Ordering::AcqRel);
            return Err(Failure::Crowded(most));
        }
        Ok(Counted(threads.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
