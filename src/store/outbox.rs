//! The outbox: how far stored entries have been sent to a program outside. One process at a time sends.

use super::error::StoreError;
use crate::{
    entry::Entry,
    message::{MessageId, RoomName},
};
use std::time::Duration;

/// How long a process may send after it was told that it leads.
pub const LEASE: Duration = Duration::from_secs(15);

/// A position in each room's log: everything before it has been sent. It only moves forward, and outlives the process.
///
/// What was stored before there were positions is not sent.
pub trait Outbox: Send + Sync {
    /// Whether this process is the one that sends, for [`LEASE`] from now on. Ask again before that is over.
    fn acquire_lease(&self) -> Result<bool, StoreError>;

    /// Lets another process lead.
    fn resign(&self) -> Result<(), StoreError>;

    /// Up to `limit` rooms with entries that were not sent, and whether there may be more. The same room may come
    /// twice.
    fn behind(&self, limit: usize) -> Result<(Vec<RoomName>, bool), StoreError>;

    /// Up to `limit` entries of a room that were not sent, oldest first; fewer if they are long. Includes everything
    /// that was stored before this call.
    fn next(&self, room: &RoomName, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Notes that everything in a room up to this entry was sent.
    fn told(&self, room: &RoomName, upto: MessageId) -> Result<(), StoreError>;

    /// Notes that everything in all rooms up to this id was sent. Does nothing where the ids of different rooms have no
    /// common order.
    fn all_told(&self, upto: MessageId) -> Result<(), StoreError>;
}
