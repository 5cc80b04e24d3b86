//! A message, before and after the log has given it its place.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use uuid::Uuid;

/// A room's name over all doors: `monitor:HASH`, `channel:NAME`, `stream:NAME`, `chitchat:ID`.
///
/// Two doors that lead to one room use the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Bytes that a channel or a stream may be called by.
    pub const MAX: usize = 256;

    pub fn monitor(hash: &str) -> RoomName {
        RoomName::from_store(&format!("monitor:{hash}"))
    }

    pub fn channel(name: &str) -> RoomName {
        RoomName::from_store(&format!("channel:{name}"))
    }

    pub fn stream(name: &str) -> RoomName {
        RoomName::from_store(&format!("stream:{name}"))
    }

    pub fn chitchat(id: i64) -> RoomName {
        RoomName::from_store(&format!("chitchat:{id}"))
    }

    /// Where the messages of a monitor's room are kept that was removed at this Unix millisecond. Nobody can enter it.
    pub fn removed(monitor: &RoomName, at: u64) -> RoomName {
        RoomName::from_store(&format!("removed:{at}:{}", monitor.local()))
    }

    /// A name that a store kept, prefix and all.
    pub fn from_store(name: &str) -> RoomName {
        RoomName(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the room of a monitor: a chat of certain accounts.
    pub fn is_monitor(&self) -> bool {
        self.0.starts_with("monitor:")
    }

    /// Whether it is what is kept of a monitor's room that was removed.
    pub fn is_removed(&self) -> bool {
        self.0.starts_with("removed:")
    }

    /// Whether accounts speak here: not in streams, nor in the rooms of the rooms door, where people only have names.
    pub fn is_of_accounts(&self) -> bool {
        self.is_monitor() || self.0.starts_with("channel:")
    }

    /// The part behind the prefix: what clients call the room.
    pub fn local(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(_, local)| local)
    }
}

/// A message's id: a UUIDv7 (RFC 9562 §5.7) that is greater than every earlier one of its room.
///
/// Its first 48 bits are the time of the message in Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// Less than every message's id.
    pub const BEFORE_ALL: MessageId = MessageId(Uuid::nil());

    /// Reads the hyphenated form that clients send back.
    pub fn parse(text: &str) -> Option<MessageId> {
        let id = Uuid::try_parse(text).ok()?;
        (id.get_version_num() == 7).then_some(MessageId(id))
    }

    /// Unix milliseconds.
    pub fn millis(self) -> u64 {
        (self.0.as_u128() >> 80) as u64
    }

    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.millis())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a client wants said in a room; not stored yet.
#[derive(Clone)]
pub struct Draft {
    pub room: RoomName,
    /// Who says it, as the room shows it (an email address at most doors).
    pub sender: Arc<str>,
    /// The sender's display name, if it has an account.
    pub name: Option<Arc<str>>,
    pub text: Box<str>,
    /// What else the door needs to show it again, in the door's own words.
    pub extra: Option<Box<str>>,
    /// Whether to keep it. A message that isn't kept gets its id and is delivered, but never stored.
    pub kept: bool,
    /// The client's own mark: the same sender's same mark in a room makes one message only.
    pub reference: Option<Box<str>>,
    /// The message that this one answers; if it is gone this one stands alone.
    pub reply_to: Option<MessageId>,
}

impl Draft {
    /// A message to be kept, without anything that it need not have.
    pub fn new(room: RoomName, sender: Arc<str>, text: impl Into<Box<str>>) -> Draft {
        let text = text.into();
        Draft { room, sender, name: None, text, extra: None, kept: true, reference: None, reply_to: None }
    }

    /// The message that this is once it is stored under this id. `alone`: what it was to answer is gone.
    pub fn stored(self, id: MessageId, alone: bool) -> Message {
        let reply_to = self.reply_to.filter(|_| !alone);
        Message { name: self.name, reply_to, extra: self.extra, ..Message::new(id, self.sender, self.text) }
    }
}

/// A message that is stored, as it is now. Message text never goes to a log, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub sender: Arc<str>,
    /// The sender's display name when it was said.
    pub name: Option<Arc<str>>,
    pub text: Box<str>,
    pub extra: Option<Box<str>>,
    pub reply_to: Option<MessageId>,
    /// The last edit's id, and with it its time.
    pub edited: Option<MessageId>,
    pub reactions: Vec<Reaction>,
}

impl Message {
    /// A message without anything that it need not have.
    pub fn new(id: MessageId, sender: Arc<str>, text: impl Into<Box<str>>) -> Message {
        let text = text.into();
        Message { id, sender, name: None, text, extra: None, reply_to: None, edited: None, reactions: Vec::new() }
    }

    /// Whether a program said it.
    pub fn is_by_bot(&self) -> bool {
        is_bot(&self.sender)
    }
}

/// An emoji, and who reacted with it, in the order in which they did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    pub emoji: Box<str>,
    pub users: Vec<Arc<str>>,
}

/// What the senders of programs begin with; a name follows.
pub const BOT: &str = "bot:";

/// Whether a sender is a program; no account that may log in is called so.
pub fn is_bot(sender: &str) -> bool {
    sender.starts_with(BOT)
}
