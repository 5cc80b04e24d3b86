//! Nobody keeps others from hearing what was said before, with however many connections.

use std::{
    io::Read,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use support::{
    ALICE, BOB, CAROL, Client, PATIENCE, Server, SetOnDrop,
    attack::without_message_rate,
    channel::{enter, ticket},
    eventually,
    ws::handshake,
};

const REPLAYS: usize = 100;
const MESSAGES: usize = 4_000;

/// Opens a path, and reads all that comes as fast as it can, without a look at it. Ends when all of it has come, or `over`.
fn replay(server: &Server, path: &str, over: &AtomicBool) {
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
    std::io::Write::write_all(&mut stream, handshake(path, &[]).as_bytes()).expect("a handshake");
    let mut some = vec![0; 64 << 10];
    let mut most = MESSAGES * 50;
    while !over.load(Ordering::Relaxed) && most > 0 {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => return,
            Ok(length) => most = most.saturating_sub(length),
        }
    }
}

// Seen to fail with any number of turns: nobody waits for one. Before there were turns joins took four seconds, and some were refused.
#[test]
fn a_hundred_replays_of_one_account_keep_nobody_from_reading() {
    let setup = without_message_rate().env("TICKET_RATE", "0").env("ADMIN_LISTEN", "127.0.0.1:0");
    let server = setup.start();
    let mut owner = server.channel(CAROL, "mine");
    let first = owner.post("the first")["id"].as_str().expect("an id").to_owned();
    for _ in 0..MESSAGES / 200 {
        (0..200).for_each(|_| owner.say("some more of what is said again and again"));
        (0..200).for_each(|_| _ = owner.wait_for("message"));
    }
    let access = server.access(CAROL);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = SetOnDrop(&over);
        for _ in 0..REPLAYS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let path = format!("/channel/mine?since={first}&ticket={}", ticket(server.address, &access));
                    replay(&server, &path, &over);
                }
            });
        }
        for n in 0..10 {
            eventually("many of them wait", || server.figure("propromo_chat_history_waiting_pages") >= 10.0);
            let mut alice = server.channel(ALICE, "garden");
            alice.post(&format!("hello {n}"));
        }
    });
    assert!(!server.log().contains("history can't be read"));
}

// Seen to fail with `catch_up` that waits for no turn: no page waits, however many inboxes are opened.
#[test]
fn a_crowd_of_inboxes_of_one_account_keeps_nobody_from_reading() {
    const ROOMS: usize = 30;
    let setup = without_message_rate().env("TICKET_RATE", "0").env("ADMIN_LISTEN", "127.0.0.1:0");
    let server = setup.start();
    let bobs = server.access(BOB);
    let long = "what is said in a room ".repeat(80);
    for room in 0..ROOMS {
        let mut bob = enter(server.address, &bobs, &format!("room-{room}"));
        (0..100).for_each(|_| bob.say(&long));
        (0..100).for_each(|_| _ = bob.wait_for("message"));
    }
    let accounts = rusqlite::Connection::open(server.data_dir().join("chat.db")).expect("the accounts");
    accounts.busy_timeout(PATIENCE).expect("a time-out");
    for room in 0..ROOMS {
        accounts
            .execute(
                "INSERT INTO reads SELECT id, ?1, X'018d00000000700080000000000000ff' FROM users WHERE email = ?2",
                (format!("channel:room-{room}"), CAROL.email),
            )
            .expect("she has read something there, long ago");
    }
    let access = server.access(CAROL);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = SetOnDrop(&over);
        for _ in 0..12 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let path = format!("/inbox?ticket={}", ticket(server.address, &access));
                    let Ok(Ok(mut inbox)) = Client::attempt(server.address, &path) else { continue };
                    inbox.wait_at_most(Duration::from_secs(1));
                    for _ in 0..ROOMS {
                        if over.load(Ordering::Relaxed) || inbox.try_hear().is_err() {
                            break;
                        }
                    }
                }
            });
        }
        for n in 0..5 {
            eventually("many of them wait", || server.figure("propromo_chat_history_waiting_pages") >= 3.0);
            let mut alice = server.channel(ALICE, "garden");
            alice.post(&format!("hello {n}"));
        }
    });
}
