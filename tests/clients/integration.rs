//! The examples of `docs/INTEGRATION.md`, run as they stand there by their own interpreters; only addresses and names of rooms
//! are others.

use serde_json::{Value, json};
use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};
use support::{
    ALICE, BOB, DEMO, PATIENCE, Server,
    api::MASTER,
    documents::{blocks, document},
    eventually, free_address,
    receiver::WEBHOOK_SECRET,
    repository,
    server::Setup,
};
use tempfile::TempDir;

/// The examples of a kind in a section.
fn examples(section: &str, kind: &str) -> Vec<String> {
    let text = document("docs/INTEGRATION.md");
    let part = text.split("\n## ").find(|part| part.starts_with(section)).expect("the section is there");
    blocks(part).into_iter().filter(|(of, _)| *of == kind).map(|(_, block)| block).collect()
}

#[track_caller]
fn example(section: &str, kind: &str) -> String {
    let [one] = <[String; 1]>::try_from(examples(section, kind)).expect("one example of its kind");
    one
}

/// A program that serves at an address. Killed when dropped.
struct Serving(Child);

impl Serving {
    #[track_caller]
    fn start(mut command: Command, address: SocketAddr) -> Serving {
        let serving =
            Serving(command.stdout(Stdio::null()).spawn().expect("it can be started: scripts/test installs it"));
        eventually("it listens", || TcpStream::connect(address).is_ok());
        serving
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a site would have in its environment.
fn with_chat(command: &mut Command, server: &str) {
    command.env("CHAT_URL", server).env("CHAT_KEY", MASTER).env("CHAT_WEBHOOK_SECRET", WEBHOOK_SECRET);
}

/// The Laravel site of the document, served by PHP.
struct Site {
    address: SocketAddr,
    folder: TempDir,
    _php: Serving,
}

impl Site {
    #[track_caller]
    fn start(address: SocketAddr, chat: SocketAddr) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("it can be written");
            path.display().to_string()
        };
        let page = example("A Laravel site", "html").replace("https://chat.example.org", &format!("http://{chat}"));
        let page = write("page.html", page.replace("my-project", DEMO));
        let routes = write("web.php", format!("<?php\n{}", example("A Laravel site", "php")));
        let hooks = write("api.php", format!("<?php\n{}", example("Push for a mobile app", "php")));
        let mut php = Command::new("php");
        php.args(["-S", &address.to_string()]).arg(repository().join("tests/clients/laravel/site.php"));
        php.env("ROUTES", format!("{routes}:{hooks}")).env("PAGE", page).env("PUSHED", folder.path().join("pushed"));
        php.env("PHP_CLI_SERVER_WORKERS", "4").stderr(Stdio::null());
        with_chat(&mut php, &format!("http://{chat}"));
        Site { address, _php: Serving::start(php, address), folder }
    }

    /// Account, sender and text of each push.
    fn pushed(&self) -> Vec<Value> {
        let pushed = fs::read_to_string(self.folder.path().join("pushed")).unwrap_or_default();
        pushed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// What stands in a page of the document after these steps in a browser.
#[track_caller]
fn browse(address: SocketAddr, user: Option<&str>, steps: &[[&str; 3]]) -> String {
    let order = json!({"url": format!("http://{address}/"), "user": user, "steps": steps});
    let mut node = Command::new("node");
    node.arg(repository().join("tests/clients/integration.mjs")).arg(order.to_string());
    let output = node.output().expect("node can be started: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn chat() -> Setup {
    Server::with_api().env("ORIGIN_ALLOWLIST", "127.0.0.1").env("WEBHOOK_EVENTS", "message.created")
}

/// Takes the password of an account away, as those have none that log in elsewhere.
fn without_password(server: &Server, email: &str) {
    let accounts = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the accounts");
    let changed = accounts.execute("UPDATE users SET password = '' WHERE email = ?1", [email]);
    assert_eq!(changed.expect("the account can be changed"), 1);
}

#[test]
fn a_user_of_a_laravel_site_who_has_no_password_talks_in_a_browser() {
    let server = chat().start();
    without_password(&server, ALICE.email);
    assert_eq!(server.log_in_as(ALICE.email, "").status, 400);
    let site = Site::start(free_address(), server.address);
    let mut bob = server.channel(BOB, DEMO);
    let waiting = thread::spawn(move || {
        let heard = bob.wait_for("message");
        bob.post("Hello, Alice!");
        heard
    });
    let steps = [
        ["see", "open", ""],
        ["fill", "Message", "I need no password."],
        ["click", "Send", ""],
        ["see", "I need no password.", ""],
        ["see", "Hello, Alice!", ""],
    ];
    let seen = browse(site.address, Some(ALICE.email), &steps);
    assert!(seen.contains("Alice Demo: I need no password.") && seen.contains("Bob Demo: Hello, Alice!"), "{seen}");
    let heard = waiting.join().expect("Bob hears her");
    assert_eq!((&heard["user"], &heard["text"]), (&json!(ALICE.email), &json!("I need no password.")));
}

#[test]
fn who_is_no_member_or_not_logged_in_is_told_so() {
    let server = chat().start();
    let site = Site::start(free_address(), server.address);
    let seen = browse(site.address, None, &[["see", "Unauthenticated.", ""]]);
    assert!(seen.contains("Unauthenticated."), "{seen}");
    let denied = "You have no access to this room";
    let seen = browse(site.address, Some(support::CAROL.email), &[["see", denied, ""]]);
    assert!(seen.contains(denied), "{seen}");
}

#[test]
fn who_was_not_connected_gets_a_push_once() {
    let address = free_address();
    let server = chat().webhooks_to(&format!("http://{address}/hooks/chat")).start();
    // The site is away at first: what was said meanwhile is not lost.
    let mut alice = server.channel(ALICE, DEMO);
    alice.post("Is anybody here?");
    let site = Site::start(address, server.address);
    eventually("Bob gets a push", || !site.pushed().is_empty());
    let _bob = server.join(BOB, DEMO);
    alice.post("You are!");
    server.channel(ALICE, "lobby").post("Nobody is a member here.");
    drop(alice);
    let present = || server.call("GET", "/api/v1/rooms/monitor%3Ademo/presence", None).text().to_owned();
    eventually("Alice has left", || !present().contains(ALICE.email));
    let carol = server.call("POST", "/api/v1/rooms/monitor%3Ademo/messages", Some(json!({"text": "Done."})));
    assert_eq!(carol.status, 201);
    eventually("Alice gets a push", || site.pushed().len() >= 2);
    let pushed = site.pushed();
    let [bobs, alices] = &pushed[..] else { panic!("{pushed:?}") };
    assert_eq!((&bobs[1], &bobs[2]), (&json!("Alice Demo"), &json!("Is anybody here?")));
    assert_eq!((&alices[1], &alices[2]), (&json!("bot:site"), &json!("Done.")));
    assert_ne!(bobs[0], alices[0], "another account");
}

#[test]
fn a_page_of_plain_javascript_logs_in_and_talks() {
    let server = chat().start();
    let page = example("A page of plain JavaScript", "html");
    let address = serve(page.replace("https://chat.example.org", &format!("http://{}", server.address)));
    let log_in = |password| [["fill", "Email", ALICE.email], ["fill", "Password", password], ["click", "Log in", ""]];
    let wrong = browse(address, None, &[&log_in("wrong")[..], &[["see", "password", ""]]].concat());
    assert!(wrong.contains("wrong"), "{wrong}");
    let mut bob = server.channel(BOB, "lobby");
    let talk = [["fill", "Message", "Hello!"], ["click", "Send", ""], ["see", "alice@propromo.example: Hello!", ""]];
    let seen = browse(address, None, &[&log_in(ALICE.password)[..], &talk[..]].concat());
    assert!(seen.contains("alice@propromo.example: Hello!"), "{seen}");
    assert_eq!(bob.wait_for("message")["text"], "Hello!");
}

/// Serves one page, whatever is asked for.
fn serve(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            // A browser's request fits.
            let _ = stream.read(&mut [0; 16 << 10]);
            let length = page.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = std::io::Write::write_all(&mut stream, format!("{head}{page}").as_bytes());
        }
    });
    address
}

#[test]
fn a_bot_in_python_answers_once() {
    let address = free_address();
    let server = chat().webhooks_to(&format!("http://{address}/")).start();
    let mut python = Command::new(repository().join("tests/clients/.venv/bin/python"));
    python.args(["-c", &example("A bot in Python", "python")]).env("PORT", address.port().to_string());
    python.stderr(Stdio::null());
    with_chat(&mut python, &format!("http://{}", server.address));
    let _bot = Serving::start(python, address);
    let mut alice = server.channel(ALICE, DEMO);
    alice.post("!ping");
    let answer = alice.wait_for("message");
    assert_eq!((&answer["text"], &answer["user"], &answer["bot"]), (&json!("pong"), &json!("bot:site"), &json!(true)));
    alice.post("thank you");
    assert!(alice.hear_all_up_to_now().iter().all(|frame| frame["text"] != "pong"), "it is answered once");
}

#[test]
fn github_reports_as_the_document_says() {
    let server = chat().env("GITHUB_WEBHOOK_SECRET", "It's a secret").start();
    let mut alice = server.channel(ALICE, DEMO);
    let commands = example("GitHub", "sh").replace("https://chat.example.org", &format!("http://{}", server.address));
    let mut bash = Command::new("bash");
    bash.args(["-euc", &commands.replace("my-project", DEMO)]).env("GITHUB_WEBHOOK_SECRET", "It's a secret");
    let output = bash.output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout), r#"{"said":true}"#);
    let heard = alice.wait_for("message");
    let text = heard["text"].as_str().expect("a text");
    assert!(document("docs/INTEGRATION.md").contains(text), "{text}");
    assert_eq!(heard["user"], "bot:github");
}

#[test]
fn the_key_is_made_and_used_as_the_document_says() {
    let block = examples("# Integration", "sh by hand").swap_remove(0);
    let [make, serve]: [&str; 2] = block.lines().collect::<Vec<_>>().try_into().expect("two commands");
    assert_eq!(serve, "propromo-chat serve --api-keys-file api-keys");
    let arguments = make.strip_prefix("(umask 077; propromo-chat ").and_then(|rest| rest.strip_suffix(" >api-keys)"));
    let arguments = arguments.expect("a file that only its owner may read");
    let setup = Server::with();
    let made = setup.run(&arguments.split(' ').collect::<Vec<_>>());
    assert!(made.status.success());
    let line = String::from_utf8(made.stdout).expect("text");
    let setup = setup.file("api-keys", &line);
    let path = setup.path("api-keys");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it can be made private");
    let server = setup.env("API_KEYS_FILE", path).start();
    let key = line.split_whitespace().last().expect("a secret");
    let token = json!({"user": ALICE.email});
    assert_eq!(support::api::call(server.address, key, "POST", "/api/v1/tokens", Some(token)).status, 201);
}

/// The class for PHP: its own tests, against the built server.
#[test]
fn the_client_for_php_works() {
    let server = Server::with_api().start();
    let mut php = Command::new("php");
    php.arg(repository().join("clients/php/tests/run.php")).arg(format!("http://{}", server.address)).arg(MASTER);
    let output = php.output().expect("php can be started: scripts/test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_example_is_run() {
    let text = document("docs/INTEGRATION.md");
    let kinds: Vec<&str> = blocks(&text).into_iter().map(|(kind, _)| kind).collect();
    let expected = ["sh by hand", "sh by hand", "php", "html", "php", "html", "python", "sh"];
    assert_eq!(kinds, expected, "a new example needs a test");
    assert!(Path::new(&repository().join("clients/php/README.md")).exists());
}
