//! Who has begun which channels and streams, to bound how many one account or key can begin.

use super::{error::StoreError, user_id::UserId};
use crate::message::RoomName;
use jiff::Timestamp;
use std::{fmt, time::Duration};

/// A room that was begun less than this ago counts as begun, even if its first message is still on its way to the log.
pub const YOUNG: Duration = Duration::from_secs(60);

/// Who begins a channel or a stream with its first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginner<'a> {
    Account(UserId),
    /// A key of backends, by its name.
    Key(&'a str),
    /// Publishers of streams, who share one key.
    Streams,
}

/// The form in which stores keep it.
impl fmt::Display for Beginner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Beginner::Account(UserId(id)) => write!(f, "account:{id}"),
            Beginner::Key(name) => write!(f, "key:{name}"),
            Beginner::Streams => f.write_str("streams"),
        }
    }
}

/// Remembers who has begun each channel and stream. All nodes share it, since it is kept with the accounts.
pub trait Channels: Send + Sync {
    /// Notes that `beginner` begins a room in which nothing is kept, unless it has begun `most` other rooms. Returns
    /// whether it may. A room that somebody else has begun a moment ago is that other one's.
    fn begin(&self, room: &RoomName, beginner: Beginner<'_>, now: Timestamp, most: u64) -> Result<bool, StoreError>;

    /// Up to `most` rooms that `beginner` has begun before `before`, chosen at random.
    fn begun_by(&self, beginner: Beginner<'_>, before: Timestamp, most: usize) -> Result<Vec<RoomName>, StoreError>;

    /// Forgets who has begun these rooms, except those that were begun again since `before`.
    fn forget(&self, rooms: &[RoomName], before: Timestamp) -> Result<(), StoreError>;
}
