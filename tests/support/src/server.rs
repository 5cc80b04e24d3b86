//! The real binary, in an environment and a directory of its own.

use crate::{
    Client, Connection, PATIENCE, Response, eventually,
    http::{get, post},
    machine::START,
};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::json;
use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The HS256 secret of every server here, so that tests can sign tokens themselves.
pub const SECRET: &str = "Zm9yIHRlc3RzIG9ubHk6IDQ4IHJhbmRvbS1sb29raW5nIGJ5dGVzIQ-q8Xv2Lr7Tn";

/// A demo account.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub email: &'static str,
    pub password: &'static str,
}

pub const ALICE: Person = Person { email: "alice@propromo.example", password: "alice-password" };
pub const BOB: Person = Person { email: "bob@propromo.example", password: "bob-password" };
/// Member of no monitor.
pub const CAROL: Person = Person { email: "carol@propromo.example", password: "carol-password" };

/// How to start a server: settings as a user would give them.
#[derive(Clone)]
pub struct Setup {
    dir: Arc<TempDir>,
    demo: bool,
    variables: Vec<(String, OsString)>,
    flags: Vec<String>,
    open_files: Option<u32>,
    user: Option<u32>,
}

impl Setup {
    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Setup {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Setup {
        self.variables.retain(|(known, _)| known != name);
        self
    }

    /// A flag behind `serve`, with its value.
    pub fn flag(mut self, name: &str, value: &str) -> Setup {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// No demo accounts: only those that the test adds.
    pub fn without_demo(mut self) -> Setup {
        self.demo = false;
        self
    }

    /// The most files (sockets among them) that the server may have open.
    pub fn open_files(mut self, most: u32) -> Setup {
        self.open_files = Some(most);
        self
    }

    /// Runs as this user, to whom the test's directory is given. Only root can do so.
    #[track_caller]
    pub fn run_by(mut self, uid: u32) -> Setup {
        let owner = |path: &Path| {
            rustix::fs::chown(path, rustix::fs::Uid::from_raw(uid).into(), None).expect("root gives files away");
        };
        owner(self.dir.path());
        self.user = Some(uid);
        self
    }

    /// The same where the test is root's: for what its server would be allowed as well.
    #[track_caller]
    pub fn never_by_root(self, uid: u32) -> Setup {
        if geteuid().is_root() { self.run_by(uid) } else { self }
    }

    /// The user it runs as, if that is not the test's own.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    /// Writes a file into the directory in which the binary runs.
    #[track_caller]
    pub fn file(self, name: &str, text: &str) -> Setup {
        std::fs::write(self.path(name), text).expect("the test's directory is writable");
        self
    }

    /// A path in the directory in which the binary runs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// The binary with these settings, for any command. What it leaves behind when it is killed goes with the test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.open_files {
            None => Command::new(crate::binary()),
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]);
                shell.arg(crate::binary());
                shell
            }
        };
        if let Some(uid) = self.user {
            command.uid(uid);
        }
        command.args(arguments).current_dir(self.dir.path()).env_clear().env("TMPDIR", self.dir.path());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Runs a command to its end, with `input` on its standard input.
    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the binary can be started");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A command that fails early need not read its input.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = Transcript::of(child.stdout.take().expect("stdout is a pipe"), |_| {});
        let errors = Transcript::of(child.stderr.take().expect("stderr is a pipe"), |_| {});
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().expect("the child can be waited for") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{arguments:?} does not end:\n{}{}", output.text(), errors.text());
            }
            thread::park_timeout(Duration::from_millis(5));
        };
        Output { status, stdout: output.whole().into_bytes(), stderr: errors.whole().into_bytes() }
    }

    /// Adds a monitor, and fails the test if that does not work.
    #[track_caller]
    pub fn monitor(self, hash: &str) -> Setup {
        let output = self.run(&["monitor", "add", hash]);
        assert!(output.status.success(), "monitor add failed: {}", String::from_utf8_lossy(&output.stderr));
        self
    }

    /// Adds an account, and fails the test if that does not work.
    #[track_caller]
    pub fn account(self, email: &str, password: &str, monitors: &[&str]) -> Setup {
        let mut arguments = vec!["account", "add", email, "--password-stdin"];
        arguments.extend(monitors.iter().flat_map(|monitor| ["--monitor", monitor]));
        let output = self.run_with_input(&arguments, &format!("{password}\n"));
        assert!(output.status.success(), "account add failed: {}", String::from_utf8_lossy(&output.stderr));
        self
    }

    /// Sends its events to a receiver of this test.
    pub fn webhooks_to(self, url: &str) -> Setup {
        let setup = self.env("WEBHOOK_URL", url).env("WEBHOOK_SECRET", crate::receiver::WEBHOOK_SECRET);
        setup.env("WEBHOOK_ALLOW_PRIVATE", "true")
    }

    #[track_caller]
    pub fn start(self) -> Server {
        Server::start_from(self)
    }

    /// Starts it with sockets that are open already, as systemd hands them over: descriptors from 3 on, and two variables
    /// that say so (`sd_listen_fds(3)`).
    #[track_caller]
    pub fn start_with_sockets(self, sockets: &[TcpListener]) -> Server {
        let service = self.command(&["serve", "--demo"]);
        let copies: Vec<TcpListener> = sockets.iter().map(|s| s.try_clone().expect("a descriptor")).collect();
        let mut script = String::new();
        for (at, copy) in copies.iter().enumerate() {
            rustix::io::fcntl_setfd(copy, rustix::io::FdFlags::empty()).expect("a child may have it");
            script += &format!("exec {}<&{}; ", at + 3, copy.as_raw_fd());
        }
        script += &format!("export LISTEN_PID=$$ LISTEN_FDS={}; exec \"$@\"", sockets.len());
        // Not any sh: some know descriptors of one digit only.
        let mut shell = Command::new("bash");
        shell.args(["-c", &script, "bash"]).arg(service.get_program()).args(service.get_args());
        shell.current_dir(self.dir.path()).env_clear();
        shell.envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Server::run(self, shell)
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    pub address: SocketAddr,
    setup: Setup,
    child: Child,
    output: Transcript,
    log: Transcript,
}

impl Server {
    /// A demo server with the default settings, apart from limits of logins and connections by address, and of new
    /// channels by account: all tests share them.
    #[track_caller]
    pub fn start() -> Server {
        Server::with().start()
    }

    pub fn with() -> Setup {
        let dir = Arc::new(tempfile::tempdir().expect("a directory for the test"));
        let data_dir = dir.path().join("data");
        let setup = Setup { dir, demo: true, variables: Vec::new(), flags: Vec::new(), open_files: None, user: None };
        setup
            // Not what this machine's own server reads.
            .env("CONFIG", "/dev/null")
            .env("LISTEN", "127.0.0.1:0")
            .env("DATA_DIR", data_dir)
            .env("JWT_PRIVATE_KEY", SECRET)
            .env("LOGIN_RATE", "0")
            .env("ANONYMOUS_RATE", "0")
            .env("MAX_CONNECTIONS_PER_ADDRESS", "0")
            .env("CHANNEL_RATE", "0")
    }

    #[track_caller]
    fn start_from(setup: Setup) -> Server {
        let mut arguments = vec!["serve"];
        arguments.extend(setup.demo.then_some("--demo"));
        arguments.extend(setup.flags.iter().map(String::as_str));
        let command = setup.command(&arguments);
        Server::run(setup, command)
    }

    #[track_caller]
    fn run(setup: Setup, mut command: Command) -> Server {
        let mut child = command.spawn().expect("the binary can be started");
        let (announce, announced) = mpsc::channel();
        let log = Transcript::of(child.stderr.take().expect("stderr is a pipe"), |_| {});
        let output = Transcript::of(child.stdout.take().expect("stdout is a pipe"), move |line| {
            let address = line.strip_prefix("listening on http://").or(line.strip_prefix("listening on https://"));
            if let Some(address) = address {
                let _ = announce.send(address.parse::<SocketAddr>().expect("an address and a port"));
            }
        });
        // If the server ends first, the sender is dropped with its thread, and there is nothing to wait for.
        let Ok(address) = announced.recv_timeout(START) else {
            let _ = child.kill();
            let status = child.wait();
            panic!("the server did not start ({status:?}):\n{}{}", output.text(), log.text());
        };
        Server { address, setup, child, output, log }
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn data_dir(&self) -> PathBuf {
        self.setup.data_dir()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.connect().send(get(path, &[("Connection", "close")])).response()
    }

    #[track_caller]
    pub fn post(&self, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Response {
        self.connect().send(post(path, content_type, body)).response()
    }

    /// Logs in with a JSON body.
    #[track_caller]
    pub fn login(&self, person: Person) -> Response {
        self.log_in_as(person.email, person.password)
    }

    #[track_caller]
    pub fn log_in_as(&self, email: &str, password: &str) -> Response {
        self.post("/login", "application/json", json!({"email": email, "password": password}).to_string())
    }

    /// A fresh connection token.
    #[track_caller]
    pub fn token(&self, person: Person) -> String {
        self.token_named(person, "token")
    }

    /// A fresh access token.
    #[track_caller]
    pub fn access_token(&self, person: Person) -> String {
        self.token_named(person, "access_token")
    }

    #[track_caller]
    fn token_named(&self, person: Person, field: &str) -> String {
        let answer = self.login(person);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()[field].as_str().expect("a token").to_owned()
    }

    /// Logs in and enters a room, named by its path segment.
    #[track_caller]
    pub fn join(&self, person: Person, room: &str) -> Client {
        self.enter(&self.token(person), room)
    }

    #[track_caller]
    pub fn enter(&self, token: &str, room: &str) -> Client {
        Client::open(self.address, &format!("/chat/{room}?auth={token}"))
    }

    /// The answer to a handshake that must be refused.
    #[track_caller]
    pub fn refused(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        match Client::try_open(self.address, path, headers) {
            Ok(_) => panic!("let in at {path}"),
            Err(refusal) => refusal,
        }
    }

    /// Where metrics and health are served, if `ADMIN_LISTEN` is set. Log lines must be text, or JSON.
    #[track_caller]
    pub fn admin_address(&self) -> SocketAddr {
        let named = |line: &str| {
            let rest = line.split_once("metrics and health are served").map(|_| line.split_once("address"))??.1;
            let rest = rest.trim_start_matches(['=', '"', ':']);
            rest.split(['"', ' ']).next()?.parse().ok()
        };
        let mut found = None;
        eventually("the log names the admin address", || {
            found = self.log().lines().find_map(named);
            found.is_some()
        });
        found.expect("it was found")
    }

    /// All that was logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// All that was written to standard output so far.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Waits until one line of the log holds all of `words`.
    #[track_caller]
    pub fn logs(&self, words: &[&str]) {
        let found = || self.log().lines().any(|line| words.iter().all(|word| line.contains(word)));
        let deadline = Instant::now() + PATIENCE;
        while !found() {
            assert!(Instant::now() < deadline, "no line with {words:?} in:\n{}", self.log());
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child has a pid");
        kill_process(pid, signal).expect("the server can be signalled");
    }

    /// Asks the server to end (SIGTERM) and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited()
    }

    /// Waits for the server's end. Its log is whole then.
    #[track_caller]
    pub fn exited(&mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        eventually("the server ends", || {
            status = child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        self.wait_until_read();
        status.expect("it has ended")
    }

    /// Ends the server without giving it a chance to tidy up.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the child can be waited for");
        self.wait_until_read();
    }

    /// Waits until all that the server, which has ended, has written is read; not for ever, since a child of its own may
    /// still have the pipes.
    fn wait_until_read(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !(self.output.is_whole() && self.log.is_whole()) && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Starts a server with the same settings on the same data, after this one has ended; on another port.
    #[track_caller]
    pub fn restart(mut self) -> Server {
        assert!(!self.is_running(), "end the server before starting its successor");
        Server::start_from(self.setup.clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it logged explains a failure.
        if thread::panicking() {
            eprintln!("--- log of the server ---\n{}-------------------------", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a pipe has carried, collected by a thread of its own.
struct Transcript {
    text: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

impl Transcript {
    fn of(pipe: impl std::io::Read + Send + 'static, mut on_line: impl FnMut(&str) + Send + 'static) -> Transcript {
        let text = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&text);
        let thread = thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                {
                    let mut collected = collected.lock().expect("no writer panics");
                    collected.push_str(&line);
                    collected.push('\n');
                }
                on_line(&line);
            }
        });
        Transcript { text, thread }
    }

    /// What came so far.
    fn text(&self) -> String {
        self.text.lock().expect("no writer panics").clone()
    }

    /// Whether the other end is closed, and all that came is here.
    fn is_whole(&self) -> bool {
        self.thread.is_finished()
    }

    /// All that came, once the other end is closed.
    fn whole(self) -> String {
        self.thread.join().expect("the reader does not panic");
        self.text.lock().expect("no writer panics").clone()
    }
}

/// The names of the files directly in `dir`.
pub fn files_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("the directory is there");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Kills a process that another thread holds.
pub fn kill9(pid: u32) {
    let pid = Pid::from_raw(pid as i32).expect("a child has a pid");
    kill_process(pid, Signal::KILL).expect("the server can be killed");
}
