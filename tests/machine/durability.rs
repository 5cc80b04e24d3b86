//! What an echo promises: with `DURABILITY=power` the disk was told before it. Needs `strace`.

use std::{
    fs,
    process::{Command, Stdio},
};
use support::{ALICE, DEMO, Server, eventually, faults::status};

const SAID: usize = 5;

/// How often a server tells its disk of its journal while [`SAID`] messages are said, one after the other.
fn syncs(durability: &str) -> usize {
    let server = Server::with().env("DURABILITY", durability).start();
    let mut alice = server.join(ALICE, DEMO);
    alice.say_and_hear("the first one makes the file");
    let trace = server.setup().path("trace");
    let pid = server.pid();
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-y", "-e", "trace=fdatasync", "-o"])
        .arg(&trace)
        .args(["-p", &pid.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace can be started");
    eventually("strace follows each thread", || {
        let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
        tasks.all(|task| {
            let id = task.expect("a thread").file_name().to_str().and_then(|id| id.parse().ok());
            id.and_then(|id| status(id, "TracerPid")).is_none_or(|tracer| tracer != 0)
        })
    });
    (0..SAID).for_each(|n| drop(alice.say_and_hear(&n.to_string())));
    // It lets go of the server, and writes all down, when it is asked to end.
    let asked = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    assert!(asked.expect("kill can be started").success());
    strace.wait().expect("strace ends");
    let trace = fs::read_to_string(trace).expect("the trace can be read");
    // On a busy machine a call may be on two lines, and the tables behind the journal are told something meanwhile.
    trace.lines().filter(|line| line.contains("fdatasync(") && line.contains(".journal>")).count()
}

#[test]
fn each_group_of_messages_is_told_to_the_disk_if_an_echo_is_to_outlive_a_power_failure() {
    assert_eq!(syncs("power"), SAID);
    assert_eq!(syncs("process"), 0);
}
