//! Clients above the limit: they are told at once, and closed without losing the answer. With TLS they are only closed.

use crate::{
    http::{
        answer::{self, Persistence},
        reply::Reply,
    },
    refusal::{Reason, Refusal},
    vital,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// How long the client has to read the answer before the connection is closed.
const HELD: Duration = Duration::from_secs(1);
/// How many connections are held meanwhile; more are closed at once.
const MAX_HELD: usize = 128;
/// How many bytes are read from each at the end, at most.
const MAX_DRAINED: usize = 64 * 1024;

/// What happens to connections that are not served.
pub enum TurnedAway {
    /// They get a 503, and are held until the client should have read it. `None` if there is no thread to hold them.
    Told(Option<Sender<(TcpStream, Instant)>>),
    /// They are closed. A client that expects TLS can't read a plain answer, and there is no room for a handshake to
    /// encrypt one.
    Closed,
}

impl TurnedAway {
    /// Starts the thread that holds connections. Without a thread, they are closed at once.
    pub fn told() -> TurnedAway {
        let (sender, held) = bounded(MAX_HELD);
        let thread = vital::spawn("turned-away", move || close(&held));
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread for clients above the limit; they may not see why they are closed");
        }
        TurnedAway::Told(thread.is_ok().then_some(sender))
    }

    /// Answers that the server is full. Never blocks.
    pub fn add(&self, stream: TcpStream) {
        let TurnedAway::Told(held) = self else { return };
        if tell(&stream).is_err() {
            return;
        }
        let due = Instant::now() + HELD;
        let refused = match held {
            Some(held) => held.try_send((stream, due)).err().map(|refused| refused.into_inner().0),
            None => Some(stream),
        };
        if let Some(stream) = refused {
            drain(&stream);
        }
    }

    /// The same for a connection that can't be held: a client that sends first and reads later may miss the answer.
    pub fn at_once(&self, stream: &TcpStream) {
        if matches!(self, TurnedAway::Told(_)) && tell(stream).is_ok() {
            drain(stream);
        }
    }
}

/// Closes held connections in the order of arrival. A request that arrives on a closed socket makes TCP reset it, and
/// the client loses the answer. So the socket stays open, closed for writing, until the request should have arrived.
fn close(held: &Receiver<(TcpStream, Instant)>) {
    for (stream, due) in held {
        vital::may_panic("turned-away");
        thread::sleep(due.saturating_duration_since(Instant::now()));
        drain(&stream);
    }
}

fn tell(mut stream: &TcpStream) -> io::Result<()> {
    let refusal = Refusal::from(Reason::Overloaded).retry_after(Duration::from_secs(5));
    stream.set_nonblocking(true)?;
    stream.write_all(&answer::encode(&Reply::from(refusal), Persistence::Closed, false))?;
    stream.shutdown(Shutdown::Write)
}

fn drain(stream: &TcpStream) {
    // Never blocks: the socket has been non-blocking since the answer.
    let _ = io::copy(&mut stream.take(MAX_DRAINED as u64), &mut io::sink());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::test_support::connected;

    #[test]
    fn a_client_that_is_turned_away_reads_why() {
        let turned_away = TurnedAway::told();
        let (mut client, server) = connected();
        turned_away.add(server);
        // Sent after the answer, as by a client that does not read first.
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 5\r\n") && answer.contains("\"overloaded\""), "{answer}");
    }
}
