//! systemd: its protocols, spoken by a small stand-in as systemd speaks them; the units; and the scripts that install
//! them. Needs `strace`, `systemd-analyze`, `systemd-sysusers` and `systemctl`, but no systemd that runs.

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::UnixDatagram,
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use support::{
    ALICE, Client, Connection, DEMO, PATIENCE, Server, busy, eventually,
    faults::{SMALL_JOURNAL, hold_log},
    http::{get, post},
    server::Setup,
    tls::Certified,
};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
/// Below 1.5 `systemd-analyze security` still says OK; it counts in tenths.
const MOST_EXPOSED: &str = "15";
/// The user without rights.
const NOBODY: u32 = 65_534;

/// What systemd is to a service: the socket that it holds, and the one on which it is told things.
struct Systemd {
    setup: Setup,
    notify: UnixDatagram,
    port: TcpListener,
}

/// A service that it has started. Dropping it kills it.
struct Service(Child);

impl Systemd {
    fn with(settings: impl FnOnce(Setup) -> Setup) -> Systemd {
        let setup = Server::with();
        let notify = UnixDatagram::bind(setup.path("notify")).expect("a socket");
        fs::set_permissions(setup.path("notify"), fs::Permissions::from_mode(0o666)).expect("its owner may");
        notify.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let path = setup.path("notify");
        // Where it would listen by itself can't be listened on: so it does not.
        let setup = settings(setup.env("NOTIFY_SOCKET", path).env("LISTEN", "192.0.2.1:1"));
        Systemd { setup, notify, port }
    }

    fn address(&self) -> SocketAddr {
        self.port.local_addr().expect("an address")
    }

    /// Starts the service as systemd does: the socket is descriptor 3, and two variables say so (`sd_listen_fds(3)`).
    #[track_caller]
    fn start(&self) -> Service {
        self.start_with_errors(Stdio::null())
    }

    #[track_caller]
    fn start_with_errors(&self, errors: Stdio) -> Service {
        self.start_under(&[], errors)
    }

    /// The same under another program, which runs it in the same process.
    #[track_caller]
    fn start_under(&self, other: &[&OsStr], errors: Stdio) -> Service {
        let service = self.setup.command(&["serve", "--demo"]);
        let port: OwnedFd = self.port.try_clone().expect("a descriptor").into();
        let mut shell = Command::new("sh");
        if let Some(user) = self.setup.user() {
            shell.uid(user);
        }
        let child = shell
            .args(["-c", "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"", "sh"])
            .args(other)
            .arg(service.get_program())
            .args(service.get_args())
            .current_dir(service.get_current_dir().expect("the test's directory"))
            .env_clear()
            .envs(service.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(port)
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("the service can be started");
        Service(child)
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    fn start_to_the_end(&self) -> Service {
        let service = self.start();
        self.wait_for("READY=1");
        service
    }

    /// The next thing that systemd is told; `None` if that takes too long.
    fn told(&self) -> Option<String> {
        let mut text = [0; 4096];
        let length = self.notify.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    /// Waits until it is told `line`, and gives what it was told with it.
    #[track_caller]
    fn wait_for(&self, line: &str) -> String {
        loop {
            let told = self.told().unwrap_or_else(|| panic!("systemd is not told {line}"));
            if told.lines().any(|l| l == line) {
                return told;
            }
        }
    }

    /// Waits until no sign of life has come for the watchdog's time: then systemd would end the service.
    #[track_caller]
    fn watchdog_expires(&self, interval: Duration) {
        self.notify.set_read_timeout(Some(interval)).expect("a read time-out");
        let deadline = Instant::now() + PATIENCE;
        while self.told().is_some() {
            assert!(Instant::now() < deadline, "the watchdog is fed for ever");
        }
        self.notify.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
    }
}

impl Service {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("the service can be signalled");
    }

    #[track_caller]
    fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut status = None;
        eventually("the service ends", || {
            status = self.0.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn healthy(address: SocketAddr) -> bool {
    Connection::open(address)
        .send(get("/healthz", &[("Connection", "close")]))
        .try_response()
        .is_ok_and(|a| a.status == 200)
}

fn log_in(address: SocketAddr) -> Value {
    let body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    Connection::open(address).send(post("/login", "application/json", &body)).response().json()
}

fn enter(address: SocketAddr, login: &Value) -> Client {
    Client::open(address, &format!("/chat/{DEMO}?auth={}", login["token"].as_str().expect("a token")))
}

#[test]
fn the_socket_that_systemd_holds_is_served_and_readiness_told() {
    let systemd = Systemd::with(|setup| setup);
    let _service = systemd.start_to_the_end();
    assert!(healthy(systemd.address()));
}

/// Starts the service with two sockets of these names, one of them on IPv6; tells where they are, and what it logs.
fn with_two_sockets(names: &str, settings: impl FnOnce(Setup) -> Setup) -> (Server, [SocketAddr; 2]) {
    let sockets =
        [TcpListener::bind("127.0.0.1:0"), TcpListener::bind("[::1]:0")].map(|socket| socket.expect("a port"));
    let addresses = [0, 1].map(|n: usize| sockets[n].local_addr().expect("an address"));
    let setup = settings(Server::with()).env("LISTEN_FDNAMES", names);
    (setup.start_with_sockets(&sockets), addresses)
}

#[test]
fn every_socket_is_a_chat_listener_but_the_one_that_is_named_admin() {
    let metrics = |address: SocketAddr| Connection::open(address).send(get("/metrics", &[])).response().status;
    for names in ["propromo-chat.socket:propromo-chat.socket", ""] {
        let (server, addresses) = with_two_sockets(names, |setup| setup);
        for address in addresses {
            assert!(healthy(address), "{names}");
            assert_eq!(metrics(address), 404, "{names}");
            let login = log_in(address);
            enter(address, &login).say_and_hear("hello");
            assert!(server.output().contains(&format!("listening on http://{address}")), "{}", server.output());
        }
    }
    let (_server, [chat, admin]) = with_two_sockets("chat:admin", |setup| setup);
    assert_eq!((metrics(chat), metrics(admin)), (404, 200));
    assert!(healthy(chat) && healthy(admin), "a load balancer asks where the doors are");
}

#[test]
fn a_listen_that_changes_nothing_is_told() {
    let (server, _) = with_two_sockets("a:b", |setup| setup.file(".env", "LISTEN=127.0.0.1:0\n").without("LISTEN"));
    server.logs(&["LISTEN in .env changes nothing", "socket unit"]);
    let (server, _) = with_two_sockets("a:b", |setup| setup.without("LISTEN"));
    assert!(!server.log().contains("changes nothing"), "{}", server.log());
}

#[test]
fn a_connection_made_before_the_start_is_served() {
    let systemd = Systemd::with(|setup| setup);
    let mut early = Connection::open(systemd.address());
    early.send(get("/healthz", &[]));
    let _service = systemd.start();
    assert_eq!(early.response().status, 200);
}

#[test]
fn the_end_is_told_before_it_comes() {
    let systemd = Systemd::with(|setup| setup);
    let mut service = systemd.start_to_the_end();
    assert_eq!(service.stop().code(), Some(0));
    systemd.wait_for("STOPPING=1");
}

#[test]
fn a_reload_is_told_with_its_time_and_its_end() {
    let systemd = Systemd::with(|setup| setup);
    let service = systemd.start_to_the_end();
    service.signal(Signal::HUP);
    let told = systemd.wait_for("RELOADING=1");
    let time = told.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
    assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{told}");
    systemd.wait_for("READY=1");
}

#[test]
fn the_watchdog_is_fed_while_all_is_well() {
    let systemd = Systemd::with(|setup| setup.env("WATCHDOG_USEC", "200000"));
    let _service = systemd.start_to_the_end();
    for _ in 0..5 {
        systemd.wait_for("WATCHDOG=1");
    }
}

#[test]
fn a_watchdog_that_was_not_asked_for_is_not_fed() {
    let systemd = Systemd::with(|setup| setup);
    let mut service = systemd.start_to_the_end();
    assert!(healthy(systemd.address()));
    service.stop();
    assert!(systemd.told().is_some_and(|told| told.lines().eq(["STOPPING=1"])));
}

#[test]
fn the_watchdog_is_not_fed_when_the_accept_loop_is_stuck() {
    let systemd = Systemd::with(|setup| {
        setup.env("WATCHDOG_USEC", "1000000").env("MAX_CONNECTIONS", "1").env("LOG_LEVEL", "warn")
    });
    let (mut lines, mut errors) = std::io::pipe().expect("a pipe");
    let _service = systemd.start_with_errors(errors.try_clone().expect("a descriptor").into());
    systemd.wait_for("READY=1");
    // Nobody reads what it logs, and there is no room left for a line: it will wait with the next one.
    rustix::io::ioctl_fionbio(&errors, true).expect("a pipe that does not block");
    while errors.write(&[b'\n'; 4096]).is_ok() {}
    while errors.write(b"\n").is_ok() {}
    rustix::io::ioctl_fionbio(&errors, false).expect("a pipe that blocks");
    systemd.wait_for("WATCHDOG=1");
    // One too many: the accept loop says so.
    let _crowd = [(); 3].map(|()| TcpStream::connect(systemd.address()).expect("a connection"));
    systemd.watchdog_expires(Duration::from_secs(1));
    drop(errors);
    thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    systemd.wait_for("WATCHDOG=1");
}

#[test]
fn the_watchdog_is_not_fed_when_the_log_thread_is_stuck_and_a_new_start_helps() {
    let systemd = Systemd::with(|setup| setup.env("WATCHDOG_USEC", "1000000").env("JOURNAL_MAX", SMALL_JOURNAL));
    let mut service = systemd.start_to_the_end();
    let mut alice = enter(systemd.address(), &log_in(systemd.address()));
    alice.say_and_hear("stored");
    {
        // Another process writes to the log, which for once is none of ours.
        let _held = hold_log(&systemd.setup.data_dir(), &mut alice);
        alice.say("not stored, for now");
        systemd.watchdog_expires(Duration::from_secs(1));
        service.signal(Signal::ABORT);
        service.0.wait().expect("it has ended");
    }
    let _again = systemd.start_to_the_end();
    enter(systemd.address(), &log_in(systemd.address())).say_and_hear("stored again");
}

#[test]
fn nobody_is_refused_during_a_restart_and_who_came_meanwhile_is_served() {
    let systemd = Systemd::with(|setup| setup);
    let address = systemd.address();
    let mut service = systemd.start_to_the_end();
    let over = AtomicBool::new(false);
    let attempts = thread::scope(|scope| {
        let clients = [(); 4].map(|()| {
            scope.spawn(|| {
                let mut attempts = 0;
                while !over.load(Ordering::Acquire) {
                    // Fails the test if it is refused. One that the old server has taken at its end may stay without an
                    // answer.
                    let _ = Connection::open(address).send_what_fits(get("/healthz", &[])).try_response();
                    attempts += 1;
                }
                attempts
            })
        });
        for _ in 0..3 {
            assert!(healthy(address));
            assert_eq!(service.stop().code(), Some(0));
            let mut waiting = [(); 20].map(|()| Connection::open(address));
            for connection in &mut waiting {
                connection.send(get("/healthz", &[]));
            }
            service = systemd.start();
            assert!(waiting.iter_mut().all(|connection| connection.response().status == 200));
            systemd.wait_for("READY=1");
        }
        over.store(true, Ordering::Release);
        clients.map(|client| client.join().expect("no client was refused"))
    });
    assert!(attempts.iter().all(|&attempts| attempts > 3), "{attempts:?}");
}

fn service_unit() -> String {
    fs::read_to_string(Path::new(UNITS).join("propromo-chat.service")).expect("the service unit")
}

/// The units with the server where this build has it: `systemd-analyze verify` wants a program that exists.
fn units(dir: &Path) -> [PathBuf; 2] {
    let service = service_unit();
    let here = service.replace("/usr/bin/propromo-chat", env!("CARGO_BIN_EXE_propromo-chat"));
    assert_ne!(here, service);
    let paths = [dir.join("propromo-chat.service"), dir.join("propromo-chat.socket")];
    fs::write(&paths[0], here).expect("the test's directory is writable");
    fs::copy(Path::new(UNITS).join("propromo-chat.socket"), &paths[1]).expect("the socket unit");
    paths
}

#[track_caller]
fn quiet(output: &Output) {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let dir = tempfile::tempdir().expect("a directory");
    quiet(
        &Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .args(units(dir.path()))
            .output()
            .expect("it runs"),
    );
}

#[test]
fn the_service_can_do_little_beyond_its_job() {
    let dir = tempfile::tempdir().expect("a directory");
    let [service, _] = units(dir.path());
    let arguments = ["security", "--offline=true", "--threshold", MOST_EXPOSED];
    let output = Command::new("systemd-analyze").args(arguments).arg(service).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The calls that the unit's `SystemCallFilter=` lets through (systemd.exec(5)). At any other the service is killed.
fn allowed_system_calls(unit: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (names, forbids) = line.strip_prefix('~').map_or((line, false), |names| (names, true));
        let calls: BTreeSet<String> = names.split_whitespace().flat_map(system_calls).collect();
        if forbids {
            allowed.retain(|call| !calls.contains(call));
        } else {
            allowed.extend(calls);
        }
    }
    allowed
}

/// A call by its name, or all of a group (`@name`).
fn system_calls(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let group = Command::new("systemd-analyze").args(["syscall-filter", name]).output().expect("it runs");
    assert!(group.status.success(), "{name}: {}", String::from_utf8_lossy(&group.stderr));
    let text = String::from_utf8(group.stdout).expect("text");
    let members = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(system_calls).collect()
}

/// The calls in what strace has written: `PID name(…`.
fn system_calls_made(trace: &str) -> BTreeSet<String> {
    let call = |line: &str| {
        let (name, _) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_name.then(|| name.to_owned())
    };
    trace.lines().filter_map(call).collect()
}

#[test]
fn the_service_makes_no_system_call_that_its_unit_forbids() {
    // For root SQLite would make one more: it gives its files to the one who owns the database.
    let systemd = Systemd::with(|setup| {
        setup.env("ADMIN_LISTEN", "127.0.0.1:0").env("JOURNAL_MAX", SMALL_JOURNAL).never_by_root(NOBODY)
    });
    let trace = systemd.setup.path("trace");
    let strace = ["strace", "-D", "-f", "-qq", "-o"].map(OsStr::new);
    let mut service = systemd.start_under(&[&strace[..], &[trace.as_os_str()]].concat(), Stdio::null());
    systemd.wait_for("READY=1");
    let login = log_in(systemd.address());
    let mut alice = enter(systemd.address(), &login);
    alice.say_and_hear("one message");
    let access = login["access_token"].as_str().expect("a token");
    busy::many_rooms(systemd.address(), access, &systemd.setup.data_dir());
    service.signal(Signal::HUP);
    systemd.wait_for("RELOADING=1");
    systemd.wait_for("READY=1");
    service.stop();
    // strace itself may end a moment later.
    let mut made = BTreeSet::new();
    eventually("the end is traced", || {
        let trace = fs::read_to_string(&trace).expect("a trace");
        made = system_calls_made(&trace);
        trace.contains("exit_group(")
    });
    let unit = service_unit();
    let allowed = allowed_system_calls(&unit);
    for call in ["accept4", "sched_setscheduler", "sendto"] {
        assert!(made.contains(call), "{call} is missing in {made:?}");
    }
    assert!(!allowed.contains("mount"), "{allowed:?}");
    assert_eq!(made.difference(&allowed).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_units_limits_suffice_for_the_default_connections_with_tls() {
    let service = service_unit();
    let limit = |name: &str| {
        let value = service.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    assert_eq!(limit("TasksMax"), "infinity");
    let setup = Server::with();
    let certified = Certified::make(&setup.path(""), "server");
    let setup = setup.env("TLS_CERT", certified.certificate).env("TLS_KEY", certified.key);
    // What suffices for how many is the server's own reckoning.
    let some = 12_000;
    let told = String::from_utf8(setup.open_files(some).run(&["check"]).stdout).expect("text");
    let enough = told
        .lines()
        .find_map(|line| line.split_once("open files are limited to 12000, enough for ")?.1.split_once(';'));
    let enough: u32 = enough.unwrap_or_else(|| panic!("{told}")).0.parse().expect("a number");
    let files: u32 = limit("LimitNOFILE").parse().expect("a number");
    assert!(files >= 10_000 * some / enough, "{files} are too few");
}

/// Runs one of the scripts on a directory that stands for the whole system.
fn script(name: &str, root: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.arg(Path::new(UNITS).join(name)).arg("--root").arg(root).args(arguments);
    if name == "install.sh" {
        command.args(["--binary", env!("CARGO_BIN_EXE_propromo-chat")]);
    }
    let output = command.stdin(Stdio::null()).output().expect("sh runs");
    assert!(output.status.success(), "{name}: {output:?}");
    output
}

#[test]
fn what_is_installed_is_complete_and_nobody_elses_business() {
    let root = tempfile::tempdir().expect("a directory");
    script("install.sh", root.path(), &["--prefix", "/opt/chat"]);
    let path = |name: &str| root.path().join(name);
    let mode = |name: &str| fs::metadata(path(name)).expect(name).permissions().mode() & 0o777;
    let modes = [
        ("opt/chat/bin/propromo-chat", 0o755),
        ("etc/propromo-chat", 0o750),
        ("etc/propromo-chat/env", 0o640),
        ("etc/propromo-chat/jwt.key", 0o600),
        ("var/lib/propromo-chat", 0o700),
        ("etc/systemd/system/propromo-chat.service", 0o644),
        ("etc/systemd/system/propromo-chat.socket", 0o644),
    ];
    for (name, expected) in modes {
        assert_eq!(mode(name), expected, "{name}");
    }
    let service = fs::read_to_string(path("etc/systemd/system/propromo-chat.service")).expect("the unit");
    assert!(service.contains("\nExecStart=/opt/chat/bin/propromo-chat serve\n"), "{service}");
    for wanted in ["multi-user.target.wants/propromo-chat.service", "sockets.target.wants/propromo-chat.socket"] {
        assert!(path("etc/systemd/system").join(wanted).is_symlink(), "{wanted} is not enabled");
    }
    let users = fs::read_to_string(path("etc/passwd")).expect("users");
    let user = users.lines().find(|line| line.starts_with("propromo-chat:")).expect("the user");
    if geteuid().is_root() {
        // The server's user reads the settings file there, but no key.
        let group: u32 = user.split(':').nth(3).and_then(|gid| gid.parse().ok()).expect("its group");
        let written =
            Server::with().run(&["config", "init", &path("etc/propromo-chat/config.toml").display().to_string()]);
        assert!(written.status.success(), "{written:?}");
        let of_group = |name: &str| (fs::metadata(path(name)).expect(name).gid() == group, mode(name));
        assert_eq!(of_group("etc/propromo-chat"), (true, 0o750));
        assert_eq!(of_group("etc/propromo-chat/config.toml"), (true, 0o640));
        assert_eq!(of_group("etc/propromo-chat/jwt.key"), (false, 0o600));
    }
}

#[test]
fn the_archive_of_a_release_installs_the_server_that_it_holds() {
    let (archive, root) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let folder = archive.path().join("systemd");
    fs::create_dir(&folder).expect("a directory");
    for name in ["install.sh", "env", "propromo-chat.service", "propromo-chat.socket", "propromo-chat.sysusers"] {
        fs::copy(Path::new(UNITS).join(name), folder.join(name)).expect(name);
    }
    let mut install = Command::new("sh");
    install.arg(folder.join("install.sh")).arg("--root").arg(root.path()).env_remove("CARGO_TARGET_DIR");
    let refused = install.output().expect("sh runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no server at"), "{refused:?}");
    fs::copy(env!("CARGO_BIN_EXE_propromo-chat"), archive.path().join("propromo-chat")).expect("the server");
    let output = install.output().expect("sh runs");
    assert!(output.status.success(), "{output:?}");
    assert!(root.path().join("usr/local/bin/propromo-chat").is_file());
}

#[test]
fn the_installed_server_runs_with_the_installed_key_and_settings() {
    let root = tempfile::tempdir().expect("a directory");
    script("install.sh", root.path(), &[]);
    let setup = Server::with().without("JWT_PRIVATE_KEY").without_demo();
    let settings = fs::read_to_string(root.path().join("etc/propromo-chat/env")).expect("the settings");
    let setup = settings
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .fold(setup, |setup, (name, value)| setup.env(name, value));
    // As LoadCredential= of the unit does.
    let credentials = root.path().join("credentials");
    fs::create_dir(&credentials).expect("a directory");
    fs::copy(root.path().join("etc/propromo-chat/jwt.key"), credentials.join("JWT_PRIVATE_KEY")).expect("the key");
    let output = setup.env("CREDENTIALS_DIRECTORY", credentials).run(&["check"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("ok: tokens are signed with EdDSA"), "{told}");
}

#[test]
fn installing_again_changes_no_key_no_settings_and_no_data() {
    let root = tempfile::tempdir().expect("a directory");
    script("install.sh", root.path(), &[]);
    let path = |name: &str| root.path().join(name);
    fs::write(path("etc/propromo-chat/env"), "MAX_CONNECTIONS=1\n").expect("settings");
    fs::write(path("var/lib/propromo-chat/chat.db"), "data").expect("data");
    let key = fs::read(path("etc/propromo-chat/jwt.key")).expect("a key");
    script("install.sh", root.path(), &[]);
    assert_eq!(fs::read(path("etc/propromo-chat/jwt.key")).expect("a key"), key);
    assert_eq!(fs::read_to_string(path("etc/propromo-chat/env")).expect("settings"), "MAX_CONNECTIONS=1\n");
    assert_eq!(fs::read_to_string(path("var/lib/propromo-chat/chat.db")).expect("data"), "data");
    let users = fs::read_to_string(path("etc/passwd")).expect("users");
    assert_eq!(users.lines().filter(|line| line.starts_with("propromo-chat:")).count(), 1, "{users}");
}

#[test]
fn removing_leaves_keys_and_data_unless_they_shall_go_too() {
    let root = tempfile::tempdir().expect("a directory");
    script("install.sh", root.path(), &[]);
    let path = |name: &str| root.path().join(name);
    fs::write(path("var/lib/propromo-chat/chat.db"), "data").expect("data");
    script("uninstall.sh", root.path(), &[]);
    for gone in
        ["usr/local/bin/propromo-chat", "etc/systemd/system/propromo-chat.service", "etc/sysusers.d/propromo-chat.conf"]
    {
        assert!(!path(gone).exists(), "{gone}");
    }
    assert!(!path("etc/systemd/system/sockets.target.wants/propromo-chat.socket").is_symlink());
    for kept in ["etc/propromo-chat/jwt.key", "etc/propromo-chat/env", "var/lib/propromo-chat/chat.db"] {
        assert!(path(kept).exists(), "{kept}");
    }
    script("uninstall.sh", root.path(), &["--purge"]);
    assert!(!path("etc/propromo-chat").exists() && !path("var/lib/propromo-chat").exists());
    let users = fs::read_to_string(path("etc/passwd")).expect("users");
    assert_eq!(users.contains("propromo-chat:"), !rustix::process::getuid().is_root(), "{users}");
    // Nothing is left to be removed, which is no failure.
    script("uninstall.sh", root.path(), &["--purge"]);
}

#[test]
fn the_debian_package_is_made_of_files_that_exist_and_scripts_that_can_be_read() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(repository.join("Cargo.toml")).expect("the manifest");
    let metadata = manifest.split_once("[package.metadata.deb]").expect("what cargo-deb reads").1;
    let assets = metadata.split_once("assets = [").and_then(|(_, rest)| rest.split_once("\n]")).expect("the assets").0;
    let sources: Vec<_> =
        assets.lines().filter_map(|line| line.trim().strip_prefix("[\"")?.split('"').next()).collect();
    assert!(sources.len() >= 5, "{sources:?}");
    for source in sources.iter().filter(|source| !source.starts_with("target/")) {
        let exists = match source.split_once('*') {
            None => repository.join(source).is_file(),
            Some((dir, suffix)) => {
                support::server::files_in(&repository.join(dir)).iter().any(|name| name.ends_with(suffix))
            }
        };
        assert!(exists, "{source}");
    }
    for name in ["postinst", "postrm"] {
        let path = Path::new(UNITS).join("debian").join(name);
        assert!(Command::new("sh").arg("-n").arg(&path).status().expect("sh runs").success(), "{name}");
        // Where cargo-deb puts what enables and starts the units.
        assert!(fs::read_to_string(path).expect("a script").lines().any(|line| line == "#DEBHELPER#"), "{name}");
    }
}

#[test]
fn a_word_that_a_script_does_not_know_stops_it_before_it_does_anything() {
    let root = tempfile::tempdir().expect("a directory");
    for name in ["install.sh", "uninstall.sh"] {
        let mut command = Command::new("sh");
        let output = command.arg(Path::new(UNITS).join(name)).arg("--root").arg(root.path()).arg("--purg").output();
        assert_eq!(output.expect("sh runs").status.code(), Some(2), "{name}");
    }
    assert!(support::server::files_in(root.path()).is_empty());
}
