//! Closes a connection without losing its last answer.

use std::{
    io::Read,
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

/// How long a client may still send while its connection is being closed, so that it reads the answer before the end.
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes are read meanwhile at most.
const LINGER_BYTES: usize = 256 * 1024;

/// Closes a connection on which more input may be on its way (RFC 9112 §9.6). If it were closed with unread bytes, TCP
/// would reset it, and the client would lose the answer.
pub fn linger(mut stream: &TcpStream) {
    let until = Instant::now() + LINGER;
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut chunk = [0; 8 * 1024];
    let mut taken = 0;
    while taken < LINGER_BYTES {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(length) => taken += length,
        }
    }
}
