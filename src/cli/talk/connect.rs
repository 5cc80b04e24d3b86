//! Connects to rooms, and asks for the list of rooms. Each attempt runs on a thread of its own, since DNS, certificates
//! and distant servers take time.

use super::{
    inbox::{Entered, Inbox},
    line::Line,
    rooms,
    session::{Denied, Session},
};
use rand::Rng;
use std::{sync::Arc, thread, time::Duration};
use zeroize::Zeroizing;

/// Tries once to open the room, from after the message `since`. With a password, logs in again first.
pub fn connect(
    session: Arc<Session>,
    room: &str,
    since: Option<String>,
    password: Option<Zeroizing<String>>,
    inbox: Inbox<Entered>,
) {
    let (room, at_home) = (room.to_owned(), inbox.clone());
    let started = thread::Builder::new().name("entry".into()).spawn(move || {
        let entered = match password.map(|password| session.renew(&password)) {
            Some(Err(denied)) => Entered::NoLogin(denied),
            Some(Ok(())) | None => Entered::Opened(Line::open(&session, &room, since.as_deref())),
        };
        inbox.send(entered);
    });
    if let Err(e) = started {
        at_home.send(Entered::Opened(Err(Denied::for_now(format!("no thread can be started: {e}")))));
    }
}

/// Asks for the account's rooms.
pub fn ask_for_rooms(session: Arc<Session>, inbox: Inbox<Entered>) {
    let at_home = inbox.clone();
    let asking = move || inbox.send(Entered::Rooms(rooms::rooms(&session)));
    if let Err(e) = thread::Builder::new().name("rooms".into()).spawn(asking) {
        at_home.send(Entered::Rooms(Err(Denied::for_now(format!("no thread can be started: {e}")))));
    }
}

/// The delay before the next attempt: random, so that not all clients return to a server at the same time, and twice as
/// long each time.
pub struct Backoff {
    attempts: u32,
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that was open this long was good, and the delays start over.
const SETTLED: Duration = Duration::from_secs(5);

impl Backoff {
    pub fn new() -> Backoff {
        Backoff { attempts: 0 }
    }

    pub fn was_open_for(&mut self, time: Duration) {
        if time >= SETTLED {
            self.attempts = 0;
        }
    }

    /// The next delay, at least as long as the server asks for.
    pub fn next(&mut self, wish: Duration) -> Duration {
        let most = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts += 1;
        wish + rand::rng().random_range(Duration::ZERO..=most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new();
        for most in [500, 1000, 2000, 4000] {
            assert!(backoff.next(Duration::ZERO) <= Duration::from_millis(most));
        }
        assert!((0..100).all(|_| backoff.next(Duration::ZERO) <= LONGEST));
        backoff.was_open_for(SETTLED);
        assert!(backoff.next(Duration::ZERO) <= FIRST);
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it() {
        assert!(Backoff::new().next(Duration::from_secs(60)) >= Duration::from_secs(60));
    }
}
