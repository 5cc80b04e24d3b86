//! What happens in a room besides messages.

use crate::message::{MessageId, RoomName};
use std::sync::Arc;

/// What happens in a room besides messages; never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A user's first connection to the room.
    Joined {
        user: Arc<str>,
    },
    /// A user's last connection has left.
    Left {
        user: Arc<str>,
    },
    Typing {
        user: Arc<str>,
    },
    /// The operators say something to all who are here.
    Notice {
        text: Arc<str>,
        /// Unix milliseconds.
        at: u64,
    },
    /// All that this account has open is to be closed, in whichever room. Only other nodes are told so.
    Disconnect {
        account: i64,
    },
    /// An account has read a room up to this message. Only other nodes are told so.
    Read {
        account: i64,
        room: RoomName,
        id: MessageId,
    },
    /// So many users are in the room now: said instead of who has come and gone where that is many. Each node finds it
    /// out by itself.
    Members {
        users: usize,
    },
    /// The room has ended for all who are in it. Only other nodes are told so; each closes its own members.
    Shut {
        deleted: bool,
    },
}

impl Event {
    /// Whether it tells of this user's coming, which the user knows of.
    pub fn is_of(&self, newcomer: &str) -> bool {
        matches!(self, Event::Joined { user } if **user == *newcomer)
    }
}
