//! A real PostgreSQL of the test's own: a cluster in a directory that goes away with it.
//!
//! Needs the Debian package `postgresql` (`scripts/test` installs it) and fails without it. PostgreSQL
//! refuses to run as root, so under root the cluster belongs to another user.

use crate::machine::{PATIENCE, START, free_address};
use rustix::{
    fs::{Gid, Uid, chown},
    process::{Pid, Signal, geteuid, kill_process},
};
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const DEMO: &str = include_str!("../../../dummy/test.sql");
const LARAVEL: &str = include_str!("laravel.sql");

/// The cluster's owner in the database, and the password of every role that the tests make.
pub const OWNER: &str = "owner";
pub const PASSWORD: &str = "s3cret-of-the-tests";

/// A running server, listening on 127.0.0.1 and on a Unix socket. Dropping it ends it.
pub struct Cluster {
    dir: TempDir,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    options: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl Cluster {
    #[track_caller]
    pub fn start() -> Cluster {
        Cluster::with(&[], |_| {})
    }

    /// A cluster that many tests of one process share, as long as one of them uses it.
    #[track_caller]
    pub fn shared() -> Arc<Cluster> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Cluster::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// A cluster with options of `postgres` (`-c` left out), and more done in its directory first.
    #[track_caller]
    pub fn with(options: &[&str], furnish: impl FnOnce(&Cluster)) -> Cluster {
        let bin = binaries();
        let dir = tempfile::tempdir().expect("a directory for the cluster");
        let user = geteuid().is_root().then(unprivileged_user);
        let port = free_address().port();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let cluster = Cluster { dir, bin, user, port, options, child: Mutex::new(None) };
        cluster.give_to_owner(cluster.dir.path());
        let passwords = cluster.file("password", PASSWORD);
        let made = cluster
            .command("initdb")
            .args(["--username", OWNER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"])
            .args(["--no-sync", "--no-instructions"])
            .arg("--pwfile")
            .arg(&passwords)
            .arg(cluster.data())
            .output()
            .expect("initdb can be run");
        succeeded("initdb", &made);
        furnish(&cluster);
        cluster.run();
        cluster
    }

    /// Starts the server again, on the same port and data.
    #[track_caller]
    pub fn run(&self) {
        *self.child() = Some(self.spawn());
        let deadline = Instant::now() + START;
        while !self.psql_as(OWNER, "postgres", "SELECT 1").status.success() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{log}");
            let mut child = self.child();
            if child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                *child = Some(self.spawn());
            }
            drop(child);
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn spawn(&self) -> Child {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.dir.path());
        let port = format!("port={}", self.port);
        // Nothing here must outlive a power failure, and many clusters may run at once.
        let usual = ["listen_addresses=127.0.0.1", "fsync=off", "shared_buffers=16MB", "max_connections=60", &port];
        for option in usual.into_iter().chain(self.options.iter().map(String::as_str)) {
            command.args(["-c", option]);
        }
        let log = fs::File::create(self.dir.path().join("log")).expect("the cluster's log");
        command.stdout(Stdio::null()).stderr(log);
        command.spawn().expect("postgres can be started")
    }

    /// Ends the server as a restart of its service would, clients or not.
    pub fn stop(&self) {
        if let Some(mut child) = self.child().take() {
            // INT: "fast shutdown", which ends all sessions.
            let _ = kill_process(pid(&child), Signal::INT);
            let _ = child.wait();
        }
    }

    /// Ends every process of the server as a crash would.
    pub fn kill(&self) {
        // Those that are left would keep its shared memory, and the next start would be refused.
        let left = self.signal(Signal::KILL);
        if let Some(mut child) = self.child().take() {
            let _ = child.wait();
        }
        let deadline = Instant::now() + PATIENCE;
        let is_there = |id: Pid| processes().iter().any(|process| process.id == id && !process.stands_still);
        while left.iter().any(|process| is_there(process.id)) {
            assert!(Instant::now() < deadline, "PostgreSQL does not end");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Stops (SIGSTOP) every process of the server: it keeps its connections and says nothing.
    pub fn pause(&self) {
        // A process stops a moment after it was told to, and may start another until then.
        let deadline = Instant::now() + PATIENCE;
        while !self.signal(Signal::STOP).iter().all(|process| process.stands_still) {
            assert!(Instant::now() < deadline, "PostgreSQL does not stand still");
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    pub fn resume(&self) {
        let _ = self.signal(Signal::CONT);
    }

    /// Sends a signal to every process of the server; tells how they were just before.
    fn signal(&self, signal: Signal) -> Vec<Process> {
        let child = self.child();
        let Some(child) = child.as_ref() else { return Vec::new() };
        // The parent first when it is stopped, so that it starts no more of them.
        let mut processes = processes();
        processes.retain(|process| process.id == pid(child) || process.parent == child.id());
        processes.sort_by_key(|process| process.id != pid(child));
        for process in &processes {
            let _ = kill_process(process.id, signal);
        }
        processes
    }

    /// A database of its own for a test, with the tables and accounts of `dummy/test.sql`.
    #[track_caller]
    pub fn database(&self) -> Database<'_> {
        let database = self.empty_database();
        database.add_demo();
        database
    }

    /// A database of its own for a test, as Propromo's Laravel migrations leave it, with some rows of Propromo's own.
    #[track_caller]
    pub fn laravel_database(&self) -> Database<'_> {
        let database = self.empty_database();
        database.sql(LARAVEL);
        database
    }

    #[track_caller]
    fn empty_database(&self) -> Database<'_> {
        let name = format!("chat_{:016x}", rand::random::<u64>());
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        Database { cluster: self, name }
    }

    /// Runs a script as the cluster's owner; gives what it prints, one row a line.
    #[track_caller]
    pub fn sql(&self, database: &str, script: &str) -> String {
        let output = self.psql_as(OWNER, database, script);
        succeeded("psql", &output);
        String::from_utf8(output.stdout).expect("psql prints UTF-8")
    }

    fn psql_as(&self, role: &str, database: &str, script: &str) -> Output {
        self.command("psql")
            .args(["-h"])
            .arg(self.dir.path())
            .args(["-p", &self.port.to_string(), "-U", role, "-d", database])
            .args(["-v", "ON_ERROR_STOP=1", "-X", "-q", "-A", "-t", "-c", script])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .expect("psql can be run")
    }

    /// What `pg_dump` says about a part of a database.
    #[track_caller]
    pub fn dump(&self, database: &str, arguments: &[&str]) -> String {
        let output = self
            .command("pg_dump")
            .args(["-h"])
            .arg(self.dir.path())
            .args(["-p", &self.port.to_string(), "-U", OWNER, "-d", database])
            .args(arguments)
            .env("PGPASSWORD", PASSWORD)
            .output()
            .expect("pg_dump can be run");
        succeeded("pg_dump", &output);
        let dump = String::from_utf8(output.stdout).expect("a dump is UTF-8");
        // Newer versions put a random word around the dump.
        dump.lines().filter(|line| !line.contains("restrict ")).map(|line| format!("{line}\n")).collect()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket, and of files for the server.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes a file that the server, and it alone, can read.
    #[track_caller]
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("the cluster's directory is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file's mode can be set");
        self.give_to_owner(&path);
        path
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(self.dir.path()).env("LC_ALL", "C.UTF-8");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn give_to_owner(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).expect("root may give files away");
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.resume();
        let child = self.child().take();
        if let Some(mut child) = child {
            // QUIT: at once, without tidying up what is deleted anyway.
            let _ = kill_process(pid(&child), Signal::QUIT);
            let _ = child.wait();
        }
    }
}

/// A database of a cluster.
pub struct Database<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
}

impl Database<'_> {
    /// Its URL over TCP, as the owner.
    pub fn url(&self) -> String {
        self.url_of(OWNER, PASSWORD)
    }

    pub fn url_of(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{}?sslmode=disable", self.cluster.port, self.name)
    }

    /// Its URL through the Unix socket.
    pub fn unix_url(&self) -> String {
        let dir = self.cluster.dir().display().to_string().replace('/', "%2F");
        format!("postgres://{OWNER}:{PASSWORD}@{dir}:{}/{}", self.cluster.port, self.name)
    }

    #[track_caller]
    pub fn sql(&self, script: &str) -> String {
        self.cluster.sql(&self.name, script)
    }

    /// Runs `dummy/test.sql`.
    #[track_caller]
    pub fn add_demo(&self) {
        self.sql(DEMO);
    }

    /// A role that may log in and read Propromo's tables; no more.
    #[track_caller]
    pub fn reader(&self) -> String {
        let role = format!("reader_{:016x}", rand::random::<u64>());
        self.sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT SELECT ON users, monitors, monitor_user TO {role}"
        ));
        role
    }
}

/// PgBouncer before a cluster, in transaction mode: each transaction is given one of `connections` to the server. Dropping
/// it ends it.
pub struct Pooler {
    port: u16,
    child: Child,
}

impl Pooler {
    #[track_caller]
    pub fn before(cluster: &Cluster, connections: u32) -> Pooler {
        let port = free_address().port();
        let users = cluster.file("users.txt", &format!("\"{OWNER}\" \"{PASSWORD}\"\n"));
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n\
             unix_socket_dir=\npool_mode=transaction\ndefault_pool_size={connections}\nmax_client_conn=200\n\
             auth_type=scram-sha-256\nauth_file={}\n",
            cluster.port,
            users.display()
        );
        let file = cluster.file("pgbouncer.ini", &settings);
        let mut command = Command::new("pgbouncer");
        if let Some((user, group)) = cluster.user {
            command.uid(user).gid(group);
        }
        // Debian keeps it where only administrators look.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin")).arg(file).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("pgbouncer can be started; `scripts/install pgbouncer` installs it");
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "PgBouncer does not start");
            thread::park_timeout(Duration::from_millis(20));
        }
        Pooler { port, child }
    }

    /// The URL of a database behind it.
    pub fn url(&self, database: &Database<'_>) -> String {
        database.url().replace(&format!(":{}/", database.cluster.port), &format!(":{}/", self.port))
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The newest PostgreSQL of this machine.
#[track_caller]
fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|dir| dir.join("initdb").exists() && dir.join("psql").exists())
    };
    newest
        .map(|(_, bin)| bin)
        .or_else(on_path)
        .expect("these tests need PostgreSQL's server; scripts/test installs it (Debian: postgresql)")
}

/// `postgres` if there is such a user, else `nobody`.
#[track_caller]
fn unprivileged_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let ids = |wanted: &str| {
        let mut fields =
            users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(wanted))?;
        Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).expect("a user that is not root")
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A process of this machine.
struct Process {
    id: Pid,
    parent: u32,
    /// It is stopped; or has ended, which a parent that is stopped does not notice.
    stands_still: bool,
}

fn processes() -> Vec<Process> {
    let processes = fs::read_dir("/proc").expect("/proc can be read").flatten();
    processes
        .filter_map(|entry| {
            let id = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // `pid (name) state ppid …`; a name may hold anything.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let stands_still = matches!(fields.next()?, "T" | "Z");
            Some(Process { id, stands_still, parent: fields.next()?.parse().ok()? })
        })
        .collect()
}

#[track_caller]
fn succeeded(what: &str, output: &Output) {
    assert!(output.status.success(), "{what} failed: {}", String::from_utf8_lossy(&output.stderr));
}
