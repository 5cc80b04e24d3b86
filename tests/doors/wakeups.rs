//! While many small rooms are busy, threads that read for them wait for their turn when they are woken (`SCHED_BATCH`).

use std::fs;
use support::{ALICE, Server, busy, channel::enter, eventually, faults::SMALL_JOURNAL};

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
    let server = Server::with().env("HANDSHAKE_RATE", "0").env("JOURNAL_MAX", SMALL_JOURNAL).start();
    let access = server.access(ALICE);
    let mut alone = enter(server.address, &access, "quiet");
    alone.post("to nobody");
    alone.post("to nobody again");
    assert_eq!(patient(&server), 0);

    let mut small = busy::many_rooms(server.address, &access, &server.data_dir());
    eventually("a thread waits for its turn", || patient(&server) > 0);

    small.iter_mut().for_each(|client| drop(client.post("one after the other")));
    eventually("no thread waits any more", || patient(&server) == 0);
}
