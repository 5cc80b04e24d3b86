//! The one way to report that something was refused.

use super::{Metrics, refusal_log};
use crate::{refusal::Refusal, vital};
use std::{
    io,
    net::IpAddr,
    sync::{Arc, mpsc},
};

/// Logs an event that strangers can cause: as a line of its own, or only counted and summed up later.
macro_rules! tell {
    ($metrics:expr, $reason:expr, $client:expr, $($rest:tt)*) => {{
        let (reason, client) = ($reason, $client);
        if $metrics.tells_in_full(reason, client) {
            tracing::info!(reason, client = %client.to_canonical(), $($rest)*);
        } else {
            tracing::debug!(reason, client = %client.to_canonical(), $($rest)*);
        }
    }};
}
pub(crate) use tell;

impl Metrics {
    /// Logs and counts a refusal once, and returns what `answer` makes of it. `at` is the door or the pattern of the
    /// endpoint, never the path, which may hold a token.
    pub fn refuse<T>(
        &self,
        refusal: Refusal,
        client: IpAddr,
        at: &'static str,
        answer: impl FnOnce(Refusal) -> T,
    ) -> T {
        tell!(self, refusal.reason.word(), client, at, "refused");
        self.refused(refusal.reason);
        answer(refusal)
    }

    /// Whether a refusal gets a line of its own. Otherwise it is counted for the next sum.
    pub fn tells_in_full(&self, reason: &'static str, client: IpAddr) -> bool {
        let in_full = self.told.in_full(reason, client);
        if !in_full {
            self.refusals_summed.inc();
        }
        in_full
    }

    /// Logs how many refusals had no line of their own since the last call.
    pub fn tell_sums(&self) {
        for refusal_log::Sum { reason, client, count } in self.told.sums() {
            match client {
                Some(client) => tracing::info!(reason, %client, count, "refused as well"),
                None => tracing::info!(reason, client = "many others", count, "refused as well"),
            }
        }
    }

    /// Starts the thread that logs the sums. It ends when the returned value is dropped.
    pub fn tell_sums_regularly(self: &Arc<Metrics>) -> io::Result<mpsc::Sender<()>> {
        let (end, ended) = mpsc::channel();
        let metrics = self.clone();
        vital::spawn("refusals", move || {
            while ended.recv_timeout(refusal_log::EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                vital::may_panic("refusals");
                metrics.tell_sums();
            }
        })?;
        Ok(end)
    }
}
