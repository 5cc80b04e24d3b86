//! The rooms of the rooms door: their titles, who may enter them, when they changed.

use super::error::StoreError;
use crate::likeness::skeleton;
use jiff::Timestamp;
use std::fmt;

/// Stores the rooms. The door has validated what is stored here.
pub trait ChatRooms: Send + Sync {
    /// Rooms with a number above `after`, except hidden ones, oldest first.
    fn list(&self, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError>;

    /// Rooms with a number above `after` and above [`FIRST`] that were neither made nor changed since `before`, hidden
    /// ones included, oldest first.
    fn untouched(&self, before: Timestamp, after: i64, most: usize) -> Result<Vec<ChatRoom>, StoreError>;

    fn find(&self, key: RoomKey<'_>) -> Result<Option<ChatRoom>, StoreError>;

    /// Makes a room with an id that no room has had before, unless there are as many rooms as there may be.
    fn create(&self, fields: &RoomFields, now: Timestamp, bounds: RoomBounds) -> Result<Created, StoreError>;

    /// Changes a room if it is still as in `current`.
    fn update(&self, current: &ChatRoom, fields: &RoomFields, now: Timestamp) -> Result<Updated, StoreError>;

    /// Deletes a room if it is still as in `current`; `false` if it is not.
    ///
    /// Leaves the task to erase what was said there ([`Task::Room`](super::erasure::Task::Room)).
    fn delete(&self, current: &ChatRoom) -> Result<bool, StoreError>;

    /// Fails if the store can't be reached.
    fn probe(&self) -> Result<(), StoreError>;
}

/// The room that exists from the start. It belongs to the operators.
pub const FIRST: i64 = 1;

/// How many rooms there may be.
#[derive(Clone, Copy, Debug)]
pub struct RoomBounds {
    /// In all.
    pub all: u64,
    /// The mark of the maker's address, and how many rooms one address may have made; `None`: any number.
    pub of_address: Option<([u8; 8], u64)>,
}

/// The key of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomKey<'a> {
    Id(i64),
    /// In any case, and in any form that looks the same.
    Title(&'a str),
}

/// The form for comparison: two titles of the same room give the same text if they look the same.
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
    /// Grows with every change, so that a stale copy can be recognised.
    pub version: i64,
}

/// What users decide about a room.
#[derive(Clone, PartialEq, Eq)]
pub struct RoomFields {
    pub title: String,
    pub description: String,
    pub access: Access,
    /// SHA-256 of the key with which its creator may change the room while it is public.
    pub creator: Option<[u8; 32]>,
}

/// Who may enter a room.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Everybody who knows the password; listed.
    Private { password_hash: String },
    /// Everybody who knows the password; not listed.
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

/// The key by which titles are found, in any case. Their [`skeleton`](crate::likeness::skeleton) is unique too, except
/// for rooms from before that was checked.
pub fn title_key(title: &str) -> String {
    title.to_lowercase()
}

/// All rooms of a store, hidden ones included, to be moved to another store.
pub struct Moving {
    pub rooms: Vec<ChatRoom>,
    /// The greatest number that a room has ever had, even if that room was deleted.
    pub last_id: i64,
}

/// The outcome of making a room.
pub enum Created {
    Room(ChatRoom),
    TitleTaken,
    /// There are as many rooms as allowed.
    Full,
    /// The address has made as many as allowed.
    AddressFull,
}

/// The outcome of a change.
pub enum Updated {
    Room(ChatRoom),
    TitleTaken,
    /// The room was changed or deleted meanwhile. Nothing was done.
    Stale,
}
