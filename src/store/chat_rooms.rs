//! The rooms of the rooms door: their titles, who may enter, when they changed.

use super::error::StoreError;
use crate::likeness::skeleton;
use jiff::Timestamp;
use std::fmt;

/// Keeps the rooms. What is stored here has been validated at the door.
pub trait ChatRooms: Send + Sync {
    /// Rooms with a greater number than `after`, but hidden ones, oldest first.
    fn list(&self, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError>;

    /// Rooms with a greater number than `after` and [`FIRST`], hidden ones too, that were not made or changed since
    /// `before`; oldest first.
    fn untouched(&self, before: Timestamp, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError>;

    fn find(&self, key: RoomKey<'_>) -> Result<Option<ChatRoom>, StoreError>;

    /// Makes a room with an id that no room has had before, unless there are `most` already.
    fn create(&self, fields: &RoomFields, now: Timestamp, most: u64) -> Result<Created, StoreError>;

    /// Changes a room, if it still is as `current` says.
    fn update(&self, current: &ChatRoom, fields: &RoomFields, now: Timestamp) -> Result<Updated, StoreError>;

    /// Deletes a room, if it still is as `current` says; `false` if not.
    fn delete(&self, current: &ChatRoom) -> Result<bool, StoreError>;

    /// Fails if the store can't be reached.
    fn probe(&self) -> Result<(), StoreError>;
}

/// The room that is there from the start. It belongs to the operators.
pub const FIRST: i64 = 1;

/// How a room is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomKey<'a> {
    Id(i64),
    /// In any case, or one that looks the same.
    Title(&'a str),
}

/// As it is compared: two of one room by its title read the same, if they look the same.
impl fmt::Display for RoomKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoomKey::Id(id) => write!(f, "number {id}"),
            RoomKey::Title(title) => write!(f, "title {}", skeleton(title)),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct ChatRoom {
    pub id: i64,
    pub fields: RoomFields,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Grows with every change; what was read can be told from what is there now.
    pub version: i64,
}

/// What its users decide about a room.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomFields {
    pub title: String,
    pub description: String,
    pub access: Access,
    /// SHA-256 of the key with which its creator may change it while it is public.
    pub creator: Option<[u8; 32]>,
}

/// Who may enter a room.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Who knows the password; listed.
    Private { password_hash: String },
    /// Who knows the password; in no listing.
    Hidden { password_hash: String },
}

impl ChatRoom {
    pub fn is_hidden(&self) -> bool {
        matches!(self.fields.access, Access::Hidden { .. })
    }
}

impl Access {
    pub fn visibility(&self) -> &'static str {
        match self {
            Access::Public => "public",
            Access::Private { .. } => "private",
            Access::Hidden { .. } => "hidden",
        }
    }

    pub fn password_hash(&self) -> Option<&str> {
        match self {
            Access::Public => None,
            Access::Private { password_hash } | Access::Hidden { password_hash } => Some(password_hash),
        }
    }
}

/// What titles are found by, whatever their case. What they look like ([`skeleton`](crate::likeness::skeleton)) is unique
/// as well, but for rooms that were there before that was looked at.
pub fn title_key(title: &str) -> String {
    title.to_lowercase()
}

/// All rooms of a store, hidden ones too, to be moved to another.
pub struct Moving {
    pub rooms: Vec<ChatRoom>,
    /// The greatest number that a room has had, be it deleted since.
    pub last_id: i64,
}

/// What became of a new room.
pub enum Created {
    Room(ChatRoom),
    TitleTaken,
    /// There are as many rooms as there may be.
    Full,
}

/// What became of a change.
pub enum Updated {
    Room(ChatRoom),
    TitleTaken,
    /// The room was changed or deleted meanwhile; nothing was done.
    Stale,
}
