//! The pool of connections to one database: how long callers wait, and what happens when the server is away.

use super::{
    connection::{Connection, Session, most},
    error::OpenError,
    failure::Failure,
    target::{Target, Url},
};
use crate::{
    redact,
    store::{
        error::StoreError,
        outage::{KnownOutage, Outages},
    },
};
use r2d2::{HandleError, HandleEvent, ManageConnection, Pool, PooledConnection, event::AcquireEvent};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a caller waits for a free connection of the pool. Half of it is the longest pause between two attempts to
/// connect, so it also decides how soon the pool notices that the server is back.
const POOL_PATIENCE: Duration = Duration::from_secs(3);

/// How long a caller waits for an answer: a little longer than the `statement_timeout`, so that the server reports
/// first.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long a caller waits while the server is known to be away: enough to find out that it is back, and short, because
/// every caller holds a thread.
const PATIENCE_WITHOUT_HOPE: Duration = Duration::from_millis(500);

/// The pause between two attempts to reach a server that is starting.
const PAUSE: Duration = Duration::from_secs(1);

/// Names the outage during which nothing works.
const REACHED: &str = "be reached";

/// Names the outage in which the server allows fewer connections than the pool may have; the existing ones serve all.
const LIMITED: &str = "give as many connections as DATABASE_POOL allows";

/// Connections to one database. A clone shares them.
#[derive(Clone)]
pub(super) struct Database {
    pool: Pool<Connector>,
    size: u32,
    outages: Arc<Outages>,
}

impl Database {
    /// Connects. Tries an unreachable server again until `patience` is over.
    ///
    /// `size`: the most connections. `prepare` runs on the first connection.
    pub fn open(
        url: &str,
        size: u32,
        patience: Duration,
        prepare: impl FnOnce(&mut Connection) -> Result<(), OpenError>,
    ) -> Result<Database, OpenError> {
        let shown = redact::without_password(url);
        let unusable = |cause: String| OpenError::Unusable { url: shown.clone(), cause };
        let target = Url::parse(url).and_then(Url::target).map_err(&unusable)?;
        let threads = Arc::<AtomicUsize>::default();
        let connector = Connector { target, threads: threads.clone(), most: most(size) };
        let mut first = connector.first(&shown, patience).map_err(|failure| unusable(failure.to_string()))?;
        prepare(&mut first)?;
        let outages = Arc::new(Outages::new("PostgreSQL database"));
        let watch = || Box::new(Watch { outages: outages.clone(), threads: threads.clone() });
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(1))
            .connection_timeout(POOL_PATIENCE)
            // It would cost a round trip each time. A connection that has ended is noticed when it is used.
            .test_on_check_out(false)
            // A server that took over another's name gets its share within this time.
            .max_lifetime(Some(Duration::from_secs(30 * 60)))
            .idle_timeout(Some(Duration::from_secs(10 * 60)))
            .error_handler(watch())
            .event_handler(watch())
            .build_unchecked(connector);
        Ok(Database { pool, size, outages })
    }

    /// Does `work`, which only reads. If a connection has ended, it may run again on another one.
    pub fn read<T: Send + 'static>(
        &self,
        store: &'static str,
        what: &'static str,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        // After a restart of the server every idle connection has ended, and each is noticed at once. So one more
        // attempt than there are connections gets a new one.
        let mut outcome = self.once(work.clone());
        for _ in 0..self.size {
            match &outcome {
                Err(failure) if failure.is_lost() => outcome = self.once(work.clone()),
                _ => break,
            }
        }
        self.judged(store, what, outcome)
    }

    /// Does `work`, which writes, at most once.
    pub fn write<T: Send + 'static>(
        &self,
        store: &'static str,
        what: &'static str,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let outcome = self.alive().and_then(|mut connection| connection.run(self.patience(), work));
        self.judged(store, what, outcome)
    }

    /// The number of connections now.
    pub fn connections(&self) -> u32 {
        self.pool.state().connections
    }

    fn once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, postgres::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        self.connection()?.run(self.patience(), work)
    }

    /// A connection that has just answered, so that what is sent next is not lost because it ended long ago.
    fn alive(&self) -> Result<PooledConnection<Connector>, Failure> {
        let mut ended = Failure::Ended;
        for _ in 0..=self.size {
            let mut connection = self.connection()?;
            match connection.run(self.patience(), |session| session.query("SELECT 1", &[])) {
                Ok(_) => return Ok(connection),
                Err(failure) if failure.is_lost() => ended = failure,
                Err(failure) => return Err(failure),
            }
        }
        Err(ended)
    }

    fn connection(&self) -> Result<PooledConnection<Connector>, Failure> {
        let patience = if self.outages.is_on(REACHED) { PATIENCE_WITHOUT_HOPE } else { POOL_PATIENCE };
        self.pool.get_timeout(patience).map_err(Failure::NoConnection)
    }

    fn patience(&self) -> Duration {
        if self.outages.is_on(REACHED) { PATIENCE_WITHOUT_HOPE } else { PATIENCE }
    }

    fn judged<T>(&self, store: &'static str, what: &'static str, outcome: Result<T, Failure>) -> Result<T, StoreError> {
        match outcome {
            Ok(result) => {
                self.outages.worked(REACHED);
                self.outages.worked(what);
                Ok(result)
            }
            Err(failure) => {
                let outage = if failure.is_of_the_connection() { REACHED } else { what };
                self.outages.failed(outage, &failure);
                // The outage has been logged by now, once, whatever the caller does.
                Err(StoreError { store, what, source: KnownOutage(failure.to_string()).into() })
            }
        }
    }
}

/// Opens connections for the pool.
struct Connector {
    target: Target,
    /// The threads of all connections, including those that were given up.
    threads: Arc<AtomicUsize>,
    most: usize,
}

impl Connector {
    fn first(&self, shown: &str, patience: Duration) -> Result<Connection, Failure> {
        let deadline = Instant::now() + patience;
        let mut told = false;
        loop {
            match self.connect() {
                Err(failure) if failure.is_worth_waiting_for() && Instant::now() + PAUSE < deadline => {
                    if !told {
                        let seconds = patience.as_secs();
                        tracing::warn!(cause = %failure, "waiting up to {seconds} s for the database {shown}");
                        told = true;
                    }
                    thread::sleep(PAUSE);
                }
                outcome => return outcome,
            }
        }
    }
}

impl ManageConnection for Connector {
    type Connection = Connection;
    type Error = Failure;

    fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(&self.target, &self.threads, self.most)
    }

    fn is_valid(&self, connection: &mut Connection) -> Result<(), Failure> {
        connection.run(PATIENCE, |session| session.query("SELECT 1", &[])).map(drop)
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_usable()
    }
}

/// Reports what the pool does by itself.
struct Watch {
    outages: Arc<Outages>,
    /// The threads of all connections.
    threads: Arc<AtomicUsize>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl HandleError<Failure> for Watch {
    fn handle_error(&self, failure: Failure) {
        let limited = failure.is_limit() && self.threads.load(Ordering::Relaxed) > 0;
        self.outages.failed(if limited { LIMITED } else { REACHED }, &failure);
    }
}

impl HandleEvent for Watch {
    fn handle_acquire(&self, _: AcquireEvent) {
        self.outages.worked(REACHED);
    }
}
