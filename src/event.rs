//! What happens in a room besides messages.

use crate::message::{MessageId, RoomName};
use std::sync::Arc;

/// A user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub user: Arc<str>,
    /// The account's display name, if it has one.
    pub name: Option<Arc<str>>,
}

impl Person {
    /// A user without an account.
    pub fn unnamed(user: Arc<str>) -> Person {
        Person { user, name: None }
    }
}

/// What happens in a room besides messages; never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A user's first connection to the room.
    Joined(Person),
    /// A user's last connection has left.
    Left(Person),
    Typing(Person),
    /// A notice of the operators for everybody here.
    Notice {
        text: Arc<str>,
        /// In Unix milliseconds.
        at: u64,
    },
    /// All sockets of this account must be closed, in any room. Sent only to other nodes.
    Disconnect {
        account: i64,
    },
    /// An account has read a room up to this message. Sent only to other nodes.
    Read {
        account: i64,
        room: RoomName,
        id: MessageId,
    },
    /// Some users of the room are missing. Only other nodes get this; each checks that its own claims are there.
    Missed,
    /// The number of users in the room now, sent instead of comings and goings if there are many users. Each node finds
    /// it out by itself.
    Members {
        users: usize,
    },
    /// The room has ended for all its members. Sent only to other nodes; each closes its own members.
    Shut {
        deleted: bool,
    },
}

impl Event {
    /// Whether it reports the coming of this user, who knows that already.
    pub fn is_of(&self, newcomer: &str) -> bool {
        matches!(self, Event::Joined(person) if *person.user == *newcomer)
    }
}
