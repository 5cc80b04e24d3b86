//! The walk-throughs of `docs/DOORS.md` and the first steps of the README, run as they stand there; only the port is another,
//! and wscat stays for longer, since the machine may be busy.

use rexpect::session::spawn_command;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};
use support::{
    ALICE, BOB, Connection, DEMO, PATIENCE, Server, binary,
    documents::{blocks, document},
    http::post,
    repository,
    server::Setup,
};

#[test]
fn tickets() {
    walk(DOORS, "Tickets");
}

#[test]
fn two_steps() {
    walk(DOORS, "Two steps");
}

#[test]
fn streams() {
    walk(DOORS, "Streams");
}

#[test]
fn rooms() {
    walk(DOORS, "Rooms");
}

#[test]
fn the_first_steps() {
    walk("README.md", "Start it");
}

/// The block of this kind in the README that contains these words.
fn readme_block(kind: &str, words: &str) -> String {
    let text = document("README.md");
    let found = blocks(&text).into_iter().find(|(of, block)| *of == kind && block.contains(words));
    found.unwrap_or_else(|| panic!("the README has no block of {kind} with {words}")).1
}

#[test]
fn the_app_of_the_readme_connects() {
    let server = Server::start();
    let app = readme_block("js", "new WebSocket");
    assert!(app.lines().count() <= 10, "ten lines, says the README's promise");
    // Browsers have WebSocket; Node has it only since version 22.
    let ws = repository().join("tests/clients/node_modules/ws/wrapper.mjs");
    let app = format!(
        "import {{ WebSocket }} from {ws:?};\n{}\nsocket.addEventListener('message', ({{ data }}) => {{\n  \
         if (JSON.parse(data).text === 'hello from my app') process.exit(0);\n}});\n",
        app.replace("127.0.0.1:1993", &server.address.to_string())
    );
    let output = Command::new("node").args(["--input-type=module", "--eval", &app]).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from my app\n");
}

/// Where the shell finds programs, first of all the one that was built.
fn search_path() -> String {
    let program = binary();
    let folder = program.parent().expect("a folder").display();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

#[test]
fn a_backend_posts_as_the_readme_says() {
    let block = readme_block("sh by hand", "keys api");
    let [make, serve, post]: [&str; 3] = block.lines().collect::<Vec<_>>().try_into().expect("three commands");
    assert_eq!(serve, "propromo-chat serve --api-keys-file api-keys");

    let setup = Server::with();
    let mut shell = Command::new("bash");
    shell.args(["-euc", make]).current_dir(setup.path("")).env("PATH", search_path());
    assert!(shell.status().expect("bash").success());
    let path = setup.path("api-keys");
    assert_eq!(fs::metadata(&path).expect("the keys").permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&path).expect("the keys");
    let secret = key.split_whitespace().last().expect("a secret").to_owned();
    let server = setup.env("API_KEYS_FILE", path).start();
    let post = post.replace("127.0.0.1:1993", &server.address.to_string());
    let post = post.replace("SECRET", &secret).replace("my-project", "demo");
    let output = Command::new("bash").args(["-c", &format!("{post} -s")]).output().expect("bash");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer.starts_with("{\"id\":\""), "{answer}");
}

#[test]
fn a_room_and_a_person_are_added_as_the_readme_says() {
    let setup = Server::with();
    let block = readme_block("sh by hand", "account add");
    let (commands, serve) = block.trim().rsplit_once('\n').expect("several commands");
    assert_eq!(serve, "propromo-chat serve");
    let mut shell = Command::new("bash");
    shell.args(["-euc", commands]).current_dir(setup.path("")).env("PATH", search_path());
    let mut session = spawn_command(shell, Some(PATIENCE.as_millis() as u64)).expect("a pseudo-terminal");
    for question in ["Password: ", "again: "] {
        session.exp_string(question).expect("the password is asked");
        session.send_line("ann's own password").expect("the terminal takes input");
    }
    session.exp_eof().expect("the commands end");
    let server = setup.start();
    let body = r#"{"email":"ann@example.org","password":"ann's own password"}"#;
    let login = Connection::open(server.address).send(post("/login", "application/json", body)).response();
    assert_eq!((login.status, &login.json()["chats"][0]["monitor_hash"]), (200, &"my-project".into()));
}

#[test]
fn what_a_pipe_says_is_posted_a_limit_changed_and_a_backup_made_as_the_readme_says() {
    let serve = readme_block("sh by hand", "--message-rate");
    let words: Vec<_> = serve.split_whitespace().collect();
    let ["propromo-chat", "serve", flag, value] = words[..] else { panic!("{serve}") };
    let server = Server::with().flag(flag, value).start();
    server.logs(&[&format!("{flag} from flags")]);

    // An empty folder has nothing to make, which `make` says on standard error.
    let dir = tempfile::tempdir().expect("a directory for the shell");
    let mut shell = Command::new("bash");
    let talk = readme_block("sh by hand", "propromo-chat talk").replace("127.0.0.1:1993", &server.address.to_string());
    shell.args(["-euc", &talk]).current_dir(dir.path()).env("PATH", search_path());
    let mut session = spawn_command(shell, Some(PATIENCE.as_millis() as u64)).expect("a pseudo-terminal");
    session.exp_string("Password: ").expect("the password is asked");
    session.send_line("bob-password").expect("the terminal takes input");
    session.exp_eof().expect("all is said");
    let said = server.join(ALICE, DEMO).hear_message();
    assert!(said.email == BOB.email && said.text.starts_with("make: "), "{said:?}");

    let backup = readme_block("sh by hand", "propromo-chat backup").replace('~', &dir.path().display().to_string());
    let mut shell = Command::new("bash");
    shell.args(["-euc", &backup]).current_dir(server.setup().path("")).env("PATH", search_path());
    shell.env("DATA_DIR", server.data_dir());
    assert!(shell.stdout(Stdio::null()).status().expect("bash").success());
    assert!(dir.path().join("chat-backup/log.db").is_file());
}

#[test]
fn every_command_of_the_readme_is_tried() {
    let text = document("README.md");
    let here = ["TOKEN=", "account add", "talk", "keys api", "--message-rate", "backup"];
    // By tests/machine: documents.rs, deployment.rs, container.rs (as far as they can be without a compiler, root and a
    // container engine), and the tests themselves.
    let elsewhere = ["scripts/demo", "systemd/install.sh", "docker run", "scripts/test"];
    for (_, block) in blocks(&text).into_iter().filter(|(kind, _)| kind.starts_with("sh")) {
        assert!(here.iter().chain(&elsewhere).any(|words| block.contains(words)), "nobody tries:\n{block}");
    }
}

#[test]
fn every_section_is_walked() {
    let text = document(DOORS);
    let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, ["Tickets", "Two steps", "Streams", "Rooms"]);
}

const DOORS: &str = "docs/DOORS.md";

const END_OF_STEP: &str = "--- end of step ---";

/// Commands, and what they print.
#[derive(Default)]
struct Step {
    commands: String,
    expected: String,
}

/// Runs the blocks of one section in one shell, and compares what each prints.
#[track_caller]
fn walk(path: &str, section: &str) {
    let text = document(path);
    let section = text.split("\n## ").find_map(|part| part.strip_prefix(section)).expect("the section is there");
    let (setup, steps) = read(section);
    assert!(!steps.is_empty());
    let server = setup.start();
    let printed = run(&server, &steps);
    let printed: Vec<_> = printed.split(END_OF_STEP).collect();
    for (step, printed) in steps.iter().zip(&printed) {
        let (expected, printed) = (step.expected.trim(), printed.trim());
        let same = expected.lines().count() == printed.lines().count()
            && expected.lines().zip(printed.lines()).all(|(expected, line)| matches(expected, line));
        assert!(same, "\n{}\nshould print\n{expected}\nbut printed\n{printed}\n", step.commands);
    }
    assert_eq!(printed.len(), steps.len() + 1, "the shell ended early");
}

/// The settings in a section's start command, and its steps.
fn read(section: &str) -> (Setup, Vec<Step>) {
    let mut setup = Server::with();
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: String = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
        match kind {
            "sh start" => {
                let settings = block.trim().strip_suffix("propromo-chat serve --demo").expect("a start command");
                for setting in settings.split_whitespace() {
                    let (name, value) = setting.split_once('=').expect("NAME=value");
                    setup = setup.env(name, value);
                }
            }
            "sh by hand" | "js" => {}
            "sh" => steps.push(Step { commands: block, expected: String::new() }),
            "text" => steps.last_mut().expect("commands before what they print").expected = block,
            other => panic!("a block of an unknown kind: {other}"),
        }
    }
    (setup, steps)
}

fn run(server: &Server, steps: &[Step]) -> String {
    let wscat = repository().join("tests/clients/node_modules/.bin");
    assert!(wscat.join("wscat").exists(), "the walk-throughs need wscat: run scripts/test");
    let path = format!("{}:{}", wscat.display(), std::env::var("PATH").unwrap_or_default());
    let mut script = String::from("set -eu -o pipefail\n");
    for step in steps {
        let commands = step.commands.replace("127.0.0.1:1993", &server.address.to_string());
        script += &commands.replace("-w 2", "-w 6");
        script += &format!("echo; echo '{END_OF_STEP}'\n");
    }
    let dir = tempfile::tempdir().expect("a directory for what the shell writes");
    // Standard input stays open and empty, as a terminal's would: wscat leaves at its end.
    let mut shell = Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash can be started");
    let stdin = shell.stdin.take();
    let output = shell.wait_with_output().expect("what the shell prints");
    drop(stdin);
    String::from_utf8(output.stdout).expect("text")
}

/// Whether a line is as expected: `<id>`, `<time>`, `<seconds>` and `<token>` stand for any such thing.
fn matches(expected: &str, line: &str) -> bool {
    let Some(start) = expected.find('<') else { return expected == line };
    let Some(line) = line.strip_prefix(&expected[..start]) else { return false };
    let Some((name, expected)) = expected[start + 1..].split_once('>') else { return false };
    let belongs: fn(char) -> bool = match name {
        "id" => |c| c.is_ascii_hexdigit() || c == '-',
        "time" => |c| c.is_ascii_digit() || "TZ:.-+".contains(c),
        "seconds" => |c| c.is_ascii_digit(),
        "token" => |c| c.is_ascii_alphanumeric() || "-_.".contains(c),
        other => panic!("an unknown placeholder: <{other}>"),
    };
    let rest = line.trim_start_matches(belongs);
    rest.len() < line.len() && matches(expected, rest)
}
