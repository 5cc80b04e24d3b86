//! Which of given messages Redis lacks.

use super::{
    call::Call,
    failure::{Failure, failed},
    id::EntryId,
    keys::Keys,
    log::{RedisLog, STORE},
    values::list,
};
use crate::{
    message::{MessageId, RoomName},
    store::error::StoreError,
};
use redis::{Value, cmd};

/// Messages that one round trip asks for.
const ASKED: usize = 500;

impl RedisLog {
    /// Those of these messages that Redis does not have, and of which it does not know that they were deleted.
    pub(in crate::store) fn missing(
        &self,
        messages: &[(RoomName, MessageId)],
    ) -> Result<Vec<(RoomName, MessageId)>, StoreError> {
        let mut missing = Vec::new();
        for some in messages.chunks(ASKED) {
            missing.extend(self.missing_of(some).map_err(failed(STORE, "look for messages"))?);
        }
        Ok(missing)
    }

    fn missing_of(&self, messages: &[(RoomName, MessageId)]) -> Result<Vec<(RoomName, MessageId)>, Failure> {
        let ask = |(room, id): &(RoomName, MessageId)| {
            let (keys, entry) = (Keys(room), EntryId::of(*id).to_string());
            let (log, became) = (keys.log(), keys.became());
            let deleted = format!("d{entry}");
            [
                Call::command(&log, cmd("XRANGE").arg(&log).arg(&entry).arg(&entry)),
                Call::command(&became, cmd("HGET").arg(&became).arg(deleted)),
            ]
        };
        let answers = self.redis.read(&messages.iter().flat_map(ask).collect::<Vec<_>>())?;
        let mut answers = answers.into_iter();
        let mut missing = Vec::new();
        for message in messages {
            let mut answer = || answers.next().unwrap_or(Err(Failure::Unreadable));
            let (found, deleted) = (answer()?, answer()?);
            if list(&found)?.is_empty() && deleted == Value::Nil {
                missing.push(message.clone());
            }
        }
        Ok(missing)
    }
}
