//! A message, before and after it is stored in the log.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};
use uuid::Uuid;

/// A room's full name, unique over all doors: `monitor:HASH`, `channel:NAME`, `stream:NAME`, `chitchat:ID`.
///
/// If two doors lead to one room, they use the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Most bytes in the name of a channel or a stream.
    pub const MAX: usize = 256;

    /// Whether a channel or a stream may have this name.
    pub fn is_fit(name: &str) -> bool {
        name.len() <= RoomName::MAX && !name.contains(char::is_control)
    }

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

    /// The name under which messages of a removed monitor's room are kept. `at` is the time of the removal in Unix
    /// milliseconds. Nobody can enter it.
    pub fn removed(monitor: &RoomName, at: u64) -> RoomName {
        RoomName::from_store(&format!("removed:{at}:{}", monitor.local()))
    }

    /// A full name that a store has kept, with its prefix.
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

    /// Whether it keeps the messages of a removed monitor's room.
    pub fn is_removed(&self) -> bool {
        self.0.starts_with("removed:")
    }

    /// Whether its first message makes it, whatever its name. Others make the rooms of other kinds.
    pub fn is_begun_by_its_first_message(&self) -> bool {
        self.0.starts_with("channel:") || self.0.starts_with("stream:")
    }

    /// Whether accounts speak here. They do not in streams, nor in rooms of the rooms door, where people have only
    /// names.
    pub fn is_of_accounts(&self) -> bool {
        self.is_monitor() || self.0.starts_with("channel:")
    }

    /// The part after the prefix: the name that clients use.
    pub fn local(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(_, local)| local)
    }
}

/// The id of a message: a UUIDv7 (RFC 9562 §5.7) that is greater than all earlier ones of its room.
///
/// Its first 48 bits are the time of the message, in Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// Less than the id of any message.
    pub const BEFORE_ALL: MessageId = MessageId(Uuid::nil());

    /// Parses the hyphenated form that clients send back.
    pub fn parse(text: &str) -> Option<MessageId> {
        let id = Uuid::try_parse(text).ok()?;
        (id.get_version_num() == 7).then_some(MessageId(id))
    }

    /// The time of the message, in Unix milliseconds.
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

/// A message that is to be stored.
#[derive(Clone)]
pub struct Draft {
    pub room: RoomName,
    /// The sender, as the room shows it (an email address at most doors).
    pub sender: Arc<str>,
    /// The sender's display name, if it has an account.
    pub name: Option<Arc<str>>,
    pub text: Box<str>,
    /// What else the door needs to show it again, in the door's own format.
    pub extra: Option<Box<str>>,
    /// Whether to store it. A message that is not stored gets an id and is delivered all the same.
    pub kept: bool,
    /// The client's own mark: messages of the same sender with the same mark make only one message in a room.
    pub reference: Option<Box<str>>,
    /// The message that it replies to. If that is gone, this one is not a reply.
    pub reply_to: Option<MessageId>,
}

impl Draft {
    /// A message that is to be stored, without any optional part.
    pub fn new(room: RoomName, sender: Arc<str>, text: impl Into<Box<str>>) -> Draft {
        let text = text.into();
        Draft { room, sender, name: None, text, extra: None, kept: true, reference: None, reply_to: None }
    }

    /// The message as it is once it is stored with this id. `alone`: the message that it replied to is gone.
    pub fn stored(self, id: MessageId, alone: bool) -> Message {
        let reply_to = self.reply_to.filter(|_| !alone);
        Message { name: self.name, reply_to, extra: self.extra, ..Message::new(id, self.sender, self.text) }
    }
}

/// A stored message in its present state. Text of messages never goes to a log, so there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub sender: Arc<str>,
    /// The sender's display name at that time.
    pub name: Option<Arc<str>>,
    pub text: Box<str>,
    pub extra: Option<Box<str>>,
    pub reply_to: Option<MessageId>,
    /// The id of the last edit, which also has its time.
    pub edited: Option<MessageId>,
    pub reactions: Vec<Reaction>,
}

impl Message {
    /// A message without any optional part.
    pub fn new(id: MessageId, sender: Arc<str>, text: impl Into<Box<str>>) -> Message {
        let text = text.into();
        Message { id, sender, name: None, text, extra: None, reply_to: None, edited: None, reactions: Vec::new() }
    }

    /// Whether its sender is a program.
    pub fn is_by_bot(&self) -> bool {
        is_bot(&self.sender)
    }
}

/// An emoji, and the users who reacted with it, in the order in which they did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    pub emoji: Box<str>,
    pub users: Vec<Arc<str>>,
}

/// The prefix of the names of programs.
pub const BOT: &str = "bot:";

/// Whether a sender is a program. No account with such a name can log in.
pub fn is_bot(sender: &str) -> bool {
    sender.starts_with(BOT)
}
