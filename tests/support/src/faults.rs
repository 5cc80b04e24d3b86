//! What goes wrong around a server: stores that are held, disks that are full, threads that panic.

use crate::{Client, Server, eventually, server::Setup};
use rustix::process::{Resource, getrlimit};
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// The directory of orders to panic.
const PANICS: &str = "panics";

/// Keeps everybody else from writing to a store, as a backup that hangs would, until it is dropped.
pub struct Held(rusqlite::Connection);

impl Held {
    #[track_caller]
    pub fn file(server: &Server, name: &str) -> Held {
        let path = server.data_dir().join(name);
        assert!(path.exists(), "no {name} among {:?}", crate::server::files_in(&server.data_dir()));
        Held::path(&path)
    }

    #[track_caller]
    fn path(path: &Path) -> Held {
        let connection = rusqlite::Connection::open(path).expect("the store can be opened");
        connection.busy_timeout(crate::PATIENCE).expect("a time-out");
        connection.execute_batch("BEGIN EXCLUSIVE").expect("the store can be locked");
        Held(connection)
    }

    pub fn release(self) {
        self.0.execute_batch("ROLLBACK").expect("the lock can be given back");
    }
}

/// Lets the clock of a server be set: by the seconds in a file, as `+3600`.
#[track_caller]
pub fn with_its_own_clock() -> (Setup, PathBuf) {
    let library = ["x86_64", "aarch64"]
        .map(|machine| format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("libfaketime is there; `scripts/install faketime` installs it");
    let setup = Server::with().file("clock", "+0\n");
    let clock = setup.path("clock");
    let setup = setup
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        // A clock that is set does not move the monotonic one.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    (setup, clock)
}

/// Sets the clock of a server to so many seconds from now.
#[track_caller]
pub fn set_clock(clock: &Path, seconds: i64) {
    // A reader never sees half of it.
    let new = clock.with_extension("new");
    std::fs::write(&new, format!("{seconds:+}\n")).expect("the clock can be set");
    std::fs::rename(new, clock).expect("the clock can be set");
}

/// The least that a journal may hold; for servers whose journal is to be full.
pub const SMALL_JOURNAL: &str = "1048576";

/// The length of what [`hold_log`] says.
const FILLING: usize = 16_000;

/// Some seconds after the tables are held what is said is refused, instead of waiting. Filling the journal may take this
/// much of them.
const SOON: Duration = Duration::from_secs(2);

/// How often filling it is tried.
const ATTEMPTS: usize = 5;

/// Holds the tables of the log, and fills the small journal in front of them by what `filler` says: what is said from now
/// on waits for them, for three seconds at least. A machine that never fills it soon has less.
#[track_caller]
pub fn hold_log(data_dir: &Path, filler: &mut Client) -> Held {
    let path = data_dir.join("log.db");
    let mut stored = 0;
    for attempt in 1.. {
        let held = Held::path(&path);
        let begun = Instant::now();
        let refused = fill_journal(filler, &mut stored);
        if refused == 0 && (begun.elapsed() < SOON || attempt == ATTEMPTS) {
            return held;
        }
        assert!(attempt < ATTEMPTS, "each time the journal is filled too slowly, {refused} messages are refused");
        held.release();
        eventually("the tables have what filled the journal", || in_tables(&path) == stored);
    }
    unreachable!("there are no more attempts than that")
}

/// Says as much as the small journal holds, some at a time, so that few answers are waited for. How much was refused.
#[track_caller]
fn fill_journal(filler: &mut Client, stored: &mut usize) -> usize {
    // Each counts for some hundred bytes more.
    const COUNT: usize = (1 << 20) / 16_300 + 1;
    const AT_ONCE: usize = 16;
    let text = "x".repeat(FILLING);
    let mut refused = 0;
    for first in (0..COUNT).step_by(AT_ONCE) {
        let count = AT_ONCE.min(COUNT - first);
        (0..count).for_each(|_| filler.say(&*text));
        let mut unanswered = count;
        while unanswered > 0 {
            // Each door has its own frames.
            let heard = filler.hear_frame();
            if heard["text"] == *text {
                *stored += 1;
            } else if heard["success"] == false || heard["type"] == "error" {
                refused += 1;
            } else {
                continue;
            }
            unanswered -= 1;
        }
    }
    refused
}

fn in_tables(log: &Path) -> usize {
    let log = rusqlite::Connection::open(log).expect("the log can be opened");
    let count = format!("SELECT count(*) FROM messages WHERE length(text) = {FILLING}");
    log.query_row(&count, (), |row| row.get::<_, u32>(0)).expect("it has messages") as usize
}

/// What a running server may be short of.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// Bytes of a file that is written to.
    FileSize,
    OpenFiles,
    /// Of its user; root has no such limit.
    Threads,
}

/// Lets the running server have no more than `most` of something (`None`: as much as it likes) from now on.
#[track_caller]
pub fn limit(server: &Server, limit: Limit, most: Option<u64>) {
    let (name, resource) = match limit {
        Limit::FileSize => ("fsize", Resource::Fsize),
        Limit::OpenFiles => ("nofile", Resource::Nofile),
        Limit::Threads => ("nproc", Resource::Nproc),
    };
    let number = |most: Option<u64>| most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    // The server has inherited ours. Its hard limit stays, since not everybody may raise it again.
    let hard = getrlimit(resource).maximum;
    let mut command = Command::new("prlimit");
    // Only a process of the same user may do so, or one with a capability that root in a container lacks.
    server.setup().user().map(|uid| command.uid(uid));
    command.arg(format!("--pid={}", server.pid()));
    command.arg(format!("--{name}={}:{}", number(most.or(hard)), number(hard)));
    let output = command.output().expect("prlimit (of util-linux) can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// From now on every write to a file fails, as on a full disk; reading, and sockets and pipes, go on.
#[track_caller]
pub fn fill_disk(server: &Server) {
    limit(server, Limit::FileSize, Some(0));
}

#[track_caller]
pub fn free_disk(server: &Server) {
    limit(server, Limit::FileSize, None);
}

/// Lets panics be ordered. Only debug builds obey.
#[track_caller]
pub fn with_panics(setup: Setup) -> Setup {
    let orders = setup.path(PANICS);
    std::fs::create_dir(&orders).expect("the test's directory is writable");
    setup.env("PROPROMO_TEST_PANICS", orders)
}

/// Lets whoever passes this point next panic.
#[track_caller]
pub fn order_panic(server: &Server, point: &str) {
    std::fs::write(server.setup().path(PANICS).join(point), "").expect("an order can be written");
}

/// Whether somebody has panicked at this point.
pub fn has_panicked(server: &Server, point: &str) -> bool {
    !server.setup().path(PANICS).join(point).exists()
}

/// A number of the server's line in `/proc/PID/status`: `Threads`, or `VmRSS` in KiB.
pub fn status(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
