//! `migrate --to embedded`: the way back, from Redis and the archive to a new `log.db`.

use super::{
    super::{
        accounts::NO_PATIENCE,
        failure::{Failure, say},
        far_log::{open_redis, with_archive},
        progress::Progress,
    },
    messages::{PAGE, counted, nothing_to_erase},
};
use crate::{
    config::{
        settings::WEBHOOK_URL,
        sources::Settings,
        value::{Database, Storage},
    },
    entry::Entry,
    message::{MessageId, RoomName},
    redact::without_password,
    store::{
        log::MessageLog,
        postgres::Postgres,
        redis::RedisStores,
        sqlite::{
            accounts::SqliteAccounts,
            data_dir::DataDir,
            take_over::{NewLog, note_spent, of_messages},
        },
    },
};
use std::path::Path;

/// Rooms listed at a time.
const ROOMS: usize = 500;

pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let Storage::Redis(url) = settings.storage()? else {
        return Err(Failure::Usage(
            "there is nothing to move back; let CHAT_STORAGE_URL be the redis:// URL of the nodes, and DATABASE_URL theirs".into(),
        ));
    };
    let data_dir = settings.data_dir()?;
    let _claim = DataDir::claim(&data_dir)?;
    if let Some(there) = of_messages(&data_dir) {
        return Err(Failure::Failed(format!(
            "{} is there already, and two histories can't be made one; let DATA_DIR be another directory, or move its log.db, \
             journal and search.db away; nothing was copied",
            there.display()
        )));
    }
    let (accounts, postgres) = match settings.database()? {
        Database::Sqlite(path) => (Some(path).filter(|path| path.exists()), None),
        Database::Postgres(url) => (None, Some(Postgres::open(&url, 1, NO_PATIENCE)?)),
    };
    let accounts = accounts.map(|path| SqliteAccounts::open(&path)).transpose()?;
    nothing_to_erase(accounts.as_ref(), postgres.as_ref())?;
    let redis = open_redis(&url)?;
    let log = with_archive(settings, &redis)?;
    move_tokens(&redis, &data_dir)?;
    let (source, mut new) = (without_password(&url), NewLog::open(&data_dir)?);
    if !new.begin(&source)? {
        return Err(Failure::Failed(format!(
            "{} was begun from another Redis than {source}; remove it, or go on with that one",
            NewLog::incomplete(&data_dir).display()
        )));
    }
    let mut copying = Copying::new();
    each_room(&*log, |room| copying.copy(&*log, &mut new, room))?;
    // What was said or changed meanwhile would be missing.
    each_room(&*log, |room| {
        let last = new.copied(room)?.unwrap_or(MessageId::BEFORE_ALL);
        if log.entries(room, last, 1)?.is_empty() { Ok(()) } else { Err(spoken(room)) }
    })?;
    new.complete()?;
    copying.end()?;
    if settings.text(&WEBHOOK_URL).is_some() {
        say("webhooks: the server begins with what is said from now on")?;
    }
    say(format_args!("start one server with DATA_DIR={}, and without CHAT_STORAGE_URL", data_dir.display()))
}

fn spoken(room: &RoomName) -> Failure {
    Failure::Failed(format!(
        "somebody has said something in {} while its messages were moved; stop all nodes, and run this again",
        room.as_str()
    ))
}

/// This comes before the messages, so that no token works twice, however the move ends.
fn move_tokens(redis: &RedisStores, data_dir: &Path) -> Result<(), Failure> {
    let mut marks = Vec::new();
    redis.ledger.each_mark(&mut |some| {
        marks.extend_from_slice(some);
        Ok(())
    })?;
    note_spent(data_dir, &marks)?;
    say(format_args!("spent tokens: {} that have not expired are noted", marks.len()))
}

fn each_room(log: &dyn MessageLog, mut each: impl FnMut(&RoomName) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut after: Option<RoomName> = None;
    loop {
        let rooms = log.rooms(after.as_ref(), ROOMS)?;
        rooms.iter().try_for_each(&mut each)?;
        match rooms.last() {
            Some(last) => after = Some(last.clone()),
            None => return Ok(()),
        }
    }
}

/// What was copied.
struct Copying {
    progress: Progress,
    rooms: usize,
    messages: u64,
    changes: u64,
    /// Entries that have another id than before.
    moved: u64,
}

impl Copying {
    fn new() -> Copying {
        Copying { progress: Progress::new(), rooms: 0, messages: 0, changes: 0, moved: 0 }
    }

    fn copy(&mut self, log: &dyn MessageLog, new: &mut NewLog, room: &RoomName) -> Result<(), Failure> {
        let mut last = new.copied(room)?.unwrap_or(MessageId::BEFORE_ALL);
        loop {
            let page = log.entries(room, last, PAGE)?;
            let Some(end) = page.last().map(Entry::id) else { break };
            last = end;
            self.moved += new.take(room, &page)? as u64;
            let messages = page.iter().filter(|entry| entry.message().is_some()).count();
            self.messages += messages as u64;
            self.changes += (page.len() - messages) as u64;
            let (rooms, messages) = (self.rooms + 1, self.messages);
            self.progress.show(format_args!("room {rooms}: {messages} messages so far"));
        }
        if last == MessageId::BEFORE_ALL {
            return Ok(());
        }
        self.rooms += 1;
        let first = log.entries(room, MessageId::BEFORE_ALL, 1)?.first().map(Entry::id);
        match first {
            Some(first) if log.since(room, first, 1)?.is_none() => Ok(new.lacks_changes(room)?),
            _ => Ok(()),
        }
    }

    fn end(mut self) -> Result<(), Failure> {
        self.progress.clear();
        let Copying { rooms, messages, changes, moved, .. } = self;
        say(format_args!(
            "messages: {messages} of {} copied, and {changes} changes of messages",
            counted(rooms, "room")
        ))?;
        if moved == 0 {
            return Ok(());
        }
        say(format_args!(
            "of these, {moved} have another id now, since an entry of another room had its place in the same millisecond"
        ))
    }
}
