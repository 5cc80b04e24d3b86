//! What clients ask of a room (title, description, visibility, password), and how a room is shown to them.

use super::error::about;
use crate::{
    door::json_input,
    likeness::skeleton,
    refusal::{Reason, Refusal},
    room::names::User,
    store::chat_rooms::{Access, ChatRoom, RoomFields, RoomKey},
};
use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

/// Fewest and most characters of a title.
const TITLE: std::ops::RangeInclusive<usize> = 2..=70;
/// Most characters of a description.
const MAX_DESCRIPTION: usize = 70;
/// Fewest characters of a password.
const MIN_PASSWORD: usize = 8;
/// Most bytes of a password: bcrypt ignores the rest, so a longer password would be weaker than it looks.
pub const MAX_PASSWORD: usize = 72;

/// Titles that would hide an endpoint, or that an endpoint would hide.
const RESERVED: [&str; 2] = ["all", "events"];

/// The room that a segment of the path names: by number if it has only digits, else by title.
pub fn key(segment: &str) -> RoomKey<'_> {
    match id(segment) {
        Some(id) => RoomKey::Id(id),
        None => RoomKey::Title(segment),
    }
}

fn id(text: &str) -> Option<i64> {
    // Rust's parser would also accept a sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The fields that a request body sets. Each is valid by itself.
pub struct Asked {
    title: Option<String>,
    description: Option<String>,
    visibility: Option<Visibility>,
    password: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visibility {
    Public,
    Private,
    Hidden,
}

/// The room that is asked for, complete but for the hash of its password.
pub struct Wanted {
    title: String,
    description: String,
    visibility: Visibility,
    lock: Lock,
    creator: Option<[u8; 32]>,
}

/// How a room is closed.
enum Lock {
    None,
    /// The password stays; this is its hash.
    Kept(String),
    New(String),
}

impl Asked {
    /// Reads a JSON object and ignores unknown fields.
    pub fn read(body: &[u8]) -> Result<Asked, Refusal> {
        let object = std::str::from_utf8(body).ok().and_then(json_input::object).ok_or(Reason::RoomUnreadable)?;
        Ok(Asked {
            title: text(&object, "title")?.map(title).transpose()?,
            description: text(&object, "description")?.map(description).transpose()?,
            visibility: text(&object, "visibility")?.map(visibility).transpose()?,
            password: text(&object, "password")?.filter(|text| !text.is_empty()).map(str::to_owned),
        })
    }

    /// The room that is asked for: a new one, or `current` with the asked changes.
    pub fn of(self, current: Option<&RoomFields>) -> Result<Wanted, Refusal> {
        let title = self.title.or_else(|| current.map(|room| room.title.clone())).ok_or(invalid("title"))?;
        let described = self.description.or_else(|| current.map(|room| room.description.clone()));
        let visibility = self.visibility.or_else(|| current.map(|room| Visibility::of(&room.access)));
        let visibility = visibility.ok_or(invalid("visibility"))?;
        let kept = current.and_then(|room| room.access.password_hash());
        let lock = match (visibility, self.password, kept) {
            (Visibility::Public, None, _) => Lock::None,
            // A public room has no use for a password, so this is probably a mistake.
            (Visibility::Public, Some(_), _) => return Err(invalid("visibility")),
            (_, Some(new), _) => Lock::New(password(new)?),
            (_, None, Some(hash)) => Lock::Kept(hash.to_owned()),
            (_, None, None) => return Err(invalid("password")),
        };
        let creator = current.and_then(|room| room.creator);
        Ok(Wanted { title, description: described.unwrap_or_default(), visibility, lock, creator })
    }
}

impl Wanted {
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Sets the SHA-256 of the creator's key. The creator proves with the key that the room is theirs.
    pub fn made_by(mut self, key: [u8; 32]) -> Wanted {
        self.creator = Some(key);
        self
    }

    /// Hashes a new password and returns what the store keeps.
    pub fn hashed(self, hash: impl FnOnce(&str) -> Result<String, Refusal>) -> Result<RoomFields, Refusal> {
        let Wanted { title, description, visibility, lock, creator } = self;
        let password_hash = match lock {
            Lock::None => None,
            Lock::Kept(hash) => Some(hash),
            Lock::New(password) => Some(hash(&password)?),
        };
        let access = match (visibility, password_hash) {
            (Visibility::Public, _) => Access::Public,
            (Visibility::Private, Some(password_hash)) => Access::Private { password_hash },
            (Visibility::Hidden, Some(password_hash)) => Access::Hidden { password_hash },
            (Visibility::Private | Visibility::Hidden, None) => return Err(invalid("password")),
        };
        Ok(RoomFields { title, description, access, creator })
    }
}

impl Visibility {
    fn of(access: &Access) -> Visibility {
        match access {
            Access::Public => Visibility::Public,
            Access::Private { .. } => Visibility::Private,
            Access::Hidden { .. } => Visibility::Hidden,
        }
    }
}

/// The text of a field; `null` counts as absent.
fn text<'a>(object: &'a Map<String, Value>, field: &'static str) -> Result<Option<&'a str>, Refusal> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(field)),
    }
}

fn title(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let sound = TITLE.contains(&text.chars().count())
        && !text.contains(char::is_control)
        && !skeleton(text).is_empty()
        // A path could not tell such a title from a number.
        && !text.nfkc().all(|c| c.is_ascii_digit())
        && !RESERVED.iter().any(|reserved| skeleton(text) == skeleton(reserved));
    if sound { Ok(text.to_owned()) } else { Err(invalid("title")) }
}

fn description(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let sound = text.chars().count() <= MAX_DESCRIPTION && !text.contains(char::is_control);
    if sound { Ok(text.to_owned()) } else { Err(invalid("description")) }
}

fn visibility(text: &str) -> Result<Visibility, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "public" => Ok(Visibility::Public),
        "private" => Ok(Visibility::Private),
        "hidden" => Ok(Visibility::Hidden),
        _ => Err(invalid("visibility")),
    }
}

fn password(text: String) -> Result<String, Refusal> {
    let sound = text.chars().count() >= MIN_PASSWORD && text.len() <= MAX_PASSWORD && !text.contains('\0');
    if sound { Ok(text) } else { Err(invalid("password")) }
}

fn invalid(field: &'static str) -> Refusal {
    about(Reason::RoomInvalid, field)
}

/// A room as clients see it: without its password and its password's hash.
#[derive(Serialize)]
pub struct Shown<'a> {
    title: &'a str,
    description: &'a str,
    visibility: &'static str,
    #[serde(rename = "createdAt")]
    created_at: String,
    #[serde(rename = "updatedAt")]
    updated_at: String,
    id: i64,
    users: Vec<User>,
}

impl<'a> Shown<'a> {
    /// `users` are those that the client may see.
    pub fn new(room: &'a ChatRoom, users: Vec<User>) -> Shown<'a> {
        Shown {
            title: &room.fields.title,
            description: &room.fields.description,
            visibility: room.fields.access.visibility(),
            created_at: format!("{:.3}", room.created_at),
            updated_at: format!("{:.3}", room.updated_at),
            id: room.id,
            users,
        }
    }

    pub fn title(&self) -> &str {
        self.title
    }

    pub fn description(&self) -> &str {
        self.description
    }

    pub fn visibility(&self) -> &'static str {
        self.visibility
    }

    pub fn id(&self) -> i64 {
        self.id
    }

    pub fn users(&self) -> usize {
        self.users.len()
    }
}

#[cfg(test)]
mod tests;
