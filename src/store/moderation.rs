//! What accounts may do in a room beyond reading along: who moderates it, and who is muted there.

use super::{error::StoreError, user_id::UserId};
use crate::message::RoomName;

/// What an account may do in a room, besides entering it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// May delete any message and mute members.
    pub moderator: bool,
    /// Says nothing until this Unix millisecond; [`FOR_GOOD`]: until it is unmuted.
    pub muted_until: Option<u64>,
}

/// The time of a mute that ends by itself never; as much as a signed column holds.
pub const FOR_GOOD: u64 = i64::MAX as u64;

/// Who moderates, and who is muted: kept with the accounts, and outlived by neither.
///
/// Each change makes the number of [`access_changes`](super::accounts::Accounts::access_changes) another one, so every
/// server looks again at who is connected to it.
pub trait Moderation: Send + Sync {
    /// What each of these accounts may do in the room, in the same order.
    fn rights(&self, asked: &[(UserId, &RoomName)]) -> Result<Vec<Rights>, StoreError>;

    /// Lets nobody hear an account in a room until this Unix millisecond, whatever was said of it before.
    fn mute(&self, room: &RoomName, user: UserId, until: u64) -> Result<(), StoreError>;

    /// Ends that; whether the account was muted.
    fn unmute(&self, room: &RoomName, user: UserId) -> Result<bool, StoreError>;

    /// Makes an account a moderator of a monitor's room, or one no longer; `false` if it is so already, or there is no such
    /// monitor.
    fn appoint(&self, monitor_hash: &str, user: UserId, moderator: bool) -> Result<bool, StoreError>;

    /// The email addresses of the moderators of a monitor's room, in alphabetical order.
    fn moderators(&self, monitor_hash: &str) -> Result<Vec<String>, StoreError>;
}

impl Rights {
    /// From columns.
    pub(super) fn of(moderator: Option<bool>, muted_until: Option<i64>) -> Rights {
        let muted_until = muted_until.map(|until| u64::try_from(until).unwrap_or(0));
        Rights { moderator: moderator.unwrap_or(false), muted_until }
    }
}
