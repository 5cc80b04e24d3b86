//! The limits of the system for a process, compared with what `MAX_CONNECTIONS` needs: threads and sockets.

use rustix::{
    fs::statvfs,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{fs, path::Path};

/// How many files and threads the server needs besides its connections: for stores, gateway, lanes, logs.
const RESERVE: u64 = 256;

/// A thread's stack and its guard page are two mappings (mmap(2)).
const MAPPINGS_A_THREAD: u64 = 2;

/// Lets this process open as many files as it may. The soft limit is often 1,024, because of `select`.
pub fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If it fails, `too_low` reports what is missing.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// What one connection needs from the system.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    files: u64,
    threads: u64,
}

impl Need {
    /// With TLS: the socket, and a pair of sockets between the thread that encrypts and the thread that serves.
    pub fn of_connections(encrypted: bool) -> Need {
        if encrypted { Need { files: 3, threads: 2 } } else { Need { files: 1, threads: 1 } }
    }
}

/// For how many of `connections` there are enough descriptors: they must never run out elsewhere.
pub fn affordable(connections: usize, need: Need) -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let affordable = usize::try_from(files.saturating_sub(RESERVE) / need.files).unwrap_or(usize::MAX);
    connections.min(affordable).max(1)
}

/// Why not even one connection can be served, if so: too few descriptors for the server's own files.
pub fn too_few_files(need: Need) -> Option<String> {
    let (allowed, needed) = (getrlimit(Resource::Nofile).maximum?, RESERVE + need.files);
    (allowed < needed).then(|| {
        format!(
            "open files are limited to {allowed} (`ulimit -n`), but the server needs {needed} for itself and one connection; \
             raise it with `ulimit -Hn` or LimitNOFILE= of the systemd unit"
        )
    })
}

/// One sentence for each limit of the system that is too low for `connections`.
pub fn too_low(connections: usize, need: Need) -> Vec<String> {
    let connections = connections as u64;
    let limits = [
        Limit {
            what: "open files",
            allowed: getrlimit(Resource::Nofile).maximum,
            each: need.files,
            reserve: RESERVE,
            remedy: "raise it with `ulimit -Hn` or LimitNOFILE= of the systemd unit",
        },
        Limit {
            what: "processes and threads of this user",
            allowed: getrlimit(Resource::Nproc).maximum,
            each: need.threads,
            reserve: RESERVE,
            remedy: "raise it with `ulimit -Hu` or LimitNPROC= of the systemd unit",
        },
        Limit {
            what: "tasks of this control group",
            allowed: tasks_max(),
            each: need.threads,
            reserve: RESERVE,
            remedy: "set TasksMax=infinity in the systemd unit, or the container's pids limit",
        },
        Limit {
            what: "threads of the system",
            allowed: number_in("/proc/sys/kernel/threads-max"),
            each: need.threads,
            reserve: RESERVE,
            remedy: "raise it with `sysctl kernel.threads-max`",
        },
        Limit {
            what: "process numbers of the system",
            allowed: number_in("/proc/sys/kernel/pid_max"),
            each: need.threads,
            reserve: RESERVE,
            remedy: "raise it with `sysctl kernel.pid_max`",
        },
        Limit {
            what: "memory mappings of a process",
            allowed: number_in("/proc/sys/vm/max_map_count"),
            each: MAPPINGS_A_THREAD * need.threads,
            reserve: MAPPINGS_A_THREAD * RESERVE,
            remedy: "raise it with `sysctl vm.max_map_count`",
        },
    ];
    limits.iter().filter_map(|limit| limit.too_low_for(connections)).collect()
}

/// Half of the memory, in bytes, that this machine has or that the control group of this process may use.
pub fn half_of_memory() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|info| {
        let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let group = lowest_of_groups("memory.max");
    let least = machine.into_iter().chain(group).min().unwrap_or(UNKNOWN_MEMORY);
    usize::try_from(least / 2).unwrap_or(usize::MAX)
}

/// How many bytes this user may still write to the disk of `directory`, which need not exist yet.
pub fn free_disk(directory: &Path) -> Option<u64> {
    let existing = directory.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let disk = statvfs(existing).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

/// Four fifths of the disk space that messages in `data_dir` could take: what they take now, and what is free. In
/// bytes.
pub fn most_of_the_disk(data_dir: &Path) -> u64 {
    let taken = ["log.db", "search.db"].iter().filter_map(|file| Some(fs::metadata(data_dir.join(file)).ok()?.len()));
    let most = free_disk(data_dir).map_or(u64::MAX, |free| free.saturating_add(taken.sum()) / 5 * 4);
    // A disk that is full now may have space later.
    most.max(64 << 20)
}

/// Assumed if the system does not say.
const UNKNOWN_MEMORY: u64 = 1 << 30;

struct Limit {
    what: &'static str,
    /// `None`: unlimited or unknown.
    allowed: Option<u64>,
    /// How many each connection needs.
    each: u64,
    /// How many the server needs besides its connections.
    reserve: u64,
    remedy: &'static str,
}

impl Limit {
    fn too_low_for(&self, connections: u64) -> Option<String> {
        let (allowed, needed) = (self.allowed?, connections.saturating_mul(self.each).saturating_add(self.reserve));
        (allowed < needed).then(|| {
            let enough_for = allowed.saturating_sub(self.reserve) / self.each;
            format!(
                "MAX_CONNECTIONS is {connections}, but {} are limited to {allowed}, enough for {enough_for}; {}",
                self.what, self.remedy
            )
        })
    }
}

fn number_in(path: impl AsRef<Path>) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn tasks_max() -> Option<u64> {
    lowest_of_groups("pids.max")
}

/// The lowest value of this limit among the control groups (version 2) of this process, up to the root.
fn lowest_of_groups(limit: &str) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = Path::new("/sys/fs/cgroup").join(group);
    group
        .ancestors()
        .take_while(|dir| dir.starts_with("/sys/fs/cgroup"))
        .filter_map(|dir| number_in(dir.join(limit)))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPINGS: Limit =
        Limit { what: "mappings", allowed: Some(65_530), each: 2, reserve: 2 * RESERVE, remedy: "raise it" };

    #[test]
    fn a_limit_that_suffices_is_not_mentioned() {
        assert_eq!(MAPPINGS.too_low_for(10_000), None);
        assert_eq!(Limit { allowed: None, ..MAPPINGS }.too_low_for(u64::MAX - RESERVE), None);
    }

    #[test]
    fn a_limit_that_is_too_low_says_what_it_suffices_for() {
        let sentence = MAPPINGS.too_low_for(40_000).unwrap();
        assert!(sentence.contains("limited to 65530, enough for 32509; raise it"), "{sentence}");
    }

    #[test]
    fn half_of_the_memory_is_less_than_the_machine_has() {
        assert!((1 << 20..1 << 50).contains(&half_of_memory()));
    }

    #[test]
    fn a_directory_that_is_yet_to_be_made_is_on_the_disk_of_its_parents() {
        let directory = tempfile::tempdir().unwrap();
        assert!(free_disk(&directory.path().join("a/b")).is_some_and(|bytes| bytes > 0));
        assert!(free_disk(Path::new("data")).is_some());
    }

    #[test]
    fn what_messages_take_already_counts_as_theirs() {
        let directory = tempfile::tempdir().unwrap();
        let free = most_of_the_disk(directory.path());
        fs::File::create(directory.path().join("log.db")).unwrap().set_len(1 << 40).unwrap();
        assert!(free > 0 && most_of_the_disk(directory.path()) >= (1 << 40) / 5 * 4);
    }

    #[test]
    fn with_tls_as_many_files_suffice_for_fewer_connections() {
        let connections = |encrypted| affordable(usize::MAX, Need::of_connections(encrypted));
        assert_eq!(connections(true), connections(false) / 3);
    }
}
