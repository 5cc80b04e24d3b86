//! What happens in a room besides messages.

use crate::message::{MessageId, RoomName};
use std::sync::Arc;

/// Somebody who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub user: Arc<str>,
    /// The account's display name, if it has one.
    pub name: Option<Arc<str>>,
}

impl Person {
    /// Somebody without an account.
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
        matches!(self, Event::Joined(person) if *person.user == *newcomer)
    }
}
