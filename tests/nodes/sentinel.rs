//! A master, a replica, a sentinel: chat goes on after a failover, with all that was echoed before.

use crate::{crowd::Crowd, several::Nodes};
use std::sync::Mutex;
use support::redis::Watched;

const CROWD: Crowd = Crowd { rooms: 4, listeners: 12, senders: 4, messages: 2_000 };

#[test]
fn nothing_that_the_replica_has_is_lost_when_the_master_is_killed_and_comes_back_as_a_replica() {
    let mut watched = Watched::start();
    let nodes = Mutex::new(Nodes::start(2, &watched.url()));
    CROWD.talk(&nodes, 2, |progress| {
        progress.reaches(500);
        watched.bring_in_step();
        watched.master.kill();
        progress.meets_an_outage();
        watched.has_failed_over();
        // The new master takes no writes until somebody follows it.
        watched.master.run();
    });
}

#[test]
fn nothing_is_lost_when_a_failover_is_ordered() {
    let watched = Watched::start();
    let nodes = Mutex::new(Nodes::start(2, &watched.url()));
    CROWD.talk(&nodes, 2, |progress| {
        progress.reaches(500);
        watched.bring_in_step();
        watched.fail_over();
        watched.has_failed_over();
        watched.go_on();
    });
}
