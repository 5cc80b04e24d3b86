//! `migrate`: moves what an embedded installation has stored over to PostgreSQL.

use super::{Failure, NO_PATIENCE, say};
use crate::{
    config::{Database, sources::Settings},
    store::{
        postgres::Postgres,
        sqlite::{accounts::SqliteAccounts, chat_rooms::SqliteChatRooms, data_dir::DataDir},
    },
};
use clap::Command;

pub const NAME: &str = "migrate";

pub fn command() -> Command {
    Command::new(NAME)
        .about("Copy the rooms of the rooms door from DATA_DIR to the PostgreSQL of DATABASE_URL")
        .after_help(
            "Stop the server first. Nothing in DATA_DIR is changed, and what PostgreSQL has already stays as it is, so it \
             may be run again.\nAccounts and monitors are not copied: in PostgreSQL they are Propromo's.",
        )
}

pub fn run(settings: &Settings) -> Result<(), Failure> {
    let Database::Postgres(url) = settings.database()? else {
        return Err(Failure::Usage("there is nowhere to move to; let DATABASE_URL be the new postgres:// URL".into()));
    };
    let data_dir = settings.data_dir()?;
    let file = data_dir.join("chat.db");
    if !file.exists() {
        return Err(Failure::Failed(format!(
            "there is no embedded installation in {}: it has no chat.db; is DATA_DIR right?",
            data_dir.display()
        )));
    }
    // Held to the end: a server that runs would go on changing what is copied.
    let _claim = DataDir::claim(&data_dir)?;
    let moving = SqliteChatRooms::beside(&SqliteAccounts::open(&file)?).moving()?;
    let all = moving.rooms.len();
    let copied = Postgres::open(&url, NO_PATIENCE)?.chat_rooms.import(moving)?;
    say(format_args!(
        "rooms: {copied} of {all} copied, {} whose number or title was there already left out",
        all - copied
    ))
}
