//! Threads that the server can't do without: if one of them panics, the process ends and is started again.
//!
//! Nothing can replace such a thread. Without the log thread nothing is stored, and without a lane some members hear
//! nothing, while the rest seems to work. Everybody notices the end of the process: clients come back, and systemd
//! (`Restart=on-failure`) starts a complete server. Everything that was echoed is stored.
//!
//! Threads that serve one client (connections, their TLS, endpoints, connections to PostgreSQL) catch their panics
//! instead.

use std::{
    io,
    thread::{self, JoinHandle},
};

/// The exit code after a panic in a vital thread (`EX_SOFTWARE` in sysexits.h).
pub const EXIT_CODE: i32 = 70;

/// Starts a thread that the server can't do without.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.into()).spawn(move || run(work))
}

/// Runs work on this thread that the server can't do without.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let _guard = Guard;
    work()
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            let thread = thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(thread, "the server can't go on without this thread; it ends, to be started anew");
            std::process::exit(EXIT_CODE);
        }
    }
}

/// Panics here if a test asks for it, to show what happens to the rest. Does nothing in a release build.
///
/// A test names a directory in `PROPROMO_TEST_PANICS`. A file in it with the name of `point` asks for one panic.
pub fn may_panic(point: &str) {
    #[cfg(debug_assertions)]
    {
        static ORDERS: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
        let orders = ORDERS.get_or_init(|| std::env::var_os("PROPROMO_TEST_PANICS").map(Into::into));
        if let Some(orders) = orders
            && std::fs::remove_file(orders.join(point)).is_ok()
        {
            panic!("a test asked for it");
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs itself again in a new process, because a vital thread ends its process.
    #[test]
    fn a_panic_in_a_vital_thread_ends_the_process() {
        const AGAIN: &str = "PROPROMO_TEST_VITAL";
        if std::env::var_os(AGAIN).is_none() {
            let name = "vital::tests::a_panic_in_a_vital_thread_ends_the_process";
            let exe = std::env::current_exe().unwrap();
            let output = Command::new(exe).args(["--exact", name]).env(AGAIN, "1").output().unwrap();
            assert_eq!(output.status.code(), Some(EXIT_CODE), "{output:?}");
            return;
        }
        let thread = spawn("doomed", || panic!("as asked")).unwrap();
        let _ = thread.join();
        unreachable!("the process has ended");
    }

    #[test]
    fn a_vital_thread_may_end_without_taking_anything_with_it() {
        assert_eq!(spawn("short", || 7).unwrap().join().unwrap(), 7);
    }
}
