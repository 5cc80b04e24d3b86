//! The tutorial, done as it stands there, in an empty folder: only ports and the folder are others.

use rexpect::session::{PtySession, spawn_command};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use support::{
    PATIENCE, binary,
    documents::{blocks, document},
    eventually, free_address, repository,
};
use tempfile::TempDir;

/// Who follows the tutorial: a home, and what runs there. Dropping it ends that.
struct Reader {
    home: TempDir,
    proxy: SocketAddr,
    server: Option<(Child, SocketAddr)>,
}

impl Reader {
    fn new() -> Reader {
        Reader { home: tempfile::tempdir().expect("a home"), proxy: free_address(), server: None }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("chat")
    }

    /// A shell with nothing but what the tutorial has said so far, and a block that names this reader's ports.
    fn shell(&self, block: &str) -> Command {
        let mut text = block.replace("https://localhost:8443", &format!("https://localhost:{}", self.proxy.port()));
        if let Some((_, server)) = &self.server {
            text = text.replace("Caddyfile\"", &format!("Caddyfile\" | sed 's/127.0.0.1:1993/{server}/'"));
        }
        let programs = binary().parent().expect("a folder").display().to_string();
        let mut shell = Command::new("bash");
        shell.args(["-euc", &text]).env_clear().env("HOME", self.home.path()).env("TERM", "xterm");
        shell.env("PATH", format!("{programs}:/usr/local/bin:/usr/bin:/bin")).env("repository", repository());
        shell.current_dir(if self.folder().exists() { self.folder() } else { repository().to_owned() });
        shell
    }

    #[track_caller]
    fn run(&self, block: &str) -> String {
        let said = self.home.path().join("said");
        let file = fs::File::create(&said).expect("a file");
        // Not a pipe: what the block starts would keep that open.
        let mut shell = self.shell(block);
        shell.stdin(Stdio::null()).stderr(file.try_clone().expect("a descriptor")).stdout(file);
        let status = shell.status().expect("bash");
        let said = fs::read_to_string(said).expect("text");
        assert!(status.success(), "{block}\n{said}");
        said
    }

    #[track_caller]
    fn terminal(&self, block: &str) -> PtySession {
        spawn_command(self.shell(block), Some(PATIENCE.as_millis() as u64)).expect("a pseudo-terminal")
    }

    #[track_caller]
    fn serve(&mut self, block: &str) {
        let mut server = self.shell(&format!("exec {} --listen 127.0.0.1:0", block.trim()));
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("bash");
        let lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        let address =
            lines.map_while(Result::ok).find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
        self.server = Some((server, address.expect("it listens")));
    }

    /// `talk` as the tutorial has it, by somebody who is logged in.
    #[track_caller]
    fn talks(&self, block: &str, person: &str) -> PtySession {
        let mut session = self.terminal(&block.replace("ben@", &format!("{person}@")));
        session.exp_string("Password: ").expect("the password is asked");
        session.send_line(&format!("the password of {person}")).expect("the terminal takes input");
        session.exp_string("Our team> ").expect("the room is open");
        session
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some((server, _)) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        // Caddy has gone to the background; its folder is its own.
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = process.file_name().to_string_lossy().parse().ok();
            let in_folder = fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == self.folder());
            if let Some(pid) = pid.filter(|_| in_folder) {
                support::server::kill9(pid);
            }
        }
    }
}

#[test]
fn who_does_what_the_tutorial_says_talks_over_tls_with_another() {
    let text = document("docs/TUTORIAL.md");
    let blocks = blocks(&text);
    let find = |kind: &str, words: &str| {
        let found = blocks.iter().find(|(of, block)| *of == kind && block.contains(words));
        found.map(|(_, block)| block.clone()).unwrap_or_else(|| panic!("no block of {kind} with {words}"))
    };
    let mut reader = Reader::new();
    reader.run(&find("sh", "mkdir"));
    let mut accounts = reader.terminal(&find("sh", "account add"));
    for person in ["ann", "ben"] {
        for question in ["Password: ", "again: "] {
            accounts.exp_string(question).expect("the password is asked");
            accounts.send_line(&format!("the password of {person}")).expect("the terminal takes input");
        }
        accounts.exp_string(&format!("account {person}@example.org added")).expect("the account is made");
    }
    accounts.exp_eof().expect("the commands end");
    reader.serve(&find("sh start", "serve"));
    reader.run(&find("sh", "openssl"));
    reader.run(&find("sh", "caddy start"));
    let look = find("sh", "curl");
    assert_eq!(reader.run(&look).trim(), find("text", "ready").trim());

    let talk = find("sh by hand", "talk");
    let (_, talk) = talk.split_once('\n').expect("a line above it");
    let mut ann = reader.talks(talk, "ann");
    let mut ben = reader.talks(talk, "ben");
    ann.exp_string("Ben joined").expect("ann sees him come, by his name");
    ann.send_line("hello from ann").expect("the terminal takes input");
    ben.exp_string("hello from ann").expect("ben hears it");
    ben.send_line("hello from ben").expect("the terminal takes input");
    ann.exp_string("hello from ben").expect("ann hears it");
    for session in [&mut ann, &mut ben] {
        session.send_line("/quit").expect("the terminal takes input");
        session.exp_eof().expect("it ends");
    }
    let process = fs::read_to_string(reader.folder().join("caddy.pid")).expect("a process");
    let process = format!("/proc/{}", process.trim());
    assert!(Path::new(&process).exists());
    reader.run(&find("sh", "kill"));
    eventually("Caddy has ended", || {
        fs::read_to_string(format!("{process}/stat")).is_ok_and(|it| it.contains(") Z "))
            || !Path::new(&process).exists()
    });
    // The others set the search path, and a variable that is set here.
    let tried = ["mkdir", "account add", "serve", "openssl", "caddy start", "curl", "talk", "kill"];
    let others = ["export PATH=\"$PWD/target/demo:$PATH\"\n", "repository=$PWD\ncd ~/chat\n"];
    for (kind, block) in &blocks {
        let is_known = tried.iter().any(|words| block.contains(words)) || others.contains(&block.as_str());
        assert!(*kind == "text" || is_known, "nobody tries:\n{block}");
    }
}
