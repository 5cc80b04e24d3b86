//! A real Redis for one test: its own directory and port, append-only with a sync for each write, gone when dropped.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// A server, running or not.
pub struct Redis {
    dir: TempDir,
    pub port: u16,
    options: Vec<String>,
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
        let dir = tempfile::tempdir().expect("a directory");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut redis = Redis { dir, port: free_port(), options, child: None };
        redis.run();
        redis
    }

    /// Starts it again, with what its files hold, on the same port.
    #[track_caller]
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--dir", &self.dir.path().display().to_string(), "--logfile", "redis.log"]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"]);
        command.args(["--unixsocket", &self.socket()]);
        command.args(&self.options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server can be started; `scripts/install redis-server` installs it");
        self.child = Some(child);
        let deadline = Instant::now() + START;
        while self.ask::<String>(redis::cmd("PING")).is_err() {
            assert!(Instant::now() < deadline, "Redis does not start:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
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
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        command.query(&mut connection)
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
        const SLOTS: u32 = 16384;
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let servers: Vec<Redis> = (0..3).map(|_| Redis::with(&options)).collect();
        for (server, place) in servers.iter().zip(0u32..) {
            let (first, last) = (SLOTS * place / 3, SLOTS * (place + 1) / 3 - 1);
            let mut command = redis::cmd("CLUSTER");
            command.arg("ADDSLOTSRANGE").arg(first).arg(last);
            server.ask::<()>(command).expect("a master takes its slots");
            let mut command = redis::cmd("CLUSTER");
            command.arg("MEET").arg("127.0.0.1").arg(servers[0].port);
            server.ask::<()>(command).expect("a master meets the others");
        }
        let deadline = Instant::now() + START;
        let whole = |server: &Redis| {
            let mut command = redis::cmd("CLUSTER");
            command.arg("INFO");
            let info: String = server.ask(command).expect("a master knows its cluster");
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !servers.iter().all(whole) {
            assert!(Instant::now() < deadline, "the cluster does not come together");
            thread::sleep(Duration::from_millis(20));
        }
        Cluster { servers }
    }

    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }
}

/// A port that nobody listens on; below 55,536, since a cluster's servers use the port 10,000 above as well.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + rand::random::<u16>() % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}
