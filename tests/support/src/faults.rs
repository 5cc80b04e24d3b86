//! What goes wrong around a server: stores that are held, disks that are full, threads that panic.

use crate::{Server, server::Setup};
use rustix::process::{Resource, getrlimit};
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
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

/// The least that a journal may hold; for servers whose journal is to be full.
pub const SMALL_JOURNAL: &str = "1048576";

/// Holds the tables of the log, and fills the small journal in front of them: what is said from now on waits for them.
/// `say` says something and hears it.
#[track_caller]
pub fn hold_log(data_dir: &Path, mut say: impl FnMut(&str)) -> Held {
    let held = Held::path(&data_dir.join("log.db"));
    let text = "x".repeat(16_000);
    // Each counts for some hundred bytes more.
    for _ in 0..=(1 << 20) / 16_300 {
        say(&text);
    }
    held
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
