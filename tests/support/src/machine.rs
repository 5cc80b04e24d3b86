//! What tests take of the machine that they run on: its time, and its ports.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

/// How long a test waits for what must happen before it fails. Long, since the machine may be busy: no test takes longer
/// for it, unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to start: one that was killed first reads what it had stored. Also, another test may have
/// taken its port in the meantime, until that test is over.
pub const START: Duration = Duration::from_secs(300);

/// An address at which nobody listens. Its port is none that the kernel picks for others (those are above 32,767, by
/// default), so that it stays free until it is used; 10,000 above, where a Redis of a cluster listens as well, is free too.
pub fn free_address() -> SocketAddr {
    loop {
        let port = 10_000 + rand::random::<u16>() % 12_000;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return (Ipv4Addr::LOCALHOST, port).into();
        }
    }
}
