//! How far what was stored has been told to a program outside, by one process at a time.

use super::error::StoreError;
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
};
use std::time::Duration;

/// For how long a process leads that was told so.
pub const LEASE: Duration = Duration::from_secs(15);

/// A position in each room's log: what stands before it was told. It only moves forward, and outlives the process.
///
/// What was stored before there was any position is not told.
pub trait Outbox: Send + Sync {
    /// Whether this process is the one that tells, for [`LEASE`] from now on. To be asked again before that is over.
    fn lead(&self) -> Result<bool, StoreError>;

    /// Lets another process lead.
    fn resign(&self) -> Result<(), StoreError>;

    /// Up to `limit` rooms that have entries which were not told. The same room may come twice; whether there may be more.
    fn behind(&self, limit: usize) -> Result<(Vec<RoomName>, bool), StoreError>;

    /// Up to `limit` entries of a room that were not told, oldest first; fewer if they are long. Whatever was stored before this was
    /// called is among them.
    fn next(&self, room: &RoomName, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Everything up to this entry of a room was told.
    fn told(&self, room: &RoomName, upto: MessageId) -> Result<(), StoreError>;

    /// Everything up to this id was told, in all rooms. Only where ids of all rooms have one order: elsewhere nothing is done.
    fn all_told(&self, upto: MessageId) -> Result<(), StoreError>;
}
