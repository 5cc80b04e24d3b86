//! The messages of many nodes, for one command: in Redis, and in the archive if there is one.

use super::{accounts::NO_PATIENCE, failure::Failure};
use crate::{
    config::{
        settings::{HISTORY_HOT, HISTORY_MAX},
        sources::Settings,
        value::Database,
    },
    store::{
        archive::ArchivedLog,
        log::MessageLog,
        postgres::archive::PostgresArchive,
        redis::{RedisStores, address::Deployment, check},
    },
};
use std::{sync::Arc, time::Duration};

/// Makes sure that they can be used before they are.
pub fn open(settings: &Settings, redis: &str) -> Result<Arc<dyn MessageLog>, Failure> {
    with_archive(settings, &open_redis(redis)?)
}

/// The log with the archive behind it, if there is one.
pub fn with_archive(settings: &Settings, redis: &RedisStores) -> Result<Arc<dyn MessageLog>, Failure> {
    let log = redis.log.clone();
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

/// Checks that Redis can be used, and opens it.
pub fn open_redis(url: &str) -> Result<RedisStores, Failure> {
    let deployment =
        Deployment::parse(url).map_err(|expected| Failure::Usage(format!("CHAT_STORAGE_URL should be {expected}")))?;
    check::check(&deployment).map_err(|fault| Failure::Failed(fault.to_string()))?;
    RedisStores::open(deployment, None, Duration::MAX, Duration::ZERO)
        .map_err(|error| Failure::Failed(format!("can't start the threads of the Redis store: {error}")))
}
