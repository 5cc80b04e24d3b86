//! While many small rooms are busy, threads that read for them wait for their turn when they are woken (`SCHED_BATCH`).

mod common;

use common::{ALICE, Client, Server, eventually};
use rusqlite::{Connection, TransactionBehavior};
use std::fs;

/// One more than a small room may have.
const LARGE: usize = 17;
/// The policy's number in the kernel (sched(7)).
const SCHED_BATCH: &str = "3";

/// How many of the server's threads wait for their turn.
fn patient(server: &Server) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server's threads");
    // A thread may have ended meanwhile.
    let stats = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    // The 41st field is the policy, and the second, which may hold anything, stands in brackets (proc_pid_stat(5)).
    let policy = |stat: &str| stat.rsplit_once(')')?.1.split_whitespace().nth(41 - 3).map(str::to_owned);
    stats.filter(|stat| policy(stat).as_deref() == Some(SCHED_BATCH)).count()
}

#[test]
fn threads_of_small_rooms_wait_for_their_turn_while_many_are_busy() {
    let server = Server::with().env("HANDSHAKE_RATE", "0").start();
    let access = server.access(ALICE);
    let enter = |room: &str| {
        let ticket = server.get_with_bearer("/ws_ticket", &access).json();
        let ticket = ticket["ticket"].as_str().expect("a ticket");
        Client::open(server.address, &format!("/channel/{room}?ticket={ticket}"))
    };
    let mut large: Vec<Client> = (0..LARGE).map(|_| enter("large")).collect();
    let mut small: Vec<Client> = (0..8).map(|n| enter(&format!("small-{n}"))).collect();
    small.iter_mut().for_each(|client| drop(client.post("one room after the other")));
    assert_eq!(patient(&server), 0);

    {
        // What is said meanwhile is stored together, behind the first: that is for a large room, so the log thread waits
        // with it, and no client's.
        let mut log = Connection::open(server.data_dir().join("log.db")).expect("the log");
        let _writing = log.transaction_with_behavior(TransactionBehavior::Immediate).expect("the right to write");
        for client in large.iter_mut().take(1).chain(&mut small) {
            client.say("all at once");
            client.hear_all_up_to_now();
        }
    }
    small.iter_mut().for_each(|client| drop(client.wait_for("message")));
    small.iter_mut().for_each(|client| drop(client.post("at once after it")));
    eventually("a thread waits for its turn", || patient(&server) > 0);

    small.iter_mut().for_each(|client| drop(client.post("one after the other again")));
    eventually("no thread waits any more", || patient(&server) == 0);
}
