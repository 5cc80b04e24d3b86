//! The messages of many nodes, for one command: in Redis, and in the archive if there is one.

use super::{accounts::NO_PATIENCE, failure::Failure, migrate::open_redis};
use crate::{
    config::{
        settings::{HISTORY_HOT, HISTORY_MAX},
        sources::Settings,
        value::Database,
    },
    store::{archive::ArchivedLog, log::MessageLog, postgres::archive::PostgresArchive},
};
use std::sync::Arc;

/// Makes sure that they can be used before they are.
pub fn open(settings: &Settings, redis: &str) -> Result<Arc<dyn MessageLog>, Failure> {
    let log = open_redis(redis)?.log;
    let (hot, most) = (settings.number(&HISTORY_HOT)?, settings.number(&HISTORY_MAX)?);
    match settings.database()? {
        Database::Postgres(url) if hot > 0 => {
            let archive = Arc::new(PostgresArchive::open(&url, NO_PATIENCE)?);
            log.archived_up_to(archive.newest_of_all()?);
            Ok(Arc::new(ArchivedLog::new(log, archive, hot, Some(most).filter(|most| *most > 0))))
        }
        Database::Postgres(_) | Database::Sqlite(_) => Ok(log),
    }
}
