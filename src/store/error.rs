//! Errors of stores.

use super::outage::KnownOutage;
use crate::refusal::{Reason, Refusal};
use std::{error::Error, time::Duration};

/// A store failed to do what was asked; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("the {store} can't {what}")]
pub struct StoreError {
    /// The name of the store: `account store`, `message log` or `token ledger`.
    pub store: &'static str,
    /// What failed, as a verb phrase.
    pub what: &'static str,
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// Whether it is the result of an outage that was logged when it began.
    pub fn is_known(&self) -> bool {
        self.source.is::<KnownOutage>()
    }

    /// Logs the consequence of this error, unless it is the result of an outage that was logged when it began.
    pub fn log(&self, consequence: &'static str) {
        let error: &dyn Error = self;
        if self.is_known() {
            tracing::debug!(error, "{consequence}");
        } else {
            tracing::warn!(error, "{consequence}");
        }
    }
}

/// The clocks of this machine and of the store are so far apart that neither can tell what has expired.
#[derive(Debug, thiserror::Error)]
#[error("its clock and this machine's are {} seconds apart; set them (`timedatectl` shows the machine's)", .0.as_secs())]
pub struct ClockSkew(pub Duration);

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        if error.source.is::<ClockSkew>() {
            error.log("nobody is let in while clocks are this far apart");
            return Refusal::from(Reason::ClockSkew).retry_after(Duration::from_secs(30));
        }
        error.log("a store can't be reached");
        Refusal::from(Reason::Unavailable).retry_after(Duration::from_secs(1))
    }
}
