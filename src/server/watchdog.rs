//! Messages to systemd, and the sign of life for its watchdog.

use super::accept::Heartbeat;
use crate::chat::Chat;
use sd_notify::NotifyState;
use std::sync::Arc;

/// Tells systemd's watchdog, twice in its interval (sd_watchdog_enabled(3)), that connections are accepted and messages
/// stored: from the accept loop, as long as the log thread makes progress. Otherwise systemd restarts the server.
pub fn heartbeat(chat: &Arc<Chat>) -> Option<Heartbeat> {
    let interval = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())?;
    let (chat, mut before) = (chat.clone(), None);
    let beat = move || {
        // One batch may take a while because of the store. The same one for half the interval means that it is stuck.
        let batch = chat.rooms.batch_in_work();
        if batch.is_some() && batch == before {
            tracing::error!("the log thread is stuck; systemd's watchdog will end this process");
        } else {
            tell_systemd(&[NotifyState::Watchdog]);
        }
        before = batch;
    };
    Some(Heartbeat { every: interval / 2, beat: Box::new(beat) })
}

/// Reports a state to systemd. Does nothing if systemd has not started the server.
pub fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "can't tell systemd about the server's state");
    }
}
