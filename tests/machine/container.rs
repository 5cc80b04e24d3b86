//! The Dockerfile: its rules, and its image's root, run here without a container engine as a container would be.

use serde_json::json;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use support::{ALICE, Connection, Server, eventually, free_address, http::get, tls::Certified};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
/// The user of the Dockerfile and of scripts/rootfs.
const USER: &str = "10001";

/// One instruction of the Dockerfile, with the lines that continue it.
#[derive(Debug)]
struct Instruction {
    word: String,
    rest: String,
}

fn instructions() -> Vec<Instruction> {
    let text = fs::read_to_string(Path::new(REPOSITORY).join("Dockerfile")).expect("the Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (word, rest) = line.trim().split_once(' ').expect("an instruction and what it is about");
        Instruction { word: word.to_owned(), rest: rest.split_whitespace().collect::<Vec<_>>().join(" ") }
    };
    joined.lines().filter(|line| !line.trim().is_empty()).map(split).collect()
}

fn all<'a>(instructions: &'a [Instruction], word: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
    instructions.iter().filter(move |instruction| instruction.word == word).map(|instruction| &*instruction.rest)
}

/// The stage that becomes the image.
fn last_stage(instructions: &[Instruction]) -> &[Instruction] {
    let from = instructions.iter().rposition(|instruction| instruction.word == "FROM").expect("a stage");
    &instructions[from..]
}

#[test]
fn every_base_has_a_version() {
    for base in all(&instructions(), "FROM") {
        let image = base.split(' ').next().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(image == "scratch" || tag.is_some_and(|tag| tag != "latest"), "{base} (DL3006, DL3007)");
    }
}

#[test]
fn the_image_runs_nothing_while_it_is_made_and_holds_no_shell() {
    let instructions = instructions();
    let image = last_stage(&instructions);
    assert_eq!(image[0].rest, "scratch");
    assert_eq!(all(image, "RUN").count(), 0);
}

#[test]
fn the_image_is_not_roots() {
    let instructions = instructions();
    let user = all(last_stage(&instructions), "USER").next_back().expect("a user (DL3002)");
    assert_eq!(user, format!("{USER}:{USER}"), "a number: an orchestrator can't see whether a name is root's");
}

#[test]
fn commands_are_lists_of_words() {
    let instructions = instructions();
    let commands: Vec<_> = ["CMD", "ENTRYPOINT"].iter().flat_map(|word| all(&instructions, word)).collect();
    assert_eq!(commands.len(), 2);
    let health = all(&instructions, "HEALTHCHECK").collect::<Vec<_>>();
    assert_eq!(health.len(), 1, "one health check (DL3012)");
    let health = health[0].split_once("CMD ").expect("a command").1;
    for words in commands.into_iter().chain([health]) {
        assert!(serde_json::from_str::<Vec<String>>(words).is_ok(), "{words} (DL3025)");
    }
}

#[test]
fn the_other_rules_of_hadolint_hold() {
    let instructions = instructions();
    assert_eq!(all(&instructions, "ADD").count(), 0, "COPY copies, ADD does more (DL3020)");
    assert_eq!(all(&instructions, "MAINTAINER").count(), 0, "DL4000");
    let stages: Vec<_> = all(&instructions, "FROM").filter_map(|from| Some(from.split_once(" AS ")?.1)).collect();
    for copy in all(&instructions, "COPY") {
        let from = copy.split(' ').find_map(|word| word.strip_prefix("--from="));
        assert!(from.is_none_or(|from| stages.contains(&from)), "{copy} (DL3022)");
    }
    for directory in all(&instructions, "WORKDIR") {
        assert!(directory.starts_with('/'), "{directory} (DL3000)");
    }
    for run in all(&instructions, "RUN") {
        for word in ["sudo ", "cd ", "apt ", "apt-get ", "curl ", "wget ", " | "] {
            assert!(!run.contains(word), "{run} (DL3004, DL3003, DL3027, DL3008, DL4006: {word})");
        }
    }
    for variable in all(&instructions, "ENV").chain(all(&instructions, "ARG")) {
        for secret in ["KEY", "SECRET", "PASS", "TOKEN"] {
            assert!(!variable.contains(secret), "{variable}: an image keeps no secrets");
        }
    }
    assert!(all(&instructions, "EXPOSE").all(|port| port.parse::<u16>().is_ok()), "DL3011");
}

#[test]
fn secrets_and_builds_stay_out_of_the_build() {
    let ignored = fs::read_to_string(Path::new(REPOSITORY).join(".dockerignore")).expect("the .dockerignore");
    for name in [".git", "target", "data", "keys", ".env"] {
        assert!(ignored.lines().any(|line| line == name), "{name}");
    }
}

/// The image's root, made by the script that makes it in the Dockerfile.
fn root() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    // It has to be looked into by another user.
    open_to_all(dir.path());
    let mut script = Command::new(Path::new(REPOSITORY).join("scripts/rootfs"));
    let output = script.arg(env!("CARGO_BIN_EXE_propromo-chat")).arg(dir.path()).output().expect("the script runs");
    assert!(output.status.success(), "{output:?}");
    for given_by_the_engine in ["dev", "proc"] {
        fs::create_dir(dir.path().join(given_by_the_engine)).expect("a directory");
    }
    dir
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("permissions");
}

/// Runs the server in the image's root as `docker run --read-only` does: nothing else is there, nothing can be written
/// but the volume, and it is nobody in particular.
fn contained(root: &Path, volume: &Path, address: SocketAddr, arguments: &[&str]) -> Command {
    let script = r#"
        root=$1 volume=$2 user=$3
        shift 3
        mount --make-rprivate / &&
        mount --bind "$root" "$root" &&
        mount -o remount,bind,ro "$root" &&
        mount --rbind /dev "$root/dev" &&
        mount --rbind /proc "$root/proc" &&
        mount --bind "$volume" "$root/var/lib/propromo-chat" &&
        cd / &&
        exec chroot $user "$root" /usr/local/bin/propromo-chat "$@"
    "#;
    let mut command = Command::new("unshare");
    // Who is root becomes the image's user; who is not can't, and has no rights to lose.
    let user = if rustix::process::getuid().is_root() {
        format!("--userspec={USER}:{USER}")
    } else {
        command.args(["--user", "--map-root-user"]);
        String::new()
    };
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(root).arg(volume).arg(user).args(arguments).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    let instructions = instructions();
    let environment =
        all(&instructions, "ENV").flat_map(|line| line.split(' ')).filter_map(|pair| pair.split_once('='));
    // As a platform says where it wants the container to listen.
    command.envs(environment).env("PORT", address.port().to_string());
    command
}

struct Contained(Child);

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn volume() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    open_to_all(dir.path());
    dir
}

#[test]
fn the_images_root_is_enough_to_run_read_only_and_not_as_root() {
    let (root, volume, address) = (root(), volume(), free_address());
    let healthy = || {
        let output = contained(root.path(), volume.path(), address, &["health"]).output().expect("it runs");
        output.status.code()
    };
    assert_eq!(healthy(), Some(1), "nobody is there yet");
    // The image's own command, with what its first line adds to try it.
    let instructions = instructions();
    let words: Vec<String> = serde_json::from_str(all(&instructions, "CMD").next().expect("CMD")).expect("a list");
    assert_eq!(words, ["serve"]);
    let words: Vec<_> = words.iter().map(String::as_str).chain(["--demo"]).collect();
    let mut command = contained(root.path(), volume.path(), address, &words);
    let mut server = Contained(command.stdout(Stdio::null()).spawn().expect("unshare can be started"));
    eventually("it is healthy", || {
        assert!(server.0.try_wait().expect("it can be waited for").is_none(), "it ended");
        healthy() == Some(0)
    });
    let listening = fs::read_to_string(format!("/proc/{}/net/tcp", server.0.id())).expect("its sockets");
    assert!(listening.contains(&format!(" 00000000:{:04X} ", address.port())), "from outside: {listening}");
    let body = json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    let login = support::http::post("/login", "application/json", body);
    assert_eq!(Connection::open(address).send(login).response().status, 200);

    let proc = PathBuf::from(format!("/proc/{}", server.0.id()));
    let mounts = fs::read_to_string(proc.join("mountinfo")).expect("its mounts");
    let root_mount = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("its root");
    assert!(root_mount.split(' ').nth(5).is_some_and(|options| options.split(',').any(|o| o == "ro")), "{root_mount}");
    let status = fs::read_to_string(proc.join("status")).expect("its status");
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("its user");
    assert!(uids.split_whitespace().all(|uid| uid != "0"), "{uids}");
}

#[test]
fn the_images_root_holds_nothing_else_to_run() {
    let root = root();
    let mut programs = Vec::new();
    for dir in ["bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin"] {
        if root.path().join(dir).is_dir() {
            programs.extend(support::server::files_in(&root.path().join(dir)));
        }
    }
    assert_eq!(programs, ["propromo-chat"]);
}

#[test]
fn the_images_root_holds_every_licence() {
    let root = root();
    let read = |name| fs::read_to_string(root.path().join("usr/share/doc/propromo-chat").join(name)).expect(name);
    assert!(read("LICENSE").starts_with("MIT License"));
    let notices = read("THIRD-PARTY.md");
    assert!(notices.contains("\n- tungstenite ") && notices.matches("\n````text\n").count() > 50, "{notices:.1000}");
}

#[test]
fn health_asks_over_tls_and_on_the_admin_address_as_the_settings_say() {
    let setup = Server::with();
    let certified = Certified::make(&setup.path(""), "server");
    let (address, admin) = (free_address(), free_address());
    let encrypted = setup.clone().env("TLS_CERT", certified.certificate).env("TLS_KEY", certified.key);
    let encrypted = encrypted.env("LISTEN", address.to_string());
    let both = encrypted.clone().env("ADMIN_LISTEN", admin.to_string());
    let healthy = |arguments: &[&str], setup: &support::server::Setup| setup.run(arguments).status.code();
    {
        let _server = encrypted.clone().start();
        assert_eq!(healthy(&["health"], &encrypted), Some(0));
        eventually("it is ready", || healthy(&["health", "--ready"], &encrypted) == Some(0));
        assert_eq!(healthy(&["health"], &both), Some(1), "nobody is on the admin address");
    }
    let _server = both.clone().start();
    assert_eq!(healthy(&["health"], &both), Some(0));
    assert_eq!(healthy(&["health"], &encrypted), Some(0), "a load balancer asks where the doors are");
    assert_eq!(Connection::open(admin).send(get("/healthz", &[])).response().status, 200);
}
