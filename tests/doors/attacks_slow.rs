//! Attacks that hold connections: slow heads and bodies, silence, half-open handshakes, answers that nobody reads.

use rustix::process::{Resource, getrlimit};
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};
use support::{
    ALICE, Connection, DEMO, Server, attack::Chat, ends, eventually, http::get, raise_open_files, ws::handshake,
};

const CROWD: usize = 500;

/// Sends `begun` over many connections and then a byte a second over each, while a chat goes on, until the server has
/// ended them all.
#[track_caller]
fn drip(begun: &str) {
    raise_open_files();
    let server = Server::with().env("HEAD_DEADLINE", "3").start();
    let mut chat = Chat::start(&server);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| Connection::open(server.address)).collect();
    for connection in &mut crowd {
        connection.send(begun);
    }
    let mut second = Instant::now();
    eventually("the server loses its patience with all of them", || {
        chat.goes_on();
        if second.elapsed() >= Duration::from_secs(1) {
            second = Instant::now();
            // Fails once the server has reset it.
            crowd.retain_mut(|connection| connection.stream().write_all(b"x").is_ok());
        }
        crowd.is_empty()
    });
    chat.goes_on();
    assert_eq!(server.get("/").status, 200);
}

// Seen to fail with HEAD_DEADLINE=86400: no connection is ended.
#[test]
fn heads_of_one_byte_a_second_are_ended_while_the_chat_goes_on() {
    drip("GET / HTTP/1.1\r\nHost: chat.test\r\nX-Slow: ");
}

// Seen to fail with HEAD_DEADLINE=86400: no connection is ended.
#[test]
fn bodies_of_one_byte_a_second_are_ended_while_the_chat_goes_on() {
    drip("POST /login HTTP/1.1\r\nHost: chat.test\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{");
}

// Seen to fail with a pace that counts only the time since the last byte (`Pace::start` at each read).
#[test]
fn chunked_bodies_of_one_byte_a_second_are_ended_while_the_chat_goes_on() {
    drip("POST /login HTTP/1.1\r\nHost: chat.test\r\nTransfer-Encoding: chunked\r\n\r\nEA60\r\n");
}

// Seen to fail with IDLE_DEADLINE=86400: the connections stay, and with them their threads.
#[test]
fn connections_that_send_nothing_are_ended_and_leave_no_thread() {
    raise_open_files();
    let server = Server::with().env("IDLE_DEADLINE", "3").start();
    let mut chat = Chat::start(&server);
    let before = server.threads();
    let crowd: Vec<_> = (0..CROWD).map(|_| Connection::open(server.address)).collect();
    eventually("each has its thread", || server.threads() >= before + CROWD / 2);
    chat.goes_on();
    assert!(crowd.iter().all(|connection| ends(connection.stream())));
    // Warm threads are kept for a while.
    eventually("the threads are gone", || server.threads() < before + 100);
    chat.goes_on();
}

/// Connects as `attackers` do: half a handshake each. Ends early if the system allows no more.
fn half_open(address: SocketAddr, attackers: usize) -> Vec<TcpStream> {
    let whole = handshake("/chat/demo?auth=a.b.c", &[]);
    let half = &whole.as_bytes()[..whole.len() / 2];
    let open = |_| {
        let mut stream = TcpStream::connect(address).ok()?;
        // Above the limit it may be closed already.
        let _ = stream.write_all(half);
        Some(stream)
    };
    (0..attackers).map_while(open).collect()
}

// Seen to fail with MAX_CONNECTIONS=20000: as many threads as attackers.
#[test]
fn twenty_thousand_half_open_handshakes_take_no_more_than_their_share() {
    const MOST: usize = 1000;
    raise_open_files();
    let server = Server::with().env("MAX_CONNECTIONS", MOST.to_string()).env("HEAD_DEADLINE", "2").start();
    let mut chat = Chat::start(&server);
    let before = (server.threads(), server.memory());
    let descriptors = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    // Other tests of this file have their own crowds.
    let attackers = 20_000.min(descriptors.saturating_sub(4 * CROWD));
    let crowd = thread::scope(|scope| {
        let attack = scope.spawn(|| half_open(server.address, attackers));
        while !attack.is_finished() {
            chat.goes_on();
            // On a busy machine, threads whose place is free again have not all ended yet.
            assert!(server.threads() <= before.0 + MOST + MOST / 2, "{} threads", server.threads());
        }
        attack.join().expect("the attackers")
    });
    assert!(crowd.len() > MOST, "the system allows only {} attackers", crowd.len());
    assert!(server.memory() < before.1 + (100 << 20), "{} MiB", server.memory() >> 20);
    chat.goes_on();
    eventually("somebody else gets in though the attackers hold their ends open", || {
        let mut connection = server.connect();
        connection.send_what_fits(get("/", &[]));
        connection.try_response().is_ok_and(|answer| answer.status == 200)
    });
    drop(crowd);
    eventually("all is as before", || server.threads() < before.0 + 100);
    server.join(ALICE, DEMO).say_and_hear("in again");
}

// Seen to fail with SEND_STALL=86400: the flood's connection is never given up.
#[test]
fn a_flood_of_pipelined_requests_whose_answers_nobody_reads_is_cut() {
    let server = Server::with().env("SEND_STALL", "1").start();
    let mut chat = Chat::start(&server);
    let before = server.memory();
    let mut flood = TcpStream::connect(server.address).expect("a connection");
    flood.set_write_timeout(Some(Duration::from_millis(50))).expect("a write time-out");
    let requests = get("/", &[]).repeat(1000);
    eventually("the connection is cut", || {
        chat.goes_on();
        matches!(flood.write_all(requests.as_bytes()), Err(error) if !support::timed_out(&error))
    });
    assert!(server.memory() < before + (50 << 20), "{} MiB", server.memory() >> 20);
}
