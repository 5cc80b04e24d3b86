//! SIGTERM: clients are told, what was stored is kept, and the process ends by itself.

use rustix::process::Signal;
use std::net::TcpStream;
use support::{ALICE, BOB, DEMO, Server, eventually};

#[test]
fn every_client_is_closed_with_1001_and_the_process_exits_with_0() {
    let mut server = Server::start();
    let clients: Vec<_> = (0..20).map(|index| server.join([ALICE, BOB][index % 2], DEMO)).collect();
    server.signal(Signal::TERM);
    for mut client in clients {
        assert_eq!(client.close_code(), Some(1001));
    }
    assert_eq!(server.exited().code(), Some(0));
}

#[test]
fn an_interrupt_from_the_terminal_ends_it_as_well() {
    let mut server = Server::start();
    let mut client = server.join(ALICE, DEMO);
    server.signal(Signal::INT);
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(server.exited().code(), Some(0));
}

#[test]
fn clients_that_do_not_answer_hold_up_nothing() {
    let mut server = Server::start();
    let deaf = [server.join(ALICE, DEMO), server.join(BOB, DEMO)];
    let silent = server.connect();
    assert_eq!(server.terminate().code(), Some(0));
    drop((deaf, silent));
}

#[test]
fn no_new_connections_are_taken_while_it_ends() {
    let mut server = Server::start();
    // One that never answers its close frame, so that there is something to wait for.
    let _deaf = server.join(ALICE, DEMO);
    server.signal(Signal::TERM);
    eventually("a newcomer finds nobody", || TcpStream::connect(server.address).is_err());
    assert_eq!(server.exited().code(), Some(0));
}

#[test]
fn a_server_that_drains_is_not_ready_and_serves_everything() {
    let mut server = Server::with().env("DRAIN_DELAY", "15s").start();
    eventually("it is ready", || server.get("/readyz").status == 200);
    server.signal(Signal::TERM);
    eventually("it is not ready", || server.get("/readyz").status == 503);
    assert_eq!(server.get("/readyz").json(), serde_json::json!({"ready": false, "draining": true}));
    let mut alice = server.join(ALICE, DEMO);
    alice.say("still here");
    assert!(alice.hear().contains("still here"));
    assert_eq!(alice.close_code(), Some(1001));
    assert_eq!(server.exited().code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_server_that_drains() {
    let mut server = Server::with().env("DRAIN_DELAY", "60s").start();
    server.signal(Signal::TERM);
    eventually("it drains", || server.get("/readyz").status == 503);
    server.signal(Signal::TERM);
    assert_eq!(server.exited().code(), Some(128 + 15));
}

#[test]
fn every_echoed_message_is_kept() {
    let mut server = Server::with().env("MESSAGE_RATE", "0").env("HISTORY_ON_JOIN", "0").start();
    let mut alice = server.join(ALICE, DEMO);
    let mut echoed = Vec::new();
    for number in 0..10_000 {
        if alice.try_say(number.to_string()).is_err() {
            break;
        }
        // Some are always on their way when the end comes.
        if number >= 16 {
            let Ok(text) = alice.try_hear() else { break };
            echoed.push(support::ws::said(&text).expect("a message"));
        }
        if number == 500 {
            server.signal(Signal::TERM);
        }
    }
    let (rest, _) = alice.hear_to_the_end();
    echoed.extend(rest.iter().filter_map(|text| support::ws::said(text)));
    assert!(server.exited().success());
    assert!(echoed.len() > 400);
    let server = server.setup().clone().env("HISTORY_ON_JOIN", "10000").start();
    let mut bob = server.join(BOB, DEMO);
    for said in echoed {
        assert_eq!(bob.hear_message(), said);
    }
}

#[test]
fn a_request_on_its_way_is_answered() {
    let mut server = Server::start();
    let body = serde_json::json!({"email": ALICE.email, "password": ALICE.password}).to_string();
    let mut connection = server.connect();
    let request = support::http::post("/login", "application/json", body);
    connection.send(&request[..request.len() - 1]);
    // Answering another request shows that this one has been taken up.
    assert_eq!(server.get("/").status, 200);
    server.signal(Signal::TERM);
    connection.send(&request[request.len() - 1..]);
    assert_eq!(connection.response().status, 200);
    assert_eq!(server.exited().code(), Some(0));
}
