//! Signals. SIGTERM and SIGINT: after `DRAIN_DELAY` the server accepts no new connections, closes every socket, and
//! ends, by default in less than ten seconds. SIGHUP: it reloads.

use super::{connection::Service, tls::Tls};
use crate::{chat::Chat, socket::close::Close, start_error::StartError, vital};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    iterator::Signals,
};
use std::{
    io::{self, IsTerminal, PipeReader, PipeWriter},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

/// The time after `SHUTDOWN_SPREAD` until the end, at most. With the default spread of five seconds the end comes after
/// eight. systemd and PROTOCOL.md section 9 allow ten, and storing what is left needs some of that.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long closing waits for messages on their way, as a part of `SHUTDOWN_SPREAD`: by default a second. If that is
/// not enough, a store hangs.
const SETTLE_PART: u32 = 5;
/// The least value of that wait.
const SETTLE_LEAST: Duration = Duration::from_secs(1);
/// How much of the spread each socket gets.
const SPREAD_EACH: Duration = Duration::from_millis(1);
/// How often the shutdown checks whether all are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Makes a stop signal: one end gives it, the other end receives it.
pub fn stop() -> io::Result<(Stopper, StopSignal)> {
    let (reader, writer) = io::pipe()?;
    Ok((Stopper(Arc::new(Mutex::new(Some(writer)))), StopSignal(reader)))
}

/// Gives the stop signal, once and for all.
#[derive(Clone)]
pub struct Stopper(Arc<Mutex<Option<PipeWriter>>>);

impl Stopper {
    /// Gives the signal; `false` if it was given before.
    pub fn stop(&self) -> bool {
        // The end of the pipe is a state that all readers see at any time; a byte would reach only one of them.
        self.0.lock().take().is_some()
    }
}

/// Receives the stop signal: readable, for `poll`, once it was given.
pub struct StopSignal(PipeReader);

impl StopSignal {
    pub fn try_clone(&self) -> io::Result<StopSignal> {
        self.0.try_clone().map(StopSignal)
    }

    /// Waits for the signal, but not longer than `time`. `true` if it was given.
    pub fn wait_for(&self, time: Duration) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        match Timespec::try_from(time) {
            Ok(time) => poll(&mut fds, Some(&time)).is_ok_and(|ready| ready > 0),
            Err(_) => false,
        }
    }
}

impl AsFd for StopSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives the stop signal `DRAIN_DELAY` after the first SIGTERM or SIGINT; the second one ends the process at once.
/// Calls `hangup` at each SIGHUP. On a terminal SIGHUP means that the terminal is gone, and stops the server too.
pub fn on_signals(stopper: Stopper, chat: Arc<Chat>, hangup: impl Fn() + Send + 'static) -> Result<(), StartError> {
    let failed = |error: io::Error| StartError(format!("can't watch for signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let on_terminal = io::stdin().is_terminal();
    let watch = move || {
        for signal in signals.forever() {
            vital::may_panic("signals");
            if signal == SIGHUP && !on_terminal {
                hangup();
                continue;
            }
            if chat.draining.swap(true, Ordering::Relaxed) {
                tracing::warn!("a second signal: ending at once");
                std::process::exit(128 + signal);
            }
            let delay = chat.config.drain_delay;
            tracing::info!(?delay, "shutting down; a second signal ends at once");
            let stopper = stopper.clone();
            let stop = move || {
                thread::sleep(delay);
                stopper.stop();
            };
            // This thread must receive the second signal meanwhile.
            if delay.is_zero() || vital::spawn("drain-delay", stop.clone()).is_err() {
                stop();
            }
        }
    };
    vital::spawn("signals", watch).map(drop).map_err(failed)
}

/// Makes a write past the limit for file sizes (`RLIMIT_FSIZE`) fail like a write to a full disk, instead of ending the
/// process.
pub fn outlive_large_files() -> Result<(), StartError> {
    let failed = |error: io::Error| StartError(format!("can't handle SIGXFSZ: {error}"));
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop).map_err(failed)
}

/// Ends all work in order: answers requests, closes sockets.
pub fn drain(chat: &Chat, services: &[Arc<Service>], tls: Option<&Tls>) {
    let (most, started) = (chat.config.shutdown_spread, Instant::now());
    services.iter().for_each(|service| service.stop());
    let open = chat.sessions.count();
    tracing::info!(sockets = open, "closing all sockets");
    // What was accepted from a client is echoed before its socket is closed.
    let mut settles = true;
    let patience = SETTLE_LEAST.max(most / SETTLE_PART);
    let mut settle = || settles = settles && chat.rooms.settle(None, Instant::now() + patience);
    chat.sessions.close_all(Close::SHUTDOWN, spread(open, most), &mut settle);
    // Once more for sockets that were being opened meanwhile; closing a socket twice changes nothing.
    chat.sessions.close_all(Close::SHUTDOWN, Duration::ZERO, &mut settle);
    let deadline = started + most + PATIENCE;
    let is_done = || chat.sessions.count() == 0 && services.iter().all(|service| service.in_flight() == 0);
    if !wait_until(is_done, deadline) {
        tracing::warn!(sockets = chat.sessions.count(), "some connections did not end in time; they are cut");
        chat.sessions.cut_all();
    }
    if let Some(tls) = tls {
        tls.finish(deadline);
    }
}

/// Over how long a time this many sockets are closed: if all clients came back at once, they would flood another
/// server.
fn spread(sockets: usize, most: Duration) -> Duration {
    SPREAD_EACH.saturating_mul(u32::try_from(sockets).unwrap_or(u32::MAX)).min(most)
}

fn wait_until(is_done: impl Fn() -> bool, deadline: Instant) -> bool {
    while !is_done() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_the_stop_whenever_they_listen() {
        let (stopper, early) = stop().unwrap();
        let late = early.try_clone().unwrap();
        assert!(!early.wait_for(Duration::ZERO));
        assert!(stopper.clone().stop());
        for signal in [early, late] {
            assert!(signal.wait_for(Duration::from_secs(60)));
        }
        assert!(!stopper.stop());
    }

    #[test]
    fn few_sockets_close_at_once_and_many_within_five_seconds() {
        let most = Duration::from_secs(5);
        assert_eq!(spread(0, most), Duration::ZERO);
        assert_eq!(spread(1_000, most), Duration::from_secs(1));
        assert_eq!(spread(10_000, most), most);
        assert_eq!(spread(usize::MAX, most), most);
    }

    #[test]
    fn what_does_not_end_is_waited_for_until_the_deadline_only() {
        assert!(wait_until(|| true, Instant::now()));
        assert!(!wait_until(|| false, Instant::now() + Duration::from_millis(5)));
    }
}
