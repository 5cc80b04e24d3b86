//! What the integration tests share: the real binary, a small HTTP client, a WebSocket client, forged tokens.
//!
//! The clients are written by hand where a library would hide what is tested (a refused handshake's body, a
//! malformed frame), and every read has a time-out, so that a broken promise fails a test instead of hanging it.

pub mod api;
pub mod attack;
pub mod busy;
pub mod channel;
pub mod chats;
pub mod documents;
pub mod faults;
pub mod http;
pub mod line;
pub mod lossy;
pub mod machine;
pub mod postgres;
pub mod receiver;
pub mod recordings;
pub mod redis;
pub mod server;
pub mod session;
pub mod terminal;
pub mod tls;
pub mod token;
pub mod ways;
pub mod ws;
pub mod yaml;

pub use http::{Connection, Response};
pub use machine::{PATIENCE, START, free_address};
pub use server::{ALICE, BOB, CAROL, Person, SECRET, Server};
pub use token::{Claims, claims_of, forge, header_of, sign_hs256};
pub use ws::{Client, Said, said};

use std::{
    env,
    net::TcpStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// The monitors of the demo accounts.
pub const DEMO: &str = "demo";
pub const HASHED: &str = "$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12";
/// [`HASHED`] as one path segment.
pub const HASHED_SEGMENT: &str = "$2y$12$abcdefghijklmnopqrstuv%2Fwxyz.ABCDEFGHIJKLMNOPQRSTUVWX%2F12";

/// Waits until `condition` holds; fails the test, naming `what`, if it never does.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// [`eventually`] for what takes longer by its nature.
#[track_caller]
pub fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Sets a flag when it is dropped, also by a panic: threads that run until then end with the test.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The built server. Cargo puts it beside the folder of the test that runs.
pub fn binary() -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let profile = test.ancestors().nth(2).expect("tests are built into a folder of their own");
    profile.join("propromo-chat")
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Unix seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is after 1970").as_secs()
}

/// Whether the peer has ended the connection, by close or reset, once all that it sent is read.
#[track_caller]
pub fn ends(mut stream: &TcpStream) -> bool {
    use std::io::Read;
    stream.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if timed_out(&error) => return false,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
}

pub fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// Allows this process as many open files as the system grants it: a race needs a socket for each racer.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit may reach the hard one");
}
