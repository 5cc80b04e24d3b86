//! `talk` in a pipe.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};
use support::{ALICE, BOB, CAROL, DEMO, Person, Server, eventually, free_address, server::Setup};

/// A `talk` in a pipe. Dropping it kills it.
struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
    collectors: Vec<JoinHandle<()>>,
}

impl Piped {
    fn start(server: &Server, person: Person, room: &str, flags: &[&str]) -> Piped {
        let mut piped = Piped::spawn(talk(server.setup(), &server.address.to_string(), person, room, flags));
        piped.say(person.password);
        piped
    }

    fn spawn(mut command: Command) -> Piped {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary can be started");
        let (output, printing) = collect(child.stdout.take().expect("stdout is a pipe"));
        let (errors, warning) = collect(child.stderr.take().expect("stderr is a pipe"));
        Piped { input: child.stdin.take(), child, output, errors, collectors: vec![printing, warning] }
    }

    #[track_caller]
    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("the input is open");
        writeln!(input, "{line}").expect("the pipe is open");
    }

    /// What was said in the room, as far as it is printed: the texts, without time and name.
    fn texts(&self) -> Vec<String> {
        let output = self.output.lock().unwrap();
        output.lines().filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect()
    }

    #[track_caller]
    fn prints(&self, text: &str) {
        eventually(&format!("{text:?} is printed"), || self.texts().iter().any(|line| line == text));
    }

    #[track_caller]
    fn warns(&self, words: &str) {
        eventually(&format!("{words:?} is on standard error"), || self.errors.lock().unwrap().contains(words));
    }

    /// Ends the input and waits for the end.
    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        self.input = None;
        let mut status = None;
        let child = &mut self.child;
        eventually("talk ends", || {
            status = child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        self.collectors.drain(..).for_each(|collector| collector.join().expect("no collector panics"));
        status.expect("it has ended")
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn talk(setup: &Setup, url: &str, person: Person, room: &str, flags: &[&str]) -> Command {
    let arguments = [&["talk", url, person.email, room, "--password-stdin"], flags].concat();
    setup.command(&arguments)
}

fn collect(mut from: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = text.clone();
    let collector = thread::spawn(move || {
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = from.read(&mut part) {
            bytes.extend_from_slice(&part[..length]);
            *collected.lock().unwrap() = String::from_utf8_lossy(&bytes).into_owned();
        }
    });
    (text, collector)
}

/// All texts of a room, as another client has them from its history.
#[track_caller]
fn said_in(server: &Server, room: &str) -> Vec<String> {
    let mut client = server.join(BOB, room);
    let last = "that was all";
    client.say(last);
    let mut texts = Vec::new();
    loop {
        let said = client.hear_message();
        if said.text == last {
            return texts;
        }
        texts.push(said.text);
    }
}

#[test]
fn lines_of_a_pipe_are_said_in_their_order_and_confirmed_before_the_end() {
    let server = Server::start();
    let mut alice = Piped::start(&server, ALICE, DEMO, &[]);
    let lines: Vec<_> = (0..40).map(|n| format!("line {n}")).collect();
    lines.iter().for_each(|line| alice.say(line));
    assert!(alice.end().success(), "{}", alice.errors.lock().unwrap());
    assert_eq!(said_in(&server, DEMO), lines);
    assert_eq!(alice.texts(), lines);
}

#[test]
fn two_talks_hear_each_other() {
    let server = Server::start();
    let mut alice = Piped::start(&server, ALICE, DEMO, &[]);
    let mut bob = Piped::start(&server, BOB, DEMO, &[]);
    alice.say("hello bob");
    bob.prints("hello bob");
    bob.say("hello alice");
    alice.prints("hello alice");
    assert!(alice.end().success());
    assert!(bob.end().success());
}

#[test]
fn a_server_that_dies_and_comes_back_loses_and_doubles_nothing() {
    let mut server = Server::with().env("LISTEN", free_address().to_string()).start();
    let mut alice = Piped::start(&server, ALICE, DEMO, &[]);
    let bob = Piped::start(&server, BOB, DEMO, &[]);
    alice.say("before");
    bob.prints("before");
    let setup = server.setup().clone();
    // In the middle of a run, so that some are stored without being confirmed.
    let lines: Vec<_> = (0..50).map(|n| format!("line {n}")).collect();
    lines[..25].iter().for_each(|line| alice.say(line));
    bob.prints("line 3");
    server.kill9();
    alice.warns("offline");
    lines[25..].iter().for_each(|line| alice.say(line));
    let server = setup.start();
    assert!(alice.end().success(), "{}", alice.errors.lock().unwrap());
    bob.prints("line 49");
    let expected: Vec<_> = std::iter::once("before".to_owned()).chain(lines).collect();
    assert_eq!(bob.texts(), expected);
    assert_eq!(alice.texts(), expected);
    assert_eq!(said_in(&server, DEMO), expected);
}

#[test]
fn a_server_that_stays_away_ends_it_with_a_sentence() {
    let mut server = Server::start();
    let mut alice = Piped::start(&server, ALICE, DEMO, &["--patience", "8"]);
    alice.say("stored");
    alice.prints("stored");
    server.kill9();
    alice.warns("offline");
    alice.say("not stored");
    assert_eq!(alice.end().code(), Some(1));
    alice.warns("the server has not confirmed 1 message");
}

#[test]
fn a_wrong_password_is_told_by_the_server() {
    let server = Server::start();
    let person = Person { password: "wrong-password", ..ALICE };
    let mut alice = Piped::start(&server, person, DEMO, &[]);
    assert_eq!(alice.end().code(), Some(1));
    alice.warns("Email or password is wrong");
    assert!(!alice.errors.lock().unwrap().contains("wrong-password"));
    assert_eq!(*alice.output.lock().unwrap(), "");
}

#[test]
fn without_a_terminal_nobody_can_be_asked_for_a_password() {
    let setup = Server::with();
    let talk = setup.command(&["talk", "127.0.0.1:1", ALICE.email, DEMO]);
    // A session of its own has no terminal, wherever the tests run.
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(talk.get_program()).args(talk.get_args());
    let output = command.stdin(Stdio::null()).output().expect("setsid is part of every Linux");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no terminal to ask for the password; give it with --password-stdin"), "{said}");
}

#[test]
fn the_room_of_a_monitor_of_others_stays_shut() {
    let server = Server::start();
    let mut carol = Piped::start(&server, CAROL, DEMO, &[]);
    assert_eq!(carol.end().code(), Some(1));
    carol.warns("You have no access to this room.");
}

#[test]
fn a_room_that_does_not_exist_yet_begins_with_its_first_message() {
    let server = Server::start();
    let mut carol = Piped::start(&server, CAROL, "a new one/with a slash?", &[]);
    carol.say("first");
    assert!(carol.end().success());
    let mut bob = Piped::start(&server, BOB, "a new one/with a slash?", &[]);
    assert!(bob.end().success());
    assert_eq!(bob.texts(), ["first"]);
}

#[test]
fn no_server_is_a_failure_at_once() {
    let setup = Server::with();
    let output = setup.run_with_input(
        &["talk", "127.0.0.1:1", ALICE.email, DEMO, "--password-stdin"],
        &format!("{}\n", ALICE.password),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("can't be reached"));
}

#[test]
fn hostile_text_reaches_no_terminal() {
    let server = Server::start();
    server.join(BOB, DEMO).say_and_hear("\x1b[2J\x1b]0;x\x07 \u{202e}evil\u{9b}31m\r2026 bob: no\nbob: no");
    let mut alice = Piped::start(&server, ALICE, DEMO, &[]);
    assert!(alice.end().success());
    let output = alice.output.lock().unwrap().clone();
    assert!(!output.contains(|c: char| c != '\n' && c.is_control()), "{output:?}");
    assert!(!output.contains('\u{202e}'), "{output:?}");
    assert!(output.contains(r"\u{1b}[2J") && output.contains(r"\u{202e}evil"), "{output}");
    assert!(output.contains("\n    bob: no\n"), "{output}");
}

#[test]
fn a_message_that_is_too_long_costs_only_itself() {
    let server = Server::start();
    let mut alice = Piped::start(&server, ALICE, DEMO, &[]);
    alice.say("before");
    alice.say(&"x".repeat(20_000));
    alice.say("after");
    assert_eq!(alice.end().code(), Some(1));
    alice.warns("not delivered: “xxx");
    assert_eq!(said_in(&server, DEMO), ["before", "after"]);
}

#[test]
fn an_expired_login_is_renewed_in_a_pipe() {
    let mut server = Server::with().env("LISTEN", free_address().to_string()).start();
    let mut alice = Piped::start(&server, ALICE, DEMO, &[]);
    alice.say("one");
    alice.prints("one");
    server.kill9();
    // With other keys, no token of before is good any more: as if an hour had passed.
    let server =
        server.setup().clone().env("JWT_PRIVATE_KEY", "another secret of more than forty bytes, for tests").start();
    alice.say("two");
    assert!(alice.end().success(), "{}", alice.errors.lock().unwrap());
    assert_eq!(said_in(&server, DEMO), ["one", "two"]);
}

#[test]
fn each_line_of_a_pipe_is_a_message_whatever_it_looks_like() {
    let server = Server::start();
    let mut alice = Piped::start(&server, ALICE, DEMO, &[]);
    let lines = ["/quit", "/who", "//help", "/delete", "after"];
    // With a line that has nothing to say.
    ["/quit", "/who", "", "//help", "/delete", "after"].iter().for_each(|line| alice.say(line));
    assert!(alice.end().success(), "{}", alice.errors.lock().unwrap());
    assert_eq!(said_in(&server, DEMO), lines);
}

#[test]
fn a_name_that_is_nearly_a_rooms_begins_no_room_by_mistake() {
    let server = Server::start();
    let mut alice = Piped::spawn(talk(server.setup(), &server.address.to_string(), ALICE, "dmeo", &[]));
    // At once: it may have ended before a second line is written.
    alice.say(&format!("{}\nfor nobody", ALICE.password));
    alice.warns("did you mean “Demo”");
    assert_eq!(alice.end().code(), Some(2));
    let mut new = Piped::start(&server, ALICE, "dmeo", &["--new"]);
    new.say("on purpose");
    assert!(new.end().success());
    // There is such a room now, so nothing is a mistake.
    let mut again = Piped::start(&server, ALICE, "dmeo", &[]);
    again.say("once more");
    assert!(again.end().success(), "{}", again.errors.lock().unwrap());
    assert_eq!(again.texts(), ["on purpose", "once more"]);
    assert_eq!(said_in(&server, DEMO), [""; 0]);
}

#[test]
fn a_room_may_be_called_by_its_title() {
    let server = Server::start();
    let mut alice = Piped::start(&server, ALICE, "PROPROMO", &[]);
    alice.say("by its title");
    assert!(alice.end().success(), "{}", alice.errors.lock().unwrap());
    let hash = "$2y$12$abcdefghijklmnopqrstuv/wxyz.ABCDEFGHIJKLMNOPQRSTUVWX/12";
    let mut bob = Piped::start(&server, BOB, hash, &[]);
    assert!(bob.end().success(), "{}", bob.errors.lock().unwrap());
    assert_eq!(bob.texts(), ["by its title"]);
}
