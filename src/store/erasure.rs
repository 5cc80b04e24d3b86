//! Erasing what was said: what is to be erased, how it is done, and where commands leave word for the server that holds
//! the messages.

use super::{
    error::StoreError,
    log::{Appended, MessageLog},
    said::{Place, Walk},
    search::Search,
};
use crate::{
    entry::{NewChange, NewChangeKind, NewEntry, Reach},
    message::{BOT, RoomName},
};
use std::{
    collections::BTreeSet,
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Messages erased in one go: others wait for no more than these.
const ERASED_AT_A_TIME: usize = 64;

/// How long who was removed may still speak: servers find the connections and close them meanwhile.
pub const FAREWELL: Duration = Duration::from_secs(3);

/// Who deletes, as rooms show it, when operators do.
pub const OPERATORS: &str = "operators";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Erase all that the account of this email address has said.
    Sender(String),
    /// Erase all that was said in this room.
    Room(RoomName),
    /// Keep what was said in this room of a monitor, where no later monitor shows it.
    SetAside(RoomName),
}

/// A task that waits, or is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub id: i64,
    pub task: Task,
    /// Unix seconds.
    pub since: i64,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub erased: u64,
    pub done: bool,
}

/// Tasks for whoever holds the messages, kept with the accounts: a command that can't reach the messages, since a server
/// runs on them, leaves them here.
pub trait Tasks: Send + Sync {
    /// Leaves a task, and says by which number it is known.
    fn ask(&self, task: &Task) -> Result<i64, StoreError>;

    /// What is to be done, in the order in which it was asked for.
    fn waiting(&self) -> Result<Vec<Asked>, StoreError>;

    /// `None`: there is no such task, or it was done long ago.
    fn standing(&self, id: i64) -> Result<Option<Standing>, StoreError>;

    /// Notes how far a task is. Of one that is done nothing is kept that says whom it was about.
    fn note(&self, id: i64, standing: Standing) -> Result<(), StoreError>;
}

/// Takes entries to the log, in their order, and says what became of each.
pub type Submit<'a> = &'a dyn Fn(Vec<NewEntry>) -> Vec<Appended>;

/// Does it.
pub struct Eraser<'a> {
    pub log: &'a dyn MessageLog,
    pub search: &'a dyn Search,
    pub submit: Submit<'a>,
    /// The program that erases.
    pub by: &'a str,
}

/// What was erased, and whether that was all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    pub messages: u64,
    pub all: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the message log did not take it")]
struct NotTaken;

impl Eraser<'_> {
    /// Does a task to its end, and tells `progress` how many messages are erased so far.
    pub fn run(&self, task: &Task, progress: &mut dyn FnMut(u64)) -> Result<u64, StoreError> {
        match task {
            Task::Sender(email) => Ok(self.erase_said_by(email, None, progress)?.messages),
            Task::Room(room) => {
                self.log.forget(room)?;
                self.leave_nothing(std::slice::from_ref(room))?;
                Ok(0)
            }
            Task::SetAside(room) => {
                if !self.log.history(room, None, 1)?.is_empty() {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
                    self.log.set_aside(room, &RoomName::removed(room, now))?;
                }
                self.leave_nothing(std::slice::from_ref(room))?;
                Ok(0)
            }
        }
    }

    /// Erases what an account has said, for everybody who sees it too; if `until` comes first not all of it.
    pub fn erase_said_by(
        &self,
        email: &str,
        until: Option<Instant>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Erased, StoreError> {
        let by: Arc<str> = format!("{BOT}{}", self.by).into();
        let mut walk = Walk { log: self.log, sender: email, place: Place::Start, until };
        let (mut messages, mut waiting, mut rooms) = (0, Vec::new(), BTreeSet::new());
        let all = walk.on(|room, message| {
            let (kind, reach) = (NewChangeKind::Delete, Reach::Any);
            let change = NewChange { room: room.clone(), of: message.id, by: by.clone(), kind, reach, reference: None };
            waiting.push(NewEntry::from(change));
            if !rooms.contains(room) {
                rooms.insert(room.clone());
            }
            if waiting.len() >= ERASED_AT_A_TIME {
                messages += self.take(&mut waiting)?;
                progress(messages);
            }
            Ok::<_, StoreError>(true)
        })?;
        messages += self.take(&mut waiting)?;
        progress(messages);
        // Also if there was nothing to erase: an earlier attempt may have come no further.
        self.leave_nothing(&rooms.into_iter().collect::<Vec<_>>())?;
        Ok(Erased { messages, all })
    }

    /// Has these messages deleted; how many of them were.
    fn take(&self, waiting: &mut Vec<NewEntry>) -> Result<u64, StoreError> {
        let mut erased = 0;
        for outcome in (self.submit)(mem::take(waiting)) {
            match outcome {
                Appended::Stored(_) | Appended::StoredAlone(_) | Appended::Repeated(_) => erased += 1,
                // Somebody else was faster.
                Appended::Refused(_) => {}
                Appended::NotStored | Appended::Open(_) | Appended::Unknown => {
                    let (store, what) = ("message log", "erase messages");
                    return Err(StoreError { store, what, source: NotTaken.into() });
                }
            }
        }
        Ok(erased)
    }

    fn leave_nothing(&self, rooms: &[RoomName]) -> Result<(), StoreError> {
        self.search.catch_up()?;
        self.log.scrub(rooms)
    }
}

impl Task {
    /// As two columns.
    pub(super) fn columns(&self) -> (&'static str, &str) {
        match self {
            Task::Sender(email) => ("sender", email),
            Task::Room(room) => ("room", room.as_str()),
            Task::SetAside(room) => ("set-aside", room.as_str()),
        }
    }

    /// What [`columns`](Self::columns) made; `None`: a newer program has asked for it.
    pub(super) fn of_columns(kind: &str, about: &str) -> Option<Task> {
        match kind {
            "sender" => Some(Task::Sender(about.to_owned())),
            "room" => Some(Task::Room(RoomName::from_store(about))),
            "set-aside" => Some(Task::SetAside(RoomName::from_store(about))),
            _ => None,
        }
    }
}
