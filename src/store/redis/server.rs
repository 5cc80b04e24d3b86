//! One Redis server: connections to it, with a deadline for everything, and its clock.

use super::address::{Deployment, Host};
use r2d2::{ManageConnection, NopErrorHandler, Pool};
use redis::{Client, Connection, ConnectionLike, RedisError, RedisResult, Value};
use scheduled_thread_pool::ScheduledThreadPool;
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// How long connecting may take, including the login.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// How long an answer may take that says what nodes know of each other, and the answer to a beat. After that Redis counts
/// as away. It is shorter, so that a call that was lost does not outlast a fault for long.
pub(super) const SOON: Duration = Duration::from_secs(3);

/// How long before its caller gives up a command must not run any more.
const MARGIN: Duration = Duration::from_millis(500);

/// Connections to one server that commands share. Further commands wait for a free one, at most [`CONNECT`].
const POOL: u32 = 16;

/// A connection that is unused for this long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// A server, and the client that connects to it.
pub(super) struct Server {
    pub host: Host,
    /// Also checks pooled connections, as redis's `r2d2` adapter. That has no deadlines, so [`Server::open`] connects.
    client: Client,
    clock: Clock,
}

impl Server {
    pub fn new(deployment: &Deployment, host: Host) -> RedisResult<Server> {
        Ok(Server { client: deployment.client(&host)?, host, clock: Clock::default() })
    }

    /// A sentinel, which has a login of its own.
    pub fn sentinel(deployment: &Deployment, host: Host) -> RedisResult<Server> {
        Ok(Server { client: deployment.sentinel_client(&host)?, host, clock: Clock::default() })
    }

    /// Connects and logs in within `connect`; after that each answer must come within `answer`.
    pub fn open(&self, connect: Duration, answer: Duration) -> RedisResult<Wire> {
        let connection = self.client.get_connection_with_timeout(connect)?;
        connection.set_read_timeout(Some(answer))?;
        connection.set_write_timeout(Some(answer))?;
        Ok(Wire { connection, sound: true, patience: answer })
    }

    /// Reads the server's time, and remembers how far it is from ours.
    pub fn read_clock(&self, wire: &mut Wire) -> RedisResult<()> {
        let time: (u64, u64) = redis::from_redis_value(wire.ask(redis::cmd("TIME").get_packed_command().as_slice())?)?;
        self.clock.set((time.0 * 1000 + time.1 / 1000) as i64);
        Ok(())
    }

    /// Until when the server may run a command that is sent now and whose answer may take so long: Unix milliseconds by
    /// its own clock.
    ///
    /// A server that stands still leaves commands unread in its sockets, and runs them when it goes on, long after
    /// their callers were told that they failed. So each command that writes has a deadline.
    pub fn deadline(&self, answer: Duration) -> i64 {
        self.clock.now() + (answer - MARGIN).as_millis() as i64
    }
}

impl Server {
    /// The time by the server's clock, in Unix milliseconds.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// The difference between the machine's clock and the server's, whichever is ahead.
    pub fn skew(&self) -> Duration {
        let theirs = SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.now().try_into().unwrap_or(0));
        let ours = SystemTime::now();
        ours.duration_since(theirs).unwrap_or_else(|behind| behind.duration())
    }
}

/// How far a server's clock is ahead of this process's. It is never set too high, so no deadline is too late.
#[derive(Default)]
struct Clock {
    ahead: AtomicI64,
}

/// The start of this process's own clock, which is never set.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// `theirs` was read before now.
    fn set(&self, theirs: i64) {
        self.ahead.store(theirs - START.elapsed().as_millis() as i64, Ordering::Relaxed);
    }

    fn now(&self) -> i64 {
        START.elapsed().as_millis() as i64 + self.ahead.load(Ordering::Relaxed)
    }
}

/// One connection. It is not used again after an error: a late answer would be taken for the next one's.
pub(super) struct Wire {
    connection: Connection,
    sound: bool,
    /// How long an answer may take.
    patience: Duration,
}

impl Wire {
    /// Sends encoded commands.
    pub fn send(&mut self, commands: &[u8]) -> RedisResult<()> {
        let sent = self.connection.send_packed_command(commands);
        self.sound &= sent.is_ok();
        sent
    }

    /// Reads the next answer; a refusal is an answer too, [`Value::ServerError`].
    pub fn receive(&mut self) -> RedisResult<Value> {
        let received = self.connection.recv_response();
        self.sound &= received.is_ok();
        received
    }

    /// Sends one command and returns its answer; a refusal is an error.
    pub fn ask(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.send(command)?;
        self.receive()?.extract_error()
    }

    /// Sets how long each of the next answers may take.
    pub fn patience(&mut self, answer: Duration) -> RedisResult<()> {
        if self.patience != answer {
            // Answers that wait to be read are not for the next user of this connection.
            self.connection.set_read_timeout(Some(answer)).inspect_err(|_| self.sound = false)?;
            self.patience = answer;
        }
        Ok(())
    }
}

/// What the pool calls; see [`pool`].
pub(super) struct Pooled(pub Arc<Server>);

impl ManageConnection for Pooled {
    type Connection = Wire;
    type Error = RedisError;

    fn connect(&self) -> RedisResult<Wire> {
        self.0.open(CONNECT, ANSWER)
    }

    fn is_valid(&self, wire: &mut Wire) -> RedisResult<()> {
        ManageConnection::is_valid(&self.0.client, &mut wire.connection)
    }

    fn has_broken(&self, wire: &mut Wire) -> bool {
        !wire.sound || !wire.connection.is_open()
    }
}

/// The threads that connect for all pools. Pools come and go with failures; these stay.
static CONNECTORS: LazyLock<Arc<ScheduledThreadPool>> = LazyLock::new(|| {
    let builder = ScheduledThreadPool::builder().num_threads(2).thread_name_pattern("redis-connect-{}");
    Arc::new(builder.build())
});

pub(super) fn pool(server: Arc<Server>) -> Pool<Pooled> {
    Pool::builder()
        .max_size(POOL)
        .min_idle(Some(0))
        .connection_timeout(CONNECT)
        .idle_timeout(Some(IDLE))
        .max_lifetime(None)
        // Using a broken connection shows that it is broken; see `Health::ask_again` and `Redis::read`, which may try
        // again.
        .test_on_check_out(false)
        .thread_pool(CONNECTORS.clone())
        // The caller that waits for a connection gets the error; `health` logs it, once.
        .error_handler(Box::new(NopErrorHandler))
        .build_unchecked(Pooled(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_from_what_was_read() {
        let clock = Clock::default();
        clock.set(1_700_000_000_000);
        let now = clock.now();
        assert!((1_700_000_000_000..1_700_000_060_000).contains(&now), "{now}");
    }
}
