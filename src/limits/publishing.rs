//! How much a backend may say with one key.

use super::rate::KeyedRate;
use crate::refusal::{Reason, Refusal};
use std::num::NonZeroU32;

/// How many seconds' worth may come at once.
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Counts messages and their changes by the name of a key.
pub struct PublishLimit(KeyedRate);

impl PublishLimit {
    /// `rate` is in messages per second; `None`: no limit.
    pub fn a_second(rate: Option<NonZeroU32>) -> PublishLimit {
        PublishLimit(KeyedRate::a_second(rate, BURST))
    }

    /// Counts a message or a change, or refuses it with the time after which one is allowed.
    pub fn check(&self, key: &str) -> Result<(), Refusal> {
        self.0.check(key).map_err(|wait| {
            let sentence = "This key publishes or changes more messages than PUBLISH_RATE allows; slow down.";
            Refusal::new(Reason::RateLimited, sentence).retry_after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_that_says_too_much_costs_no_other() {
        let limit = PublishLimit::a_second(NonZeroU32::new(2));
        let passed = (0..50).filter(|_| limit.check("busy").is_ok()).count();
        assert!((10..50).contains(&passed), "{passed}");
        assert!(limit.check("calm").is_ok());
        assert!((0..50).all(|_| PublishLimit::a_second(None).check("any").is_ok()));
    }
}
