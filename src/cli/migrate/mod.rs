//! `migrate`: moves what an embedded installation has stored to PostgreSQL and Redis.

mod accounts;
mod back;
mod messages;

use super::{
    accounts::NO_PATIENCE,
    failure::{Failure, failed, say},
    far_log::open_redis,
};
use crate::{
    config::{
        settings::{HISTORY_HOT, HISTORY_MAX, JWT_PRIVATE_KEY, WEBHOOK_URL},
        signing::SECRET_FILE,
        sources::Settings,
        value::{Database, Storage},
    },
    redact::without_password,
    store::{
        archive::ArchivedLog,
        postgres::Postgres,
        sqlite::{
            accounts::SqliteAccounts, channels::SqliteChannels, chat_rooms::SqliteChatRooms, data_dir::DataDir,
            saved::SavedPositions,
        },
    },
};
use clap::{Arg, ArgMatches, Command};
use messages::{Rooms, Target, nothing_to_erase};
use std::sync::Arc;

pub const NAME: &str = "migrate";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Move an embedded installation over to the PostgreSQL of DATABASE_URL and the Redis of CHAT_STORAGE_URL, or back")
        .arg(Arg::new(TO).long("to").value_name("STORE").value_parser([EMBEDDED]).help(
            "Move messages and marks of spent tokens from Redis, and the archive, to a DATA_DIR without messages; accounts and \
             rooms stay where they are",
        ))
        .after_help(
            "Stop the server first, and start none of the new nodes before this is done. What is in DATA_DIR is not \
             changed, and what the new stores have already stays as it is, so it may be run again: after an interruption \
             it goes on where it was.\n\n\
             To PostgreSQL: the rooms of the rooms door, and what belongs to accounts: sessions, read marks, mutes, who \
             moderates, which channels they have begun. Accounts and monitors themselves are not copied: there they are Propromo's.\n\
             To Redis: every room's messages with their ids and what became of them, and the marks of spent tokens.\n\
             To both: where there is an archive (HISTORY_HOT), all messages go there, and only the newest of each room to \
             Redis.\n\n\
             The way back is --to embedded: stop all nodes first, and start none before it is done. It can be interrupted \
             and run again too. Then start one server on that DATA_DIR, without CHAT_STORAGE_URL.",
        )
}

const TO: &str = "to";
const EMBEDDED: &str = "embedded";

pub fn run(matches: &ArgMatches, settings: &Settings) -> Result<(), Failure> {
    match matches.get_one::<String>(TO) {
        Some(_) => back::run(settings),
        None => forth(settings),
    }
}

fn forth(settings: &Settings) -> Result<(), Failure> {
    let (database, storage) = (settings.database()?, settings.storage()?);
    if matches!((&database, &storage), (Database::Sqlite(_), Storage::Embedded)) {
        return Err(Failure::Usage(
            "there is nowhere to move to; set DATABASE_URL to the new postgres:// URL, CHAT_STORAGE_URL to the new \
             redis:// URL, or both"
                .into(),
        ));
    }
    let data_dir = settings.data_dir()?;
    let file = |name: &str| Some(data_dir.join(name)).filter(|path| path.exists());
    let (accounts, log) = (file("chat.db"), file("log.db"));
    if accounts.is_none() && log.is_none() {
        return Err(Failure::Failed(format!(
            "there is no embedded installation in {}: it has neither chat.db nor log.db; is DATA_DIR right?",
            data_dir.display()
        )));
    }
    // Held to the end: a running server would go on changing what is copied.
    let _claim = DataDir::claim(&data_dir)?;
    // Before anything is written anywhere.
    let redis = match &storage {
        Storage::Embedded => None,
        Storage::Redis(url) => Some((open_redis(url)?, without_password(url))),
    };
    let log = log.filter(|_| redis.is_some()).map(|path| messages::open_log(&path)).transpose()?;
    let accounts = accounts.map(|path| SqliteAccounts::open(&path)).transpose()?;
    let postgres = match &database {
        Database::Sqlite(_) => None,
        Database::Postgres(url) => Some(Postgres::open(url, 1, NO_PATIENCE)?),
    };
    if redis.is_some() {
        nothing_to_erase(accounts.as_ref(), postgres.as_ref())?;
    }
    let (hot, most) = (settings.number(&HISTORY_HOT)?, settings.number(&HISTORY_MAX)?);
    let archive = redis.as_ref().zip(postgres.as_ref()).filter(|_| hot > 0).map(|((redis, _), postgres)| {
        let most = Some(most).filter(|most| *most > 0);
        ArchivedLog::new(redis.log.clone(), postgres.archive.clone(), hot, most)
    });
    let rooms = match (postgres, &database) {
        (Some(postgres), _) => move_to_postgres(accounts, postgres)?,
        (None, Database::Sqlite(path)) => {
            let old = accounts.as_ref().map(SqliteChatRooms::beside);
            Rooms { old, new: Arc::new(SqliteChatRooms::beside(&accounts::copied(accounts, path)?)) }
        }
        (None, Database::Postgres(_)) => return Ok(()),
    };
    if let Some((redis, url)) = redis {
        if let Some(ledger) = file("ledger.db") {
            messages::move_tokens(&ledger, &redis)?;
        }
        if let Some(log) = log {
            let webhooks = file("webhooks.db").filter(|_| settings.text(&WEBHOOK_URL).is_some());
            let positions = webhooks.map(|path| SavedPositions::read(&path)).transpose().map_err(failed)?;
            let target = Target { redis: &redis, archive: archive.as_ref(), url: &url };
            messages::move_messages(&log, &target, &rooms, positions.as_ref())?;
        }
        if settings.text(&JWT_PRIVATE_KEY).is_none() && data_dir.join(SECRET_FILE).exists() {
            say(format_args!(
                "every node needs the key that signed the tokens so far: set JWT_PRIVATE_KEY to what is in {}",
                data_dir.join(SECRET_FILE).display()
            ))?;
        }
    }
    Ok(())
}

/// Moves rooms, and what belongs to accounts.
fn move_to_postgres(accounts: Option<SqliteAccounts>, postgres: Postgres) -> Result<Rooms, Failure> {
    let old = accounts.as_ref().map(SqliteChatRooms::beside);
    if let (Some(accounts), Some(rooms)) = (&accounts, &old) {
        let moving = rooms.moving()?;
        let all = moving.rooms.len();
        let (copied, before) = postgres.chat_rooms.import(moving)?;
        let mut told = format!("rooms: {copied} of {all} copied");
        if before > 0 {
            told += &format!(", {before} were copied before");
        }
        if copied + before < all {
            told += &format!(", {} whose number or title was there already left out", all - copied - before);
        }
        say(told)?;
        accounts::move_belongings(accounts, &postgres.accounts)?;
        let of_others = postgres.accounts.take_channels(SqliteChannels::beside(accounts).begun_without_account()?)?;
        if of_others > 0 {
            say(format_args!("of keys: {of_others} begun channels and streams copied"))?;
        }
    }
    Ok(Rooms { old, new: postgres.chat_rooms })
}
