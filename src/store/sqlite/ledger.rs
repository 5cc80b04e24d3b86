//! Spends tokens in SQLite, each once: one thread serves all handshakes, one batch per transaction.
//!
//! If several callers ask for one token, exactly one gets `true`: asks are carried out one after the other, and the
//! mark is the table's primary key. A caller that gets `true` knows that the mark is committed. A caller that gives up
//! waiting has not spent its token: answers pass through a channel without a buffer, so the thread notices when no
//! caller took one, and removes the mark.

use super::{
    database::{self, DiskSync, Durability, Tuning},
    error::{StoreOpenError, failed},
};
use crate::{
    store::{
        error::StoreError,
        ledger::{Ledger, SignedPart},
        outage::Outages,
    },
    vital,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::{Connection, TransactionBehavior};
use rusqlite_migration::{M, Migrations};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub(super) const STORE: &str = "token ledger";

const STEPS: &[M<'static>] = &[M::up(include_str!("schema/ledger-1.sql"))];
/// Version of the tables.
pub(super) const VERSION: u32 = STEPS.len() as u32;
pub(super) const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// Writes a different value each time; the sweep removes it.
const TRIAL: &str = "
    INSERT INTO spent (token, until) VALUES (zeroblob(32), 0) ON CONFLICT (token) DO UPDATE SET until = 1 - until";

/// What the ledger can't do during an outage, as callers are told.
const SPEND: &str = "spend tokens";
/// Asks in the queue. Further ones wait for a place in it until they give up.
const WAITING: usize = 1024;
/// Asks in one transaction.
const BATCH: usize = 256;
/// Marks removed in one transaction, so that handshakes wait for milliseconds at most.
const SWEEP: usize = 500;
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How much longer than necessary marks are kept: a clock that goes back a little must not make a token valid twice.
const GRACE: Duration = Duration::from_secs(600);
/// A clock that has stayed ahead for this long is believed.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);

/// The time that decides when marks are removed: the machine's, but it never jumps ahead. Otherwise a clock that is an
/// hour ahead and comes back would make tokens valid twice.
struct Steady {
    /// The machine's clock and the steady clock at the same moment.
    anchor: (SystemTime, Instant),
    /// Since when the machine's clock has been ahead.
    ahead: Option<Instant>,
}

impl Steady {
    fn start() -> Steady {
        Steady { anchor: (SystemTime::now(), Instant::now()), ahead: None }
    }

    /// The time when the machine's clock reads `wall` and the steady clock reads `now`.
    fn at(&mut self, wall: SystemTime, now: Instant) -> SystemTime {
        let (then, since) = self.anchor;
        let expected = then + now.duration_since(since);
        if wall <= expected + SWEEP_INTERVAL {
            // Clocks are often corrected a little, and may go back.
            self.anchor = (wall, now);
            self.ahead = None;
            return wall;
        }
        let ahead = *self.ahead.get_or_insert(now);
        if now.duration_since(ahead) >= BELIEVED {
            *self = Steady { anchor: (wall, now), ahead: None };
            return wall;
        }
        expected
    }
}

/// The ledger of one process.
pub struct SqliteLedger {
    /// `None` only while it is dropped.
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
}

impl SqliteLedger {
    /// Opens the file, makes it or brings it up to date if necessary, and starts the thread.
    pub fn open(path: &Path, durability: Durability) -> Result<SqliteLedger, StoreOpenError> {
        SqliteLedger::open_with(path, durability, Duration::from_secs(5))
    }

    /// `patience`: how long a caller waits for an answer.
    fn open_with(path: &Path, durability: Durability, patience: Duration) -> Result<SqliteLedger, StoreOpenError> {
        database::prepare(path, &MIGRATIONS, VERSION)?;
        let tuning = Tuning {
            sync: DiskSync::from(durability),
            autocheckpoint: 1000,
            // Room for the pages that a batch changes, and those on the way to them. Marks are hashes, so a page is
            // rarely needed again soon; more would hold memory for nothing, and the kernel caches the file too.
            cache_kib: 2048,
            query_only: false,
            // Shorter than the patience of callers, so that they get the reason.
            busy: patience / 2,
        };
        let (asks, inbox) = bounded(WAITING);
        let spender = Spender {
            path: path.to_owned(),
            tuning,
            connection: None,
            take_back: Vec::new(),
            outages: Outages::new("token ledger"),
            clock: Steady::start(),
        };
        let thread = vital::spawn("ledger", move || spender.run(&inbox))
            .map_err(|cause| StoreOpenError::Thread { name: "ledger", cause })?;
        Ok(SqliteLedger { asks: Some(asks), thread: Some(thread), patience })
    }

    fn ask(&self, what: &'static str, mark: Option<Mark>) -> Result<bool, StoreError> {
        let deadline = Instant::now() + self.patience;
        let late = || failed(STORE, what)("it did not answer in time");
        let (reply, answer) = bounded(0);
        let asks = self.asks.as_ref().ok_or_else(late)?;
        asks.send_deadline(Ask { mark, deadline, reply }, deadline).map_err(|_| late())?;
        match answer.recv_deadline(deadline) {
            Ok(answer) => answer.map_err(failed(STORE, what)),
            Err(_) => Err(late()),
        }
    }
}

impl Ledger for SqliteLedger {
    fn spend(&self, token: &SignedPart, until: SystemTime) -> Result<bool, StoreError> {
        self.ask("spend a token", Some(Mark { token: token.0, until: unix_seconds(until) }))
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.ask("be reached", None).map(drop)
    }
}

impl Drop for SqliteLedger {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked, which the panic hook has already logged.
            let _ = thread.join();
        }
    }
}

/// What a caller waits for.
struct Ask {
    /// `None` only probes the store.
    mark: Option<Mark>,
    deadline: Instant,
    reply: Sender<Result<bool, Arc<rusqlite::Error>>>,
}

struct Mark {
    token: [u8; 32],
    until: i64,
}

/// The thread's side.
struct Spender {
    path: PathBuf,
    tuning: Tuning,
    /// `None` before the first batch and after an error: a new connection is the surest recovery.
    connection: Option<Connection>,
    /// Marks of callers that gave up. At most a batch: nothing is added before these are removed.
    take_back: Vec<[u8; 32]>,
    outages: Outages,
    clock: Steady,
}

impl Spender {
    fn run(mut self, inbox: &Receiver<Ask>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut next_sweep = Instant::now();
        loop {
            match inbox.recv_deadline(next_sweep) {
                Ok(ask) => batch.push(ask),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            vital::may_panic("ledger");
            if !batch.is_empty() {
                batch.extend(inbox.try_iter().take(BATCH - 1));
                self.answer(&mut batch);
            }
            let now = Instant::now();
            if now >= next_sweep {
                let more = self.sweep(SystemTime::now());
                next_sweep = if more { now } else { now + SWEEP_INTERVAL };
            }
        }
    }

    fn answer(&mut self, batch: &mut Vec<Ask>) {
        let now = Instant::now();
        batch.retain(|ask| ask.deadline > now);
        match self.spend(batch) {
            Ok(firsts) => {
                self.outages.worked(SPEND);
                for (ask, first) in batch.drain(..).zip(firsts) {
                    // Fails exactly if the caller has gone. A caller that is about to receive is waited for.
                    let gone = ask.reply.send(Ok(first)).is_err();
                    if let (true, true, Some(mark)) = (gone, first, ask.mark) {
                        self.take_back.push(mark.token);
                    }
                }
                if !self.take_back.is_empty()
                    && let Err(error) = self.spend(&[])
                {
                    tracing::warn!(%error, "tokens of handshakes that gave up stay spent until the ledger works again");
                }
            }
            Err(error) => {
                self.outages.failed(SPEND, &error);
                let error = Arc::new(error);
                for ask in batch.drain(..) {
                    // A caller that has gone needs no answer.
                    let _ = ask.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// Spends a batch, all or none. Returns for each whether it was the first.
    fn spend(&mut self, batch: &[Ask]) -> rusqlite::Result<Vec<bool>> {
        let take_back = std::mem::take(&mut self.take_back);
        let spent = self.transaction(|tx| {
            let mut remove = tx.prepare_cached("DELETE FROM spent WHERE token = ?1")?;
            for token in &take_back {
                remove.execute([token])?;
            }
            let mut insert =
                tx.prepare_cached("INSERT INTO spent (token, until) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
            if batch.iter().any(|ask| ask.mark.is_none()) {
                // A store that can't write must let no client in, even if it can read.
                tx.prepare_cached(TRIAL)?.execute(())?;
            }
            batch
                .iter()
                .map(|ask| match &ask.mark {
                    Some(mark) => Ok(insert.execute((mark.token, mark.until))? == 1),
                    None => Ok(true),
                })
                .collect()
        });
        if spent.is_err() {
            self.take_back = take_back;
        }
        spent
    }

    /// Removes some marks that are no longer needed. Returns whether there may be more.
    fn sweep(&mut self, wall: SystemTime) -> bool {
        let past = unix_seconds(self.clock.at(wall, Instant::now()) - GRACE);
        let removed = self.transaction(|tx| {
            tx.prepare_cached(
                "DELETE FROM spent WHERE token IN (SELECT token FROM spent WHERE until < ?1 ORDER BY until LIMIT ?2)",
            )?
            .execute((past, SWEEP as i64))
        });
        removed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the token ledger could not remove old marks; it tries again in a minute");
            0
        }) == SWEEP
    }

    fn transaction<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => database::connect(&self.path, &self.tuning)?,
        };
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&tx)?;
        tx.commit()?;
        self.connection = Some(connection);
        Ok(result)
    }
}

/// Rounded up: a mark must not end before its token.
fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX - 1) + i64::from(since.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::{self, Opened};

    fn open() -> Opened<SqliteLedger> {
        Opened::new(|dir| SqliteLedger::open(&dir.join("ledger.db"), Durability::Process).unwrap())
    }

    suite::ledger!(open);

    const TOKEN: SignedPart = SignedPart([9; 32]);

    fn soon() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    /// A ledger whose callers wait `patience`, and a second connection to its file.
    fn with_a_rival(patience: Duration) -> (Opened<SqliteLedger>, Connection) {
        let ledger =
            Opened::new(|dir| SqliteLedger::open_with(&dir.join("ledger.db"), Durability::Process, patience).unwrap());
        ledger.probe().unwrap();
        let rival = Connection::open(ledger.dir().join("ledger.db")).unwrap();
        (ledger, rival)
    }

    #[test]
    fn a_ledger_that_is_locked_refuses_and_works_again_when_it_is_not() {
        let (ledger, rival) = with_a_rival(Duration::from_secs(2));
        rival.execute_batch("BEGIN IMMEDIATE").unwrap();
        ledger.spend(&TOKEN, soon()).unwrap_err();
        ledger.probe().unwrap_err();
        rival.execute_batch("ROLLBACK").unwrap();
        assert!(ledger.spend(&TOKEN, soon()).unwrap());
    }

    #[test]
    fn a_failed_batch_spends_none_of_its_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let mut spender = spender(dir.path());
        // The second mark can't be stored, so the first must not be either.
        let connection = database::connect(&spender.path, &spender.tuning).unwrap();
        connection
            .execute_batch(
                "CREATE TEMP TRIGGER broken BEFORE INSERT ON main.spent WHEN NEW.until = 13
                 BEGIN SELECT raise(ABORT, 'broken'); END",
            )
            .unwrap();
        spender.connection = Some(connection);
        let (reply, _answer) = bounded(0);
        let ask = |token, until| Ask {
            mark: Some(Mark { token: [token; 32], until }),
            deadline: Instant::now() + Duration::from_secs(5),
            reply: reply.clone(),
        };
        spender.spend(&[ask(1, 12), ask(2, 13)]).unwrap_err();
        assert_eq!(spender.spend(&[ask(1, 12), ask(2, 13)]).unwrap(), [true, true]);
    }

    #[test]
    fn in_one_batch_too_a_token_is_spent_once() {
        let dir = tempfile::tempdir().unwrap();
        let (reply, _answer) = bounded(0);
        let asks: Vec<_> = [1, 2, 1, 1]
            .map(|token| Ask {
                mark: Some(Mark { token: [token; 32], until: 5 }),
                deadline: Instant::now() + Duration::from_secs(5),
                reply: reply.clone(),
            })
            .into();
        assert_eq!(spender(dir.path()).spend(&asks).unwrap(), [true, true, false, false]);
    }

    #[test]
    fn a_caller_that_gave_up_has_not_spent_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let mut spender = spender(dir.path());
        let ask = || {
            let (reply, answer) = bounded(0);
            let mark = Some(Mark { token: TOKEN.0, until: unix_seconds(soon()) });
            (Ask { mark, deadline: Instant::now() + Duration::from_secs(5), reply }, answer)
        };
        let (abandoned, answer) = ask();
        drop(answer);
        spender.answer(&mut vec![abandoned]);
        let (next, _answer) = ask();
        assert_eq!(spender.spend(&[next]).unwrap(), [true]);
    }

    #[test]
    fn marks_are_removed_a_while_after_their_token_has_expired() {
        let dir = tempfile::tempdir().unwrap();
        let mut spender = spender(dir.path());
        let now = SystemTime::now();
        let untils = [now - GRACE - Duration::from_secs(5), now - GRACE / 2, now + GRACE];
        let (reply, _answer) = bounded(0);
        let asks: Vec<_> = untils
            .iter()
            .zip(0u8..)
            .map(|(until, token)| Ask {
                mark: Some(Mark { token: [token; 32], until: unix_seconds(*until) }),
                deadline: Instant::now() + Duration::from_secs(5),
                reply: reply.clone(),
            })
            .collect();
        spender.spend(&asks).unwrap();
        assert!(!spender.sweep(now));
        assert_eq!(spender.spend(&asks).unwrap(), [true, false, false]);
    }

    // What `Steady` is for: by `wall` alone the mark is forgotten, and the token can be spent again (seen to fail so).
    #[test]
    fn a_clock_that_steps_an_hour_ahead_and_back_opens_no_spent_token() {
        let dir = tempfile::tempdir().unwrap();
        let mut spender = spender(dir.path());
        let now = SystemTime::now();
        let (reply, _answer) = bounded(0);
        let mark = Some(Mark { token: TOKEN.0, until: unix_seconds(now + Duration::from_secs(300)) });
        let ask = [Ask { mark, deadline: Instant::now() + Duration::from_secs(5), reply }];
        assert_eq!(spender.spend(&ask).unwrap(), [true]);
        spender.sweep(now);
        spender.sweep(now + Duration::from_secs(3600));
        spender.sweep(now);
        assert_eq!(spender.spend(&ask).unwrap(), [false]);
    }

    #[test]
    fn a_clock_that_stays_ahead_is_believed_in_the_end() {
        let mut clock = Steady::start();
        let (wall, now) = clock.anchor;
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
        let minute = Duration::from_secs(60);
        assert_eq!(clock.at(wall + minute, now + minute), wall + minute);
        assert_eq!(clock.at(wall + hour + minute, now + 2 * minute), wall + 2 * minute);
        assert_eq!(clock.at(wall + hour + day, now + day), wall + day);
        assert_eq!(clock.at(wall + hour + 2 * day, now + 2 * day), wall + hour + 2 * day);
        assert_eq!(clock.at(wall, now + 3 * day), wall, "back at once");
    }

    #[test]
    fn a_mark_ends_no_earlier_than_its_token() {
        assert_eq!(unix_seconds(UNIX_EPOCH + Duration::from_millis(4001)), 5);
    }

    fn spender(dir: &Path) -> Spender {
        let path = dir.join("ledger.db");
        database::prepare(&path, &MIGRATIONS, STEPS.len() as u32).unwrap();
        let tuning = Tuning {
            sync: DiskSync::Checkpoint,
            autocheckpoint: 1000,
            cache_kib: 1024,
            query_only: false,
            busy: Duration::from_secs(5),
        };
        Spender {
            path,
            tuning,
            connection: None,
            take_back: Vec::new(),
            outages: Outages::new("token ledger"),
            clock: Steady::start(),
        }
    }
}
