//! `account export`: everything that is kept about a person, as lines of JSON.

use super::{
    accounts::{NO_PATIENCE, open_embedded},
    failure::{Failure, say},
    far_log,
};
use crate::{
    config::{
        sources::Settings,
        value::{Database, Storage},
    },
    door::channel_frame,
    entry::{ChangeKind, Entry},
    likeness::same_email,
    message::{MessageId, RoomName},
    store::{
        accounts::{Account, Accounts},
        channels::{Beginner, Channels},
        log::MessageLog,
        moderation::FOR_GOOD,
        postgres::Postgres,
        reads::Reads,
        sessions::Sessions,
        sqlite::{
            channels::SqliteChannels,
            log::{LogOptions, SqliteLog, copy},
            reads::SqliteReads,
            sessions::SqliteSessions,
        },
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

/// How many rooms, and how many entries of a room, are read at a time.
const ROOMS: usize = 100;
const ENTRIES: usize = 500;

pub fn run(email: &str, settings: &Settings) -> Result<(), Failure> {
    let People { accounts, sessions, reads, channels } = People::open(&settings.database()?)?;
    let account = accounts.by_email(email)?;
    // Messages of a removed account may still be there.
    let email = account.as_ref().map_or(email, |account| account.email.as_str());
    if let Some(account) = &account {
        of_account(account, &*accounts, &*sessions, &*reads)?;
        of_channels(account, &*channels)?;
    }
    let Some(messages) = Messages::open(settings)? else { return Ok(()) };
    let mut after = None;
    loop {
        let rooms = messages.log.rooms(after.as_ref(), ROOMS)?;
        let Some(last) = rooms.last() else { return Ok(()) };
        after = Some(last.clone());
        // In other rooms anybody may use another person's address as a name.
        for room in rooms.iter().filter(|room| room.is_of_accounts() || room.is_removed()) {
            of_room(room, email, &*messages.log)?;
        }
    }
}

fn of_account(
    account: &Account,
    accounts: &dyn Accounts,
    sessions: &dyn Sessions,
    reads: &dyn Reads,
) -> Result<(), Failure> {
    let Account { id, name, email, .. } = account;
    line(&json!({"type": "account", "id": id.0.to_string(), "name": name, "email": email}))?;
    let marks = reads.of_account(*id)?;
    let mut rooms: Vec<RoomName> = marks.iter().map(|(room, _)| room.clone()).collect();
    for monitor in accounts.monitors_of(*id)? {
        let hash = &monitor.monitor_hash;
        let room = RoomName::monitor(hash);
        let moderator = accounts.rights(&[(*id, &room)])?.iter().any(|rights| rights.moderator);
        line(&json!({"type": "membership", "monitor": hash, "title": monitor.title, "moderator": moderator}))?;
        rooms.push(room);
    }
    rooms.sort();
    rooms.dedup();
    for room in &rooms {
        let rights = accounts.rights(&[(*id, room)])?;
        if let Some(until) = rights.first().and_then(|rights| rights.muted_until) {
            line(&json!({"type": "mute", "room": room.as_str(), "until": end_of_mute(until)}))?;
        }
    }
    for session in sessions.of_account(*id)? {
        let second = |second| Timestamp::from_second(second).ok().map(|time| time.to_string());
        line(&json!({"type": "session", "begun": second(session.begun), "used": second(session.used)}))?;
    }
    for (room, id) in marks {
        line(&json!({"type": "read", "room": room.as_str(), "id": id.to_string(), "timestamp": time(id)}))?;
    }
    Ok(())
}

/// The channels that an account has begun.
fn of_channels(account: &Account, channels: &dyn Channels) -> Result<(), Failure> {
    let mut rooms = channels.begun_by(Beginner::Account(account.id), Timestamp::MAX, i32::MAX as usize)?;
    rooms.sort();
    rooms.iter().try_for_each(|room| line(&json!({"type": "begun", "room": room.as_str()})))
}

/// The messages of a person in a room, as they are now, and the changes that the person made.
fn of_room(room: &RoomName, email: &str, log: &dyn MessageLog) -> Result<(), Failure> {
    let mut after = MessageId::BEFORE_ALL;
    loop {
        let entries = log.entries(room, after, ENTRIES)?;
        let Some(last) = entries.last().map(Entry::id) else { return Ok(()) };
        after = last;
        for entry in &entries {
            match entry {
                Entry::Message(message) if same_email(&message.sender, email) => {
                    say(String::from_utf8_lossy(&channel_frame::message(room, message)))?;
                }
                Entry::Change(change) if same_email(&change.by, email) => {
                    let (kind, emoji, on) = match &change.kind {
                        ChangeKind::Edited(_) => ("edit", None, None),
                        ChangeKind::Deleted => ("delete", None, None),
                        ChangeKind::Reacted { emoji, on } => ("react", Some(emoji), Some(on)),
                    };
                    let (id, of) = (change.id.to_string(), change.of.to_string());
                    let mut value = json!({"type": kind, "room": room.as_str(), "id": of, "change": id, "timestamp": time(change.id)});
                    if let (Some(emoji), Some(on)) = (emoji, on) {
                        value["emoji"] = json!(emoji);
                        value["on"] = json!(on);
                    }
                    line(&value)?;
                }
                Entry::Message(_) | Entry::Change(_) => {}
            }
        }
    }
}

/// The accounts, and what is kept beside them.
struct People {
    accounts: Arc<dyn Accounts>,
    sessions: Arc<dyn Sessions>,
    reads: Arc<dyn Reads>,
    channels: Arc<dyn Channels>,
}

impl People {
    fn open(database: &Database) -> Result<People, Failure> {
        Ok(match database {
            Database::Sqlite(path) => {
                let accounts = open_embedded(path)?;
                let sessions = Arc::new(SqliteSessions::beside(&accounts));
                let reads = Arc::new(SqliteReads::beside(&accounts));
                let channels = Arc::new(SqliteChannels::beside(&accounts));
                People { accounts: Arc::new(accounts), sessions, reads, channels }
            }
            Database::Postgres(url) => {
                let Postgres { accounts, sessions, reads, channels, .. } = Postgres::open(url, 1, NO_PATIENCE)?;
                People { accounts, sessions, reads, channels }
            }
        })
    }
}

/// The messages, for reading.
struct Messages {
    log: Arc<dyn MessageLog>,
    /// The directory of a copy, because a server may be using the store itself. Removed when this is dropped.
    _copy: Option<TempDir>,
}

impl Messages {
    fn open(settings: &Settings) -> Result<Option<Messages>, Failure> {
        if let Storage::Redis(url) = settings.storage()? {
            return Ok(Some(Messages { log: far_log::open(settings, &url)?, _copy: None }));
        }
        let log = settings.data_dir()?.join("log.db");
        if !log.exists() {
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("propromo-chat-").tempdir();
        let directory = directory.map_err(|e| Failure::Failed(format!("there can be no temporary directory: {e}")))?;
        let to = directory.path().join("log.db");
        copy::copy(&log, &to)?;
        Ok(Some(Messages { log: Arc::new(SqliteLog::open(&to, LogOptions::of_command())?), _copy: Some(directory) }))
    }
}

/// `None`: until it is taken back.
fn end_of_mute(until: u64) -> Option<String> {
    let until = i64::try_from(until).ok().filter(|_| until != FOR_GOOD)?;
    Timestamp::from_millisecond(until).ok().map(|time| time.to_string())
}

fn time(id: MessageId) -> Option<String> {
    Timestamp::try_from(id.time()).ok().map(|time| time.to_string())
}

fn line(value: &Value) -> Result<(), Failure> {
    say(value)
}
