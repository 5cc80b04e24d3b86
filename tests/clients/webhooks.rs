//! Webhooks as others receive them: the public library for Python verifies what is sent, over plain HTTP and TLS.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};
use support::{ALICE, DEMO, PATIENCE, Server, receiver::WEBHOOK_SECRET, tls::Certified};

/// A program in another language that receives webhooks and prints a line of JSON for each. Killed when dropped.
struct Program {
    child: Child,
    lines: Receiver<Value>,
}

impl Program {
    #[track_caller]
    fn start(secret: &str, certified: Option<&Certified>) -> Program {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let mut command = Command::new(folder.join(".venv/bin/python"));
        command.arg(folder.join("webhook_receiver.py")).arg(secret);
        command.args(certified.iter().flat_map(|certified| [&certified.certificate, &certified.key]));
        let mut child =
            command.stdout(Stdio::piped()).spawn().expect("python can be started: scripts/test installs it");
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Fails when the test is over.
                let _ = tell.send(serde_json::from_str(&line).expect("a line of JSON"));
            }
        });
        Program { child, lines }
    }

    #[track_caller]
    fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("the program says something")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_public_library_verifies_what_is_sent() {
    let program = Program::start(WEBHOOK_SECRET, None);
    let url = format!("http://127.0.0.1:{}/", program.next()["port"]);
    let server = Server::with().webhooks_to(&url).env("WEBHOOK_EVENTS", "message.created,message.deleted").start();
    let mut alice = server.channel(ALICE, DEMO);
    let said = alice.post("Grüße, \"Welt\" 👋");
    let told = program.next();
    assert_eq!(told["event"]["type"], "message.created");
    assert_eq!((&told["event"]["data"]["id"], &told["event"]["data"]["text"]), (&said["id"], &said["text"]));
    alice.ask(json!({"type": "delete", "id": said["id"]}));
    let deleted = program.next();
    assert_eq!((&deleted["event"]["type"], &deleted["event"]["data"]["id"]), (&json!("message.deleted"), &said["id"]));
    assert_ne!(told["id"], deleted["id"]);
}

#[test]
fn another_secret_is_refused_by_it_and_either_of_two_is_taken() {
    let other = "whsec_c29tZSBvdGhlciBzZWNyZXQgb2YgMzIgYnl0ZXMhISE=";
    let program = Program::start(other, None);
    let url = format!("http://127.0.0.1:{}/", program.next()["port"]);
    let mut server = Server::with().webhooks_to(&url).env("WEBHOOK_EVENTS", "message.created").start();
    server.channel(ALICE, DEMO).post("hello");
    assert!(program.next()["refused"].is_string());
    server.terminate();
    let both = format!("{WEBHOOK_SECRET} {other}");
    let _server = server.setup().clone().env("WEBHOOK_SECRET", both).start();
    let mut told = program.next();
    while told["refused"].is_string() {
        told = program.next();
    }
    assert_eq!(told["event"]["data"]["text"], "hello");
}

#[test]
fn an_endpoint_with_a_certificate_that_this_machine_trusts_is_spoken_to_over_tls() {
    let setup = Server::with();
    let certified = Certified::make(&setup.path(""), "endpoint");
    let program = Program::start(WEBHOOK_SECRET, Some(&certified));
    let url = format!("https://localhost:{}/", program.next()["port"]);
    let setup = setup.webhooks_to(&url).env("WEBHOOK_EVENTS", "message.created");
    let mut stranger = setup.clone().start();
    stranger.channel(ALICE, DEMO).post("hello");
    stranger.logs(&["can't take events", "certificate"]);
    stranger.terminate();
    let _server = setup.env("SSL_CERT_FILE", certified.certificate).start();
    assert_eq!(program.next()["event"]["data"]["text"], "hello");
}
