//! What happens to messages when an account or a monitor is removed: asks the user, and has it done by whoever can
//! reach the messages.

use super::{
    accounts::{NO_PATIENCE, open_embedded},
    failure::{Failure, say},
    far_log,
    progress::Progress,
};
use crate::{
    config::{
        sources::Settings,
        value::{Database, Storage},
    },
    message::RoomName,
    store::{
        account_messages::{Place, Walk},
        erasure::{Eraser, FAREWELL, OPERATORS, Standing, Task, Tasks},
        error::StoreError,
        log::{Appended, MessageLog},
        postgres::tasks::PostgresTasks,
        search::{LookingThrough, Search},
        sqlite::{
            data_dir::DataDir,
            error::StoreOpenError,
            log::{LogOptions, SqliteLog},
            saved::{SavedLog, said_by},
            search::SqliteSearch,
            tasks::SqliteTasks,
        },
    },
};
use clap::{Arg, ArgAction, ArgMatches};
use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

/// How often to check whether the server has finished, and whether one is running.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    Erase,
    Keep,
}

/// The flags `--erase-messages` and `--keep-messages`.
pub fn flags() -> [Arg; 2] {
    let flag = |name: &'static str, other: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).conflicts_with(other).help(help)
    };
    [
        flag("erase-messages", "keep-messages", "Erase the messages everywhere; waits until it is done"),
        flag("keep-messages", "erase-messages", "Keep the messages"),
    ]
}

/// What the flags say, or else the answer of the user at the terminal.
pub fn disposal(matches: &ArgMatches, question: &str) -> Result<Disposal, Failure> {
    if matches.get_flag("erase-messages") {
        return Ok(Disposal::Erase);
    }
    if matches.get_flag("keep-messages") {
        return Ok(Disposal::Keep);
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "say what to do with the messages: --erase-messages or --keep-messages; there is no terminal to ask on"
                .into(),
        ));
    }
    match answer(&format!("{question} Type `erase` or `keep`: "))?.as_str() {
        "erase" => Ok(Disposal::Erase),
        "keep" => Ok(Disposal::Keep),
        _ => Err(Failure::Failed("neither `erase` nor `keep`; nothing was changed".into())),
    }
}

/// Asks the user at the terminal, if there is one. A script has decided by running the command.
pub fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || answer(&format!("{question} Type `erase`: "))? == "erase" {
        return Ok(());
    }
    Err(Failure::Failed("nothing was changed".into()))
}

/// Where to leave tasks for the server; `None` if the messages are in Redis, which every program can reach.
pub fn tasks(settings: &Settings) -> Result<Option<Box<dyn Tasks>>, Failure> {
    if matches!(settings.storage()?, Storage::Redis(_)) {
        return Ok(None);
    }
    kept_tasks(settings).map(Some)
}

/// The tasks that are kept with the accounts, wherever the messages are.
fn kept_tasks(settings: &Settings) -> Result<Box<dyn Tasks>, Failure> {
    Ok(match settings.database()? {
        Database::Sqlite(path) => Box::new(SqliteTasks::beside(&open_embedded(&path)?)),
        Database::Postgres(url) => Box::new(PostgresTasks::open(&url, NO_PATIENCE)?),
    })
}

/// Does a task, or has the server do it. Returns how many messages were erased.
pub fn run(settings: &Settings, task: &Task) -> Result<u64, Failure> {
    match tasks(settings)? {
        Some(tasks) => {
            let id = tasks.ask(task)?;
            follow(settings, &*tasks, task, id)
        }
        None => in_redis(settings, task),
    }
}

/// Continues what was begun: the account or monitor is gone, and its task was left with this number, or is still to be
/// done.
pub fn go_on(settings: &Settings, task: &Task, left: Option<i64>) -> Result<u64, Failure> {
    match (tasks(settings)?, left) {
        (Some(tasks), Some(id)) => follow(settings, &*tasks, task, id),
        _ => {
            thread::sleep(FAREWELL);
            in_redis(settings, task)
        }
    }
}

/// Whether a room has messages.
pub fn has_messages(settings: &Settings, room: &RoomName) -> Result<bool, Failure> {
    match settings.storage()? {
        Storage::Redis(url) => Ok(!far_log::open(settings, &url)?.history(room, None, 1)?.is_empty()),
        Storage::Embedded => {
            let log = settings.data_dir()?.join("log.db");
            if !log.exists() {
                return Ok(false);
            }
            match SavedLog::open(&log) {
                Ok(saved) => Ok(saved.has_messages(room)?),
                // It may have: the program that does the task will know.
                Err(StoreOpenError::TooOld { .. }) => Ok(true),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// Has a task done by the server that has the messages, or does it here if no server runs.
fn follow(settings: &Settings, tasks: &dyn Tasks, task: &Task, id: i64) -> Result<u64, Failure> {
    let data_dir = settings.data_dir()?;
    let mut erasing = Erasing::of(task, |email| said_by(&data_dir.join("log.db"), email).ok().flatten());
    loop {
        match tasks.standing(id)? {
            None => return Ok(0),
            Some(Standing { erased, done: true }) => return Ok(erased),
            Some(Standing { erased, .. }) => erasing.show(erased),
        }
        match DataDir::claim(&data_dir) {
            Ok(_claim) => work_off(&data_dir, tasks, &mut erasing)?,
            Err(StoreOpenError::InUse { .. }) => thread::sleep(LOOK),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Does all waiting tasks, if no server runs.
fn work_off(data_dir: &Path, tasks: &dyn Tasks, erasing: &mut Erasing) -> Result<(), Failure> {
    let file = data_dir.join("log.db");
    let stores = if file.exists() {
        let log = Arc::new(SqliteLog::open(&file, LogOptions::of_command())?);
        Some((SqliteSearch::open(&data_dir.join("search.db"), log.clone())?, log))
    } else {
        None
    };
    for asked in tasks.waiting()? {
        let erased = match &stores {
            Some((search, log)) => erase(&**log, search, &asked.task, erasing)?,
            None => 0,
        };
        tasks.note(asked.id, Standing { erased, done: true })?;
    }
    Ok(())
}

/// Does a task in Redis. If that can't be used now, a node does it later: the account or monitor may be gone already.
fn in_redis(settings: &Settings, task: &Task) -> Result<u64, Failure> {
    let done = in_redis_now(settings, task);
    if let Err(Failure::Failed(error)) = &done
        && !matches!(task, Task::SetAside(_))
    {
        kept_tasks(settings)?.ask(task)?;
        return Err(Failure::Failed(format!("{error}; a node erases the messages as soon as it can use Redis")));
    }
    done
}

fn in_redis_now(settings: &Settings, task: &Task) -> Result<u64, Failure> {
    let Storage::Redis(url) = settings.storage()? else { return Ok(0) };
    let log = far_log::open(settings, &url)?;
    let search = LookingThrough::of(log.clone());
    let count = |email: &str| {
        let mut all = 0;
        let mut walk = Walk { log: &*log, sender: email, place: Place::Start, until: None };
        walk.on(|_, _| {
            all += 1;
            Ok::<_, StoreError>(true)
        })
        .ok()?;
        Some(all)
    };
    let mut erasing = Erasing::of(task, count);
    erase(&*log, &search, task, &mut erasing)
}

fn erase(log: &dyn MessageLog, search: &dyn Search, task: &Task, erasing: &mut Erasing) -> Result<u64, Failure> {
    let submit = |entries: Vec<_>| {
        log.append(&entries).unwrap_or_else(|error| {
            error.log("what is to be erased is still there");
            vec![Appended::NotStored; entries.len()]
        })
    };
    let eraser = Eraser { log, search, submit: &submit, by: OPERATORS };
    Ok(eraser.run(task, &mut |erased| erasing.show(erased))?)
}

/// Shows the progress of a task at a terminal.
struct Erasing {
    progress: Progress,
    /// About how many messages must be erased, if that is known.
    all: Option<u64>,
}

impl Erasing {
    /// `count` returns how many messages an account has said. It is called only if somebody sees the result.
    fn of(task: &Task, count: impl FnOnce(&str) -> Option<u64>) -> Erasing {
        let progress = Progress::new();
        let all = match task {
            Task::Sender(email) if progress.is_shown() => count(email),
            Task::Sender(_) | Task::Room(_) | Task::SetAside(_) => None,
        };
        Erasing { progress, all }
    }

    fn show(&mut self, erased: u64) {
        self.progress.bar(erased, self.all, "messages erased");
    }
}

fn answer(question: &str) -> Result<String, Failure> {
    let unread = |e: io::Error| Failure::Failed(format!("the terminal can't be read: {e}"));
    let mut out = io::stderr().lock();
    write!(out, "{question}").and_then(|()| out.flush()).map_err(unread)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(unread)?;
    Ok(line.trim().to_ascii_lowercase())
}

/// Reports how many messages were erased.
pub fn tell(erased: u64) -> Result<(), Failure> {
    let messages = if erased == 1 { "message" } else { "messages" };
    say(format_args!("{erased} {messages} erased"))
}
