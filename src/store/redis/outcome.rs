//! Finds the outcome of batches whose answer was lost. Redis recognises each batch by its mark.

use super::{
    appended::read_appended,
    call::Call,
    failure::{Failure, failed},
    keys::Keys,
    script,
    shared::Redis,
};
use crate::{
    message::RoomName,
    store::{error::StoreError, log::FoundOut},
};
use parking_lot::Mutex;
use redis::Value;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

const STORE: &str = "message log";

/// The open batches of this node. There are few: after a failure every call is refused at once, until Redis answers
/// again.
#[derive(Default)]
pub(super) struct OpenBatches {
    marks: AtomicU64,
    /// Part of the key under which the next batches leave their outcome.
    slot: AtomicU64,
    open: Mutex<HashMap<u64, Batch>>,
}

/// One room's share of a batch.
#[derive(Clone)]
pub(super) struct Batch {
    pub mark: u64,
    pub room: RoomName,
    pub key: String,
    /// By the clock of the server that was asked.
    pub deadline: i64,
    pub entries: usize,
    /// How often Redis had lost data when this was sent.
    pub losses: u64,
}

impl OpenBatches {
    /// A mark that no other batch of this process has.
    pub fn mark(&self) -> u64 {
        self.marks.fetch_add(1, Ordering::Relaxed)
    }

    /// The key where Redis leaves a batch's outcome.
    pub fn key(&self, node: &str, room: &RoomName) -> String {
        Keys(room).outcome(node, self.slot.load(Ordering::Relaxed))
    }

    /// Notes that the answer to this batch was lost. Later batches use another key.
    pub fn open(&self, batch: Batch) {
        self.slot.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(batch.mark, batch);
    }

    pub fn close(&self, mark: u64) {
        self.open.lock().remove(&mark);
    }

    pub fn find_out(&self, redis: &Redis, mark: u64) -> Result<FoundOut, StoreError> {
        // No caller asks for a batch that is not open.
        let Some(batch) = self.open.lock().get(&mark).cloned() else { return Ok(FoundOut::Lost) };
        let found = batch.find_out(redis).map_err(failed(STORE, "tell what became of messages"))?;
        if found != FoundOut::Undecided {
            self.close(mark);
        }
        Ok(found)
    }
}

impl Batch {
    fn find_out(&self, redis: &Redis) -> Result<FoundOut, Failure> {
        let call = Call::script(&script::OUTCOME, &[&self.key], |command| {
            command.arg(&self.mark.to_be_bytes()).arg(self.deadline);
        })
        .soon();
        match redis.read_one(call)? {
            // Other clients may have seen what Redis has lost.
            Value::Int(0) if redis.health.losses() > self.losses => Ok(FoundOut::Lost),
            Value::Int(0) => Ok(FoundOut::Nothing),
            Value::Int(1) => Ok(FoundOut::Undecided),
            answer => Ok(FoundOut::Done(read_appended(&self.room, self.entries, Ok(answer))?)),
        }
    }
}
