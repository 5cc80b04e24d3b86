//! Clients that others have written: wscat, Node's `ws`, Python's `websockets` and `websocket-client`, a browser, gorilla's
//! handshake.
//!
//! The programs in `tests/clients` take an order as JSON and print what happens, one JSON value a line.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};
use support::{
    ALICE, Client, Connection, HASHED_SEGMENT, PATIENCE, Server,
    ws::{KEY, said},
};

/// The server's choice of a protocol, what was heard, and how it ended.
struct Heard {
    protocol: String,
    texts: Vec<String>,
    closed: Option<u64>,
    refused: Option<u64>,
}

#[derive(Clone, Copy)]
enum Program {
    NodeWs,
    PythonWebsockets,
    PythonWebsocketClient,
    Browser,
}

impl Program {
    fn command(self) -> Command {
        let (interpreter, file) = match self {
            Program::NodeWs => (PathBuf::from("node"), "node_ws.mjs"),
            Program::PythonWebsockets => (installed(".venv/bin/python"), "python_websockets.py"),
            Program::PythonWebsocketClient => (installed(".venv/bin/python"), "python_websocket_client.py"),
            Program::Browser => ("node".into(), "browser.mjs"),
        };
        let mut command = Command::new(interpreter);
        command.arg(folder().join(file));
        command
    }

    /// Opens `path`, says `say`, hears so many texts, and closes.
    #[track_caller]
    fn talks(
        self,
        server: &Server,
        path: &str,
        protocols: &[&str],
        headers: Value,
        say: &[&str],
        hear: usize,
    ) -> Heard {
        let url = format!("ws://{}{path}", server.address);
        let order = json!({"url": url, "protocols": protocols, "headers": headers, "say": say, "hear": hear});
        let output = self.command().arg(order.to_string()).output().expect("the client can be started");
        let printed = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let of = |name: &str| lines.iter().filter_map(|line| line.get(name)).cloned().collect::<Vec<_>>();
        assert!(of("binary").is_empty(), "a text came as binary");
        Heard {
            protocol: of("protocol").first().and_then(|name| name.as_str()).unwrap_or_default().to_owned(),
            texts: of("text").iter().map(|text| text.as_str().expect("text").to_owned()).collect(),
            closed: of("closed").first().and_then(Value::as_u64),
            refused: of("refused").first().and_then(Value::as_u64),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Something that `scripts/test` puts beside the programs.
#[track_caller]
fn installed(path: &str) -> PathBuf {
    let path = folder().join(path);
    assert!(path.exists(), "{} is missing: run scripts/test", path.display());
    path
}

/// Talks at the Propromo door and at a channel, with the token as bare subprotocol.
#[track_caller]
fn talks_with_a_subprotocol_token(program: Program) {
    let server = Server::start();
    let token = server.token(ALICE);
    let heard =
        program.talks(&server, &format!("/chat/{HASHED_SEGMENT}"), &[&token], json!({}), &["héllo 😀", "again"], 2);
    assert_eq!(heard.protocol, token);
    let texts: Vec<_> = heard.texts.iter().map(|text| said(text).expect("a message").text).collect();
    assert_eq!(texts, ["héllo 😀", "again"]);
    assert_eq!(heard.closed, Some(1000));

    let marked = format!("bearer.{}", server.ticket(ALICE));
    let frame = json!({"type": "message", "text": "hello", "ref": "r"}).to_string();
    let heard = program.talks(&server, "/channel/garden", &["propromo.chat", &marked], json!({}), &[&frame], 2);
    assert_eq!(heard.protocol, "propromo.chat");
    let types: Vec<Value> =
        heard.texts.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON")["type"].clone()).collect();
    assert_eq!(types, ["message", "ack"]);
}

/// Talks with tokens in query and header, and is told when it may not.
#[track_caller]
fn talks_without_subprotocols(program: Program) {
    let server = Server::start();
    let path = format!("/chat/demo?auth={}", server.token(ALICE));
    let heard = program.talks(&server, &path, &[], json!({}), &["hello"], 1);
    assert_eq!((heard.protocol.as_str(), heard.texts.len(), heard.closed), ("", 1, Some(1000)));
    assert_eq!(program.talks(&server, &path, &[], json!({}), &["hello"], 1).refused, Some(403));
    let bearer = json!({"Authorization": format!("Bearer {}", server.ticket(ALICE))});
    let heard = program.talks(&server, "/channel/", &[], bearer, &["hello"], 1);
    assert!(heard.texts[0].contains(r#""room":"lobby""#), "{}", heard.texts[0]);
}

#[test]
fn node_ws() {
    installed("node_modules/ws");
    talks_with_a_subprotocol_token(Program::NodeWs);
    talks_without_subprotocols(Program::NodeWs);
}

#[test]
fn python_websockets() {
    talks_with_a_subprotocol_token(Program::PythonWebsockets);
    talks_without_subprotocols(Program::PythonWebsockets);
}

#[test]
fn python_websocket_client() {
    // As subprotocol it tells its user the token in lower case, and is no use for comparing.
    talks_without_subprotocols(Program::PythonWebsocketClient);
}

#[test]
fn a_browser() {
    installed("../page/node_modules/playwright-core");
    talks_with_a_subprotocol_token(Program::Browser);
}

/// The hook `use-websocket-lite` opens a socket with the name of a protocol, sends its `initPayload` first, and takes what
/// it hears for JSON, else for text.
#[test]
fn a_page_with_use_websocket_lite() {
    installed("../page/node_modules/playwright-core");
    let server = Server::start();
    let path = format!("/channel/garden?token={}", server.first_step(ALICE));
    let payload = json!({"type": "jwt", "token": server.access(ALICE)}).to_string();
    let message = json!({"type": "message", "text": "hello", "ref": "r"}).to_string();
    let heard = Program::Browser.talks(&server, &path, &["chat"], json!({}), &[&payload, &message], 3);
    assert_eq!((heard.protocol.as_str(), heard.texts[0].as_str()), ("chat", "authentication successful"));
    let types: Vec<Value> = heard.texts[1..]
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).expect("JSON")["type"].clone())
        .collect();
    assert_eq!(types, ["message", "ack"]);
    assert_eq!(heard.closed, Some(1000));
}

/// Runs wscat as at a terminal: says each of `say` when the one before it came back.
#[track_caller]
fn wscat(arguments: &[&str], say: &[&str]) -> Vec<String> {
    let mut wscat = Command::new(installed("node_modules/.bin/wscat"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("wscat can be started");
    let mut stdin = wscat.stdin.take().expect("stdin is a pipe");
    let stdout = BufReader::new(wscat.stdout.take().expect("stdout is a pipe"));
    let (line, lines) = mpsc::channel();
    // It prints its prompt even where nobody sees it.
    let without_prompt = |text: String| text.trim_start_matches("> ").to_owned();
    thread::spawn(move || {
        stdout.lines().map_while(Result::ok).map(without_prompt).for_each(|text| drop(line.send(text)));
    });
    // wscat shows no sign of being connected unless it is at a terminal: here it is what it hears first.
    let mut heard = vec![lines.recv_timeout(PATIENCE).expect("what was said before")];
    for text in say {
        writeln!(stdin, "{text}").expect("wscat reads its input");
        heard.push(lines.recv_timeout(PATIENCE).expect("an echo"));
    }
    drop(stdin);
    assert!(wscat.wait().expect("wscat ends").success());
    heard
}

#[test]
fn wscat_with_its_token_in_the_address() {
    let server = Server::start();
    server.join(ALICE, "demo").say_and_hear("before");
    let url = format!("ws://{}/chat/demo?auth={}", server.address, server.token(ALICE));
    let heard = wscat(&["-c", &url], &["hello", r#"propromo.chat({event:"ping",action:"pong"})"#]);
    assert_eq!([0, 1].map(|at| said(&heard[at]).expect("a message").text), ["before", "hello"]);
    assert_eq!(heard[2], "pong");
}

#[test]
fn wscat_with_its_token_as_subprotocol() {
    let server = Server::start();
    server.join(ALICE, "demo").say_and_hear("before");
    let url = format!("ws://{}", server.address);
    let heard = wscat(&["-c", &format!("{url}/chat/demo"), "-s", &server.token(ALICE)], &["hello"]);
    assert_eq!(said(&heard[1]).expect("a message").text, "hello");
    let heard = wscat(
        &["-c", &format!("{url}/channel/demo"), "-s", &server.ticket(ALICE), "-x", r#"{"type":"ping"}"#, "-w", "6"],
        &[],
    );
    assert!(heard[0].contains(r#""text":"before""#), "{heard:?}");
}

#[test]
fn gorillas_handshake() {
    let server = Server::start();
    for (path, name) in [("/chat/demo", "Sec-WebSocket-Protocol"), ("/channel/garden", "Sec-Websocket-Protocol")] {
        let token = if path == "/chat/demo" { server.token(ALICE) } else { server.ticket(ALICE) };
        // As Go's net/http writes what gorilla's Dialer puts together: headers in alphabetical order.
        let handshake = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\n{name}: {token}\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n",
            server.address
        );
        let mut connection = Connection::open(server.address);
        connection.send(handshake);
        let Ok(mut client) = Client::opened(connection) else { panic!("refused at {path}") };
        assert_eq!(client.opened.header("sec-websocket-protocol"), Some(token.as_str()));
        client.say("hello");
        assert!(client.hear().contains(r#""text":"hello""#));
    }
}
