//! How many rooms are looked at for one account that asks what is new everywhere.

use super::rate::KeyedRate;
use crate::{
    refusal::{Reason, Refusal},
    store::accounts::UserId,
};
use std::num::NonZeroU32;

/// Counts rooms by account, since an overview of many rooms costs as much as many of few.
pub struct OverviewLimit(KeyedRate);

impl OverviewLimit {
    /// `rate` is in rooms per minute; `None`: no limit.
    pub fn a_minute(rate: Option<NonZeroU32>) -> OverviewLimit {
        OverviewLimit(KeyedRate::a_minute(rate))
    }

    /// Counts an overview of so many rooms, or refuses it. One without rooms counts as one, and one of more rooms than a
    /// minute's as those.
    pub fn may_look(&self, account: UserId, rooms: usize) -> Result<(), Refusal> {
        self.0.check_several(&account, rooms.max(1)).map_err(|wait| {
            let sentence = "You ask for what is new in your rooms more often than this server allows; slow down.";
            Refusal::new(Reason::RateLimited, sentence).retry_after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overview_counts_for_each_of_its_rooms_and_the_largest_is_not_impossible() {
        let limit = OverviewLimit::a_minute(NonZeroU32::new(100));
        limit.may_look(UserId(1), 60).unwrap();
        let refusal = limit.may_look(UserId(1), 60).unwrap_err();
        assert!(refusal.retry_after.is_some_and(|wait| wait.as_secs() <= 12), "{refusal:?}");
        limit.may_look(UserId(1), 0).unwrap();
        limit.may_look(UserId(2), 1_000).unwrap();
        assert!(limit.may_look(UserId(2), 0).is_err());
        assert!((0..1000).all(|_| OverviewLimit::a_minute(None).may_look(UserId(1), 500).is_ok()));
    }
}
