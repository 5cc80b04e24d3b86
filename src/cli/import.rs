//! `import`: takes over the messages of an original Propromo chat, which kept them in Redis.

use super::{
    failure::{Failure, failed, say},
    progress::Progress,
};
use crate::{
    config::{sources::Settings, value::Storage},
    message::RoomName,
    redact::{has_password, without_password},
    store::{
        moving::{Kept, Moved, Trimmed},
        redis::{
            RedisStores,
            address::Deployment,
            check,
            import::Standing,
            original::{Original, Read, Room},
        },
        sqlite::{data_dir::DataDir, import::OldMessages},
    },
};
use clap::{Arg, ArgMatches, Command};
use std::{io, path::Path, time::Duration};

pub const NAME: &str = "import";

/// How many messages are taken over at a time.
const PAGE: usize = 256;

/// Progress is reported after this many messages.
const PROGRESS: u64 = 10_000;

/// How many names one line has at most.
const NAMED: usize = 5;

pub fn command() -> Command {
    Command::new(NAME)
        .about("Take over the messages that an original Propromo chat has kept in Redis")
        .arg(
            Arg::new("url")
                .value_name("URL")
                .required(true)
                .help("Its Redis, such as redis://localhost:6379; with `-` the URL is read from standard input, in case it has a password"),
        )
        .after_help(
            "Stop the server first. The messages go to this server's own store (DATA_DIR, or the Redis of \
             CHAT_STORAGE_URL). Each keeps its time, and as much of its id as fits into a UUIDv7. No message is taken over \
             twice, so the command may be run again. It only reads the other Redis.\n\n\
             It reads the keys chatroom:MONITOR:messages (a hash) and chatroom:MONITOR:messages:UUID (text). Each value is \
             a JSON object with email, timestamp and text.",
        )
}

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    let url = matches.get_one::<String>("url").map_or("", String::as_str);
    if has_password(url) {
        return Err(Failure::Usage(
            "the URL holds a password, which every user of this machine could read; give - in its place, and the URL on \
             standard input"
                .into(),
        ));
    }
    let url = if url == "-" {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(|e| Failure::Failed(format!("standard input can't be read: {e}")))?;
        line.trim().to_owned()
    } else {
        url.to_owned()
    };
    let deployment =
        Deployment::parse(&url).map_err(|expected| Failure::Usage(format!("the URL should be {expected}")))?;
    let mut original = Original::open(&deployment).map_err(failed)?;
    let rooms = original.rooms().map_err(failed)?;
    if rooms.is_empty() {
        return Err(Failure::Failed(format!(
            "{deployment} has no key chatroom:…:messages; is it the Redis of a Propromo chat, and the number of its \
             database right (…/0)?"
        )));
    }
    let mut target = Target::open(settings)?;
    let mut count = Count::new(rooms.len());
    for room in &rooms {
        count.begin(room);
        let Read { messages, unreadable } = original.read(room).map_err(failed)?;
        let name = RoomName::monitor(&room.id);
        count.strange.extend(unreadable);
        if !target.take(&name, &messages, &mut count)? {
            count.refused.push(room.id.clone());
        }
        count.rooms += 1;
    }
    count.say()
}

/// What has been done so far.
struct Count {
    progress: Progress,
    /// Rooms that there are, and those that are done.
    all: usize,
    rooms: usize,
    taken: u64,
    there: u64,
    /// Keys whose values are not messages.
    strange: Vec<String>,
    /// Monitors whose rooms already have messages of their own.
    refused: Vec<String>,
}

impl Count {
    fn new(all: usize) -> Count {
        let (strange, refused) = (Vec::new(), Vec::new());
        Count { progress: Progress::new(), all, rooms: 0, taken: 0, there: 0, strange, refused }
    }

    /// A room's messages are read as a whole, and only then taken over.
    fn begin(&mut self, room: &Room) {
        self.progress.begin(format_args!("reading room {} of {}: {}", self.rooms + 1, self.all, shown(&room.id)));
    }

    fn add(&mut self, page: usize, taken: usize) -> Result<(), Failure> {
        let told = (self.taken + self.there) / PROGRESS;
        self.taken += taken as u64;
        self.there += (page - taken) as u64;
        let now = self.taken + self.there;
        self.progress.show(format_args!("room {} of {}: {now} messages so far", self.rooms + 1, self.all));
        // Where there is no such line.
        let is_due = !self.progress.is_shown() && now / PROGRESS > told;
        if is_due { say(format_args!("messages: {now} so far")) } else { Ok(()) }
    }

    fn say(&mut self) -> Result<(), Failure> {
        self.progress.clear();
        say(format_args!(
            "messages: {} of {} room{} taken over, {} were there already",
            self.taken,
            self.rooms,
            if self.rooms == 1 { "" } else { "s" },
            self.there
        ))?;
        if !self.strange.is_empty() {
            say(format_args!("left out, since it is no message: {}", listed(&self.strange)))?;
        }
        if self.refused.is_empty() {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "the Redis of CHAT_STORAGE_URL has messages of its own already in {}; older ones can't be put before them: choose \
             another database number, or empty that one, and run this again",
            listed(&self.refused)
        )))
    }
}

/// The log of this server.
enum Target {
    Embedded { log: OldMessages, _claim: DataDir },
    Redis(RedisStores),
}

impl Target {
    fn open(settings: &Settings) -> Result<Target, Failure> {
        match settings.storage()? {
            Storage::Embedded => {
                let data_dir = settings.data_dir()?;
                // Held until the end: a running server keeps knowledge of its rooms in memory.
                let claim = DataDir::claim(&data_dir)?;
                let log = OldMessages::open(&Path::new(&data_dir).join("log.db"))?;
                Ok(Target::Embedded { log, _claim: claim })
            }
            Storage::Redis(url) => {
                let deployment = Deployment::parse(&url)
                    .map_err(|expected| Failure::Usage(format!("CHAT_STORAGE_URL should be {expected}")))?;
                check::check(&deployment).map_err(|fault| Failure::Failed(fault.to_string()))?;
                let stores = RedisStores::open(deployment, None, Duration::MAX, Duration::ZERO).map_err(|error| {
                    Failure::Failed(format!("can't start the threads of {}: {error}", without_password(&url)))
                })?;
                Ok(Target::Redis(stores))
            }
        }
    }

    /// Takes over messages, which are in the order of their ids. `false` if the room can't have them.
    fn take(&mut self, room: &RoomName, messages: &[Kept], count: &mut Count) -> Result<bool, Failure> {
        match self {
            Target::Embedded { log, .. } => {
                for page in messages.chunks(PAGE) {
                    count.add(page.len(), log.take(room, page)?)?;
                }
                Ok(true)
            }
            Target::Redis(stores) => take_to_redis(stores, room, messages, count),
        }
    }
}

fn take_to_redis(stores: &RedisStores, room: &RoomName, messages: &[Kept], count: &mut Count) -> Result<bool, Failure> {
    let standing = stores.log.standing(std::slice::from_ref(room))?.pop();
    let (mut before, rest) = match standing {
        None | Some(Standing::Untouched) => (None, messages),
        Some(Standing::TakenOver { last, spoken }) => {
            let Some(at) = messages.iter().position(|kept| kept.message.id == last) else { return Ok(false) };
            let (there, rest) = messages.split_at(at + 1);
            count.add(there.len(), 0)?;
            if spoken && !rest.is_empty() {
                return Ok(false);
            }
            (Some(last), rest)
        }
        Some(Standing::Taken) => return Ok(false),
    };
    for page in rest.chunks(PAGE) {
        let moved: Vec<Moved> = page.iter().cloned().map(Moved::Message).collect();
        if !stores.log.import(room, before, &moved, Trimmed::default())? {
            return Ok(false);
        }
        before = page.last().map(|kept| kept.message.id);
        count.add(page.len(), page.len())?;
    }
    Ok(true)
}

fn listed(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    shown(&format!("{}{more}", first.join(", ")))
}

/// As it may stand in a line of a terminal.
fn shown(name: &str) -> String {
    name.replace(char::is_control, " ")
}
