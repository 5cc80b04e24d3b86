//! Moves messages and spent tokens from SQLite to Redis, and to the archive if there is one.

use crate::{
    cli::{
        failure::{Failure, failed, say},
        progress::Progress,
    },
    message::{MessageId, RoomName},
    store::{
        archive::ArchivedLog,
        archived::Position,
        chat_rooms::{Access, ChatRoom, ChatRooms, RoomKey},
        erasure::Tasks,
        moving::Moved,
        outbox::Outbox,
        postgres::Postgres,
        redis::{RedisStores, import::Standing},
        sqlite::{
            accounts::SqliteAccounts,
            chat_rooms::SqliteChatRooms,
            saved::{SavedLog, SavedPositions, saved_marks},
            tasks::SqliteTasks,
        },
    },
};
use std::{collections::VecDeque, path::Path, sync::Arc, time::SystemTime};

/// The rooms of the rooms door, before and after the move.
pub(super) struct Rooms {
    /// `None`: `DATA_DIR` has no file of them.
    pub(super) old: Option<SqliteChatRooms>,
    pub(super) new: Arc<dyn ChatRooms>,
}

/// Entries imported at a time, by one atomic script that all other commands wait for.
pub(super) const PAGE: usize = 256;

/// Rooms named in one line.
const NAMED: usize = 5;

/// Messages between two lines of progress.
const PROGRESS: u64 = 100_000;

/// This comes before the messages, so that no token works twice, however the move ends.
pub(super) fn move_tokens(ledger: &Path, redis: &RedisStores) -> Result<(), Failure> {
    let marks = saved_marks(ledger, SystemTime::now()).map_err(failed)?;
    redis.ledger.import(&marks)?;
    say(format_args!("spent tokens: {} that have not expired are noted", marks.len()))
}

/// The work for one room.
struct Errand {
    room: RoomName,
    /// The last entry that an earlier run has imported.
    before: Option<MessageId>,
    /// How far the archive has the room; `None`: there is no archive, or it gets the room from Redis.
    archived: Option<Position>,
}

/// Where messages go.
pub(super) struct Target<'a> {
    pub redis: &'a RedisStores,
    pub archive: Option<&'a ArchivedLog>,
    /// The URL of Redis, without its password.
    pub url: &'a str,
}

pub(super) fn open_log(log: &Path) -> Result<SavedLog, Failure> {
    let log = SavedLog::open(log)?;
    if log.is_whole() {
        return Ok(log);
    }
    Err(Failure::Failed(
        "the server was killed while it set the messages of a removed monitor aside; start it once as it was, stop it, and run \
         this again: nothing was copied"
            .into(),
    ))
}

/// Entries that wait to be erased must not be copied: nothing would erase them there.
pub(super) fn nothing_to_erase(accounts: Option<&SqliteAccounts>, postgres: Option<&Postgres>) -> Result<(), Failure> {
    let of_file = accounts.map(|accounts| SqliteTasks::beside(accounts).waiting()).transpose()?;
    let of_database = postgres.map(|postgres| postgres.tasks.waiting()).transpose()?;
    let waiting = of_file.map_or(0, |tasks| tasks.len()) + of_database.map_or(0, |tasks| tasks.len());
    if waiting == 0 {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{} was asked for and not done: start the server once as it was, until its log says that the messages are erased, stop \
         it, and run this again; nothing was copied",
        counted(waiting, "erasure")
    )))
}

/// Moves messages, and prints in how many rooms. `positions`: up to where webhooks were sent.
pub(super) fn move_messages(
    log: &SavedLog,
    target: &Target<'_>,
    rooms: &Rooms,
    positions: Option<&SavedPositions>,
) -> Result<(), Failure> {
    let (names, strange) = of_known_rooms(log.rooms()?, rooms)?;
    if !strange.is_empty() {
        say(format_args!(
            "messages: those of {} stay behind, since the new database has other rooms with their numbers, or none: {}",
            counted(strange.len(), "room"),
            listed(&strange)
        ))?;
    }
    let mut copying = Copying::new(log)?;
    for errand in errands(log, target, &names)? {
        move_room(log, target, errand, &mut copying)?;
    }
    if let Some(archive) = target.archive {
        archive.finish(&names)?;
    }
    copying.end(names.len())?;
    positions.map_or(Ok(()), |positions| move_positions(log, target.redis, &names, positions))
}

/// Moves the rest of a room: to the archive first, if there is one; then to Redis, which gets the newest entries alone of
/// what is archived.
fn move_room(log: &SavedLog, target: &Target<'_>, errand: Errand, copying: &mut Copying) -> Result<(), Failure> {
    let Errand { room, mut before, archived } = errand;
    let trimmed = log.trimmed(&room)?;
    let spoken = || {
        Failure::Failed(format!(
            "somebody has said something in {} of {} while its messages were moved; stop all nodes, empty that Redis{}, and \
             run this again",
            room.as_str(),
            target.url,
            if archived.is_some() { " and the tables of the archive" } else { "" }
        ))
    };
    let counts_archived = archived.is_some();
    if let Some((archive, mut from)) = target.archive.zip(archived) {
        loop {
            let after = Some(from.upto).filter(|upto| *upto > MessageId::BEFORE_ALL);
            let page = log.page(&room, after, PAGE)?;
            let Some(last) = page.last().map(Moved::id) else { break };
            if !archive.take(&room, from, &page, trimmed)? {
                return Err(spoken());
            }
            from.upto = last;
            copying.add(&page)?;
        }
        if let Some(before) = before {
            archive.go_on_after(&room, before)?;
        } else if let Some(last) = last_before_newest(log, &room, archive.hot())? {
            if !archive.begin_after(&room, last, trimmed)? {
                return Err(spoken());
            }
            before = Some(last);
        }
    }
    loop {
        let page = log.page(&room, before, PAGE)?;
        let Some(last) = page.last().map(Moved::id) else { return Ok(()) };
        if !target.redis.log.import(&room, before, &page, trimmed)? {
            return Err(spoken());
        }
        before = Some(last);
        if !counts_archived {
            copying.add(&page)?;
        }
    }
}

/// The last entry of a room before its newest ones; `None` if there are no more than so many.
fn last_before_newest(log: &SavedLog, room: &RoomName, newest: usize) -> Result<Option<MessageId>, Failure> {
    let (mut last, mut after) = (VecDeque::new(), None);
    loop {
        let page = log.page(room, after, PAGE)?;
        let Some(end) = page.last().map(Moved::id) else { break };
        last.extend(page.iter().map(Moved::id));
        last.drain(..last.len().saturating_sub(newest + 1));
        after = Some(end);
    }
    Ok(last.pop_front().filter(|_| last.len() == newest))
}

/// Where the webhooks of the new nodes begin: with what was stored and not sent.
fn move_positions(
    log: &SavedLog,
    redis: &RedisStores,
    rooms: &[RoomName],
    positions: &SavedPositions,
) -> Result<(), Failure> {
    let mut untold = 0;
    for room in rooms {
        let position = positions.of(room);
        if !log.page(room, Some(position), 1)?.is_empty() {
            redis.outbox.told(room, position)?;
            untold += 1;
        }
    }
    say(format_args!(
        "webhooks: the new nodes go on where they were; {} had something to be told",
        counted(untold, "room")
    ))
}

/// How far the copying has got.
struct Copying {
    progress: Progress,
    /// About how many entries there are, if progress is shown.
    all: Option<u64>,
    messages: u64,
    changes: u64,
}

impl Copying {
    fn new(log: &SavedLog) -> Result<Copying, Failure> {
        let progress = Progress::new();
        let all = if progress.is_shown() { Some(log.count()?) } else { None };
        let mut copying = Copying { progress, all, messages: 0, changes: 0 };
        copying.show();
        Ok(copying)
    }

    fn add(&mut self, page: &[Moved]) -> Result<(), Failure> {
        let messages = page.iter().filter(|entry| matches!(entry, Moved::Message(_))).count();
        let told = self.messages / PROGRESS;
        self.messages += messages as u64;
        self.changes += (page.len() - messages) as u64;
        self.show();
        // For output without a bar.
        if !self.progress.is_shown() && self.messages / PROGRESS > told {
            say(format_args!("messages: {} so far", self.messages))?;
        }
        Ok(())
    }

    fn show(&mut self) {
        self.progress.bar(self.messages + self.changes, self.all, "messages and changes copied");
    }

    fn end(mut self, rooms: usize) -> Result<(), Failure> {
        self.progress.clear();
        let Copying { messages, changes, .. } = self;
        say(format_args!(
            "messages: {messages} of {} copied, and {changes} changes of messages",
            counted(rooms, "room")
        ))
    }
}

/// The work that is left. Fails, before anything is done, if a room has messages of its own.
fn errands(log: &SavedLog, target: &Target<'_>, rooms: &[RoomName]) -> Result<Vec<Errand>, Failure> {
    let url = target.url;
    let mut errands = Vec::new();
    let mut taken = Vec::new();
    let archived: Vec<Option<Position>> = match target.archive {
        Some(archive) => archive.archived(rooms)?.into_iter().map(Some).collect(),
        None => vec![None; rooms.len()],
    };
    for ((room, standing), archived) in rooms.iter().zip(target.redis.log.standing(rooms)?).zip(archived) {
        let is_new = archived.is_none_or(|archived| archived == Position::default());
        // Archived by a run that did not get as far as Redis.
        let is_begun = |archived: Position| -> Result<bool, Failure> {
            Ok(archived.generation == 0 && log.holds(room, archived.upto)?)
        };
        match standing {
            Standing::Untouched if is_new || archived.map(is_begun).transpose()? == Some(true) => {
                errands.push(Errand { room: room.clone(), before: None, archived });
            }
            Standing::Untouched => taken.push(room.clone()),
            Standing::TakenOver { last, spoken } if log.holds(room, last)? => {
                let rest = !log.page(room, Some(last), 1)?.is_empty();
                match (rest, spoken) {
                    (true, true) => taken.push(room.clone()),
                    (true, false) => {
                        // A room that is in Redis as a whole is archived from there.
                        let archived = archived.filter(|_| !is_new);
                        errands.push(Errand { room: room.clone(), before: Some(last), archived });
                    }
                    (false, _) => {}
                }
            }
            Standing::TakenOver { .. } | Standing::Taken => taken.push(room.clone()),
        }
    }
    if taken.is_empty() {
        return Ok(errands);
    }
    Err(Failure::Failed(format!(
        "{url} has other messages already in {}: {}; no message was copied. Two histories can't be made one: choose another \
         Redis or database number, or empty that one",
        counted(taken.len(), "room"),
        listed(&taken)
    )))
}

/// Separates rooms of the rooms door whose messages would be shown in another room with the same number.
fn of_known_rooms(names: Vec<RoomName>, rooms: &Rooms) -> Result<(Vec<RoomName>, Vec<RoomName>), Failure> {
    let (mut known, mut strange) = (Vec::new(), Vec::new());
    for name in names {
        let number = name.as_str().strip_prefix("chitchat:").and_then(|id| id.parse::<i64>().ok());
        let fits = match number.map(RoomKey::Id) {
            None => true,
            Some(key) => {
                let old = rooms.old.as_ref().map(|old| old.find(key)).transpose()?.flatten();
                rooms.new.find(key)?.is_some_and(|new| old.is_none_or(|old| is_same(&old, &new)))
            }
        };
        if fits { known.push(name) } else { strange.push(name) }
    }
    Ok((known, strange))
}

/// Whether one room is a copy of the other, or both are the public chat that every installation has.
fn is_same(old: &ChatRoom, new: &ChatRoom) -> bool {
    let public = |room: &ChatRoom| room.id == 1 && room.fields.access == Access::Public;
    old.created_at == new.created_at || public(old) && public(new)
}

pub(super) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn listed(rooms: &[RoomName]) -> String {
    let names: Vec<&str> = rooms.iter().take(NAMED).map(RoomName::as_str).collect();
    format!("{}{}", names.join(", "), if rooms.len() > NAMED { " …" } else { "" })
}
