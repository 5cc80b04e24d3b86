//! Erases messages: the tasks, how they are done, and where commands leave them for the server that holds the messages.

use super::{
    account_messages::{Place, Walk},
    accounts::UserId,
    error::StoreError,
    log::{Appended, MessageLog},
    search::Search,
};
use crate::{
    entry::{NewChange, NewChangeKind, NewEntry, Reach},
    message::{BOT, RoomName},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How many messages are erased at a time: others wait for no more than these.
const ERASED_AT_A_TIME: usize = 64;

/// How long members of a removed account or monitor may still speak: servers find their connections and close them
/// meanwhile.
pub const FAREWELL: Duration = Duration::from_secs(3);

/// The name that rooms show for deletions by operators.
pub const OPERATORS: &str = "operators";

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Erase all messages of the account with this email address.
    Sender(String),
    /// Erase all messages of this room.
    Room(RoomName),
    /// Keep the messages of this monitor's room, where no later monitor shows them.
    SetAside(RoomName),
}

/// A task that waits or is being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub id: i64,
    pub task: Task,
    /// In Unix seconds.
    pub since: i64,
}

/// The progress of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub erased: u64,
    pub done: bool,
}

/// Tasks for the process that holds the messages, stored with the accounts. A command that can't reach the messages,
/// because a server uses them, leaves its tasks here.
pub trait Tasks: Send + Sync {
    /// Leaves a task. Returns its number.
    fn ask(&self, task: &Task) -> Result<i64, StoreError>;

    /// The tasks that are not done, in the order in which they were left.
    fn waiting(&self) -> Result<Vec<Asked>, StoreError>;

    /// The progress of a task; `None` if there is no such task, or if it was done long ago.
    fn standing(&self, id: i64) -> Result<Option<Standing>, StoreError>;

    /// Notes the progress of a task. When a task is done, nothing stays that says whom it was about.
    fn note(&self, id: i64, standing: Standing) -> Result<(), StoreError>;
}

/// Appends entries to the log, in their order, and returns the outcome of each.
pub type Submit<'a> = &'a dyn Fn(Vec<NewEntry>) -> Vec<Appended>;

/// Carries out tasks.
pub struct Eraser<'a> {
    pub log: &'a dyn MessageLog,
    pub search: &'a dyn Search,
    pub submit: Submit<'a>,
    /// The name of the program that erases.
    pub by: &'a str,
}

/// How many messages were erased, and where to go on; `None`: those were all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    pub messages: u64,
    pub rest: Option<Place>,
}

/// How long it is known where an erasure ended whose time was over.
const KNOWN: Duration = Duration::from_secs(60);

/// Where erasures of accounts' messages ended whose time was over. The next call goes on there: from the
/// start it would spend its time on what the one before has looked through, and never get further.
///
/// Such a call takes seconds, so there are only few.
#[derive(Default)]
pub struct Unfinished(Mutex<HashMap<UserId, (Instant, Place)>>);

impl Unfinished {
    /// Where to begin.
    pub fn place(&self, account: UserId) -> Place {
        let mut ended = self.0.lock();
        ended.retain(|_, (at, _)| at.elapsed() < KNOWN);
        ended.get(&account).map(|(_, place)| place.clone()).unwrap_or_default()
    }

    /// Notes where to go on, if anything is left.
    pub fn note(&self, account: UserId, rest: Option<Place>) {
        let mut ended = self.0.lock();
        match rest {
            Some(place) => drop(ended.insert(account, (Instant::now(), place))),
            None => drop(ended.remove(&account)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the message log did not take it")]
struct NotTaken;

impl Eraser<'_> {
    /// Carries out a task completely, and reports to `progress` how many messages are erased so far.
    pub fn run(&self, task: &Task, progress: &mut dyn FnMut(u64)) -> Result<u64, StoreError> {
        match task {
            Task::Sender(email) => Ok(self.erase_said_by(email, Place::Start, None, progress)?.messages),
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

    /// Erases the messages of an account from `place` on, also for the members who see them. Stops at `until`, even if
    /// some are left.
    pub fn erase_said_by(
        &self,
        email: &str,
        place: Place,
        until: Option<Instant>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Erased, StoreError> {
        let by: Arc<str> = format!("{BOT}{}", self.by).into();
        let mut walk = Walk { log: self.log, sender: email, place, until };
        let (mut messages, mut waiting, mut rooms) = (0, Vec::new(), BTreeSet::new());
        let all = walk.on(|room, message| {
            self.log.prepare(room, message.id)?;
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
        // Even if there was nothing to erase: an earlier attempt may have stopped before this.
        self.leave_nothing(&rooms.into_iter().collect::<Vec<_>>())?;
        Ok(Erased { messages, rest: (!all).then_some(walk.place) })
    }

    /// Has these messages deleted. Returns how many were.
    fn take(&self, waiting: &mut Vec<NewEntry>) -> Result<u64, StoreError> {
        let mut erased = 0;
        for outcome in (self.submit)(mem::take(waiting)) {
            match outcome {
                Appended::Stored(_) | Appended::StoredAlone(_) | Appended::Repeated(_) => erased += 1,
                // Somebody else has deleted it already.
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
    /// The task as two columns.
    pub(super) fn columns(&self) -> (&'static str, &str) {
        match self {
            Task::Sender(email) => ("sender", email),
            Task::Room(room) => ("room", room.as_str()),
            Task::SetAside(room) => ("set-aside", room.as_str()),
        }
    }

    /// The task from [`columns`](Self::columns); `None` if a newer program has left it.
    pub(super) fn of_columns(kind: &str, about: &str) -> Option<Task> {
        match kind {
            "sender" => Some(Task::Sender(about.to_owned())),
            "room" => Some(Task::Room(RoomName::from_store(about))),
            "set-aside" => Some(Task::SetAside(RoomName::from_store(about))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::Draft,
        store::{
            search::LookingThrough,
            sqlite::log::{LogOptions, SqliteLog},
        },
    };

    // Seen to fail where each call began at the start: none got further than the first room.
    #[test]
    fn an_erasure_whose_time_is_over_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(SqliteLog::open(&dir.path().join("log.db"), LogOptions::keeping(None)).unwrap());
        let said = |room: &str, by: &str| Draft::new(RoomName::channel(room), by.into(), "hi").into();
        log.append(&[said("a", "alice"), said("b", "alice"), said("c", "bob"), said("d", "alice")]).unwrap();
        let submit = |entries: Vec<NewEntry>| log.append(&entries).unwrap();
        let search = LookingThrough::of(log.clone());
        let eraser = Eraser { log: &*log, search: &search, submit: &submit, by: OPERATORS };
        let (unfinished, bob) = (Unfinished::default(), UserId(2));
        let (mut erased, mut calls) = (0, 0);
        loop {
            // There is time for one page in each call.
            let done = eraser.erase_said_by("bob", unfinished.place(bob), Some(Instant::now()), &mut |_| {}).unwrap();
            (erased, calls) = (erased + done.messages, calls + 1);
            assert!(calls < 10, "it gets nowhere");
            let is_all = done.rest.is_none();
            unfinished.note(bob, done.rest);
            if is_all {
                break;
            }
        }
        assert_eq!((erased, unfinished.place(bob)), (1, Place::Start));
        assert!(log.history(&RoomName::channel("c"), None, 9).unwrap().is_empty());
    }

    #[test]
    fn an_erasure_that_ended_long_ago_begins_again() {
        let (unfinished, place) = (Unfinished::default(), Place::Behind(RoomName::channel("a")));
        unfinished.note(UserId(1), Some(place.clone()));
        assert_eq!((unfinished.place(UserId(1)), unfinished.place(UserId(2))), (place, Place::Start));
        unfinished.0.lock().values_mut().for_each(|(at, _)| *at -= KNOWN);
        assert_eq!(unfinished.place(UserId(1)), Place::Start);
    }
}
