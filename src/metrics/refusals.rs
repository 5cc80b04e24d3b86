//! The one way to report that something was refused.

use super::Metrics;
use crate::refusal::Refusal;
use std::net::IpAddr;

impl Metrics {
    /// Logs and counts a refusal, once, and gives what `answer` makes of it. `at` is the door or the endpoint's pattern,
    /// never the path, which may hold a token.
    pub fn refuse<T>(
        &self,
        refusal: Refusal,
        client: IpAddr,
        at: &'static str,
        answer: impl FnOnce(Refusal) -> T,
    ) -> T {
        tracing::info!(reason = refusal.reason.word(), client = %client.to_canonical(), at, "refused");
        self.refused(refusal.reason);
        answer(refusal)
    }
}
