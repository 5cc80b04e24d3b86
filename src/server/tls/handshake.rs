//! The TLS handshake: bounded in time like a request head, with a readable answer for clients that speak plain HTTP.

use crate::{
    config::Limits,
    http::{
        answer::{self, Persistence},
        reply::Reply,
    },
    refusal::{Reason, Refusal},
    server::linger::linger,
};
use rustls::{ServerConfig, ServerConnection};
use std::{
    io::{self, ErrorKind, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

/// The first byte of a TLS record with a handshake message (RFC 8446 §5.1).
pub const HANDSHAKE_RECORD: u8 = 22;

/// Why there is no connection.
pub enum End {
    /// The client is gone, or never sent anything.
    Quiet,
    Refused(String),
}

/// Does the handshake with a client, which must begin within `idle_http` and finish `head_deadline` later.
pub fn shake_hands(stream: &TcpStream, config: &Arc<ServerConfig>, limits: &Limits) -> Result<ServerConnection, End> {
    // On systems other than Linux the socket inherits this from the listener.
    let first = stream.set_nonblocking(false).and_then(|()| first_byte(stream, limits.idle_http));
    match first {
        Ok(Some(HANDSHAKE_RECORD)) => {}
        Ok(Some(b'A'..=b'Z')) => {
            answer_plainly(stream, limits);
            return Err(End::Refused("the client speaks plain HTTP".to_owned()));
        }
        Ok(Some(_)) => return Err(End::Refused("what the client says is no TLS".to_owned())),
        Ok(None) | Err(_) => return Err(End::Quiet),
    }
    let mut tls = ServerConnection::new(config.clone()).map_err(|error| End::Refused(error.to_string()))?;
    let deadline = Instant::now() + limits.head_deadline;
    loop {
        while tls.wants_write() {
            stream.set_write_timeout(Some(left(deadline)?)).map_err(|_| End::Quiet)?;
            again(tls.write_tls(&mut &*stream))?;
        }
        if !tls.is_handshaking() {
            return Ok(tls);
        }
        stream.set_read_timeout(Some(left(deadline)?)).map_err(|_| End::Quiet)?;
        if again(tls.read_tls(&mut &*stream))? == Some(0) {
            return Err(End::Quiet);
        }
        if let Err(error) = tls.process_new_packets() {
            // It holds the alert with the reason.
            let _ = tls.write_tls(&mut &*stream);
            linger(stream);
            return Err(End::Refused(error.to_string()));
        }
    }
}

fn first_byte(stream: &TcpStream, wait: Duration) -> io::Result<Option<u8>> {
    stream.set_read_timeout(Some(wait))?;
    let mut first = [0];
    loop {
        match stream.peek(&mut first) {
            Ok(length) => return Ok((length > 0).then_some(first[0])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn left(deadline: Instant) -> Result<Duration, End> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_slow()) } else { Ok(left) }
}

/// How much a read or write has moved; `None` if it should be tried again.
fn again(moved: io::Result<usize>) -> Result<Option<usize>, End> {
    match moved {
        Ok(moved) => Ok(Some(moved)),
        Err(error) => match error.kind() {
            ErrorKind::Interrupted => Ok(None),
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(too_slow()),
            _ => Err(End::Quiet),
        },
    }
}

fn too_slow() -> End {
    End::Refused("the handshake took too long".to_owned())
}

/// Answers a client that came with `http://` or `ws://`, in plain HTTP, with what to do.
fn answer_plainly(mut stream: &TcpStream, limits: &Limits) {
    let refusal = Refusal::new(Reason::BadRequest, "This port speaks TLS: use https:// or wss:// in the address.");
    let bytes = answer::encode(&Reply::from(refusal), Persistence::Closed, false);
    let told = stream.set_write_timeout(Some(limits.send_stall)).and_then(|()| stream.write_all(&bytes));
    if told.is_ok() {
        linger(stream);
    }
}
