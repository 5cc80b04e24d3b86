//! The settings of the C library's allocator, which it reads from the environment before `main`.
//!
//! As it comes, glibc keeps what was freed: its bound for giving pages back grows with what a program frees, and each of
//! its arenas (eight a core) keeps its own. After a crowd that read long histories has gone, half as much again as at the
//! start stayed in use; with these settings a quarter to a third.

use std::{env, ffi::OsString, os::unix::process::CommandExt, process::Command, thread::available_parallelism};

/// Larger pieces are mapped by themselves, and given back at once. It is glibc's own value, but here it stays the same.
const OWN_MAPPING: &str = "131072";

/// Starts this program again in its own place, with the allocator's settings in the environment. Returns if they are
/// there, or somebody has chosen others, or it can't be done: the server works without them.
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
    // Only returns if it fails.
    let _ = again.env("MALLOC_MMAP_THRESHOLD_", OWN_MAPPING).env("MALLOC_ARENA_MAX", arenas.to_string()).exec();
}
