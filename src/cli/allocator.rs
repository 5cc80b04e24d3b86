//! The settings of the C library's allocator, which it reads from the environment before `main`.
//!
//! By default glibc keeps freed memory: its threshold for returning pages grows with what a program frees, and each of
//! its arenas (eight per core) keeps its own memory. After many clients had read long histories and left, half
//! as much memory again as at the start stayed in use; with these settings a quarter to a third.

use std::{env, ffi::OsString, os::unix::process::CommandExt, process::Command, thread::available_parallelism};

/// Larger pieces get mappings of their own, and are returned at once. This is glibc's default, but setting it keeps it
/// from growing.
const OWN_MAPPING: &str = "131072";

/// Starts this program again in the same process, with the allocator's settings in its environment. Returns if they are
/// there already, if somebody has set others, or if it fails: the server works without them.
pub fn settle(arguments: &[OsString]) {
    let is_chosen = |(name, _): (OsString, OsString)| {
        name.to_str().is_some_and(|name| name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES")
    };
    if !cfg!(target_env = "gnu") || env::vars_os().any(is_chosen) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let arenas = available_parallelism().map_or(1, usize::from);
    let mut again = Command::new(program);
    if let [name, rest @ ..] = arguments {
        again.arg0(name).args(rest);
    }
    // Returns only if it fails.
    let _ = again.env("MALLOC_MMAP_THRESHOLD_", OWN_MAPPING).env("MALLOC_ARENA_MAX", arenas.to_string()).exec();
}
