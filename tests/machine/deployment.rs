//! A machine's life as `docs/DEPLOYMENT.md` tells it: its blocks are run as they stand there, below a directory that stands for
//! the whole machine. `tests/machine/stand_ins` holds what such a directory has not: systemd, other users, a compiler.

use rexpect::session::spawn_command;
use serde_json::{Value, json};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
};
use support::{
    Connection, PATIENCE,
    documents::{blocks, document},
    http::{get, post},
    server::{files_in, kill9},
};
use tempfile::TempDir;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const PASSWORD: &str = "ann's own password";

/// A machine on which the service has been installed. Dropping it ends the service.
struct Machine {
    root: TempDir,
    port: TcpListener,
}

impl Machine {
    #[track_caller]
    fn installed() -> Machine {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("var/backups")).expect("a directory");
        let machine = Machine { root, port: TcpListener::bind("127.0.0.1:0").expect("a free port") };
        // Before it are the compiler, and fetching the source.
        let install = block("rustup.rs");
        assert_eq!(install.lines().last(), Some("systemd/install.sh"));
        machine.run(
            "cd /opt/propromo-chat\nsystemd/install.sh\nsystemctl start propromo-chat.socket propromo-chat.service",
        );
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn address(&self) -> SocketAddr {
        self.port.local_addr().expect("an address")
    }

    /// A block with the paths and the port of this machine.
    fn here(&self, block: &str) -> String {
        let mut text = block.replace("/opt/propromo-chat", REPOSITORY);
        for path in ["/etc/propromo-chat", "/etc/systemd", "/var/lib/propromo-chat", "/var/backups"] {
            text = text.replace(path, &format!("{}{path}", self.root.path().display()));
        }
        let install = format!(
            "systemd/install.sh --root {} --binary {}",
            self.root.path().display(),
            env!("CARGO_BIN_EXE_propromo-chat")
        );
        text.replace("systemd/install.sh", &install).replace("127.0.0.1:1993", &self.address().to_string())
    }

    /// A shell in which the machine's commands come first, and which ends at the first that fails.
    fn shell(&self, script: &[&str]) -> Command {
        let own = [Path::new(REPOSITORY).join("tests/machine/stand_ins"), self.path("usr/local/bin")];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path))).expect("a search path");
        let mut shell = Command::new("bash");
        shell.arg("-euc").args(script).current_dir(REPOSITORY).env("PATH", path).env("ROOT", self.root.path());
        shell
    }

    /// Runs a block to its end, and gives what it says.
    #[track_caller]
    fn run(&self, block: &str) -> String {
        let port: OwnedFd = self.port.try_clone().expect("a descriptor").into();
        let said = self.path("said");
        let file = fs::File::create(&said).expect("a file");
        // Not a pipe: the service that it may start would keep that open.
        let status = self
            .shell(&["exec 3<&0 </dev/null; eval \"$0\"", &self.here(block)])
            .stdin(port)
            .stderr(file.try_clone().expect("a descriptor"))
            .stdout(file)
            .status()
            .expect("a shell");
        let said = fs::read_to_string(said).expect("text");
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        assert!(status.success(), "{block}\n{said}\n{log}");
        said
    }

    /// Runs a block that asks for a password, twice, on a terminal.
    #[track_caller]
    fn run_with_password(&self, block: &str) {
        let shell = self.shell(&[&self.here(block)]);
        let mut session = spawn_command(shell, Some(PATIENCE.as_millis() as u64)).expect("a pseudo-terminal");
        for question in ["Password: ", "again: "] {
            session.exp_string(question).expect("the password is asked");
            session.send_line(PASSWORD).expect("the terminal takes input");
        }
        session.exp_string("account ann@example.org added").expect("the account is made");
        session.exp_eof().expect("the block ends");
    }

    #[track_caller]
    fn log_in(&self) -> (u16, Value) {
        let body = json!({"email": "ann@example.org", "password": PASSWORD}).to_string();
        let answer = Connection::open(self.address()).send(post("/login", "application/json", &body)).response();
        (answer.status, answer.json())
    }

    /// The status that an access token gets.
    #[track_caller]
    fn shown(&self, login: &Value) -> u16 {
        let bearer = format!("Bearer {}", login["access_token"].as_str().expect("an access token"));
        Connection::open(self.address()).send(get("/ws_ticket", &[("Authorization", &bearer)])).response().status
    }

    #[track_caller]
    fn with_account() -> Machine {
        let machine = Machine::installed();
        machine.run_with_password(&block("account add ann@example.org"));
        machine
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.path("pid")) {
            kill9(pid.trim().parse().expect("a process id"));
        }
    }
}

/// The block of the machine's life with this text in it, which no other has.
#[track_caller]
fn block(text: &str) -> String {
    let document = document("docs/DEPLOYMENT.md");
    let (_, life) = document.split_once("\n## A machine's life\n").expect("the section is there");
    block_of(life.split_once("\n## ").expect("another follows").0, text)
}

/// The only block of a document, or of a part of one, with this text in it.
#[track_caller]
fn block_of(document: &str, text: &str) -> String {
    let mut found = blocks(document).into_iter().filter(|(_, block)| block.contains(text));
    match (found.next(), found.next()) {
        (Some((_, block)), None) => block,
        (None, _) => panic!("no block has {text:?}"),
        _ => panic!("several blocks have {text:?}"),
    }
}

#[test]
fn an_installed_service_is_well_and_its_accounts_can_log_in() {
    let machine = Machine::with_account();
    let said = machine.run(&block("systemctl status"));
    assert!(said.contains(r#"{"ready":true}"#) && said.contains("all is well"), "{said}");
    assert!(said.contains("ok: tokens are signed with EdDSA") && said.contains("holds 1 account"), "{said}");
    let (status, login) = machine.log_in();
    assert_eq!((status, login["chats"][0]["title"].as_str()), (200, Some("My project")));
}

#[test]
fn what_was_backed_up_is_there_again_with_its_keys() {
    let machine = Machine::with_account();
    let (_, login) = machine.log_in();
    machine.run(&block("propromo-chat backup"));
    let [backup] = &files_in(&machine.path("var/backups"))[..] else { panic!("one backup") };
    machine.run("propromo-chat --data-dir /var/lib/propromo-chat account remove ann@example.org --keep-messages");
    machine.run("propromo-chat keys ed25519 --dir /etc/propromo-chat --force; systemctl restart propromo-chat");
    assert_eq!((machine.log_in().0, machine.shown(&login)), (401, 401));
    let restore = block("systemctl stop propromo-chat.socket propromo-chat.service\nmv ");
    let named = restore.replace("propromo-chat-2026-01-02-0304", backup);
    assert_ne!(named, restore);
    machine.run(&named);
    assert_eq!((machine.log_in().0, machine.shown(&login)), (200, 200));
}

#[test]
fn a_new_key_ends_no_login_until_the_old_one_goes() {
    let machine = Machine::with_account();
    let (_, login) = machine.log_in();
    machine.run(&block("propromo-chat keys"));
    assert_eq!((machine.shown(&login), machine.shown(&machine.log_in().1)), (200, 200));
    machine.run(&block("rm /etc/systemd/system/propromo-chat.service.d/old-key.conf"));
    assert_eq!((machine.shown(&login), machine.shown(&machine.log_in().1)), (401, 200));
}

#[test]
fn an_upgrade_brings_the_new_server_and_keeps_the_rest() {
    let machine = Machine::with_account();
    let (_, login) = machine.log_in();
    let server = machine.path("usr/local/bin/propromo-chat");
    fs::remove_file(&server).expect("the old one");
    machine.run(&block("git pull"));
    assert!(server.is_file());
    // What `install.sh` does where systemd runs.
    machine.run("systemctl restart propromo-chat.service");
    assert_eq!((machine.log_in().0, machine.shown(&login)), (200, 200));
}

#[test]
fn the_journal_tells_how_often_who_was_refused_and_why() {
    let machine = Machine::installed();
    machine.run("echo LOG_FORMAT=json >>/etc/propromo-chat/env; systemctl restart propromo-chat");
    for _ in 0..3 {
        assert_eq!(machine.log_in().0, 401);
    }
    let said = machine.run(&block_of(&document("docs/OPERATIONS.md"), "journalctl -u propromo-chat"));
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["3", "127.0.0.1", "wrong_credentials"]);
}

#[test]
fn both_documents_ask_the_service_in_the_same_way_whether_it_is_well() {
    let asked = block_of(&document("docs/OPERATIONS.md"), "propromo-chat check");
    assert!(block("systemctl status").ends_with(&asked));
}
