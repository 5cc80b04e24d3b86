//! `migrate`: moves what an embedded installation has stored over to PostgreSQL and Redis.

mod accounts;
mod messages;

use super::{
    accounts::NO_PATIENCE,
    failure::{Failure, say},
};
use crate::{
    config::{
        settings::JWT_PRIVATE_KEY,
        signing::SECRET_FILE,
        sources::Settings,
        value::{Database, Storage},
    },
    redact::without_password,
    store::{
        chat_rooms::ChatRooms,
        postgres::Postgres,
        redis::{RedisStores, address::Deployment, check},
        sqlite::{accounts::SqliteAccounts, chat_rooms::SqliteChatRooms, data_dir::DataDir},
    },
};
use clap::Command;
use messages::Rooms;
use std::{sync::Arc, time::Duration};

pub const NAME: &str = "migrate";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Move an embedded installation over to the PostgreSQL of DATABASE_URL and the Redis of CHAT_STORAGE_URL")
        .after_help(
            "Stop the server first, and start none of the new nodes before this is done. What is in DATA_DIR is not \
             changed, and what the new stores have already stays as it is, so it may be run again: after an interruption \
             it goes on where it was.\n\n\
             To PostgreSQL: the rooms of the rooms door. Accounts and monitors are not copied: there they are Propromo's.\n\
             To Redis: every room's messages with their ids, and the marks of spent tokens.",
        )
}

pub fn run(settings: &Settings) -> Result<(), Failure> {
    let (database, storage) = (settings.database()?, settings.storage()?);
    if matches!((&database, &storage), (Database::Sqlite(_), Storage::Embedded)) {
        return Err(Failure::Usage(
            "there is nowhere to move to; let DATABASE_URL be the new postgres:// URL, CHAT_STORAGE_URL the new redis:// \
             URL, or both"
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
    // Held to the end: a server that runs would go on changing what is copied.
    let _claim = DataDir::claim(&data_dir)?;
    // Before anything is written anywhere.
    let redis = match &storage {
        Storage::Embedded => None,
        Storage::Redis(url) => Some((open_redis(url)?, without_password(url))),
    };
    let accounts = accounts.map(|path| SqliteAccounts::open(&path)).transpose()?;
    let rooms = move_rooms(accounts, &database)?;
    if let Some((redis, url)) = redis {
        if let Some(ledger) = file("ledger.db") {
            messages::move_tokens(&ledger, &redis)?;
        }
        if let Some(log) = log {
            messages::move_messages(&log, &redis, &rooms, &url)?;
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

/// Makes sure that Redis can be used before it is.
pub(super) fn open_redis(url: &str) -> Result<RedisStores, Failure> {
    let deployment =
        Deployment::parse(url).map_err(|expected| Failure::Usage(format!("CHAT_STORAGE_URL should be {expected}")))?;
    check::check(&deployment).map_err(|fault| Failure::Failed(fault.to_string()))?;
    RedisStores::open(deployment, None, Duration::MAX, Duration::ZERO)
        .map_err(|error| Failure::Failed(format!("can't start the threads of the Redis store: {error}")))
}

/// Moves accounts and rooms, as far as the new database keeps them.
fn move_rooms(accounts: Option<SqliteAccounts>, database: &Database) -> Result<Rooms, Failure> {
    let old = accounts.as_ref().map(SqliteChatRooms::beside);
    let new: Arc<dyn ChatRooms> = match database {
        Database::Sqlite(path) => Arc::new(SqliteChatRooms::beside(&accounts::copied(accounts, path)?)),
        Database::Postgres(url) => {
            let postgres = Postgres::open(url, 1, NO_PATIENCE)?;
            if let (Some(accounts), Some(rooms)) = (&accounts, &old) {
                let moving = rooms.moving()?;
                let all = moving.rooms.len();
                let copied = postgres.chat_rooms.import(moving)?;
                say(format_args!(
                    "rooms: {copied} of {all} copied, {} whose number or title was there already left out",
                    all - copied
                ))?;
                accounts::compare(accounts, &*postgres.accounts)?;
            }
            postgres.chat_rooms
        }
    };
    Ok(Rooms { old, new })
}
