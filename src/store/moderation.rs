//! The rights of accounts in a room beyond reading: who moderates it, and who is muted there.

use super::{error::StoreError, user_id::UserId};
use crate::message::RoomName;

/// The rights of an account in a room, besides entering it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// May delete any message and mute members.
    pub moderator: bool,
    /// Muted until this Unix time in milliseconds; [`FOR_GOOD`]: until it is unmuted.
    pub muted_until: Option<u64>,
}

/// The end of a mute that never ends by itself: the greatest value of a signed column.
pub const FOR_GOOD: u64 = i64::MAX as u64;

/// Moderators and mutes. They are stored with the accounts, and removed with accounts and rooms.
///
/// Each change also changes the number of [`access_changes`](super::accounts::Accounts::access_changes), so every
/// server checks access again.
pub trait Moderation: Send + Sync {
    /// The rights of each account in the room, in the same order.
    fn rights(&self, asked: &[(UserId, &RoomName)]) -> Result<Vec<Rights>, StoreError>;

    /// Mutes an account in a room until this Unix time in milliseconds. Replaces an earlier mute. `false`: it is not
    /// muted, since it already is in `most` other rooms that are no monitor's.
    fn mute(&self, room: &RoomName, user: UserId, until: u64, most: Option<u64>) -> Result<bool, StoreError>;

    /// Unmutes an account. Returns whether it was muted.
    fn unmute(&self, room: &RoomName, user: UserId) -> Result<bool, StoreError>;

    /// Makes an account a moderator of a monitor's room, or ends that. `false` if it is so already, or if there is no
    /// such monitor.
    fn appoint(&self, monitor_hash: &str, user: UserId, moderator: bool) -> Result<bool, StoreError>;

    /// The email addresses of the moderators of a monitor's room, in alphabetical order.
    fn moderators(&self, monitor_hash: &str) -> Result<Vec<String>, StoreError>;
}

impl Rights {
    /// Made from columns.
    pub(super) fn of(moderator: Option<bool>, muted_until: Option<i64>) -> Rights {
        let muted_until = muted_until.map(|until| u64::try_from(until).unwrap_or(0));
        Rights { moderator: moderator.unwrap_or(false), muted_until }
    }
}
