//! Clients above the limit: told so at once, and closed without losing the answer; with TLS just closed.

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

/// How long the answer may take to be read before the connection is closed.
const HELD: Duration = Duration::from_secs(1);
/// Connections that are held meanwhile; more are closed at once.
const MAX_HELD: usize = 128;
/// Bytes that are taken from each at the end.
const MAX_DRAINED: usize = 64 * 1024;

/// What becomes of connections that are not served.
pub enum TurnedAway {
    /// They are answered 503, and held until that should be read. `None`: there is no thread to hold them.
    Told(Option<Sender<(TcpStream, Instant)>>),
    /// They are closed. Who comes to speak TLS could not read an answer in the clear, and a handshake, to answer it
    /// encrypted, is what there is no room for.
    Closed,
}

impl TurnedAway {
    /// Starts the thread that holds who was told; without one, connections are closed at once.
    pub fn told() -> TurnedAway {
        let (sender, held) = bounded(MAX_HELD);
        let thread = vital::spawn("turned-away", move || close(&held));
        if let Err(error) = &thread {
            tracing::warn!(%error, "no thread for clients above the limit; they may not see why they are closed");
        }
        TurnedAway::Told(thread.is_ok().then_some(sender))
    }

    /// Tells the client that the server is full. Never blocks.
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

    /// The same for a connection that can't be held: whoever sends first and reads later may miss the answer.
    pub fn at_once(&self, stream: &TcpStream) {
        if matches!(self, TurnedAway::Told(_)) && tell(stream).is_ok() {
            drain(stream);
        }
    }
}

/// Closes what is held, in the order of arrival. A request that arrives in a closed socket makes TCP reset it, and the
/// client lose the answer; so it is left open, closed for writing, for the time in which the request should be here.
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
    // Never blocks: the socket is non-blocking since it was told.
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
        // Sent after the answer, as a client that does not look would.
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 5\r\n") && answer.contains("\"overloaded\""), "{answer}");
    }
}
